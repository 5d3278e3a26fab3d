"""`clearbar inventory`: which AI systems run, who uses them, and what they cost."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from router.cli.state import STATE, folder_of, open_ledger, say_what_is_archived
from router.cli.values import Ago, Moment
from router.types import to_json

if TYPE_CHECKING:
    from router.inventory.inventory import By, Inventory
    from router.policy import Policy

LAST_US = 30 * 86_400_000_000


@click.command()
@click.option("--by", type=click.Choice(["workflow", "feature", "team", "agent"]), default="workflow",
              show_default=True, help="What is one system, together with team and environment.")  # fmt: skip
@click.option("--since", "since_us", type=Moment(), help="From this moment on, UTC.")
@click.option("--until", "until_us", type=Moment(), help="Up to this moment, UTC, which is excluded.")
@click.option("--last", type=Ago(), help="Only the last 24h, 7d, 4w; default: 30d.")
@click.option("--policy", "path", type=click.Path(path_type=Path), help="Policy file; default as for the library.")
@click.option("--forecast/--no-forecast", "foresee", default=True, show_default=True,
              help="Also what the 10 dearest systems will have cost at the month's end.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--csv", "as_csv", is_flag=True, help="The systems as CSV on standard output.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Markdown on standard output.")
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), help="Write a self-contained page.")
@STATE
def inventory(
    by: str, since_us: int | None, until_us: int | None, last: int | None, path: Path | None, foresee: bool,
    as_json: bool, as_csv: bool, as_markdown: bool, page: Path | None, state: Path | None,
) -> None:  # fmt: skip
    """List the AI systems that run, who uses them, and what they cost.

    One row for each workflow (feature, team, agent) with its team and environment; requests without it have rows of
    their own. Figures come from the ledger and add up to `clearbar spend report` of the same period; rules, bars,
    budgets and data rules are what the policy says today of requests with these tags and tasks.
    """
    if last is not None and since_us is not None:
        raise click.UsageError("--last and --since both say when to begin; give one of them")
    if sum([as_json, as_csv, as_markdown]) > 1:
        raise click.UsageError("give one of --json, --csv and --markdown")
    now_us = time.time_ns() // 1000
    since_us = now_us - (LAST_US if last is None else last) if since_us is None else since_us
    found = _found(cast("By", by), since_us, until_us, path, state, foresee=foresee)
    if page is not None:
        from router.cli.inventory_page import render

        page.write_text(render(found), encoding="utf-8", errors="replace")
        click.echo(f"wrote {page}", err=True)
    if as_json:
        click.echo(to_json(_plain(found)))
    elif as_csv:
        from router.cli.inventory_cells import as_csv as written

        click.echo(written(by, found.systems), nl=False)
    elif as_markdown:
        from router.cli.inventory_tables import markdown

        click.echo(markdown(found), nl=False)
    elif page is None:
        from router.cli.inventory_tables import show

        show(found)


def _found(
    by: By, since_us: int, until_us: int | None, path: Path | None, state: Path | None, *, foresee: bool
) -> Inventory:
    from router.inventory.inventory import take_inventory

    policy = _policy(path)
    with open_ledger(folder_of(state)) as ledger:
        found = take_inventory(
            ledger, policy, datetime.now(UTC), by=by, since_us=since_us, until_us=until_us, foresee=foresee
        )
        say_what_is_archived(ledger, since_us, until_us, "customers and incidents")
    return found


def _policy(path: Path | None) -> Policy | None:
    from router.errors import ConfigurationError
    from router.policy import find_policy, load_policy

    try:
        found = find_policy(path)
    except ConfigurationError:
        return None  # what runs may be looked at where no policy lies
    return load_policy(found)


def _plain(found: Inventory) -> dict[str, object]:
    from router.cli.inventory_cells import totals
    from router.spend.windows import iso

    policy = {"path": str(found.policy.path), "version": found.policy.version} if found.policy else None
    return {
        "by": found.by,
        "since": iso(found.since_us),
        "until": iso(found.until_us),
        "policy": policy,
        "systems": found.systems,
        "models": found.models,
        "rollbacks": found.rollbacks,
        "total": totals(found.systems),
    }
