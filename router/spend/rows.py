"""Sums read from the ledger's rows themselves: exact, by any columns and tags, and as slow as there are rows."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from router.spend.ledger_schema import COUNTS, METERS
from router.stores.sqlite import Database
from router.types import TAG_NAMES

TABLES: tuple[Literal["attempts", "requests"], ...] = ("attempts", "requests")
Groups = dict[tuple[str | int, ...], list[int]]
"""Sums (in the order of `COUNTS`) by group: its step in time (0 without one) and its values ("" for unset)."""
PIECES = 8
"""Parts of a table for each thread: they take unequal time."""
_COLUMNS = {
    "attempts": {"model": "model", "call": "call", "task": "task"},
    "requests": {"model": "model_served", "call": "NULL", "task": "task"},
}
_SUMMED = {
    "attempts": {
        "failed": "outcome <> 'ok'",
        "calls": "1",
        "unpriced": "cost_pusd IS NULL",
        "cost_uusd": "COALESCE(cost_pusd / 1000000, 0)",
        "rest_pusd": "COALESCE(cost_pusd % 1000000, 0)",
        **{name: f"COALESCE({name}, 0)" for name in METERS},
        "latency_us": "CAST(latency_s * 1e6 AS INTEGER)",
    },
    "requests": {
        "requests": "1",
        "errors": "outcome = 'error'",
        "hits": "cache IN ('exact', 'semantic')",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which rows: in the order in which they were written, and by when they were."""

    after_seq: int = 0
    to_seq: int = 1 << 62
    since_us: int | None = None
    until_us: int | None = None
    by_time: bool = False
    """Look them up by time, which pays for few of them, or go through all rows from the first to the last."""

    def where(self) -> tuple[str, list[int]]:
        """As a condition; a "+" keeps SQLite from an index."""
        seq, at = ("+seq", "at_us") if self.by_time else ("seq", "+at_us")
        bounds = {
            f"{seq} > ?": self.after_seq,
            f"{seq} <= ?": self.to_seq,
            f"{at} >= ?": self.since_us,
            f"{at} < ?": self.until_us,
        }
        kept = {text: value for text, value in bounds.items() if value is not None}
        return " AND ".join(kept), list(kept.values())


def source(table: str, names: Sequence[str], where: Mapping[str, str], span: Span) -> tuple[str, list[str | int]]:
    """The rows of a span as columns `at_us`, g0, g1 ... for what is grouped by, and `COUNTS`, not yet summed."""
    values: list[str | int] = []
    groups = []
    for place, name in enumerate(names):
        text, path = _column(table, name)
        groups.append(f"COALESCE({text}, '') AS g{place}")
        values += path
    condition, bounds = span.where()
    values += bounds
    for name, value in where.items():
        text, path = _column(table, name)
        condition += f" AND COALESCE({text}, '') = ?"
        values += [*path, value]
    counts = [f"{_SUMMED[table].get(name, '0')} AS {name}" for name in COUNTS]
    return f"SELECT {', '.join(['at_us', *groups, *counts])} FROM {table} WHERE {condition}", values


def add(groups: Groups, rows: Iterable[Sequence[int | str]]) -> None:
    """Add rows of (step, groups ..., counts ...) to sums."""
    for row in rows:
        key, counts = tuple(row[: -len(COUNTS)]), row[-len(COUNTS) :]
        found = groups.get(key)
        groups[key] = (
            [int(n) for n in counts] if found is None else [a + int(b) for a, b in zip(found, counts, strict=True)]
        )


def read(
    connection: sqlite3.Connection, table: str, names: Sequence[str], where: Mapping[str, str], span: Span,
    step_us: int | None = None,
) -> Groups:  # fmt: skip
    """Sums of one span, in one thread.

    Args:
        connection: of one state of the ledger.
        table: `attempts` or `requests`.
        names: columns and tags to group by.
        where: values that rows must have in columns or tags; "" for those without.
        span: which rows.
        step_us: also by steps of time of this length.
    """
    # Grouping by SELECT would sort all rows; a table of the groups, held in memory, is looked up instead.
    keys = ["at", *(f"g{place}" for place in range(len(names)))]
    listed = ", ".join([*keys, *COUNTS])
    connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS sums{len(names)} ({listed}, "
                       f"PRIMARY KEY ({', '.join(keys)})) WITHOUT ROWID")  # fmt: skip
    rows, values = source(table, names, where, span)
    changing = [name for name in COUNTS if name in _SUMMED[table]]
    at = f"at_us / {step_us} AS at" if step_us else "0 AS at"
    connection.execute(
        f"INSERT INTO sums{len(names)} SELECT {', '.join([at, *keys[1:], *COUNTS])} FROM ({rows}) WHERE true "
        f"ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in changing)}",
        values,
    )
    found: Groups = {}
    add(found, connection.execute(f"SELECT {listed} FROM sums{len(names)}"))
    connection.execute(f"DELETE FROM sums{len(names)}")
    return found


def scan(
    db: Database, names: Sequence[str], where: Mapping[str, str], since_us: int | None, until_us: int | None,
    step_us: int | None = None,
) -> Groups:  # fmt: skip
    """Sums of all rows of a period, by several threads: SQLite works outside of Python's lock.

    Rows that are written meanwhile may or may not be in it, a request and its calls together or not.
    """
    with db.snapshot() as connection:
        spans = [(table, span) for table in TABLES for span in _pieces(connection, table, since_us, until_us)]

    def one(work: list[tuple[str, Span]]) -> list[Groups]:
        with db.snapshot() as connection:
            return [read(connection, table, names, where, span, step_us) for table, span in work]

    threads = _threads()
    found: Groups = {}
    with ThreadPoolExecutor(threads) as pool:
        for groups in pool.map(one, [spans[n :: PIECES * threads] for n in range(PIECES * threads)]):
            for part in groups:
                add(found, ((*key, *counts) for key, counts in part.items()))
    return found


def _pieces(connection: sqlite3.Connection, table: str, since_us: int | None, until_us: int | None) -> list[Span]:
    """Spans that hold a period's rows, about the same number each."""
    (last,) = connection.execute(f"SELECT COALESCE(MAX(seq), 0) FROM {table}").fetchone()
    n = PIECES * _threads()
    if since_us is None and until_us is None:
        return [Span(after_seq=last * i // n, to_seq=last * (i + 1) // n) for i in range(n)]
    first_us, end_us = connection.execute(
        f"SELECT (SELECT COALESCE(MIN(at_us), 0) FROM {table} WHERE at_us >= ?1), "
        f"(SELECT COALESCE(MAX(at_us), 0) + 1 FROM {table} WHERE at_us < ?2)",
        (since_us or 0, 1 << 62 if until_us is None else until_us),
    ).fetchone()
    edges = [first_us + (end_us - first_us) * i // n for i in range(n + 1)]
    return [Span(to_seq=last, since_us=start, until_us=end, by_time=True) for start, end in pairwise(edges)]


def _threads() -> int:
    return max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def _column(table: str, name: str) -> tuple[str, list[str]]:
    """A column, or a free-form tag with its path as a value."""
    if name in _COLUMNS[table]:
        return _COLUMNS[table][name], []
    if name in TAG_NAMES:
        return name, []
    if '"' in name:
        raise ValueError(f"cannot group by the tag {name!r}: its name has a quote in it")
    return "json_extract(tags, ?)", [f'$."{name}"']
