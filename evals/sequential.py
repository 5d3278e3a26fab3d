"""Which candidates are still worth asking: bars decided as soon as the answers allow it, and not a call later.

Each candidate runs two gamblers (`evals.stats.log_wealth`). One bets that its mean lies above the bar; rich enough,
she proves that it does, and the candidate is *held*. The other bets that it lies below; rich enough, she ends its race
as *failed*. Both may be looked at after every answer without voiding what they prove, which no bound for a fixed
number of samples allows: a bar tested after each of 500 answers passes once by luck. Answers are spent on the
candidates near the bar, since the others leave early.

Where the number of samples is planned, pass/fail answers are judged by exact boundaries that spend the error up to the
planned end (`evals.stats.planned`). That keeps nearly all the power of a fixed-size design. Who will hardly pass any
more leaves: by a second boundary, which costs a candidate that a fixed-size design would find four times in five at
most a tenth of its chances.
"""

from __future__ import annotations

import functools
import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from evals.stats import anytime_lower, log_wealth
from evals.stats.planned import PlannedTest, provable_rate, stopping_counts

Goal = Literal["cheapest", "all"]
"""`cheapest`: the cheapest candidate that holds the bar; `all`: a verdict on every candidate."""

Verdict = Literal["held", "failed", "not needed", "not enough evidence"]

DROP_CONFIDENCE = 0.95
"""That a dropped candidate truly misses the bar. A wrong drop costs a saving, never quality."""

DEFAULT_CONFIDENCE = 0.95

BAR_SHARE = 0.8
"""Share of the error that the bar may spend where an end is planned; the rest is for the bound beside it."""

LOST_POWER = 0.1
"""Chance that a candidate at the rate a fixed-size design finds four times in five is given up."""


class Race:
    """The candidates of one task.

    >>> race = Race(["small", "large"], bar=0.5)
    >>> while race.next():
    ...     for candidate in race.next():
    ...         race.add(candidate, 1.0 if candidate == "large" else 0.0)
    >>> race.verdicts()
    {'small': 'failed', 'large': 'held'}
    """

    def __init__(
        self,
        order: Sequence[str],
        *,
        bar: float,
        confidence: float = DEFAULT_CONFIDENCE,
        goal: Goal = "cheapest",
        size: int | None = None,
        drop_confidence: float = DROP_CONFIDENCE,
    ) -> None:
        """Start a race.

        Args:
            order: candidates, cheapest first.
            bar: mean score to prove, in [0, 1]; at 0 there is nothing to prove, and nobody leaves.
            confidence: that a held bar is truly held, for each candidate by itself, whenever the race stops.
            goal: when candidates stop being needed.
            size: samples planned for each candidate, fixed before the first answer; None if nobody knows.
            drop_confidence: that a failed candidate truly lies below the bar.
        """
        self.order, self.bar, self.confidence, self.goal = tuple(order), bar, confidence, goal
        self._size, self._drop_confidence = size, drop_confidence
        self._above: dict[str, PlannedTest] = {}
        self._below: dict[str, PlannedTest] = {}
        self._idle: tuple[int, ...] = ()
        """Mistakes after 0, 1, .. answers with which a pass/fail candidate is given up."""
        if size is not None and 0 < bar < 1:
            error = BAR_SHARE * (1 - confidence)
            self._above = {candidate: PlannedTest(bar, size, error) for candidate in order}
            self._below = {candidate: PlannedTest(1 - bar, size, 1 - drop_confidence) for candidate in order}
            self._idle = _giving_up(bar, size, error)
        self._counts: dict[str, Counter[float]] = {candidate: Counter() for candidate in order}
        self._decided: dict[str, Verdict] = {}

    def next(self) -> tuple[str, ...]:
        """The candidates to ask the next sample, cheapest first; none when the race is over."""
        return tuple(candidate for candidate in self.order if self.wants(candidate))

    def wants(self, candidate: str) -> bool:
        """Whether another answer of a candidate could still matter. Once false, it stays false."""
        return candidate not in self._decided

    def add(self, candidate: str, score: float) -> None:
        """Note a score in [0, 1]: one for each sample, the mean of its repeats. Late ones count, too.

        Raises:
            KeyError: the candidate is not in this race.
        """
        if not 0 <= score <= 1:
            raise ValueError(f"score {score!r} must lie in [0, 1]")
        counts = self._counts[candidate]
        counts[score] += 1
        if candidate in self._decided or self.bar <= 0:
            return
        is_above, is_below = self._found(candidate, score)
        if is_above:
            self._hold(candidate)
        elif is_below:
            self._decided[candidate] = "failed"
        elif self._is_hopeless(counts):
            self._decided[candidate] = "not enough evidence"

    def verdicts(self) -> dict[str, Verdict]:
        """What is known of each candidate now."""
        return {candidate: self._decided.get(candidate, "not enough evidence") for candidate in self.order}

    def lower(self, candidate: str) -> float:
        """Lower bound of a candidate's mean at `confidence`, to promise, whenever the race was stopped."""
        counts = self._counts[candidate]
        share = 1 - BAR_SHARE if self._above else 1.0
        lower = anytime_lower(counts, 1 - share * (1 - self.confidence))
        # A bar once proved stays proved, although an answer under way may have come home since.
        return max(lower, self.bar) if self._decided.get(candidate) == "held" else lower

    @property
    def holds_at(self) -> tuple[int, ...]:
        """Right answers after 0, 1, .. that hold a pass/fail candidate; empty where no end is planned."""
        return self._above[self.order[0]].counts if self._above else ()

    @property
    def leaves_at(self) -> tuple[int, ...]:
        """Mistakes after 0, 1, .. with which a pass/fail candidate leaves, failed or given up."""
        below = self._below[self.order[0]].counts if self._below else ()
        return tuple(map(min, below, self._idle)) if self._idle else below

    def _found(self, candidate: str, score: float) -> tuple[bool, bool]:
        """Whether the mean is proved to lie above the bar, and whether below."""
        if self._above:
            above, below = self._above[candidate], self._below[candidate]
            above.add(score)
            below.add(1 - score)
            return above.has_proved, below.has_proved
        counts = self._counts[candidate]
        return (
            self._proves(counts, self.bar, self.confidence),
            self._proves(_flipped(counts), 1 - self.bar, self._drop_confidence),
        )

    def _is_hopeless(self, counts: Counter[float]) -> bool:
        """Whether a pass/fail candidate will hardly, or never, pass at the planned end."""
        n = counts.total()
        return n < len(self._idle) and counts.keys() <= {0.0, 1.0} and counts[0.0] >= self._idle[n]

    def _hold(self, winner: str) -> None:
        self._decided[winner] = "held"
        if self.goal == "cheapest":
            for dearer in self.order[self.order.index(winner) + 1 :]:
                self._decided.setdefault(dearer, "not needed")

    @staticmethod
    def _proves(counts: Mapping[float, int], mean: float, confidence: float) -> bool:
        if mean <= 0:  # a bar of 1: one answer short of perfect refutes it
            return any(score > 0 for score in counts)
        return log_wealth(counts, mean) >= -math.log(1 - confidence)


