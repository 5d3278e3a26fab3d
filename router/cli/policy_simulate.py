"""`clearbar policy simulate`: what another policy would change, in money, quality, time and denials, and how sure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.state import open_ledger, say_what_is_archived
from router.cli.values import Moment, Share, named_values
from router.types import to_json

if TYPE_CHECKING:
    from router.simulate import Simulated
    from router.simulate.party import Party

NOT_ENOUGH_EVIDENCE = 2
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("after", metavar="POLICY")
@click.option("--against", "before", metavar="POLICY", help="The policy that is; with --ledger by default what was "
                                                           "done.")  # fmt: skip
@click.option("--outcomes", multiple=True, type=FILE, help="Recorded outcomes (Parquet, JSONL, CSV); may be repeated.")
@click.option("--ledger", "state", type=click.Path(path_type=Path), help="State folder of past requests.")
@click.option("--since", "since_us", type=Moment(), help="With --ledger: from then on (UTC); default 30 days ago.")
@click.option("--until", "until_us", type=Moment(), help="With --ledger: before then (UTC).")
@click.option("--environment", metavar="NAME", help="Compare them as they are there; default CLEARBAR_ENV.")
@click.option("--model", "names", multiple=True, metavar="ID=NAME", help="What the table calls a model.")
@click.option("--by", default="", help="Also by these, such as task,team.")
@click.option("--requests", "count", type=click.IntRange(1, 10**9), help="Intervals are about so many new "
              "requests; default: as many as were simulated.")  # fmt: skip
@click.option("--max-cost-change", type=Share(), help="Gate: cost may rise by so much, such as 5%.")
@click.option("--max-quality-drop", type=Share(), help="Gate: mean quality may fall by so much, such as 0.01.")
@click.option("--max-latency-change", type=Share(), help="Gate: mean latency may rise by so much, such as 10%.")
@click.option("--max-denied", type=Share(), help="Gate: so many requests may get no answer, such as 0.1%.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--markdown", is_flag=True, help="A comment for a pull request.")
@click.pass_context
def simulate(
    ctx: click.Context, after: str, before: str | None, outcomes: tuple[Path, ...], state: Path | None,
    since_us: int | None, until_us: int | None, environment: str | None, names: tuple[str, ...], by: str,
    count: int | None,
    max_cost_change: float | None, max_quality_drop: float | None, max_latency_change: float | None,
    max_denied: float | None, as_json: bool, markdown: bool,
) -> None:  # fmt: skip
    """Say what a policy would change on past requests: 0 gates held, 1 one failed, 2 one cannot be told.

    Each POLICY is a file, or REV:PATH as git takes it: clearbar policy simulate policies/default.yaml --against
    main:policies/default.yaml --outcomes outcomes.parquet
    """
    if bool(outcomes) == (state is not None):
        raise click.UsageError("give --outcomes FILE or --ledger STATE, one of them")
    if as_json and markdown:
        raise click.UsageError("give --json or --markdown, one of them")
    from router.cli.policy_diff import must_be_known
    from router.simulate import Limits, compare, judge
    from router.simulate.gates import exit_code

    if state is None:
        if before is None:
            raise click.UsageError("--outcomes needs --against POLICY")
        with _party(before, environment) as old, _party(after, environment) as new:
            must_be_known(environment, old.policy, new.policy)
            found = _on_outcomes(new, old, outcomes, named_values(names, "--model", "ID=NAME"))
    else:
        with _party(after, environment) as new, ExitStack() as stack:
            served = None if before is None else stack.enter_context(_party(before, environment))
            must_be_known(environment, new.policy, *([served.policy] if served else []))
            found = _on_ledger(new, served, state, since_us, until_us)
    if not found.pairs:
        left = "".join(f"; left out: {n:,} ({why})" for why, n in found.left.items() if n)
        click.echo(f"no request to simulate{left}", err=True)
        ctx.exit(NOT_ENOUGH_EVIDENCE)
    named = [name.strip() for name in by.split(",") if name.strip()]
    if unknown := [name for name in named if not any(name in pair.scope for pair in found.pairs)]:
        known = sorted({name for pair in found.pairs for name in pair.scope})
        raise click.BadParameter(f"{unknown[0]!r} is on no request; there are {', '.join(known)}", param_hint="--by")
    result = compare(found, named, count)
    limits = Limits(cost_change=max_cost_change, quality_drop=max_quality_drop, latency_change=max_latency_change,
                    denied=max_denied)  # fmt: skip
    gates = judge(result, limits)
    if as_json:
        click.echo(to_json({"policy": after, "against": before, "comparison": result, "gates": gates,
                            "exit_code": exit_code(gates)}))  # fmt: skip
    else:
        from router.cli.simulate_tables import as_markdown, as_text

        shown = as_markdown if markdown else as_text
        click.echo(shown(after, before or "what was done", result, gates))
        if markdown and before is not None:
            click.echo(_difference(before, after, environment), nl=False)
    ctx.exit(exit_code(gates))


def _on_outcomes(after: Party, before: Party, files: tuple[Path, ...], names: dict[str, str]) -> Simulated:
    from router.outcomes import read_outcomes
    from router.simulate.outcomes import from_outcomes

    return from_outcomes(read_outcomes(*files, merges_repeats=True), before, after, datetime.now(UTC), names)


def _on_ledger(
    after: Party, before: Party | None, state: Path, since_us: int | None, until_us: int | None
) -> Simulated:  # fmt: skip
    from router.simulate.traffic import from_ledger

    now = datetime.now(UTC)
    if since_us is None:
        since_us = int((now - timedelta(days=30)).timestamp() * 1e6)
    with open_ledger(state) as ledger:
        say_what_is_archived(ledger, since_us, until_us)
        return from_ledger(ledger, before, after, now, state, since_us=since_us, until_us=until_us)


@contextmanager
def _party(given: str, environment: str | None) -> Iterator[Party]:
    from router.cli.policy_diff import opened
    from router.simulate.party import Party

    with opened(given, environment) as found:
        yield Party.of(found.policy)


def _difference(before: str, after: str, environment: str | None) -> str:
    """What changes, in words, folded away under the figures."""
    from router.cli.policy_diff import compared
    from router.policy.difference import as_markdown

    told = as_markdown(compared(before, after, environment))
    return f"\n<details><summary>What changes in the policy</summary>\n\n{told}\n</details>\n"
