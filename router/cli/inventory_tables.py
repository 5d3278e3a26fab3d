"""An inventory in the terminal, and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from router.cli.inventory_cells import (
    MODEL_TITLES,
    as_markdown,
    cap_shown,
    columns,
    markdown_cell,
    model_cells,
    month_shown,
    promise_shown,
    totals,
)
from router.cli.values import on_screen
from router.inventory.systems import System
from router.spend.windows import iso

if TYPE_CHECKING:
    from router.inventory.inventory import Inventory

_FEW = ("requests", "customers", "cost (USD)")
"""Figures of a system that stand in the table; the rest is said below it, so that a narrow terminal shows it whole."""


def told(found: Inventory) -> str:
    """Which period, by what, and by which policy."""
    policy = f"{found.policy.path}, version {found.policy.version}" if found.policy else "none was found"
    sums = totals(found.systems)
    return (
        f"From {iso(found.since_us)} to {iso(found.until_us)}, UTC; policy: {policy}. "
        f"{len(found.systems):,} systems by {found.by}, team and environment: {sums['requests']:,} requests, "
        f"{sums['cost_usd']:f} USD, as `clearbar spend report` has it for this period."
    )


def show(found: Inventory) -> None:
    """Print it: a table of the systems, what there is to say of each, and the models."""
    console = Console()
    listed = [one for one in columns(found.by) if one.title in (found.by, "team", "environment", *_FEW)]
    table = Table(title="systems", title_justify="left")
    for column in listed:
        justify: JustifyMethod = "right" if column.is_number else "left"
        table.add_column(column.title, justify=justify, overflow="fold", no_wrap=column.is_number)
    for one in found.systems:
        table.add_row(*(Text(on_screen("\n".join(column.value(one)))) for column in listed))
    console.print(table if found.systems else "no system did anything in this period")
    for one in found.systems:
        who = (column.value(one) for column in listed if column.title in (found.by, "team", "environment"))
        console.print(Text(on_screen(", ".join(map(" ".join, who))), style="bold"))
        console.print(Text(on_screen("\n".join(f"  {line}" for line in _said(one)))))
    models = Table(*MODEL_TITLES, title="models", title_justify="left")
    for each in found.models:
        models.add_row(*(Text(on_screen(cell)) for cell in model_cells(each)))
    console.print(models)
    for back in found.rollbacks:
        console.print(Text(on_screen(f"canary {back['canary']} was rolled back at {back['at']}: {back['why']}")))
    console.print(Text(told(found), style="dim"))


def _said(one: System) -> list[str]:
    lines = [", ".join(f"{each.model} at {each.provider} {each.share:.0%}" for each in one.models) or "no model"]
    lines += [f"seen: {one.first_day or '?'} to {one.last_day or '?'}"]
    lines += [f"regions: {', '.join(one.regions)}"] if one.regions else []
    lines += [f"data: {', '.join(one.data)}"] if one.data else []
    lines += [f"bar {promise_shown(each)}" for each in one.bars]
    lines += [f"budget {cap_shown(each)}" for each in one.budgets]
    lines += [f"month's end: {month_shown(one)} USD"] if one.month_end_usd else []
    lines += [f"{n:,} {kind}" for kind, n in one.incidents.items()]
    lines += [f"owners: {', '.join(one.owners)}"] if one.owners else []
    return [*lines, *(f"! {each}" for each in one.watched)]


def markdown(found: Inventory) -> str:
    """The whole of it."""
    listed = columns(found.by)
    systems = as_markdown(
        [one.title for one in listed], (["; ".join(one.value(each)) for one in listed] for each in found.systems)
    )
    models = as_markdown(MODEL_TITLES, map(model_cells, found.models))
    backs = "".join(
        f"- canary {markdown_cell(one['canary'])} was rolled back at {one['at']}: {markdown_cell(one['why'])}\n"
        for one in found.rollbacks
    )
    text = f"# Inventory of AI systems\n\n{told(found)}\n\n## Systems\n\n{systems}\n## Models\n\n{models}"
    return f"{text}\n## Rolled back\n\n{backs}" if backs else text
