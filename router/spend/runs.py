"""Runs of workflows as the breaker sees them: one row a run in the ledger's file, shared by all its processes."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from router.errors import RunStoppedError
from router.spend.breaker import READINGS, Breaking, Limit, RunState, Trip, learned_limits, trip_of
from router.spend.fingerprint import fingerprint
from router.spend.windows import DAY_US, HOUR_US, SECOND_US
from router.stores.sqlite import Database
from router.types import Attempt, Request

HISTORY_RUNS = 1_000
HISTORY_DAYS = 28
KEEP_DAYS = 35
SHADOW_FACTOR = 4.0
OVER_US = HOUR_US
"""A run that was quiet for an hour has ended."""
FRESH_S = 300.0
"""For so long learned limits serve before they are learned again."""
_PEAKS = ", ".join(READINGS)


class Runs:
    """Reads and writes the table of runs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def asked(
        self, workflow: str, run_id: str, asks: int, at_us: int
    ) -> tuple[dict[str, float], tuple[str, str] | None]:
        """Note a request that is about to be sent.

        Returns:
            The run's readings with it; and where it is stopped, the breaker's mode then and the trip as JSON.
        """
        with self._db.transaction() as connection:
            state, stopped = _read(connection, workflow, run_id)
            if stopped is not None and stopped[0] == "on":
                return state.readings(at_us / SECOND_US), stopped  # it will not be sent
            state = state.asked(asks)
            readings = state.readings(at_us / SECOND_US)
            _write(connection, workflow, run_id, state, readings, at_us)
        return readings, stopped

    def paid(self, workflow: str, run_id: str, cost_usd: float, input_tokens: int, at_us: int) -> None:
        """Note what a request cost and how much its last call read."""
        with self._db.transaction() as connection:
            state, _ = _read(connection, workflow, run_id)
            state = state.paid(cost_usd, input_tokens, at_us / SECOND_US)
            _write(connection, workflow, run_id, state, state.readings(at_us / SECOND_US), at_us)

    def stop(self, workflow: str, run_id: str, trip: Trip, mode: str, at_us: int) -> None:
        """Write down that a run is stopped, or in shadow would have been; the first reason stays."""
        with self._db.transaction() as connection:
            connection.execute(
                "UPDATE runs SET stopped_us = ?, released_us = NULL, mode = ?, trip = ? WHERE workflow = ? "
                "AND run_id = ? AND (stopped_us IS NULL OR released_us IS NOT NULL)",
                (at_us, mode, json.dumps(asdict(trip)), workflow, run_id),
            )

    def release(self, run_id: str | None = None, *, workflow: str | None = None) -> list[dict[str, Any]]:
        """Let stopped runs go on with fresh counts; from now on they count as normal ones.

        Args:
            run_id: one run; None: all of a workflow.
            workflow: only of this one.

        Returns:
            The runs that were released.
        """
        where, values = "stopped_us IS NOT NULL AND released_us IS NULL", list[str]()
        for name, value in (("run_id", run_id), ("workflow", workflow)):
            if value is not None:
                where, values = f"{where} AND {name} = ?", [*values, value]
        with self._db.transaction() as connection:
            found = self._listed(connection, where, values)
            connection.execute(
                f"UPDATE runs SET released_us = ?, state = NULL WHERE {where}", (time.time_ns() // 1000, *values)
            )
        return found

    def stopped(self, since_us: int = 0) -> list[dict[str, Any]]:
        """Runs that were stopped, or in shadow would have been, newest first; released ones, too."""
        with self._db.connection() as connection:
            return self._listed(connection, "stopped_us >= ?", [since_us])

    def limits(self, workflow: str, settings: Breaking, now_us: int) -> dict[str, Limit]:
        """What is normal for a workflow's runs.

        A stopped run counts only once it was released. In shadow it was not stopped, so that its end is known: it
        counts where it ended below `SHADOW_FACTOR` times the limit, which no loop does.
        """
        with self._db.transaction() as connection:
            connection.execute(
                "DELETE FROM runs WHERE workflow = ? AND seen_us < ?", (workflow, now_us - KEEP_DAYS * DAY_US)
            )
            rows = connection.execute(
                f"SELECT {_PEAKS} FROM runs WHERE workflow = ? AND seen_us >= ? AND (stopped_us IS NULL "
                "OR released_us IS NOT NULL "
                "OR (mode = 'shadow' AND seen_us < ? AND CASE json_extract(trip, '$.reason') "
                + "".join(f"WHEN '{name}' THEN {name} " for name in READINGS)
                + "END < ? * json_extract(trip, '$.limit'))) ORDER BY seen_us DESC LIMIT ?",
                (workflow, now_us - HISTORY_DAYS * DAY_US, now_us - OVER_US, SHADOW_FACTOR, HISTORY_RUNS),
            ).fetchall()
        return learned_limits({name: [row[i] for row in rows] for i, name in enumerate(READINGS)}, settings)

    @staticmethod
    def _listed(connection: sqlite3.Connection, where: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        rows = connection.execute(
            f"SELECT workflow, run_id, started_us, stopped_us, released_us, mode, trip, {_PEAKS} FROM runs "
            f"WHERE {where} ORDER BY stopped_us DESC",
            values,
        )
        names = [column[0] for column in rows.description]
        found = [dict(zip(names, row, strict=True)) for row in rows]
        for row in found:
            row["trip"] = Trip(**json.loads(row["trip"]))
        return found


class Breaker:
    """Stops runs, or in shadow says that it would have.

    Args:
        settings: the policy's.
        runs: the ledger's.
        secret: the state folder's key, for fingerprints.
    """

    def __init__(self, settings: Breaking, runs: Runs, secret: bytes) -> None:
        self._settings, self._runs, self._secret = settings, runs, secret
        self._limits: dict[str, tuple[float, dict[str, Limit]]] = {}

    def check(self, request: Request) -> str | None:
        """Look at a request's run before anything is sent.

        Returns:
            What the run would have been stopped for, in shadow; None where it is in order, or the request has no run.

        Raises:
            RunStoppedError: the run is stopped.
        """
        workflow, run_id = _run_of(request)
        if run_id is None:
            return None
        now_us = time.time_ns() // 1000
        readings, stopped = self._runs.asked(workflow, run_id, fingerprint(request, self._secret), now_us)
        if stopped is not None:
            mode, trip = stopped[0], Trip(**json.loads(stopped[1]))
        else:
            found = trip_of(readings, self.limits(workflow))
            if found is None:
                return None
            mode, trip = self._settings.mode, found
            self._runs.stop(workflow, run_id, trip, mode, now_us)
        if self._settings.mode != "on" or mode != "on":
            return trip.shown()
        raise RunStoppedError(
            f"the run {run_id!r} of workflow {workflow or '(none)'} is stopped: {trip.shown()}",
            run_id=run_id, workflow=workflow or None, reason=trip.reason, value=trip.value, limit=trip.limit,
            readings=readings,
        )  # fmt: skip

    def paid(self, request: Request, attempts: Sequence[Attempt]) -> None:
        """Hear what a request cost that was checked before."""
        workflow, run_id = _run_of(request)
        if run_id is None or not attempts:
            return
        # A cost that nobody knows counts as what was held for it.
        costs = [one.cost_usd if one.cost_usd is not None else one.held_usd for one in attempts]
        read = next((one.usage.input_tokens for one in reversed(attempts) if one.usage is not None), 0)
        cost_usd = float(sum(cost for cost in costs if cost is not None))
        self._runs.paid(workflow, run_id, cost_usd, read, time.time_ns() // 1000)

    def limits(self, workflow: str) -> dict[str, Limit]:
        """What is normal for a workflow, learned at most every five minutes."""
        now_s = time.monotonic()
        until_s, limits = self._limits.get(workflow, (0.0, {}))
        if not limits or now_s >= until_s:
            limits = self._runs.limits(workflow, self._settings, time.time_ns() // 1000)
            if len(self._limits) > 10_000:  # a workflow's name that holds an id
                self._limits.clear()
            self._limits[workflow] = (now_s + FRESH_S, limits)
        return limits


def _run_of(request: Request) -> tuple[str, str | None]:
    return request.tags.workflow or "", request.tags.run_id


def _read(connection: sqlite3.Connection, workflow: str, run_id: str) -> tuple[RunState, tuple[str, str] | None]:
    row = connection.execute(
        "SELECT state, mode, trip, stopped_us IS NOT NULL AND released_us IS NULL FROM runs "
        "WHERE workflow = ? AND run_id = ?",
        (workflow, run_id),
    ).fetchone()
    if row is None:
        return RunState(), None
    return _state_of(row[0]), (row[1], row[2]) if row[3] else None


def _write(
    connection: sqlite3.Connection, workflow: str, run_id: str, state: RunState, readings: dict[str, float], at_us: int
) -> None:
    peaks = [readings[name] for name in READINGS]
    # A released run may be stopped again, for what it does from then on.
    connection.execute(
        f"INSERT INTO runs (workflow, run_id, started_us, seen_us, state, {_PEAKS}) VALUES (?, ?, ?, ?, ?, "
        f"{', '.join('?' * len(READINGS))}) ON CONFLICT DO UPDATE SET seen_us = excluded.seen_us, "
        "state = excluded.state, " + ", ".join(f"{name} = max({name}, excluded.{name})" for name in READINGS),
        (workflow, run_id, at_us, at_us, _text_of(state), *peaks),
    )


def _text_of(state: RunState) -> str:
    return json.dumps(
        [state.calls, state.cost_usd, state.rate_usd, state.rate_at_s, state.first_input, state.last_input,
         state.recent, state.laps], separators=(",", ":"),
    )  # fmt: skip


def _state_of(text: str | None) -> RunState:
    if text is None:
        return RunState()
    calls, cost_usd, rate_usd, rate_at_s, first_input, last_input, recent, laps = json.loads(text)
    return RunState(
        calls=calls, cost_usd=cost_usd, rate_usd=rate_usd, rate_at_s=rate_at_s, first_input=first_input,
        last_input=last_input, recent=tuple(recent), laps=tuple(laps),
    )  # fmt: skip
