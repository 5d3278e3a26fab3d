"""Tests with a planned end that may stop before it: exact for pass/fail scores, and valid for graded ones."""

from __future__ import annotations

import functools
import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from evals.stats.betting import log_wealth
from evals.stats.power import chance_to_prove


@functools.lru_cache(maxsize=256)
def stopping_counts(rate: float, size: int, error: float) -> tuple[int, ...]:
    """Fewest successes after 0, 1, .. size answers that refute a true rate of at most `rate`; size + 1 where none do.

    Looking after every answer, the chance that any of them is reached at that rate is at most `error`, by the exact
    distribution of what has not stopped yet. Until answer n at most error * (n / size)^2 is spent (Lan and DeMets 1983,
    the power family of Kim and DeMets 1987): few early stops, nearly the power of a fixed-size test at the end.

    Args:
        rate: in (0, 1).
        size: planned number of answers; time grows with its square (2,000: 20 ms).
        error: in (0, 1).
    """
    alive, spent, fewest = np.ones(1), 0.0, [size + 1]
    for n in range(1, size + 1):
        alive = _after_one(alive, rate, n)
        tails = np.cumsum(alive[::-1])[::-1]
        affordable = np.flatnonzero(tails <= error * (n / size) ** 2 - spent)
        least = int(affordable[0]) if len(affordable) else len(alive)
        fewest.append(least if least <= n else size + 1)
        if least < len(alive):
            spent += float(tails[least])
            alive = alive[:least]
    return tuple(fewest)


def crossing_chance(counts: tuple[int, ...], rate: float, n: int, successes: int) -> float:
    """Chance that one of `stopping_counts` is reached at that rate from here on, after `successes` of n answers."""
    size = len(counts) - 1
    if n > size:
        return 0.0
    if successes >= counts[n]:
        return 1.0
    alive, crossed = np.zeros(successes + 1), 0.0
    alive[successes] = 1.0
    for later in range(n + 1, size + 1):
        alive = _after_one(alive, rate, later)
        crossed += float(alive[counts[later] :].sum())
        alive = alive[: counts[later]]
    return min(1.0, crossed)


def _after_one(alive: NDArray[np.float64], rate: float, n: int) -> NDArray[np.float64]:
    """Chances of 0, 1, .. successes after one more answer; at most n of them."""
    after = np.zeros(min(len(alive), n) + 1)
    after[: len(alive)] = alive * (1 - rate)
    after[1 : len(alive) + 1] += alive * rate
    return after


@functools.lru_cache(maxsize=256)
def provable_rate(bar: float, size: int, power: float = 0.8) -> float:
    """The true rate from which so many answers prove a bar with that chance; 1 where none does."""
    low, high = bar, 1.0
    for _ in range(25):
        middle = (low + high) / 2
        low, high = (low, middle) if chance_to_prove(bar, middle, size) >= power else (middle, high)
    return high


class PlannedTest:
    """Refutes that a true mean is at most `mean`, at any moment; the chance to do so wrongly is at most `error`.

    While scores are 0 or 1 it stops at `stopping_counts`. The chance that those will be reached, over the error, is the
    wealth of a gambler; at the first graded score she takes it along into the bets of `log_wealth`. So neither kind of
    score costs the other any error.
    """

    def __init__(self, mean: float, size: int, error: float) -> None:
        self.counts = stopping_counts(mean, size, error)
        self.has_proved = False
        self._mean, self._size, self._error = mean, size, error
        self._n = self._successes = 0
        self._wealth = 0.0
        """Logarithm, at the first graded score."""
        self._graded: Counter[float] | None = None
        """Scores after the first graded one."""

    def add(self, score: float) -> None:
        """Note a score in [0, 1]."""
        self._n += 1
        if self._graded is not None:
            self._graded[score] += 1
            self.has_proved |= self._wealth + log_wealth(self._graded, self._mean) >= -math.log(self._error)
        elif score in (0.0, 1.0):
            self._successes += int(score)
            self.has_proved |= self._n <= self._size and self._successes >= self.counts[self._n]
        else:
            # Between the two wealths that a 0 and a 1 would have left: in the mean no more than before it.
            left, right = (crossing_chance(self.counts, self._mean, self._n, self._successes + one) for one in (0, 1))
            chance = (1 - score) * left + score * right
            self._wealth = math.log(chance / self._error) if chance > 0 else -math.inf
            self._graded = Counter()
