"""`clearbar spend statement`: a month by scope, with what is shared split and said how."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import on_screen

if TYPE_CHECKING:
    from router.spend.statement import Statement
    from router.spend.statement_split import CachePolicy, Method

SPLITS = click.Choice(["equal", "spend", "requests"])


@click.command()
@click.option("--month", required=True, metavar="YYYY-MM")
@click.option("--by", default="team", show_default=True, help="Tags, separated by commas.")
@click.option("--share", "shared", multiple=True, metavar="TAG=VALUE:METHOD",
              help="Split what calls with this tag cost among all scopes: equal, by spend or by requests.")  # fmt: skip
@click.option(
    "--add", "added", multiple=True, metavar="NAME=USD:METHOD", help="Split an amount the ledger does not know."
)
@click.option("--charges", type=SPLITS, default="spend", show_default=True, help="Split of charges without the tags.")
@click.option("--cache", type=click.Choice(["first_payer", "beneficiary", "split"]), default="first_payer",
              show_default=True, help="Who pays for answers that serve again.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["table", "csv", "json", "html", "parquet"]),
              help="Default: by --out, else a table.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path))
@STATE
def statement(
    month: str, by: str, shared: tuple[str, ...], added: tuple[str, ...], charges: str, cache: str, form: str | None,
    out: Path | None, state: Path | None,
) -> None:  # fmt: skip
    """Show or write a month's statement: each scope's own spend and its part of what is shared."""
    from router.spend.statement import statement as made
    from router.spend.statement_split import pool_of_amount, pool_of_calls

    names = [name.strip() for name in by.split(",") if name.strip()]
    pools = [*map(pool_of_calls, shared), *map(pool_of_amount, added)]
    with open_ledger(folder_of(state)) as ledger:
        one = made(
            ledger, month, names, pools, cache=cast("CachePolicy", cache), charges_method=cast("Method", charges)
        )
    _write(one, form or _form(out), out)


def _form(out: Path | None) -> str:
    known = {".csv": "csv", ".json": "json", ".html": "html", ".parquet": "parquet"}
    if out is None:
        return "table"
    if out.suffix not in known:
        raise click.BadParameter(f"{out} ends in none of {', '.join(known)}; give --format", param_hint="--out")
    return known[out.suffix]


def _write(one: Statement, form: str, out: Path | None) -> None:
    from router.spend.statement_files import as_csv, as_json, write_parquet
    from router.spend.statement_page import as_html

    if form == "parquet":
        if out is None:
            raise click.UsageError("--format parquet needs --out FILE")
        write_parquet(out, one)
    elif form == "table":
        _print(one)
        return
    else:
        text = {"csv": as_csv, "json": as_json, "html": as_html}[form](one)
        if out is None:
            click.echo(text, nl=not text.endswith("\n"))
            return
        out.write_text(text, encoding="utf-8")
    click.echo(f"{out}: {len(one.lines)} lines, ${one.total_usd:f}", err=True)


def _print(one: Statement) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from router.spend.statement_split import METHODS

    pools = [pool.name for pool in one.pools]
    table = Table(*one.by, "requests", "calls", "own calls $", "charges $", *(f"{name} $" for name in pools), "cache $",
                  "total $", title=f"{one.month}, {'closed' if one.closed else 'open'}")  # fmt: skip
    for line in one.lines:
        parts = (f"{line.shared_usd.get(name, 0):f}" for name in pools)
        scope = (Text(on_screen("-" if value is None else value)) for value in line.scope)
        table.add_row(*scope, str(line.requests), str(line.calls), f"{line.calls_usd:f}", f"{line.charges_usd:f}",
                      *parts, f"{line.cache_usd:f}", f"{line.total_usd:f}")  # fmt: skip
    console = Console()
    console.print(table)
    for pool in one.pools:
        console.print(f"{pool.name}: ${pool.usd:f}, {METHODS[pool.method]}", highlight=False, markup=False)
    console.print(f"total ${one.total_usd:f}; ledger ${one.ledger_usd:f}, stated ${one.stated_usd:f}", highlight=False)
    if one.unpriced:
        console.print(f"{one.unpriced} calls have no known cost and are in no amount", highlight=False)
