"""Sums read from the ledger's rows themselves: exact, by any columns and tags, and as slow as there are rows."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from router.spend.ledger_schema import COUNTS, METERS
from router.stores.sqlite import Database
from router.types import TAG_NAMES

TABLES = ("attempts", "requests")
Groups = dict[tuple[str | int, ...], list[int]]
"""Sums (in the order of `COUNTS`) by group: its step in time (0 without one) and its values ("" for unset)."""
Made = TypeVar("Made")
FREE = "tags."
"""How the name of a free-form tag begins: `tags.plan`."""
PIECES = 8
"""Parts of a table for each thread: they take unequal time."""
_COLUMNS = {
    "attempts": {"model": "model", "call": "call", "task": "task"},
    "requests": {"model": "model_served", "call": "NULL", "task": "task"},
}
_SUMMED = {
    "attempts": {
        "requests": "number = 0 AND role IS NOT 'shadow'",
        "failed": "outcome <> 'ok'",
        "calls": "1",
        "unpriced": "cost_pusd IS NULL",
        "cost_uusd": "COALESCE(cost_pusd / 1000000, 0)",
        "rest_pusd": "COALESCE(cost_pusd % 1000000, 0)",
        **{name: f"COALESCE({name}, 0)" for name in METERS},
        "latency_us": "CAST(latency_s * 1e6 AS INTEGER)",
    },
    "requests": {
        "requests": "attempts = 0",
        "errors": "outcome = 'error' AND strategy IS NOT 'shadow'",
        "hits": "cache IN ('exact', 'semantic')",
    },
}
_INDEX = {"attempts": "attempts_at", "requests": "requests_apart"}
_APART = "(attempts = 0 OR outcome = 'error')"
"""A request counts with its first call; of the requests' own rows, which decisions make long, only these are read.
What a model in the shadow is asked costs money, but nobody asked for it: it counts as a call and as no request."""


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
    """The rows of a span with `COUNTS`, not yet summed, as of `select`."""
    return select(table, names, where, span, [f"{_SUMMED[table].get(name, '0')} AS {name}" for name in COUNTS])


def select(
    table: str, names: Sequence[str], where: Mapping[str, str], span: Span, columns: Sequence[str], only: str = "true"
) -> tuple[str, list[str | int]]:
    """A query of the rows of a span and its values: columns `at_us`, g0, g1 ... for what is grouped by, and these."""
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
    by = f" INDEXED BY {_INDEX[table]}" if span.by_time else ""
    if table == "requests":
        only += f" AND {_APART}"
    return f"SELECT {', '.join(['at_us', *groups, *columns])} FROM {table}{by} WHERE {only} AND {condition}", values


def add(groups: Groups, rows: Iterable[Sequence[int | str]]) -> None:
    """Add rows of (step, groups ..., counts ...) to sums."""
    for row in rows:
        key, counts = tuple(row[: -len(COUNTS)]), row[-len(COUNTS) :]
        found = groups.get(key)
        groups[key] = (
            [int(n) for n in counts] if found is None else [a + int(b) for a, b in zip(found, counts, strict=True)]
        )


def read(
    connection: sqlite3.Connection, pieces: Iterable[tuple[str, Span]], names: Sequence[str],
    where: Mapping[str, str], step_us: int | None = None, unused: Collection[str] = (),
) -> Groups:  # fmt: skip
    """Sums of some spans of both tables, in one thread.

    Args:
        connection: a snapshot.
        pieces: tables, each with a span of it.
        names: columns and tags to group by.
        where: values that rows must have in columns or tags; "" for those without.
        step_us: also by steps of time of this length.
        unused: counts that are 0 in every row.
    """
    # Grouping by SELECT would sort all rows; a table of the groups, held in memory, is looked up instead.
    keys = ["at", *(f"g{place}" for place in range(len(names)))]
    connection.execute("DROP TABLE IF EXISTS temp.sums")
    connection.execute(
        f"CREATE TEMP TABLE sums ({', '.join(keys)}, {', '.join(f'{name} DEFAULT 0' for name in COUNTS)}, "
        f"PRIMARY KEY ({', '.join(keys)})) WITHOUT ROWID"
    )
    at = f"at_us / {step_us}" if step_us else "0"
    for table, span in pieces:
        own = [name for name in _SUMMED[table] if name not in unused]
        rows, values = select(table, names, where, span, [f"{_SUMMED[table][name]} AS sum_{name}" for name in own])
        connection.execute(
            f"INSERT INTO sums ({', '.join([*keys, *own])}) "
            f"SELECT {', '.join([at, *keys[1:], *(f'sum_{name}' for name in own)])} FROM ({rows}) WHERE true "
            f"ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in own)}",
            values,
        )
    found: Groups = {}
    add(found, connection.execute(f"SELECT {', '.join([*keys, *COUNTS])} FROM sums"))
    return found


def scan(
    db: Database, names: Sequence[str], where: Mapping[str, str], since_us: int | None, until_us: int | None,
    step_us: int | None = None, unused: Collection[str] = (),
) -> Groups:  # fmt: skip
    """Sums of all rows of a period, by several threads: SQLite works outside of Python's lock."""
    found: Groups = {}
    for part in in_threads(
        db, TABLES, since_us, until_us, lambda at, pieces: read(at, pieces, names, where, step_us, unused)
    ):
        join(found, part)
    return found


def join(groups: Groups, more: Groups) -> None:
    """Add sums to sums."""
    add(groups, ((*key, *counts) for key, counts in more.items()))


def in_threads(
    db: Database, tables: Sequence[str], since_us: int | None, until_us: int | None,
    work: Callable[[sqlite3.Connection, Iterable[tuple[str, Span]]], Made],
) -> Iterator[Made]:  # fmt: skip
    """What several threads make of the rows of a period; each takes the next piece when it is done with one.

    Rows that are written meanwhile may or may not be among them.
    """
    with db.snapshot() as connection:
        todo = deque((table, span) for table in tables for span in _pieces(connection, table, since_us, until_us))

    def one(_: int) -> Made:
        with db.snapshot() as connection:
            return work(connection, _taken(todo))

    with ThreadPoolExecutor(_threads()) as pool:
        yield from pool.map(one, range(_threads()))


def _taken(todo: deque[tuple[str, Span]]) -> Iterator[tuple[str, Span]]:
    while True:
        try:
            yield todo.popleft()
        except IndexError:
            return


def _pieces(connection: sqlite3.Connection, table: str, since_us: int | None, until_us: int | None) -> list[Span]:
    """Spans that hold a period's rows, about the same number each."""
    (last,) = connection.execute(f"SELECT COALESCE(MAX(seq), 0) FROM {table}").fetchone()
    n = PIECES * _threads()
    if table == "attempts" and since_us is None and until_us is None:
        return [Span(after_seq=last * i // n, to_seq=last * (i + 1) // n) for i in range(n)]
    first_us, end_us = connection.execute(
        f"SELECT (SELECT MIN(at_us) FROM {table} WHERE at_us >= ?1), "
        f"(SELECT MAX(at_us) + 1 FROM {table} WHERE at_us < ?2)",
        (since_us or 0, 1 << 62 if until_us is None else until_us),
    ).fetchone()
    if first_us is None or end_us is None:
        return []
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
    if not name.startswith(FREE) or '"' in name:
        raise ValueError(f"rows have no column {name!r}; free-form tags are {FREE}NAME, without quotes")
    return "json_extract(tags, ?)", [f'$."{name.removeprefix(FREE)}"']
