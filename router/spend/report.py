"""A report of spend: by columns, tags and time, over a period, out of the sums where they have it, else the rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from router.spend.cubes import cube_for
from router.spend.ledger import Ledger
from router.spend.ledger_schema import METERS
from router.spend.rows import FREE
from router.spend.windows import DAY_US, HOUR_US, Window, iso
from router.types import TAG_NAMES

Step = Literal["hour", "day", "week", "month"]
STEPS: tuple[Step, ...] = ("hour", "day", "week", "month")
COLUMNS = (*TAG_NAMES, "task", "model", "call")
FIGURES = ("requests", "errors", "hits", "calls", "failed", "unpriced", *METERS)
"""What is counted, beside `cost_usd` and `latency_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a report is asked."""

    by: tuple[str, ...] = ()
    """Columns (`COLUMNS`) and free-form tags (`tags.NAME`)."""
    step: Step | None = None
    """Also by calendar steps of time, UTC."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Values that rows must have; "" for those without."""
    since_us: int | None = None
    until_us: int | None = None
    """Excluded. Microseconds since 1970."""
    latency: bool = False
    """Also the median and the 95th percentile of answered calls; read from the rows."""

    @property
    def reads_rows(self) -> bool:
        """Whether no sums are kept for it."""
        return cube_for({*self.by, *self.where}, _width(self.step)) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer."""

    question: Question
    rows: list[dict[str, Any]]
    """A group each: its values, with a step also `at` (ISO 8601, UTC), `FIGURES`, `cost_usd`, `latency_s` (a sum), and,
    where asked for, `p50_s` and `p95_s`. Dearest first, with a step in the order of time."""
    as_of_us: int
    newest_us: int | None
    """When the newest call in the ledger was written; it is in the report if it is in the period."""
    from_rows: bool


def split(text: str) -> tuple[tuple[str, ...], Step | None]:
    """Read `team,model,day`.

    Raises:
        ValueError: a name is neither column nor tag nor step, or there are two steps.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    steps = [step for step in STEPS if step in names]
    by = tuple(dict.fromkeys(name for name in names if name not in STEPS))
    unknown = [name for name in by if not is_column(name)]
    if unknown or not names:
        raise ValueError(
            f"cannot group by {', '.join(unknown) or 'nothing'}; known are {', '.join(COLUMNS)}, tags.NAME for a "
            f"free-form tag, and {', '.join(STEPS)}"
        )
    if len(steps) > 1:
        raise ValueError(f"cannot group by {' and '.join(steps)} at once; give one of them")
    return by, steps[0] if steps else None


def is_column(name: str) -> bool:
    """Whether rows can be grouped by it."""
    return name in COLUMNS or (name.startswith(FREE) and len(name) > len(FREE) and '"' not in name)


def answer(ledger: Ledger, question: Question) -> Report:
    """Ask the ledger."""
    at_us = time.time_ns() // 1000
    by, width = question.by, _width(question.step)
    if question.reads_rows:
        rows = ledger.scan(by, question.where, question.since_us, question.until_us, width)
    else:
        since_us = question.since_us or 0
        rows = ledger.rollups.sums(by, since_us, question.until_us, where=question.where, step_us=width)
    if question.step is not None:
        rows = _by_calendar(rows, by, question.step)
    if question.latency and question.step is None:
        found = ledger.latencies(by, question.where, question.since_us, question.until_us)
        for row in rows:
            row["p50_s"], row["p95_s"] = found.get(tuple(row[name] or "" for name in by), (None, None))
    (newest,) = ledger.rows("SELECT MAX(at_us) AS at_us FROM attempts")
    return Report(
        question=question, rows=rows, as_of_us=at_us, newest_us=newest["at_us"], from_rows=question.reads_rows
    )


def total(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All groups together."""
    summed: dict[str, Any] = {name: sum(row[name] for row in rows) for name in FIGURES}
    return summed | {"cost_usd": sum((row["cost_usd"] for row in rows), Decimal(0))}


def steps_of(report: Report) -> list[str]:
    """All steps from the first that had anything to the last, also those without."""
    step = report.question.step
    if step is None or not report.rows:
        return []
    seen = sorted(row["at"] for row in report.rows)
    window, found, at_us = Window(unit=step), [], _us(seen[0])
    while at_us <= _us(seen[-1]):
        found.append(iso(at_us))
        resets_us = window.resets_us(at_us)
        assert resets_us is not None  # noqa: S101  calendar windows do
        at_us = resets_us
    return found


def _us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def _width(step: Step | None) -> int | None:
    return None if step is None else HOUR_US if step == "hour" else DAY_US


def _by_calendar(rows: list[dict[str, Any]], by: tuple[str, ...], step: Step) -> list[dict[str, Any]]:
    """Days as weeks and months; every row gets `at` in place of `at_us`."""
    window = Window(unit=step)
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        at = iso(window.bucket(row.pop("at_us")))
        key = (at, *(row[name] for name in by))
        into = groups.get(key)
        if into is None:
            groups[key] = {"at": at, **row}
            continue
        for name in (*FIGURES, "cost_usd", "latency_s"):
            into[name] += row[name]
    return sorted(groups.values(), key=lambda row: (row["at"], -row["cost_usd"]))
