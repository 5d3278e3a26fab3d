"""`clearbar budget`: how the policy's limits stand, which calls are held against them, and approvals."""

from __future__ import annotations

import getpass
import os
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import Moment, minute, named_values
from router.types import to_json

if TYPE_CHECKING:
    from router.spend.budget import Balance, Budget

POLICY = click.option(
    "--policy", "path", type=click.Path(path_type=Path), help="Policy file; default as for the library."
)
JSON = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")

MOST_MORE = 10**18
"""A million USD in pico-dollars, the most that a limit may be; far more than any count."""


@click.group()
def budget() -> None:
    """Show and approve spending limits."""


@budget.command(name="status")
@POLICY
@STATE
@JSON
def status(path: Path | None, state: Path | None, as_json: bool) -> None:
    """How every limit stands: settled, held by calls under way, and what is left."""
    rows, budgets = [], _budgets(path)
    with open_ledger(folder_of(state)) as ledger:
        for one, accounts in zip(budgets, ledger.holds.accounts(budgets), strict=True):
            rows += [_row(one, *account) for account in accounts] or [_row(one)]
    if as_json:
        click.echo(to_json(rows))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("budget", "scope", "window", "limit", "used", "held", "left", "", box=None, padding=(0, 2, 0, 0))
    for row in rows:
        settled, held, left = (_amount(row[name], row["unit"]) for name in ("settled", "held", "left"))
        table.add_row(
            escape(row["budget"]), escape(row["scope"]), row["window"], _amount(row["limit"], row["unit"]), settled,
            held, left, f"{row['used']:.0%}",
        )  # fmt: skip
    Console().print(table)


@budget.command(name="holds")
@STATE
@JSON
def holds(state: Path | None, as_json: bool) -> None:
    """The calls under way and what each may still cost, oldest first."""
    with open_ledger(folder_of(state)) as ledger:
        rows = ledger.holds.live()
    if as_json:
        click.echo(to_json(rows))
        return
    for row in rows:
        age_s = time.time() - row["at_us"] / 1e6
        click.echo(f"{row['request_id']} attempt {row['number']}: ${row['amount_usd']:f} held for {age_s:.0f} s")
    click.echo(f"{len(rows)} calls under way")


@budget.command(name="approve")
@click.argument("name")
@click.option("--more", required=True, help="How much more: USD, or a count for the other limits.")
@click.option("--for", "values", multiple=True, metavar="TAG=VALUE", help="Whose account, where the scope says `*`.")
@click.option(
    "--until", "until_us", type=Moment(), help="UTC; default: the end of the window, of a rolling one 24 hours."
)
@click.option("--note", default="", help="Why.")
@POLICY
@STATE
def approve(
    name: str, more: str, values: tuple[str, ...], until_us: int | None, note: str, path: Path | None,
    state: Path | None,
) -> None:  # fmt: skip
    """Allow more on a budget that has a step `approve`; kept in the ledger with your name."""
    from router.spend.money import to_pico

    one = next((one for one in _budgets(path) if one.name == name), None)
    if one is None:
        raise click.BadParameter(
            f"the policy has no budget {name!r}; it has {', '.join(b.name for b in _budgets(path))}"
        )
    if not one.needs_approval:
        raise click.BadParameter(f"budget {name!r} has no step `approve`: change its limit in the policy")
    try:
        amount = to_pico(Decimal(more)) if one.unit == "usd" else int(more)
    except (ArithmeticError, ValueError):
        raise click.BadParameter(f"{more!r} is no amount", param_hint="--more") from None
    if not 0 < amount <= MOST_MORE:
        raise click.BadParameter("must be above 0, and at most 1,000,000 USD", param_hint="--more")
    now_us = time.time_ns() // 1000
    resets_us = one.window.resets_us(now_us) or now_us + 86_400_000_000
    until_us = resets_us if until_us is None else until_us
    with open_ledger(folder_of(state)) as ledger:
        ledger.holds.approve(name, _account(one, values), amount, until_us, by=_user(), note=note)
    click.echo(f"approved {_amount(_scaled(one, amount), one.unit)} more on {name} until {minute(until_us)}")


