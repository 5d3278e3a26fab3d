"""Intervals for the next requests like these: they hold what a measurement on as many new ones will show.

For a ratio of sums over clusters, x / y: its error has two parts, that of these clusters' ratio and that of the new
ones'. Student's t takes the place of the normal quantile, with as many degrees of freedom as the variance is known by:
2 G / (kurtosis - 1), which is few where few requests make the difference. Where k clusters differ at all, the variance
is taken (k + 2) / k times, so that eight changes that happened to be alike promise nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.spend.ratios import student_t

Array = NDArray[np.float64]
CONFIDENCE = 0.95
LEAST = 5
"""With fewer clusters there is no interval."""
SAME = 1e-9
"""Relative differences below are rounding."""
DRAWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and where the next requests will have it, 95 of 100 times; None where nothing tells."""

    value: float | None
    low: float | None = None
    """If what is extrapolated comes as expected."""
    high: float | None = None
    worst: float | None = None
    """`low` if everything extrapolated went against expectations; equal to `low` where nothing was extrapolated."""
    best: float | None = None
    """`high` likewise."""

    @property
    def ends(self) -> tuple[float, float] | None:
        """What is stated and judged: with all that the extrapolated part may do; None where there is no interval."""
        low, high = self.low if self.worst is None else self.worst, self.high if self.best is None else self.best
        return None if low is None or high is None else (low, high)


NOTHING = Interval(value=None)


def next_ratio(
    over: Array, under: Array, clusters: NDArray[np.int64], share: float, *, fresh: tuple[Array, Array] | None = None,
    noise: Array | None = None, bound: float | None = None, inner: NDArray[np.bool_] | None = None,
    is_rerouted: bool = True,
) -> Interval:  # fmt: skip
    """Sum of `over` / sum of `under` on the next requests.

    Args:
        over: one number a request.
        under: the same; at least 0.
        clusters: number of each request's cluster, from 0.
        share: how many new requests there will be, of one here.
        fresh: `over` and `under` as they vary from request to request, where those given are weighted estimates.
        noise: variance of each request's `over` beyond `fresh`.
        bound: the most that one request's `over` can be, in size; two made-up requests at both ends join the changed
            ones, where there are any: a variance of 0 would promise too much.
        inner: requests that are changed; default: those whose `over` is not 0.
        is_rerouted: whether any request goes elsewhere; else what is the same for all (prices) is so for certain.
    """
    if not len(over) or under.sum() <= 0:
        return NOTHING
    value = float(over.sum() / under.sum())
    x, y = (np.bincount(clusters, weights=one) for one in (over, under))
    error = x - value * y
    moved = np.bincount(clusters, weights=(over != 0) if inner is None else inner) > 0
    count, changed = len(x), int(moved.sum())
    scale = float(np.abs(x).sum() + abs(value) * y.sum())
    is_same = bound is None and bool(np.abs(error).max() <= SAME * max(scale / count, 1e-300))
    if not changed or (is_same and (count >= LEAST or not is_rerouted)):
        return Interval(value=value, low=value, high=value)
    if count < LEAST:
        return Interval(value=value)
    squares = float((error**2).sum())
    extra = (changed + 2) / changed if bound is None else 1.0
    known = squares * extra + (2 * bound**2 if bound else 0.0)
    new = known
    if fresh is not None:
        plain = np.bincount(clusters, weights=fresh[0] - value * fresh[1])
        spread = float((plain**2).sum()) + (float(noise.sum()) if noise is not None else 0.0)
        new = min(known, spread * extra + (2 * bound**2 if bound else 0.0))
    variance = (known + new / max(share, 1e-12)) * count / (count - 1) / float(y.sum()) ** 2
    half = student_t(CONFIDENCE, freedom(error, changed)) * math.sqrt(variance)
    return Interval(value=value, low=value - half, high=value + half)


def next_share(hits: int, count: int, new: int) -> Interval:
    """Share of hits among `new` requests, after so many of `count`: Jeffreys' prior, beta-binomial."""
    if not count:
        return NOTHING
    draws = np.random.default_rng(0)
    rates = draws.beta(hits + 0.5, count - hits + 0.5, DRAWS)
    found = draws.binomial(max(1, new), rates) / max(1, new)
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    value = hits / count
    return Interval(value=value, low=min(value, float(low)), high=max(value, float(high)))


def by_spread(value: float, deviation: float, freedom: float) -> Interval:
    """An interval around a value whose standard deviation on the next requests is known by replicates."""
    half = student_t(CONFIDENCE, freedom) * deviation
    return Interval(value=value, low=value - half, high=value + half)


def resting(one: Interval, deviation: float, freedom: float) -> Interval:
    """The same where the value rests on means that have a standard error of their own, apart from these requests'."""
    if one.value is None or one.low is None or one.high is None:
        return one
    half = student_t(CONFIDENCE, freedom) * deviation
    low = one.value - math.hypot(one.value - one.low, half)
    high = one.value + math.hypot(one.high - one.value, half)
    return Interval(value=one.value, low=low, high=high, worst=low, best=high)


def freedom(error: Array, changed: int) -> float:
    """By how many degrees of freedom the variance of these errors is known."""
    squares = float((error**2).mean())
    if squares <= 0:
        return float(max(2, changed))
    kurtosis = float((error**4).mean()) / squares**2
    return min(max(2.0, 2 * len(error) / max(kurtosis - 1, 1e-9)), len(error) - 1.0)