class Races:
    """The races of all tasks of a run; safe for several threads."""

    def __init__(self, races: Mapping[str, Race], order: Sequence[str]) -> None:
        self._races = dict(races)
        self._order = tuple(order)
        self._lock = threading.Lock()

    @classmethod
    def of(
        cls,
        bars: Mapping[str, tuple[float, float]],
        order: Sequence[str],
        goal: Goal = "cheapest",
        sizes: Mapping[str, int] | None = None,
    ) -> Races:
        """Races for the tasks that have a bar.

        Args:
            bars: by task: bar and confidence.
            order: candidates, cheapest first.
            goal: `cheapest` also ends the race of everyone dearer than a candidate that holds the bar.
            sizes: by task, samples planned for each candidate. A run that is continued keeps those of its start: an
                end that moves would be looked at twice.
        """
        races = {
            task: Race(order, bar=bar, confidence=confidence, goal=goal, size=(sizes or {}).get(task))
            for task, (bar, confidence) in bars.items()
        }
        return cls(races, order)

    def wants(self, task: str, candidate: str) -> bool:
        """Whether a cell is still worth its call; always for a task without a bar. Once false, it stays false."""
        with self._lock:
            return task not in self._races or self._races[task].wants(candidate)

    def add(self, task: str, candidate: str, value: float) -> None:
        """Note a value in [0, 1]: one for each sample, the mean of its repeats (a failed call counts 0)."""
        with self._lock:
            self._race(task).add(candidate, value)

    def lower(self, task: str, candidate: str) -> float:
        """Lower bound of a mean that holds whenever the race was stopped, for evidence."""
        with self._lock:
            return self._race(task).lower(candidate)

    def verdicts(self, task: str) -> dict[str, Verdict]:
        """What is known of each candidate on a task now."""
        with self._lock:
            return self._race(task).verdicts()

    def _race(self, task: str) -> Race:
        # A task without a bar is counted, but never decided.
        return self._races.setdefault(task, Race(self._order, bar=0.0))


@functools.lru_cache(maxsize=256)
def _giving_up(bar: float, size: int, error: float) -> tuple[int, ...]:
    at_end = stopping_counts(bar, size, error)[size]
    hoped = provable_rate(bar, size)
    if at_end > size or hoped >= 1:
        return ()  # nobody can pass, which the plan has said; let the answers show who fails
    # With so many mistakes the end cannot be reached even if all else is right.
    return tuple(min(count, size - at_end + 1) for count in stopping_counts(1 - hoped, size, LOST_POWER))


def _flipped(counts: Mapping[float, int]) -> dict[float, int]:
    return {1 - score: times for score, times in counts.items()}