@budget.command(name="release")
@click.argument("run", required=False)
@click.option("--workflow", help="Only of this workflow; without RUN, all its stopped runs.")
@STATE
@JSON
def release(run: str | None, workflow: str | None, state: Path | None, as_json: bool) -> None:
    """Let a run go on that the breaker has stopped; what it did counts as normal for its workflow from now on."""
    if run is None and workflow is None:
        raise click.UsageError("name a run, or a workflow with --workflow")
    with open_ledger(folder_of(state)) as ledger:
        rows = ledger.runs.release(run, workflow=workflow)
    _show_runs(rows, as_json)
    if not rows:
        raise click.ClickException("no such run is stopped; `clearbar budget stopped` lists those that are")


@budget.command(name="stopped")
@STATE
@JSON
def stopped(state: Path | None, as_json: bool) -> None:
    """The runs that the breaker stopped, or in shadow would have, newest first."""
    with open_ledger(folder_of(state)) as ledger:
        rows = ledger.runs.stopped()
    _show_runs(rows, as_json)


def _user() -> str:
    """Who runs this; the number where it has no name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the former before Python 3.13
        return f"uid {os.getuid()}"


def _show_runs(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(to_json(rows))
        return
    for row in rows:
        how = "" if row["mode"] == "on" else " (shadow)"
        after = "" if row["released_us"] is None else f", released {minute(row['released_us'])}"
        click.echo(
            f"{row['run_id']} of {row['workflow'] or '(no workflow)'}{how}, {minute(row['stopped_us'])}{after}: "
            f"{row['trip'].shown()}"
        )


def _budgets(path: Path | None) -> tuple[Budget, ...]:
    from router.policy import find_policy, load_policy

    policy = load_policy(find_policy(path))
    if not policy.budgets.each:
        raise click.ClickException(f"{policy.path}: the policy has no budgets; add `budgets:`")
    return policy.budgets.each


def _account(one: Budget, given: tuple[str, ...]) -> str:
    from router.types import TAG_NAMES, Tags

    pairs = named_values(given, "--for", "TAG=VALUE")
    for name, allowed in one.scope.items():
        if allowed is None and name not in pairs:
            raise click.BadParameter(
                f"the budget has an account for each {name}: give {name}=VALUE", param_hint="--for"
            )
        if allowed is not None:
            pairs.setdefault(name, allowed[0])
    named = {name: value for name, value in pairs.items() if name in TAG_NAMES}
    extra = {name: value for name, value in pairs.items() if name not in (*TAG_NAMES, "model", "provider")}
    account = one.account(Tags(**named, extra=extra), pairs.get("model", ""), pairs.get("provider", ""))
    if account is None:
        raise click.BadParameter("this is nobody's account", param_hint="--for")
    return account


def _row(one: Budget, account: str | None = None, balance: Balance | None = None) -> dict[str, Any]:
    from router.spend.windows import iso

    values = one.values_of(account) if account else {name: "|".join(v) if v else "*" for name, v in one.scope.items()}
    settled, held, more = (balance.settled, balance.held, balance.allowance) if balance else (0, 0, 0)
    limit = one.limit + more
    resets_us = one.window.resets_us(time.time_ns() // 1000)
    return {
        "budget": one.name,
        "scope": ", ".join(f"{name}={value}" for name, value in (values or {}).items()) or "everything",
        "window": one.window_shown,
        "unit": one.unit,
        "limit": _scaled(one, limit),
        "settled": _scaled(one, settled),
        "held": _scaled(one, held),
        "left": _scaled(one, max(0, limit - settled - held)),
        "used": (settled + held) / limit if limit else 1.0,
        "resets_at": None if resets_us is None else iso(resets_us),
    }


def _scaled(one: Budget, amount: int) -> Decimal | int:
    from router.spend.money import from_pico

    return from_pico(amount) if one.unit == "usd" else amount


def _amount(amount: Decimal | int, unit: str) -> str:
    return f"${amount:f}" if isinstance(amount, Decimal) else f"{amount:,} {unit}"
