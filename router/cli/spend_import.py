"""`clearbar spend import`: history and costs from elsewhere into the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from router.cli.state import STATE, folder_of
from router.types import to_json


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--shape", required=True, type=click.Choice(["litellm", "langfuse", "seats"]), help="What the file is.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
@STATE
def import_(file: Path, shape: str, as_json: bool, state: Path | None) -> None:
    """Import LiteLLM's SpendLogs, Langfuse's observations, or charges by the seat (JSON, JSONL, CSV, Parquet).

    Rows keep their ids, so a second import of the same rows changes nothing.
    """
    from contextlib import closing

    from router.spend.imports import write_calls
    from router.spend.imports_charges import write_charges
    from router.spend.imports_files import read_rows
    from router.spend.imports_shapes import from_langfuse, from_litellm
    from router.spend.ledger import Ledger

    with closing(Ledger(folder_of(state) / "ledger.sqlite3")) as ledger:
        if shape == "seats":
            tally = write_charges(ledger, read_rows(file), "seats")
        else:
            tally = write_calls(ledger, map(from_litellm if shape == "litellm" else from_langfuse, read_rows(file)))
    if as_json:
        click.echo(to_json(tally))
        return
    told = {
        "known already": tally.known,
        "in archived months": tally.archived,
        "without id, time or model": tally.unread,
    }
    left = ", ".join(f"{count} {why}" for why, count in told.items() if count)
    click.echo(f"{tally.written} written, ${tally.cost_usd:f}" + (f"; left out: {left}" if left else ""))
    if tally.unpriced:
        click.echo(f"{tally.unpriced} of them of unknown cost", err=True)
    if tally.late:
        click.echo(f"{tally.late} of them in closed months: they are adjustments", err=True)
