"""`clearbar spend report`, for short `clearbar spend`: what was spent, by whom."""

from __future__ import annotations

from pathlib import Path

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.types import to_json


@click.command()
@click.option("--by", default="model", show_default=True, help="Columns to group by, separated by commas.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="A JSON list on standard output.")
def report(by: str, state: Path | None, as_json: bool) -> None:
    """Show spend from the ledger, by team, feature, workflow, run_id, customer, agent, environment, model or call."""
    from rich.console import Console
    from rich.table import Table

    names = [name.strip() for name in by.split(",") if name.strip()]
    with open_ledger(folder_of(state)) as ledger:
        try:
            rows = ledger.spend_by(*names)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--by") from None
    if as_json:
        click.echo(to_json(rows))
        return
    table = Table(*names, "requests", "calls", "cost (USD)", "calls without a price")
    for row in rows:
        table.add_row(*(str(row[name] or "-") for name in names), str(row["requests"]), str(row["calls"]),
                      f"{row['cost_usd']:f}", str(row["unpriced"] or ""))  # fmt: skip
    Console().print(table)
