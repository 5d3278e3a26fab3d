"""Where commands find the ledger and the stores beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

STATE = click.option("--state", type=click.Path(path_type=Path), help="State folder; default as for the library.")


def folder_of(state: Path | None) -> Path:
    """The state folder, given or as for the library."""
    from router._kit import state_folder

    return state_folder(state)


def say_what_is_archived(ledger: Ledger, since_us: int | None, until_us: int | None, what: str = "it") -> None:
    """Name the months of a period whose rows are in files, for a command that reads rows, or for what of it does."""
    from router.spend.closing_rows import month_us

    gone = []
    for row in ledger.rows("SELECT DISTINCT month FROM archives ORDER BY month"):
        first_us, after_us = month_us(row["month"])
        if after_us > (since_us or 0) and (until_us is None or first_us < until_us):
            gone.append(row["month"])
    if gone:
        click.echo(f"not in {what}: rows of {', '.join(gone)}, which were archived", err=True)


@contextmanager
def open_ledger(folder: Path) -> Iterator[Ledger]:
    """The ledger of a state folder; a command that only reads makes none."""
    from router.spend.ledger import Ledger

    path = folder / "ledger.sqlite3"
    if not path.is_file():
        raise click.ClickException(f"{path}: no ledger here yet; it is made by the first request")
    with closing(Ledger(path)) as ledger:
        yield ledger
