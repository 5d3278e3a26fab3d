"""A report of spend in the terminal, with plots made of blocks, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.cli.values import on_screen
from router.spend.csv_cells import as_name
from router.spend.ledger_schema import METERS
from router.spend.report import FIGURES, Report, steps_of, total
from router.spend.windows import iso

BARS = "▏▎▍▌▋▊▉█"
SPARKS = "▁▂▃▄▅▆▇█"
WIDTH = 16
"""Characters of a full bar."""
LONGEST_SPARK = 60
WIDE = 100
"""Columns of a terminal in which bars leave the figures room."""
_SHOWN = ("requests", "hits", "errors", "calls", "failed", "input_tokens", "output_tokens")
_RARE = ("hits", "errors", "failed", *(name for name in METERS if name not in _SHOWN), "unpriced")
"""Shown where there are any."""
_TITLES = {"unpriced": "calls without a price", "hits": "cache hits"}


def show(report: Report) -> None:
    """Print it."""
    console = Console()
    if not report.rows:
        console.print("nothing in this period")
    elif report.question.step is not None and report.question.by:
        console.print(_over_time(report))
    else:
        console.print(_groups(report, has_bars=console.width >= WIDE))
    console.print(Text(told(report), style="dim"))


def told(report: Report) -> str:
    """Which period, from what, and how fresh."""
    asked = report.question
    start = "the beginning" if asked.since_us is None else iso(asked.since_us)
    end = "now" if asked.until_us is None else iso(asked.until_us)
    where = "".join(f", {name} = {value or 'unset'}" for name, value in asked.where.items())
    source = "rows" if report.from_rows else "sums, and rows since the last of them"
    newest = "none yet" if report.newest_us is None else f"{iso(report.newest_us)}, {_ago(report)} before this report"
    return f"From {start} to {end}, UTC{where}; from the {source}. Newest call: {newest}."


def as_csv(report: Report) -> str:
    """All rows with all figures."""
    names = [*(["at"] if report.question.step else []), *report.question.by, *FIGURES, "cost_usd", "latency_s"]
    if report.question.latency:
        names += ["p50_s", "p95_s"]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    for row in report.rows:
        shown = {**row, "cost_usd": f"{row['cost_usd']:f}"} | {name: as_name(row[name]) for name in report.question.by}
        writer.writerow([shown[name] for name in names])
    return out.getvalue()


def spark(values: Sequence[Decimal]) -> str:
    """A line of blocks, as high as each value is of the highest; a space where there is none."""
    top = max(values, default=Decimal(0))
    return "".join(SPARKS[min(7, int(8 * value / top))] if value > 0 and top > 0 else " " for value in values)


def bar(value: Decimal, top: Decimal) -> str:
    """A bar of blocks, to an eighth of a character."""
    eighths = round(8 * WIDTH * value / top) if top > 0 else 0
    return "█" * (eighths // 8) + (BARS[eighths % 8 - 1] if eighths % 8 else "")


def _groups(report: Report, *, has_bars: bool) -> Table:
    asked, all_ = report.question, total(report.rows)
    figures = [name for name in dict.fromkeys((*_SHOWN, *_RARE)) if name not in _RARE or all_[name]]
    titles = [*(["when"] if asked.step else []), *asked.by]
    table = Table(show_footer=True)
    for place, title in enumerate(titles):
        table.add_column(title, footer="all" if place == 0 else "", overflow="fold")
    for name in figures:
        table.add_column(_title(name), footer=f"{all_[name]:,}", justify="right", overflow="fold")
    if asked.latency:
        table.add_column("p50", justify="right")
        table.add_column("p95", justify="right")
    table.add_column("cost (USD)", footer=f"{all_['cost_usd']:f}", justify="right", no_wrap=True)
    if has_bars:
        table.add_column("", min_width=WIDTH)
    top = max(row["cost_usd"] for row in report.rows)
    for row in report.rows:
        names = [_when(row["at"], asked.step)] if asked.step else []
        names += [row[name] or "-" for name in asked.by]
        times = [_seconds(row["p50_s"]), _seconds(row["p95_s"])] if asked.latency else []
        shown = [Text(on_screen(name)) for name in names]
        table.add_row(*shown, *(f"{row[name]:,}" if row[name] else "" for name in figures), *times,
                      f"{row['cost_usd']:f}", *([bar(row["cost_usd"], top)] if has_bars else []))  # fmt: skip
    return table


def _over_time(report: Report) -> Table:
    """A line for each group, its spend over time as a line of blocks, the latest steps where there are too many."""
    asked, steps = report.question, steps_of(report)[-LONGEST_SPARK:]
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in report.rows:
        groups.setdefault(tuple(row[name] or "-" for name in asked.by), []).append(row)
    shown = f"{_when(steps[0], asked.step)} to {_when(steps[-1], asked.step)}, by {asked.step}"
    table = Table(*asked.by, "requests", "calls", "cost (USD)", shown)
    for title in table.columns[len(asked.by) : -1]:
        title.justify = "right"
    sums = {key: total(rows) for key, rows in groups.items()}
    for key in sorted(groups, key=lambda key: -sums[key]["cost_usd"]):
        paid = {row["at"]: row["cost_usd"] for row in groups[key]}
        line = spark([paid.get(at, Decimal(0)) for at in steps])
        table.add_row(*(Text(on_screen(name)) for name in key), f"{sums[key]['requests']:,}", f"{sums[key]['calls']:,}",
                      f"{sums[key]['cost_usd']:f}", line)  # fmt: skip
    return table


def _when(at: str, step: str | None) -> str:
    return at[:7] if step == "month" else at[:16].replace("T", " ") if step == "hour" else at[:10]


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _ago(report: Report) -> str:
    assert report.newest_us is not None  # noqa: S101  asked before
    seconds = max(0, report.as_of_us - report.newest_us) // 1_000_000
    for length, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"
