"""How long models take to answer, and what fits into a rule's `max_latency_ms`.

What is known of a model comes from its recent calls in the same task; with too few of them, from the outcomes that
the artifact was trained on; else nothing is known, and what nobody knows is let through, and said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.decisions import Pace
from router.stores.forks import ForkSafe
from router.types import Attempt

MOST_CALLS = 100
"""Calls remembered of each model in each task."""
LEAST_CALLS = 5
"""With fewer, one slow start would speak for the model."""
RECENT_S = 3_600.0
"""Older calls are forgotten. So a model that was slow, and was left out for it, is tried again after an hour."""
TIMED_OUT = "ProviderTimeoutError"
"""An error that took as long as its caller had patience: as slow as that at least."""

PaceOf = Callable[[str, str | None], Pace | None]
"""Of a model in a task."""


class PaceMemory(ForkSafe):
    """Recent calls' durations: what the ledger had at the start, and since then those of this process.

    Threads may share it.

    Args:
        earlier: rows of `Ledger.recent_calls`, oldest first.
    """

    def __init__(self, earlier: Iterable[Mapping[str, Any]] = ()) -> None:
        self._calls: dict[tuple[str, str | None], deque[tuple[float, float]]] = {}
        for row in earlier:
            self._hear(row["model"], row["task"], row["at_us"] / 1e6, row["latency_s"])
        super().__init__()

    def close(self) -> None:
        """Nothing is open: all it needs is that no thread holds its lock at a fork."""

    def note(self, task: str | None, attempts: Iterable[Attempt], at_s: float) -> None:
        """Take in a request's calls; `at_s` is in seconds since 1970."""
        with self._lock:
            for one in attempts:
                if one.outcome == "ok" or (one.error or "").startswith(TIMED_OUT):
                    self._hear(one.model, task, at_s, one.latency_s)

    def known(self, at_s: float) -> PaceOf:
        """What is known at a moment, in seconds since 1970."""

        def pace(model: str, task: str | None) -> Pace | None:
            with self._lock:
                calls = list(self._calls.get((model, task), ()))
            return pace_of(model, [latency_s for when_s, latency_s in calls if at_s - when_s < RECENT_S])

        return pace

    def _hear(self, model: str, task: str | None, at_s: float, latency_s: float) -> None:
        self._calls.setdefault((model, task), deque(maxlen=MOST_CALLS)).append((at_s, latency_s))


def pace_of(model: str, latencies_s: Iterable[float]) -> Pace | None:
    """What calls of a model say of its pace; None where there are too few."""
    taken = sorted(latencies_s)
    if len(taken) < LEAST_CALLS:
        return None
    # The next greater of the calls there are: with few of them, the slowest.
    low, high = taken[len(taken) // 2], taken[min(int(0.95 * len(taken)), len(taken) - 1)]
    return Pace(model=model, median_s=low, p95_s=high, calls=len(taken), of="attempts")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimit:
    """A rule's `max_latency_ms`, and how long its models are expected to take.

    A call fits where its 95th percentile ends within the limit; calls one after the other, where the medians of the
    earlier ones and the 95th percentile of the last do. What is unknown counts as no time.
    """

    most_ms: int
    paces: Mapping[str, Pace]
    """By model; without those of which nothing is known."""

    @property
    def most_s(self) -> float:
        """The limit in seconds."""
        return self.most_ms / 1_000

    def slow_s(self, model: str) -> float:
        """95 of 100 calls of a model take at most so long; 0 where nobody knows."""
        pace = self.paces.get(model)
        return pace.p95_s if pace else 0.0

    def fault(self, order: Sequence[str]) -> str | None:
        """Why calls one after the other may take too long; None when they fit."""
        before = sum(self.paces[model].median_s for model in order[:-1] if model in self.paces)
        taken = before + self.slow_s(order[-1])
        if taken <= self.most_s:
            return None
        what = "95 of 100 calls take up to" if len(order) == 1 else f"{' then '.join(order)} may take"
        return f"{what} {taken:.2f} s, above max_latency_ms {self.most_ms:,}"
