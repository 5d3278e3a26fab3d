"""`clearbar spend units`: what one token, call, action, run, customer or outcome costs; margins of customers."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.state import STATE, folder_of, open_ledger, say_what_is_archived
from router.cli.values import Moment, named_values, on_screen
from router.types import to_json

if TYPE_CHECKING:
    from router.spend.units import Margin, UnitCost

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--per", default="run", show_default=True, help="token, call, action, run, customer or outcome:NAME.")
@click.option("--by", default="", help="Tags to group by, separated by commas.")
@click.option("--where", multiple=True, metavar="TAG=VALUE", help="Only requests with this tag; repeatable.")
@click.option("--since", "since_us", type=Moment(), help="Runs that began from then on (UTC).")
@click.option("--until", "until_us", type=Moment(), help="And before (UTC).")
@click.option("--confidence", default=0.95, show_default=True, type=click.FloatRange(0.5, 0.999), help="Of intervals.")
@click.option("--margins", "wants_margins", is_flag=True, help="Cost and revenue of each customer instead.")
@click.option("--revenue", type=FILE, help="CSV with the columns customer and revenue_usd; default: the outcomes named "
                                           "revenue.")  # fmt: skip
@STATE
@click.option("--json", "as_json", is_flag=True, help="A JSON list on standard output.")
def units(
    per: str, by: str, where: tuple[str, ...], since_us: int | None, until_us: int | None, confidence: float,
    wants_margins: bool, revenue: Path | None, state: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Show what one unit costs, with an interval by runs. Outcomes are those of router.record_outcome()."""
    from router.spend.units import margins
    from router.spend.units import units as unit_costs

    names = [name.strip() for name in by.split(",") if name.strip()]
    start_us = since_us or 0
    with open_ledger(folder_of(state)) as ledger:
        say_what_is_archived(ledger, since_us, until_us)
        if wants_margins or revenue is not None:
            earned = None if revenue is None else _revenue(revenue)
            told = margins(ledger.rows, since_us=start_us, until_us=until_us, revenue_usd=earned)
            if as_json:
                click.echo(to_json([{**_fields(one), "margin_usd": one.margin_usd} for one in told]))
            else:
                _print_margins(told)
            return
        try:
            found = unit_costs(
                ledger.rows, per, by=names, where=named_values(where, "--where", "TAG=VALUE"),
                since_us=start_us, until_us=until_us, now_us=time.time_ns() // 1000, confidence=confidence,
            )  # fmt: skip
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    if as_json:
        click.echo(to_json(found))
    else:
        _print(found, names, per, confidence)


def _fields(one: Margin) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


def _revenue(path: Path) -> dict[str, Decimal]:
    earned: dict[str, Decimal] = {}
    with path.open(newline="", encoding="utf-8") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            try:
                amount = Decimal(row["revenue_usd"])
                earned[row["customer"]] = earned.get(row["customer"], Decimal(0)) + amount
            except (KeyError, TypeError, InvalidOperation):
                told = f"{path}:{number}: needs the columns customer and revenue_usd, a number; got {dict(row)}"
                raise click.BadParameter(told, param_hint="--revenue") from None
    return earned


def _print(found: Sequence[UnitCost], names: Sequence[str], per: str, confidence: float) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, "cost", per, f"USD per {per}", f"{confidence:.0%} interval", "runs", "", box=None,
                  padding=(0, 2, 0, 0))  # fmt: skip
    for one in found:
        value = "-" if one.usd is None else f"{one.usd:.6g}"
        between = "too few runs" if one.low is None else f"{one.low:.6g} to {one.high:.6g}"
        scope = (Text(on_screen(tag or "-")) for tag in one.scope.values())
        table.add_row(*scope, f"${one.cost_usd:.6f}", f"{one.units:,.10g}", value, between, f"{one.runs:,}",
                      _caution(one))  # fmt: skip
    Console().print(table)


def _caution(one: UnitCost) -> str:
    told = []
    if one.unpriced:
        told.append(f"at least: {one.unpriced:,} calls have no known cost")
    if one.without:
        told.append(f"{one.without:,} runs without the outcome")
    if one.young:
        told.append(f"of {one.young:,} it may still come (95 % came within {one.wait_days:.1f} days)")
    return "; ".join(told)


def _print_margins(found: Sequence[Margin]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("customer", "revenue", "cost", "margin", "of revenue", "runs", "", box=None, padding=(0, 2, 0, 0))
    for one in found:
        share = "" if not one.revenue_usd or one.margin_usd is None else f"{one.margin_usd / one.revenue_usd:.1%}"
        money = ("-" if usd is None else f"${usd:.4f}" for usd in (one.revenue_usd, one.cost_usd, one.margin_usd))
        told = f"at least: {one.unpriced:,} calls have no known cost" if one.unpriced else ""
        table.add_row(Text(on_screen(one.customer or "-")), *money, share, f"{one.runs:,}", told)
    Console().print(table)
