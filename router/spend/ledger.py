"""The ledger: one row per provider call and one per request, with the tags on every row; nothing is ever changed.

An attempt is written as soon as it is settled, so a process killed in the middle of a request loses nothing
that was billed. The last attempt and its request are written together, in one transaction, and with them their
holds come to their end.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from router.decisions import Decision
from router.spend.alerts import Alerts
from router.spend.holds import Holds
from router.spend.latencies import latencies
from router.spend.ledger_schema import METERS, MIGRATIONS
from router.spend.money import to_pico
from router.spend.prices import Price, price_in
from router.spend.rollups import Rollups, as_rows
from router.spend.rows import scan
from router.spend.runs import Runs
from router.spend.versions import Versions
from router.stores.sqlite import Database
from router.types import TAG_NAMES, Attempt, Request, to_sparse_json

_TAGS = f"{', '.join(TAG_NAMES)}, tags"
_REQUEST_ROW = (
    "INSERT INTO requests (id, at_us, kind, model_asked, model_served, task, rule, strategy, bar, policy_version, "
    "artifact_version, outcome, error, cache, cache_key, cost_pusd, attempts, latency_s, decision, "
    f"{_TAGS}) VALUES ({', '.join('?' * (20 + len(TAG_NAMES)))})"
)
_ATTEMPT_ROW = (
    "INSERT INTO attempts (request_id, number, at_us, model, call, outcome, error, model_version, latency_s, "
    f"cost_pusd, held_pusd, price_id, service_tier, {', '.join(METERS)}, input_characters, usage_source, task, role, "
    f"{_TAGS}) VALUES ({', '.join('?' * (18 + len(METERS) + len(TAG_NAMES)))})"
)


class Ledger:
    """Append-only records of requests, attempts, feedback and outcomes in one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, MIGRATIONS)
        self.holds = Holds(self._db)
        """What calls in flight may still cost, in the same file and the same transactions."""
        self.rollups = Rollups(self._db)
        """Sums by minute and hour, kept while rows are written."""
        self.runs = Runs(self._db)
        """What the run breaker knows of each run."""
        self.alerts = Alerts(self._db)
        """What was noticed, and who was told."""
        self.versions = Versions(self._db)
        """Which policies were served, with the text of their files."""

    def batch(self) -> AbstractContextManager[sqlite3.Connection]:
        """Several rows in one transaction, which is what makes a thousand of them cheap: all are kept, or none."""
        return self._db.transaction()

    def keep_prices(self, prices: Iterable[Price]) -> None:
        """Keep what each price says under its id, so that attempts can be explained when the price is long gone."""
        at_us = _now_us()
        with self._db.transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO prices VALUES (?, ?, ?)", [(one.id, one.content, at_us) for one in prices]
            )

    def price(self, price_id: str) -> Price | None:
        """The price of that id, or None."""
        rows = self.rows("SELECT content FROM prices WHERE id = ?", (price_id,))
        return price_in(rows[0]["content"]) if rows else None

    def append_attempt(self, request: Request, number: int, attempt: Attempt, task: str | None = None) -> None:
        """Write one settled provider call, and end its hold; `task` as decided, default: as the caller said."""
        with self._db.transaction() as connection:
            self._append_attempt(connection, request, number, attempt, task or request.task)
            self.rollups.wrote(connection, 1)

    def append_request(
        self,
        request: Request,
        decision: Decision | None,
        *,
        outcome: Literal["ok", "error", "cut"],
        attempts: Sequence[Attempt],
        unwritten: int = 0,
        cost_usd: Decimal | None,
        latency_s: float,
        cache: str,
        cache_key: str | None = None,
        model: str | None = None,
        error: str | None = None,
    ) -> None:
        """Write a request's end, together with its last `unwritten` attempts."""
        task = decision.task.task if decision else request.task
        row = (
            request.id, _now_us(), request.kind, request.model, model,
            task,
            decision.rule if decision else None, decision.strategy if decision else None,
            decision.bar if decision else None, decision.policy_version if decision else None,
            decision.artifact_version if decision else None,
            outcome, error, cache, cache_key, to_pico(cost_usd), len(attempts), latency_s,
            to_sparse_json(decision) if decision else None, *_tag_values(request),
        )  # fmt: skip
        first = len(attempts) - unwritten
        with self._db.transaction() as connection:
            for number in range(first, len(attempts)):
                self._append_attempt(connection, request, number, attempts[number], task)
            _insert(connection, _REQUEST_ROW, row)
            self.rollups.wrote(connection, unwritten + 1)

    def append_feedback(self, decision_id: str, score: float) -> None:
        """Write what somebody thought of an answer: 0 (bad) to 1 (good)."""
        with self._db.transaction() as connection:
            connection.execute("INSERT INTO feedback VALUES (?, ?, ?)", (decision_id, score, _now_us()))

    def append_acknowledgement(self, task: str, note: str = "") -> None:
        """Note that somebody has seen to a task's alarm: it starts afresh, after the feedback there is by now."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO acknowledgements SELECT ?, COALESCE(MAX(rowid), 0), ?, ? FROM feedback",
                (task, note, _now_us()),
            )

    def append_outcome(self, run_id: str, name: str, value: float, at_s: float | None = None) -> None:
        """Write a business outcome of a workflow run; `at_s` is seconds since 1970, default now."""
        at_us = _now_us() if at_s is None else int(at_s * 1e6)
        with self._db.transaction() as connection:
            connection.execute("INSERT INTO outcomes VALUES (?, ?, ?, ?)", (run_id, name, value, at_us))

    def request(self, request_id: str) -> dict[str, Any] | None:
        """One request's row, or None."""
        rows = self.rows("SELECT * FROM requests WHERE id = ?", (request_id,))
        return rows[0] if rows else None

    def attempts(self, request_id: str) -> list[dict[str, Any]]:
        """A request's attempts, in order."""
        return self.rows("SELECT * FROM attempts WHERE request_id = ? ORDER BY number", (request_id,))

    def scored(self, after: int = 0, limit: int = 10_000) -> list[dict[str, Any]]:
        """Feedback on answers that a model made, with a few of their requests' columns, in the order in which it came.

        An answer counts once, by its first score: what has been concluded from it stays as it was. Answers out of the
        cache are left out, because one answer would count as many.

        Args:
            after: only rows of feedback behind this one (`row`).
            limit: at most so many.
        """
        return self.rows(
            "SELECT f.rowid AS row, f.score, r.id, r.at_us, r.task, r.model_served, r.bar, r.strategy, "
            "json_extract(r.decision, '$.max_drop', '$.versus', '$.propensity', '$.plan[0]') AS drop_bar "
            "FROM feedback AS f JOIN requests AS r ON r.id = f.decision_id "
            "WHERE f.rowid > ? AND r.kind = 'chat' AND r.outcome = 'ok' AND r.cache NOT IN ('exact', 'semantic') "
            "AND NOT EXISTS (SELECT 1 FROM feedback AS e WHERE e.decision_id = f.decision_id AND e.rowid < f.rowid) "
            "ORDER BY f.rowid LIMIT ?",
            (after, limit),
        )

    def recent_calls(self, since_us: int, limit: int = 10_000) -> list[dict[str, Any]]:
        """How long answered and timed out calls took, by model and task: the newest, oldest first.

        Args:
            since_us: only calls after this moment, in microseconds since 1970.
            limit: at most so many.
        """
        rows = self.rows(
            "SELECT a.model, r.task, a.at_us, a.latency_s FROM attempts AS a JOIN requests AS r ON r.id = a.request_id "
            "WHERE a.at_us > ? AND a.role IS NULL AND a.service_tier IS NOT 'batch' "
            "AND (a.outcome = 'ok' OR a.error LIKE 'ProviderTimeoutError%') "
            "ORDER BY a.at_us DESC LIMIT ?",
            (since_us, limit),
        )
        return rows[::-1]

    def scan(
        self, names: Sequence[str], where: Mapping[str, str] | None = None, since_us: int | None = None,
        until_us: int | None = None, step_us: int | None = None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Sums as of `rollups.sums`, of the rows themselves: also by `run_id` and free-form tags, and slower."""
        return as_rows(
            scan(self._db, names, where or {}, since_us, until_us, step_us, self.rollups.unused()), names, step_us
        )

    def latencies(
        self, names: Sequence[str], where: Mapping[str, str] | None = None, since_us: int | None = None,
        until_us: int | None = None,
    ) -> dict[tuple[str, ...], tuple[float, float]]:  # fmt: skip
        """Median and 95th percentile of answered calls' seconds by group, at most 1 % off; from the rows."""
        return latencies(self._db, names, where or {}, since_us, until_us)

    def rows(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Rows of a query, as dicts."""
        with self._db.connection() as connection:
            cursor = connection.execute(query, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def close(self) -> None:
        """Close the file."""
        self.holds.close()
        self._db.close()

    def _append_attempt(
        self, connection: sqlite3.Connection, request: Request, number: int, attempt: Attempt, task: str | None
    ) -> None:
        _insert(connection, _ATTEMPT_ROW, _attempt_row(request, number, attempt, task))
        self.holds.settle(connection, request.id, number, attempt)


def _attempt_row(request: Request, number: int, attempt: Attempt, task: str | None) -> tuple[Any, ...]:
    usage = attempt.usage
    meters = tuple(None if usage is None else getattr(usage, name) for name in METERS)
    return (
        request.id, number, _now_us(), attempt.model, attempt.call, attempt.outcome, attempt.error,
        attempt.model_version, attempt.latency_s, to_pico(attempt.cost_usd), to_pico(attempt.held_usd),
        attempt.price_id, usage and usage.service_tier, *meters, attempt.input_characters, usage and usage.source,
        task, None if attempt.role == "answer" else attempt.role, *_tag_values(request),
    )  # fmt: skip


def _tag_values(request: Request) -> tuple[Any, ...]:
    tags = request.tags
    return (*(getattr(tags, name) for name in TAG_NAMES), json.dumps(dict(tags.extra)) if tags.extra else "{}")


def _insert(connection: sqlite3.Connection, statement: str, row: tuple[Any, ...]) -> None:
    try:
        connection.execute(statement, row)
    except UnicodeEncodeError:
        # Lone surrogates have no UTF-8 form, and a paid call must reach the ledger.
        plain = (value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for value in row)
        connection.execute(statement, tuple(plain))


def _now_us() -> int:
    return time.time_ns() // 1000
