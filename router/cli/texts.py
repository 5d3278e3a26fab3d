"""`clearbar texts`: the stored text of requests, and its end."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import click

from router.cli.state import STATE, folder_of


@click.group()
def texts() -> None:
    """The text of prompts and answers that a policy had stored (`data: {store_text: ...}`)."""


@texts.command()
@click.option("--older-than", "days", type=click.FloatRange(min=0), metavar="DAYS", help="Delete what is older.")
@click.option("--all", "is_all", is_flag=True, help="Delete everything.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def purge(days: float | None, is_all: bool, state: Path | None, as_json: bool) -> None:
    """Delete stored texts for good; without an option, those whose time is over. The ledger keeps every row."""
    from router.spend.texts import FILE, Texts

    if is_all and days is not None:
        raise click.UsageError("--all and --older-than contradict each other; give one of them")
    folder = folder_of(state)
    deleted = left = 0
    if (folder / FILE).is_file():
        with closing(Texts(folder)) as kept:
            deleted, left = kept.purge(0 if is_all else days), kept.count()
    if as_json:
        click.echo(json.dumps({"deleted": deleted, "left": left}))
    else:
        click.echo(f"{folder / FILE}: {deleted} texts deleted, {left} left")
