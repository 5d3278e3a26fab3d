"""An inventory as lines of short texts: the same for the terminal, CSV, Markdown and the page."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from router.inventory.models import ModelUse
from router.inventory.reach import Cap, Promise
from router.inventory.systems import System
from router.spend.csv_cells import as_name, as_text


@dataclass(frozen=True, slots=True)
class Column:
    """One of the table's columns."""

    title: str
    value: Callable[[System], list[str]]
    """Its lines."""
    is_number: bool = False


def columns(by: str) -> list[Column]:
    """Of a table of systems."""
    return [
        Column(by, lambda one: [one.name or f"(no {by})"]),
        *([] if by == "team" else [Column("team", lambda one: [one.team or "(no team)"])]),
        Column("environment", lambda one: [one.environment or "(no environment)"]),
        Column("seen", lambda one: [f"{one.first_day or '?'} to {one.last_day or '?'}"]),
        Column("requests", lambda one: [f"{one.requests:,}"], is_number=True),
        Column("customers", lambda one: ["" if one.customers is None else f"{one.customers:,}"], is_number=True),
        Column("models (share of calls)", lambda one: [
            f"{each.model} at {each.provider} {each.share:.0%}" for each in one.models]),
        Column("regions", lambda one: list(one.regions)),
        Column("data", lambda one: list(one.data)),
        Column("bars", lambda one: [promise_shown(each) for each in one.bars]),
        Column("budgets", lambda one: [cap_shown(each) for each in one.budgets]),
        Column("incidents", lambda one: [f"{n:,} {kind}" for kind, n in one.incidents.items()]),
        Column("owners of models", lambda one: list(one.owners)),
        Column("to watch", lambda one: list(one.watched)),
        Column("cost (USD)", lambda one: [as_text(one.cost_usd)], is_number=True),
        Column("month's end (USD)", lambda one: [month_shown(one)], is_number=True),
    ]  # fmt: skip


def promise_shown(one: Promise) -> str:
    """A bar and who carries it."""
    what = f"{one.task or 'any task'}: "
    if one.bar == "0":
        return f"{what}no bar"
    return f"{what}{one.bar}, carried by {one.carried} of {one.candidates}"


def cap_shown(one: Cap) -> str:
    """A budget and how full it is."""
    limit = f"${one.limit:f}" if one.unit == "usd" else f"{one.limit:,f} {one.unit}"
    used = "unused" if one.used is None else f"{one.used:.0%} used"
    return f"{one.budget} ({one.scope}): {limit} a {one.window}, {used}{'' if one.stops else ', stops nothing'}"


def month_shown(one: System) -> str:
    """What the month will have cost."""
    if one.month_end_usd is None:
        return ""
    middle, low, high = one.month_end_usd
    return f"{middle:,.2f} ({low:,.2f} to {high:,.2f})"


def model_cells(one: ModelUse) -> list[str]:
    """Model, what was done with it, status, sunset, owner, calls, cost."""
    return [one.model, one.use, one.status or "", one.sunset or "", one.owner or "", f"{one.calls:,}",
            as_text(one.cost_usd)]  # fmt: skip


MODEL_TITLES = ("model", "use", "status", "sunset", "owner", "calls", "cost (USD)")


def totals(found: Sequence[System]) -> dict[str, int | Decimal]:
    """All systems together: what a report of spend says of the same period."""
    counted = ("requests", "errors", "hits", "calls", "failed", "unpriced")
    sums: dict[str, int | Decimal] = {name: sum(getattr(one, name) for one in found) for name in counted}
    for name in sorted({name for one in found for name in one.meters}):
        sums[name] = sum(one.meters.get(name, 0) for one in found)
    return sums | {"cost_usd": sum((one.cost_usd for one in found), Decimal(0))}


def as_csv(by: str, found: Iterable[System]) -> str:
    """A row for each system; several values of one cell stand behind each other."""
    out = io.StringIO()
    writer = csv.writer(out)
    listed = columns(by) + [
        Column(name, lambda one, name=name: [str(getattr(one, name))], is_number=True)  # type: ignore[misc]
        for name in ("errors", "hits", "calls", "failed", "unpriced")
    ]
    writer.writerow([column.title for column in listed])
    for one in found:
        cells = [(column, "; ".join(column.value(one))) for column in listed]
        writer.writerow(as_name(cell.replace(",", "") if column.is_number else cell) for column, cell in cells)
    return out.getvalue()


def as_markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells mean nothing but their text."""
    lines = [f"| {' | '.join(map(markdown_cell, heads))} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(map(markdown_cell, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def markdown_cell(text: str) -> str:
    r"""Text of somebody else's in a Markdown table: on one line, and without a sign that means something.

    >>> markdown_cell("a|b <b>*")
    'a\\|b &lt;b&gt;\\*'
    """
    flat = (
        " ".join("".join(sign for sign in text if sign.isprintable() or sign.isspace()).split())
        .replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
    )
    return re.sub(r"([\\`*_{}\[\]|#!~])", r"\\\1", flat).replace("@", "@<!-- -->")  # calls nobody by name
