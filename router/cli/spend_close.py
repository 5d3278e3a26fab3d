"""`clearbar spend close`, `archive` and `verify`: months that are fixed, moved to files, and added up again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.types import to_json

if TYPE_CHECKING:
    from router.spend.closing import Adjustment, Closing

FAILED = 1


@click.command()
@click.option("--month", metavar="YYYY-MM", help="The month to close; default: only list what is closed.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def close(month: str | None, state: Path | None, as_json: bool) -> None:
    """Close a month: fix its rows by a hash that hangs on the month before. Then list the closed months."""
    from router.spend.closing import adjustments, close_month, closings

    with open_ledger(folder_of(state)) as ledger:
        if month is not None:
            close_month(ledger, month)
        held, later = closings(ledger), adjustments(ledger)
    if as_json:
        click.echo(
            to_json([{**_plain(one), "adjustments": [o for o in later if o.month == one.month]} for one in held])
        )
    else:
        _print(held, later)


@click.command()
@click.option("--before", required=True, metavar="YYYY-MM", help="The first month whose rows stay.")
@click.option("--out", "folder", required=True, type=click.Path(file_okay=False, path_type=Path), help="For the files.")
@click.option("--format", "form", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True)
@click.option("--keep", is_flag=True, help="Only write the files; the rows stay in the database.")
@STATE
def archive(before: str, folder: Path, form: Literal["parquet", "csv"], keep: bool, state: Path | None) -> None:
    """Move the rows of closed months to files, one a month and table; closes and sums stay in the database."""
    from router.spend.closing_files import archive as move

    with open_ledger(folder_of(state)) as ledger:
        made = move(ledger, before, folder, form, keep=keep)
    for one in made:
        click.echo(f"{one.file_sha256}  {one.path}")
    moved = "written" if keep else "moved"
    click.echo(f"{sum(one.rows for one in made)} rows {moved}" if made else f"nothing closed before {before}", err=True)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@STATE
def verify(files: tuple[Path, ...], state: Path | None) -> int:
    """Add closed months up again, out of the database and their archives, or out of FILES (MONTH.TABLE.csv).

    Exit code 1: something does not hold; each line says what.
    """
    from router.spend.closing import closings
    from router.spend.closing_files import named, verify_file
    from router.spend.closing_files import verify as holds

    with open_ledger(folder_of(state)) as ledger:
        held = {closing.month: closing for closing in closings(ledger)}
        found: list[str] = []
        for path in files:
            month, table = named(path)
            if month not in held:
                raise click.ClickException(f"{path}: {month} is not closed")
            found += verify_file(path, held[month], table)
        if not files:
            found += holds(ledger)
    for line in found:
        click.echo(line)
    if found:
        return FAILED
    click.echo(f"{len(files)} files hold" if files else f"{len(held)} closed months hold")
    return 0


def _plain(one: Closing) -> dict[str, object]:
    return {"month": one.month, "closed_us": one.closed_us, "cost_usd": one.cost_usd, "previous": one.previous,
            "sha256": one.sha256, "tables": one.tables}  # fmt: skip


def _print(held: list[Closing], later: list[Adjustment]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("month", "calls", "cost (USD)", "calls without a price", "adjusted later (USD)", "sha256")
    for one in held:
        added = [other for other in later if other.month == one.month]
        calls = one.tables["attempts"]
        told = (
            f"{sum(other.cost_usd for other in added):f} ({sum(other.rows for other in added)} rows)" if added else ""
        )
        table.add_row(one.month, str(calls.rows), f"{one.cost_usd:f}", str(calls.unpriced or ""), told, one.sha256[:16])
    Console().print(table)
