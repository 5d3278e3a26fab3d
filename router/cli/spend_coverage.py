"""`clearbar spend coverage`: how much of spend carries the tags that it must; `rebuild`: make the sums again."""

from __future__ import annotations

import time
from pathlib import Path

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import Ago
from router.types import to_json


@click.command()
@click.option("--policy", "path", type=click.Path(path_type=Path), help="Policy whose `required_tags` are asked.")
@click.option("--tags", help="Ask for these instead, separated by commas.")
@click.option("--last", type=Ago(), help="Only the last 90m, 24h, 7d, 4w.")
@click.option("--fail-under", type=click.FloatRange(0, 1), help="End with 1 if less than this share of spend has all.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="A JSON list on standard output.")
def coverage(
    path: Path | None, tags: str | None, last: int | None, fail_under: float | None, state: Path | None, as_json: bool
) -> None:
    """Show which share of spend and requests carries each required tag."""
    from router.spend.coverage import coverage as covered

    names = [name.strip() for name in tags.split(",") if name.strip()] if tags is not None else _required(path)
    if not names:
        raise click.UsageError("the policy has no `required_tags`; write some, or give --tags team,workflow")
    since_us = None if last is None else time.time_ns() // 1000 - last
    with open_ledger(folder_of(state)) as ledger:
        rows = covered(ledger, names, since_us)
    if as_json:
        fields = ("tag", "requests", "tagged_requests", "of_requests", "cost_usd", "tagged_usd", "of_spend")
        click.echo(to_json([{name: getattr(row, name) for name in fields} for row in rows]))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table("tag", "requests that carry it", "spend that carries it", "spend that does not (USD)")
        for row in rows:
            table.add_row(row.tag, _share(row.of_requests), _share(row.of_spend), f"{row.cost_usd - row.tagged_usd:f}")
        Console().print(table)
    of_all = rows[-1].of_spend
    if fail_under is not None and of_all is not None and of_all < fail_under:
        click.get_current_context().exit(1)


@click.command()
@STATE
def rebuild(state: Path | None) -> None:
    """Delete the sums by minute, hour and day and make them again from the rows, some 100,000 requests a second.

    Refused once months were archived: their rows are not there to be summed.
    """
    with open_ledger(folder_of(state)) as ledger:
        ledger.rollups.rebuild()
        (made,) = ledger.rows("SELECT COUNT(*) AS cells FROM cells")
    click.echo(f"{made['cells']:,} sums made")


def _required(path: Path | None) -> tuple[str, ...]:
    from router.policy import find_policy, load_policy

    return load_policy(find_policy(path)).required_tags


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
