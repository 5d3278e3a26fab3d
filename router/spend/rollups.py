"""Sums of the ledger by minute and by hour, brought forward while rows are written.

Rows are rolled up in the order in which they were written, each exactly once; what is not rolled up yet is added from
the rows themselves, so a report is never behind. Rollups are derived: they may be deleted and are made again.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from router.spend.ledger_schema import METERS, ROLLED_TAGS
from router.spend.money import PICO
from router.stores.sqlite import Database

CHUNK = 5_000
"""Rows after which a writer rolls up, some 10 ms of work; a minute with fewer is rolled up when it is over."""
MINUTE_US = 60_000_000
KEEP_MINUTES = 48 * 60
"""Older minutes are in the hours alone."""

ROLLED = (*ROLLED_TAGS, "task", "model", "call")
"""What can be grouped by without reading single rows."""
COUNTS = ("requests", "hits", "failed", "calls", "unpriced", "cost_uusd", "rest_pusd", *METERS, "latency_s")

_DIMENSIONS = ", ".join(ROLLED)
_COLUMNS = ", ".join([*ROLLED, *COUNTS])
_SUMS = ", ".join(f"SUM({name})" for name in COUNTS)
# SQLite's sums are 64-bit: in pico-dollars they would end at 9 million USD, so micro-dollars and the rest go apart.
_ATTEMPTS = (
    f"SELECT {{at}} AS at, {', '.join(ROLLED_TAGS)}, NULL AS task, model, call, 0 AS requests, 0 AS hits, "
    "SUM(outcome <> 'ok') AS failed, COUNT(*) AS calls, SUM(cost_pusd IS NULL) AS unpriced, "
    "COALESCE(SUM(cost_pusd / 1000000), 0) AS cost_uusd, COALESCE(SUM(cost_pusd % 1000000), 0) AS rest_pusd, "
    f"{', '.join(f'COALESCE(SUM({name}), 0) AS {name}' for name in METERS)}, SUM(latency_s) AS latency_s "
    f"FROM attempts WHERE {{where}} GROUP BY at, {', '.join(ROLLED_TAGS)}, model, call"
)
_REQUESTS = (
    f"SELECT {{at}} AS at, {', '.join(ROLLED_TAGS)}, task, model_served AS model, NULL AS call, COUNT(*) AS requests, "
    "SUM(cache IN ('exact', 'semantic')) AS hits, 0 AS failed, 0 AS calls, 0 AS unpriced, 0 AS cost_uusd, "
    f"0 AS rest_pusd, {', '.join(f'0 AS {name}' for name in METERS)}, 0.0 AS latency_s "
    f"FROM requests WHERE {{where}} GROUP BY at, {', '.join(ROLLED_TAGS)}, task, model_served"
)


class Rollups:
    """Keeps and reads the sums."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._pending, self._next_us = 0, 0
        self._lock = threading.Lock()

    def wrote(self, connection: sqlite3.Connection, rows: int) -> None:
        """Hear of rows that were just written, within their transaction; bring the sums forward when it is time."""
        self._pending += rows
        now_us = time.time_ns() // 1000
        if self._pending >= CHUNK or now_us >= self._next_us:
            self.roll(connection, now_us)

    def roll(self, connection: sqlite3.Connection, now_us: int) -> None:
        """Bring the sums forward to the last row."""
        self._pending, self._next_us = 0, (now_us // MINUTE_US + 1) * MINUTE_US
        for table, query in (("attempts", _ATTEMPTS), ("requests", _REQUESTS)):
            done, last = _rolled_to(connection, table), _last(connection, table)
            if last > done:
                made = query.format(at=f"at_us / {MINUTE_US}", where="seq > ? AND seq <= ?")
                connection.execute(f"INSERT INTO minutes (minute, {_COLUMNS}) {made}", (done, last))
                _roll_to(connection, table, last)
        self._roll_hours(connection, now_us)

    def _roll_hours(self, connection: sqlite3.Connection, now_us: int) -> None:
        hour = now_us // MINUTE_US // 60
        if hour <= _rolled_to(connection, "hour"):
            return
        done, last = _rolled_to(connection, "minutes"), _last(connection, "minutes")
        connection.execute(
            f"INSERT INTO hours (hour, {_COLUMNS}) SELECT minute / 60 AS at, {_DIMENSIONS}, {_SUMS} FROM minutes "
            f"WHERE seq > ? AND seq <= ? GROUP BY at, {_DIMENSIONS}",
            (done, last),
        )
        _roll_to(connection, "minutes", last)
        _roll_to(connection, "hour", hour)
        oldest = now_us // MINUTE_US - KEEP_MINUTES
        connection.execute("DELETE FROM minutes WHERE minute < ? AND seq <= ?", (oldest, last))

    def sums(self, names: Sequence[str], since_us: int = 0, until_us: int | None = None) -> list[dict[str, Any]]:
        """Sums per group of rolled-up columns, dearest first.

        Args:
            names: of `ROLLED`; empty: one row over all.
            since_us: from this moment on, down to the minute (further back than two days: the hour), in microseconds.
            until_us: up to this moment, excluded; default: now.

        Returns:
            For every group its values, `requests`, `hits`, `failed`, `calls`, `unpriced`, the token meters,
            `latency_s` (a sum) and `cost_usd`.
        """
        end_us = 1 << 62 if until_us is None else until_us
        period = "{at} >= ? AND {at} < ?"
        columns = ", ".join([*names, *COUNTS])
        with self._db.transaction() as connection:  # one state of rollups and rows; sums go forward on the way
            self.roll(connection, time.time_ns() // 1000)
            parts, values = [], []
            for table, unit, width, where in self._sources(connection, since_us):
                parts.append(f"SELECT {columns} FROM {table} WHERE {period.format(at=unit)}{where}")
                values += [-(-since_us // width), -(-end_us // width)]
            group = f"GROUP BY {', '.join(names)}" if names else ""
            listed = ", ".join([*names, *(f"COALESCE(SUM({name}), 0) AS {name}" for name in COUNTS)])
            cursor = connection.execute(f"SELECT {listed} FROM ({' UNION ALL '.join(parts)}) {group}", values)
            titles = [column[0] for column in cursor.description]
            rows = [dict(zip(titles, row, strict=True)) for row in cursor]
        for row in rows:
            row["cost_usd"] = Decimal(row.pop("cost_uusd") * 1_000_000 + row.pop("rest_pusd")) / PICO
        return sorted(rows, key=lambda row: -row["cost_usd"])

    def _sources(self, connection: sqlite3.Connection, since_us: int) -> list[tuple[str, str, int, str]]:
        hour_us = 60 * MINUTE_US
        oldest = connection.execute("SELECT MIN(minute) FROM minutes").fetchone()[0] or 0
        hours_start = connection.execute("SELECT MIN(hour) FROM hours").fetchone()[0]
        if hours_start is None or (since_us // MINUTE_US >= oldest and since_us):
            return [("minutes", "minute", MINUTE_US, "")]
        done = _rolled_to(connection, "minutes")
        return [("hours", "hour", hour_us, ""), ("minutes", "minute", MINUTE_US, f" AND seq > {done}")]


def _rolled_to(connection: sqlite3.Connection, name: str) -> int:
    row = connection.execute("SELECT seq FROM rolled_to WHERE name = ?", (name,)).fetchone()
    return row[0] if row else 0


def _roll_to(connection: sqlite3.Connection, name: str, seq: int) -> None:
    connection.execute("INSERT OR REPLACE INTO rolled_to VALUES (?, ?)", (name, seq))


def _last(connection: sqlite3.Connection, table: str) -> int:
    last = connection.execute(f"SELECT MAX(seq) FROM {table}").fetchone()[0]
    return last or 0
