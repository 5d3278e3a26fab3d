"""`clearbar spend`: what was spent, by whom."""

from __future__ import annotations

import os
from pathlib import Path

import click

from router.types import to_json


@click.command()
@click.option("--by", default="model", show_default=True, help="Columns to group by, separated by commas.")
@click.option("--state", type=click.Path(path_type=Path), help="State folder; default as for the library.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list on standard output.")
def spend(by: str, state: Path | None, as_json: bool) -> None:
    """Show spend from the ledger, by team, feature, workflow, run_id, customer, agent, environment, model or call."""
    from rich.console import Console
    from rich.table import Table

    from router.spend.ledger import Ledger

    path = Path(state or os.environ.get("CLEARBAR_STATE") or ".clearbar") / "ledger.sqlite3"
    if not path.is_file():
        raise click.ClickException(f"{path}: no ledger here yet; it is made by the first request")
    names = [name.strip() for name in by.split(",") if name.strip()]
    ledger = Ledger(path)
    try:
        rows = ledger.spend_by(*names)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--by") from None
    finally:
        ledger.close()
    if as_json:
        click.echo(to_json(rows))
        return
    table = Table(*names, "requests", "calls", "cost (USD)", "calls without a price")
    for row in rows:
        table.add_row(*(str(row[name] or "-") for name in names), str(row["requests"]), str(row["calls"]),
                      f"{row['cost_usd']:f}", str(row["unpriced"] or ""))  # fmt: skip
    Console().print(table)
