"""`clearbar cache`: what a certified semantic cache would do, and does."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from router.cli.cache_files import calibrate, replay, warm
from router.cli.cache_look import audit, explain, stats
from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import named_values
from router.types import to_json


@click.group()
def cache() -> None:
    """The caches: what they save and get wrong, what they would say, filling and deleting them."""


for _command in (stats, explain, audit, replay, warm, calibrate):
    cache.add_command(_command)


@cache.command()
@click.option("--task", help="Only answers to requests of this task.")
@click.option("--model", help="Only answers that this model wrote; `source:NAME` for those out of a file.")
@click.option("--team", help="Only answers to this team.")
@click.option("--customer", help="Only answers to this customer.")
@click.option("--document", help="Only answers to requests with this tag `document`.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Only answers to requests with this tag.")
@click.option("--before", type=click.DateTime(), help="Only answers stored before this moment, UTC.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(
    task: str | None, model: str | None, team: str | None, customer: str | None, document: str | None,
    tags: tuple[str, ...], before: datetime | None, state: Path | None, as_json: bool, yes: bool,
) -> None:  # fmt: skip
    """Delete stored answers, exact and semantic; routers that run serve none of them any more.

    Options together narrow the choice. Without any, everything goes, and the labels as well.
    """
    from router.cache.purge import Choice
    from router.cache.purge import purge as delete

    named = {"team": team, "customer": customer, "document": document}
    wanted = {name: value for name, value in named.items() if value is not None}
    wanted |= named_values(tags, "--tag")
    before_s = None if before is None else before.replace(tzinfo=UTC).timestamp()
    choice = Choice(task=task, model=model, tags=wanted, before_s=before_s)
    what = "all stored answers, and what was learned of them" if choice.is_all else "these stored answers"
    if not yes:
        click.confirm(f"Delete {what}?", abort=True)
    folder = folder_of(state)
    if choice.asks_the_ledger:
        with open_ledger(folder) as ledger:
            gone = delete(folder, ledger.rows, choice)
    else:
        gone = delete(folder, lambda *_: [], choice)
    if as_json:
        click.echo(to_json(gone))
        return
    click.echo(
        f"deleted {gone.exact + gone.semantic:,} stored answers ({gone.exact:,} exact, {gone.semantic:,} semantic)"
    )
    if gone.unknown:
        click.echo(f"left {gone.unknown:,} whose request this ledger does not know; --model and --before find them")
