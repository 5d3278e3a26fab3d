"""Sums of the ledger by minute, hour and day, brought forward while rows are written.

Rows are summed in the order in which they were written, each exactly once; what is not summed yet is added from the
rows themselves, so a report is never behind. Sums are derived: while all rows are there, they can be made again.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from router.errors import InvalidRequestError
from router.spend.cubes import CUBES, MINUTES, Cube, Stretch, cover, cube_for
from router.spend.ledger_schema import COUNTS, CUBE_NAMES, METERS
from router.spend.money import PICO
from router.spend.rows import TABLES, Groups, Span, add, join, read, source
from router.spend.windows import HOUR_US, MINUTE_US
from router.stores.sqlite import Database

CHUNK = 1_000
"""Rows after which a writer sums them, some 10 ms of work; a minute with fewer is summed when it is over."""
CATCH_UP = 20_000
"""Rows of one transaction when there is much to make good."""
KEEP_MINUTES = 48 * 60
"""Older minutes are in the hours alone."""
_FLOOR = "minutes from"

ROLLED = CUBE_NAMES
"""What can be grouped by without reading single rows, `customer` with few of the others."""


class Rollups:
    """Keeps and reads the sums."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._pending, self._next_us = 0, 0

    def wrote(self, connection: sqlite3.Connection, rows: int) -> None:
        """Hear of rows that were just written, within their transaction; bring the sums forward when it is time."""
        self._pending += rows
        now_us = time.time_ns() // 1000
        if self._pending >= CHUNK or now_us >= self._next_us:
            self._pending, self._next_us = 0, (now_us // MINUTE_US + 1) * MINUTE_US
            # Twice what one writer brings in between: sums that were left behind come nearer at every turn.
            self.roll(connection, now_us, 2 * CHUNK)

    def roll(self, connection: sqlite3.Connection, now_us: int, most: int) -> int:
        """Bring the sums forward by at most so many rows of each table; returns how many there were."""
        self._forget_minutes(connection, now_us)
        spans = {}
        for table in TABLES:
            start = rolled_to(connection, table)
            spans[table] = Span(after_seq=start, to_seq=min(start + most, _last(connection, table)))
        done = sum(span.to_seq - span.after_seq for span in spans.values())
        if done:
            for cube in CUBES:
                _add_cells(connection, cube, spans)
            for table, span in spans.items():
                _roll_to(connection, table, span.to_seq)
        return done

    def catch_up(self) -> None:
        """Sum all rows that are not summed yet, in short transactions between which others write."""
        while True:
            with self._db.transaction() as connection:
                if not self.roll(connection, time.time_ns() // 1000, CATCH_UP):
                    return

    def rebuild(self) -> None:
        """Delete all sums and make them again; reports meanwhile read the rows.

        Raises:
            InvalidRequestError: months were archived, whose sums could not be made again; nothing is deleted.
        """
        with self._db.transaction() as connection:
            gone = [row[0] for row in connection.execute("SELECT DISTINCT month FROM archives ORDER BY month")]
            if gone:
                raise InvalidRequestError(
                    f"the rows of {', '.join(gone)} were archived, so their sums cannot be made again; "
                    "nothing was deleted"
                )
            for table in ("cells", "cell_keys", "rolled_to"):
                connection.execute(f"DELETE FROM {table}")
        self.catch_up()

    def sums(
        self, names: Sequence[str], since_us: int = 0, until_us: int | None = None, *,
        where: Mapping[str, str] | None = None, step_us: int | None = None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Sums per group of columns, dearest first.

        Args:
            names: of `ROLLED`; empty: one row over all.
            since_us: from this moment on, in microseconds since 1970.
            until_us: up to this moment, excluded; default: to the last row.
            where: values that rows must have; "" for those without.
            step_us: also by steps of time of this length.

        Returns:
            For every group its values (None where unset), `requests` (counted where their first call is), `errors`
            (requests), `hits`, `failed` (calls), `calls`, `unpriced`, the token meters, `latency_s` (a sum
            over calls) and `cost_usd`; with `step_us` also `at_us`, when the step began.

        Raises:
            ValueError: no cube has these columns in such steps (`cube_for` tells).
        """
        where = where or {}
        cube = cube_for({*names, *where}, step_us)
        if cube is None:
            raise ValueError(f"no sums are kept by {', '.join([*names, *where])}")
        self._make_good()
        end_us = 1 << 62 if until_us is None else until_us
        found: Groups = {}
        pieces: list[tuple[str, Span]] = []
        with self._db.snapshot() as connection:
            done = {table: rolled_to(connection, table) for table in TABLES}
            floor = {MINUTES: rolled_to(connection, _FLOOR) * MINUTE_US}
            for part in cover(cube, since_us, end_us, floor, step_us):
                if part.level is not None:
                    add(found, _cells(connection, cube, names, where, part, step_us))
                    continue
                pieces += [
                    (table, Span(to_seq=done[table], since_us=part.since_us, until_us=part.until_us, by_time=True))
                    for table in TABLES
                ]
            pieces += [(table, Span(after_seq=done[table], since_us=since_us, until_us=end_us)) for table in TABLES]
            join(found, read(connection, pieces, names, where, step_us))
        return as_rows(found, names, step_us)

    def unused(self) -> frozenset[str]:
        """Token meters that no row has; a scan of the rows need not look at them."""
        self._make_good()
        listed = ", ".join(f"MAX({name})" for name in METERS)
        with self._db.snapshot() as connection:
            days = CUBES[0].levels[-1].number  # each row is in one of them
            kept = connection.execute(f"SELECT {listed} FROM cells WHERE level = ?", (days,)).fetchone()
            tail = connection.execute(
                f"SELECT {listed} FROM attempts WHERE seq > ?", (rolled_to(connection, "attempts"),)
            ).fetchone()
        return frozenset(name for name, *found in zip(METERS, kept, tail, strict=True) if not any(found))

    def by_hour(self, names: Sequence[str], since_us: int = 0) -> list[dict[str, Any]]:
        """Sums of each hour that had any, per group of columns, the oldest first.

        Args:
            names: of `ROLLED` without `customer`; empty: all together.
            since_us: from this moment's hour on, in microseconds since 1970.

        Returns:
            Rows as of `sums`, with `hour` (since 1970).
        """
        rows = self.sums(names, since_us // HOUR_US * HOUR_US, step_us=HOUR_US)
        for row in rows:
            row["hour"] = row.pop("at_us") // HOUR_US
        return sorted(rows, key=lambda row: row["hour"])

    def _make_good(self) -> None:
        """A ledger whose sums were left far behind, say by an older version, is summed first, once."""
        with self._db.connection() as connection:
            behind = sum(_last(connection, table) - rolled_to(connection, table) for table in TABLES)
        if behind > CATCH_UP:
            self.catch_up()

    def _forget_minutes(self, connection: sqlite3.Connection, now_us: int) -> None:
        target, floor = now_us // MINUTE_US - KEEP_MINUTES, rolled_to(connection, _FLOOR)
        if target <= floor:
            return
        oldest = connection.execute("SELECT MIN(at) FROM cells WHERE level = ?", (MINUTES,)).fetchone()[0]
        if oldest is not None:  # a few at a time, because somebody's request waits for it
            target = min(target, max(floor, oldest) + 10)
        connection.execute("DELETE FROM cells WHERE level = ? AND at < ?", (MINUTES, target))
        _roll_to(connection, _FLOOR, target)


def as_rows(groups: Groups, names: Sequence[str], step_us: int | None) -> list[dict[str, Any]]:
    """Sums as `Rollups.sums` gives them, dearest first."""
    rows = []
    for (step, *values), counts in groups.items():
        row: dict[str, Any] = {name: value or None for name, value in zip(names, values, strict=True)}
        row |= zip(COUNTS, counts, strict=True)
        row["cost_usd"] = Decimal(row.pop("cost_uusd") * 1_000_000 + row.pop("rest_pusd")) / PICO
        row["latency_s"] = row.pop("latency_us") / 1e6
        if step_us:
            row["at_us"] = int(step) * step_us
        rows.append(row)
    if not rows and not names and not step_us:
        return as_rows({(0,): [0] * len(COUNTS)}, names, step_us)
    return sorted(rows, key=lambda row: -row["cost_usd"])


def rolled_to(connection: sqlite3.Connection, name: str) -> int:
    """The last row of a table that is summed."""
    row = connection.execute("SELECT seq FROM rolled_to WHERE name = ?", (name,)).fetchone()
    return row[0] if row else 0


def _add_cells(connection: sqlite3.Connection, cube: Cube, spans: Mapping[str, Span]) -> None:
    names, finest = ", ".join(cube.names), cube.levels[0].width_us
    parts, values = zip(*(source(table, cube.names, {}, span) for table, span in spans.items()), strict=True)
    groups = [f"g{place}" for place in range(len(cube.names))]
    sums = ", ".join(f"SUM({name}) AS {name}" for name in COUNTS)
    for statement in ("DROP TABLE IF EXISTS temp.fresh", "DROP TABLE IF EXISTS temp.keyed"):
        connection.execute(statement)
    connection.execute(
        f"CREATE TEMP TABLE fresh AS SELECT at_us / {finest} AS at, {', '.join(groups)}, {sums} "
        f"FROM ({' UNION ALL '.join(parts)}) GROUP BY at, {', '.join(groups)}",
        [value for some in values for value in some],
    )
    connection.execute(
        f"INSERT OR IGNORE INTO cell_keys (cube, {names}) SELECT DISTINCT {cube.number}, {', '.join(groups)} FROM fresh"
    )
    # All columns of the unique index are named, so that it is what keys are looked up by.
    same = " AND ".join(
        f"k.{name} = " + (f"f.g{cube.names.index(name)}" if name in cube.names else "''") for name in CUBE_NAMES
    )
    connection.execute(
        f"CREATE TEMP TABLE keyed AS SELECT f.at, k.id AS key, {', '.join(f'f.{name}' for name in COUNTS)} "
        f"FROM fresh AS f CROSS JOIN cell_keys AS k ON k.cube = {cube.number} AND {same}"
    )
    (floor,) = (rolled_to(connection, _FLOOR),)
    for level in cube.levels:
        kept = f"WHERE at >= {floor}" if level.number == MINUTES else "WHERE true"
        connection.execute(
            f"INSERT INTO cells (level, at, key, {', '.join(COUNTS)}) "
            f"SELECT {level.number}, at / {level.width_us // finest} AS step, key, {sums} FROM keyed {kept} "
            f"GROUP BY step, key ON CONFLICT DO UPDATE SET "
            + ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTS)
        )


def _cells(
    connection: sqlite3.Connection, cube: Cube, names: Sequence[str], where: Mapping[str, str], part: Stretch,
    step_us: int | None,
) -> sqlite3.Cursor:  # fmt: skip
    assert part.level is not None  # noqa: S101  rows are read elsewhere
    width = part.level.width_us
    step = f"at / {step_us // width}" if step_us else "0"
    sums = ", ".join(f"SUM({name}) AS {name}" for name in COUNTS)
    listed = ", ".join(["step", *names])
    match = "".join(f" AND {name} = ?" for name in where)
    return connection.execute(
        f"SELECT {listed}, {sums} FROM ("
        f"SELECT {step} AS step, key, {sums} FROM cells WHERE level = ? AND at >= ? AND at < ? GROUP BY step, key"
        f") JOIN cell_keys ON id = key WHERE cube = ?{match} GROUP BY {listed}",
        (part.level.number, part.since_us // width, part.until_us // width, cube.number, *where.values()),
    )


def _roll_to(connection: sqlite3.Connection, name: str, seq: int) -> None:
    connection.execute("INSERT OR REPLACE INTO rolled_to VALUES (?, ?)", (name, seq))


def _last(connection: sqlite3.Connection, table: str) -> int:
    last = connection.execute(f"SELECT MAX(seq) FROM {table}").fetchone()[0]
    return last or 0
