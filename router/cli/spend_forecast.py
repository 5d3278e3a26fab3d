"""`clearbar spend forecast`: what will have been spent, and when budgets are gone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import on_screen
from router.types import to_json

if TYPE_CHECKING:
    from router.policy import Policy
    from router.spend.depletion import Depletion
    from router.spend.forecast import Outlook, Span
    from router.spend.ledger import Ledger
    from router.spend.scenario import Lever

NOT_ENOUGH_EVIDENCE = 2
MONTH_DAYS = 365.25 / 12


@click.command()
@click.option("--by", default="", help="Scopes, such as team,model; default: everything together.")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 366), help="How far to look.")
@click.option("--confidence", default=0.9, show_default=True, type=click.FloatRange(0.5, 0.99), help="Of intervals.")
@click.option("--tz", default="UTC", show_default=True, help="Time zone whose days and months count.")
@click.option("--most", default=20, show_default=True, help="Scopes to show, the dearest first.")
@click.option("--scenario", "scenarios", multiple=True, metavar="TEXT",
              help='From now on: "users +30%", "team=search -10%", "model=large +5%"; repeatable.')  # fmt: skip
@click.option("--replace", "replaced", multiple=True, metavar="MODEL=OTHER",
              help="From now on OTHER gets the calls of MODEL, at its price in the policy; repeatable.")  # fmt: skip
@click.option("--growth", type=float, metavar="PERCENT", help="Growth a month, in place of the trend that was seen.")
@click.option("--policy", "path", type=click.Path(path_type=Path), help="For budgets and --replace.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def forecast(
    ctx: click.Context, by: str, days: int, confidence: float, tz: str, most: int, scenarios: tuple[str, ...],
    replaced: tuple[str, ...], growth: float | None, path: Path | None, state: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Foresee month-end and coming spend by scope with intervals; 2 where no scope has enough history."""
    from router.spend.depletion import depletions
    from router.spend.forecast import outlook
    from router.spend.history import histories
    from router.spend.scenario import recent_factors

    now = datetime.now(_zone(tz))
    names = _names(by)
    if growth is not None and growth <= -100:
        raise click.BadParameter("must be above -100", param_hint="--growth")
    slope = None if growth is None else math.log1p(growth / 100) / MONTH_DAYS
    policy = _policy(path, is_needed=bool(replaced))
    with open_ledger(folder_of(state)) as ledger:
        levers, assumed = _levers(ledger, policy, scenarios, replaced)
        if growth is not None:
            assumed.append(f"growth {growth:+g} % a month")
        factor = recent_factors(ledger.rollups, names, levers, now)
        found = [
            outlook(one, now, days, factor=factor.get(tuple(one.scope.values()), 1.0), growth=slope,
                    confidence=confidence)
            for one in histories(ledger.rollups, names, now)[:most]
        ]  # fmt: skip
        budgets = policy.budgets.each if policy else ()
        gone = depletions(ledger.rollups, ledger.holds, budgets, now, days=days, levers=levers, growth=slope)
    if as_json:
        told = {"at": now.isoformat(), "confidence": confidence, "assumed": assumed}
        scopes, budgeted = [_plain(one) for one in found], [_gone(one) for one in gone]
        click.echo(to_json({**told, "scopes": scopes, "budgets": budgeted}))
    else:
        _print(found, names, days, confidence, assumed, gone)
    ctx.exit(0 if any(one.ahead for one in found) else NOT_ENOUGH_EVIDENCE)


def _zone(tz: str) -> ZoneInfo:
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError):
        raise click.BadParameter(f"no time zone {tz!r}; write such as Europe/Berlin", param_hint="--tz") from None


def _names(by: str) -> list[str]:
    from router.spend.history import KNOWN

    names = [name.strip() for name in by.split(",") if name.strip()]
    if unknown := [name for name in names if name not in KNOWN]:
        told = f"cannot forecast by {', '.join(unknown)}; known are {', '.join(KNOWN)}"
        raise click.BadParameter(told, param_hint="--by")
    return names


def _policy(path: Path | None, *, is_needed: bool) -> Policy | None:
    from router.errors import ConfigurationError
    from router.policy import find_policy, load_policy

    try:
        found = find_policy(path)
    except ConfigurationError:
        if is_needed or path is not None:
            raise
        return None  # spend may be looked at where no policy lies
    return load_policy(found)


def _levers(
    ledger: Ledger, policy: Policy | None, scenarios: Sequence[str], replaced: Sequence[str]
) -> tuple[list[Lever], list[str]]:
    from router.spend.prices import price_on
    from router.spend.scenario import lever, replacement

    found, told = [], list(scenarios)
    try:
        found = [lever(text) for text in scenarios]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--scenario") from None
    for text in replaced:
        model, _, other = text.partition("=")
        price = price_on(policy.prices.get(other, ()), datetime.now(UTC).date()) if policy else None
        if price is None:
            raise click.BadParameter(f"{text!r}: the policy has no price of {other!r} today", param_hint="--replace")
        try:
            one, calls = replacement(ledger.rows, model, other, price)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--replace") from None
        found.append(one)
        told.append(f"{other} in place of {model}: x {one.factor:.3g} by {calls:,} calls at the same tokens")
    return found, told


def _plain(one: Outlook) -> dict[str, Any]:
    return {
        "scope": one.history.scope, "whole_days": len(one.history.days), "month_usd": one.month_usd,
        "month_end": one.month_end, "ahead": one.ahead, "days": one.days, "caution": one.caution,
    }  # fmt: skip


def _gone(one: Depletion) -> dict[str, Any]:
    told: dict[str, Any] = {name: getattr(one, name) for name in one.__dataclass_fields__}
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in told.items()}


def _print(
    found: Sequence[Outlook], names: Sequence[str], days: int, confidence: float, assumed: Sequence[str],
    gone: Sequence[Depletion],
) -> None:  # fmt: skip
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    for text in assumed:
        click.echo(f"assumed from now on: {text}")
    table = Table(*names, "this month", "month end", f"{confidence:.0%} interval", f"next {days} days",
                  f"{confidence:.0%} interval", "", box=None, padding=(0, 2, 0, 0))  # fmt: skip
    for one in found:
        scope = (Text(on_screen(value or "-")) for value in one.history.scope.values())
        table.add_row(*scope, f"${one.month_usd:.2f}", *_shown(one.month_end), *_shown(one.ahead), one.caution or "")
    Console().print(table)
    if not found:
        click.echo("nothing was spent yet")
    for row in gone:
        click.echo(f"budget {row.budget}{f' ({row.scope})' if row.scope else ''}: {row.told}")


def _shown(span: Span | None) -> tuple[str, str]:
    return ("", "") if span is None else (f"${span.usd:.2f}", f"${span.low:.2f} to ${span.high:.2f}")
