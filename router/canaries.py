"""How canaries fare: sequential tests, whose state is in the ledger, for all processes that share it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal, get_args

from router.spend.ledger import Ledger

CanaryOf = Callable[[str], str | None]
"""Why a canary was rolled back; None while it goes on."""
Test = Literal["errors", "quality", "latency"]
TESTS: tuple[Test, ...] = get_args(Test)
IN_TIME = 0.95
"""Share of its answers that a canary has to give in time, where its policy says what that is."""


def never_stopped(name: str) -> None:
    """Of a canary that nobody watches."""


class Canaries:
    """The state of all canaries of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def stopped(self, name: str) -> str | None:
        """Why a canary has been rolled back; None while it goes on."""
        rows = self._ledger.rows("SELECT why FROM canaries WHERE name = ?", (name,))
        return rows[0]["why"] if rows else None

    def heard(self, name: str, test: Test, score: float, promise: float) -> None:
        """Take in a request's end (1: answered, or in time; 0: not) or a score, and roll back where the test says so.

        Args:
            name: of the canary, `Canary.key`.
            test: which of them.
            score: from 0 to 1.
            promise: least mean of the scores.
        """
        from router.predict.alarm import Watch  # it brings numpy, for policies that have a canary

        with self._ledger.batch() as connection:
            row = connection.execute(f"SELECT {test}, why FROM canaries WHERE name = ?", (name,)).fetchone()
            before, why = row if row is not None else (None, None)
            watch = Watch(**json.loads(before)) if before else Watch()
            watch = watch.hear(score, promise)
            now_us = time.time_ns() // 1000
            if why is None and watch.raised:
                why = _why(test, watch.mean, watch.n, promise)
            connection.execute(
                f"INSERT INTO canaries (name, started_us, {test}, stopped_us, why) VALUES (?, ?, ?, ?, ?) "
                f"ON CONFLICT (name) DO UPDATE SET {test} = excluded.{test}, "
                "stopped_us = COALESCE(stopped_us, excluded.stopped_us), why = COALESCE(why, excluded.why)",
                (name, now_us, json.dumps(asdict(watch)), now_us if why else None, why),
            )

    def standing(self) -> list[dict[str, Any]]:
        """Every canary that has been asked: since when, how it fares, and why it was rolled back."""
        found = []
        for row in self._ledger.rows("SELECT * FROM canaries ORDER BY name"):
            told: dict[str, Any] = {name: json.loads(row[name]) if row[name] else None for name in TESTS}
            found.append({
                "name": row["name"], "started_us": row["started_us"], "stopped_us": row["stopped_us"],
                "why": row["why"],
                **{name: _fared(name, one["n"], one["total"] / one["n"]) if one and one["n"] else None
                   for name, one in told.items()},
            })  # fmt: skip
        return found

    def reset(self, name: str) -> bool:
        """Forget a canary's state, so that it starts again; False where there is none."""
        with self._ledger.batch() as connection:
            return connection.execute("DELETE FROM canaries WHERE name = ?", (name,)).rowcount > 0


def _fared(test: str, n: int, mean: float) -> dict[str, float]:
    """The mean of scores; of the others, the share that went wrong."""
    return {"n": n, "mean": mean} if test == "quality" else {"n": n, "share": 1 - mean}


def _why(test: str, mean: float | None, n: int, promise: float) -> str:
    found = 0.0 if mean is None else mean
    if test == "errors":
        return f"{1 - found:.0%} of {n} requests without its answer, above {1 - promise:.0%}"
    if test == "latency":
        return f"{1 - found:.0%} of {n} answers too late, above {1 - promise:.0%}"
    return f"mean score {found:.2f} of {n}, below {promise:g}"
