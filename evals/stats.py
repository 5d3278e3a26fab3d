"""Bounds on what a finite number of answers can prove. Only `math` and numpy.

Two kinds: exact binomial bounds for pass/fail scores, and a betting bound for scores anywhere in [0, 1].
Neither degenerates at 0 % or 100 %: ten right answers of ten prove a rate of 0.74, not of 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

_GRID = 1_000
"""Resolution of the betting bound; the bound is rounded to the safe side of this grid."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A point estimate and the two ends around it."""

    value: float
    low: float
    high: float


def clopper_pearson_lower(successes: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided lower bound of a success rate (Clopper and Pearson 1934).

    The true rate lies above it with at least the given confidence. 0 successes give 0.

    >>> round(clopper_pearson_lower(59, 59), 4)
    0.9505
    """
    _check_counts(successes, n, confidence)
    if successes == 0:
        return 0.0
    return _root(lambda rate: _upper_tail(successes, n, rate) - (1 - confidence))


def clopper_pearson_upper(successes: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided upper bound of a success rate; n successes of n give 1."""
    return 1.0 - clopper_pearson_lower(n - successes, n, confidence)


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Two-sided score interval (Wilson 1927), for display; `successes` may be a sum of graded scores."""
    _check_counts(successes, n, confidence)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, spread = successes / n, z * z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = z * math.sqrt(rate * (1 - rate) / n + spread / (4 * n)) / (1 + spread)
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


def betting_lower(scores: Sequence[float], confidence: float = 0.95) -> float:
    """One-sided lower bound of a mean of independent scores in [0, 1], valid at every n.

    A gambler bets that the scores lie above m; if the mean were m, her expected wealth could not grow, so
    wealth above 1 / (1 - confidence) refutes m (Waudby-Smith and Ramdas 2024, "Estimating means of bounded
    random variables by betting", section 4, hedged only to the one side that is asked for). Far better than
    Hoeffding's bound for scores that vary little. The bound depends on the order of the scores, so give them in
    one that was fixed beforehand (such as by sample id): trying several orders would void it.
    """
    _check_confidence(confidence)
    values = np.asarray(scores, dtype=float)
    if not len(values):
        raise ValueError("a bound needs at least one score")
    if not bool(np.all((values >= 0) & (values <= 1))):
        raise ValueError("scores must lie in [0, 1], without NaN")
    alpha = 1 - confidence
    n = len(values)
    # Predictable bets: each uses only the scores before it, with one half as the first guess.
    before = np.arange(n)
    mean = (0.5 + np.concatenate([[0.0], np.cumsum(values)[:-1]])) / (before + 1)
    squares = np.concatenate([[0.0], np.cumsum((values - mean) ** 2)[:-1]])
    variance = (0.25 + squares) / (before + 1)
    bets = np.sqrt(2 * math.log(1 / alpha) / (n * variance))
    means = np.arange(1, _GRID) / _GRID
    capped = np.minimum(bets[None, :], 0.75 / means[:, None])
    wealth = np.log1p(capped * (values[None, :] - means[:, None])).sum(axis=1)
    refuted = wealth >= math.log(1 / alpha)
    # Wealth falls as m rises, so the refuted means are the low ones; the first survivor ends them.
    first = int(np.argmin(refuted)) if not refuted.all() else len(means)
    return float(means[first - 1]) if first else 0.0


def hoeffding_lower(mean: float, n: int, confidence: float = 0.95) -> float:
    """One-sided lower bound of the mean of n scores in [0, 1] (Hoeffding 1963); needs nothing but the mean."""
    _check_counts(mean * n, n, confidence)
    return max(0.0, mean - math.sqrt(math.log(1 / (1 - confidence)) / (2 * n)))


def lower_bound(scores: Sequence[float], confidence: float = 0.95) -> float:
    """The lower bound to promise: exact for scores of 0 and 1 only, by betting for graded ones."""
    if scores and all(score in (0.0, 1.0) for score in scores):
        return clopper_pearson_lower(int(sum(scores)), len(scores), confidence)
    return betting_lower(scores, confidence)


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], *, seed: int = 0, draws: int = 10_000, confidence: float = 0.95
) -> Interval:
    """Mean of `a - b` over the same samples, with a two-sided percentile interval.

    Args:
        a: scores of one candidate, in sample order.
        b: scores of the other on the same samples.
        seed: of the resampling; the same arguments give the same interval.
        draws: number of resamples.
        confidence: coverage of the interval.
    """
    _check_confidence(confidence)
    if len(a) != len(b) or not len(a):
        raise ValueError(f"a paired comparison needs the same samples on both sides, not {len(a)} and {len(b)}")
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    random = np.random.default_rng(seed)
    means = np.array([difference[random.integers(0, len(difference), len(difference))].mean() for _ in range(draws)])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(difference.mean()), float(low), float(high))


def samples_needed(bar: float, confidence: float = 0.95) -> int:
    """Fewest pass/fail samples that can prove a bar, namely when every answer is right.

    >>> [samples_needed(bar) for bar in (0.8, 0.9, 0.95, 0.99)]
    [14, 29, 59, 299]
    """
    _check_confidence(confidence)
    if not 0 <= bar < 1:
        raise ValueError(f"bar {bar!r} must be at least 0 and below 1: no number of samples proves 1")
    if bar == 0:
        return 1
    exact = math.log(1 - confidence) / math.log(bar)
    return max(1, math.ceil(exact - 1e-9))


def _upper_tail(successes: int, n: int, rate: float) -> float:
    """P(X >= successes) for X ~ Binomial(n, rate), summed in logarithms so that no term underflows early."""
    if rate <= 0 or rate >= 1:
        return float(rate >= 1 or successes == 0)
    ks = range(successes, n + 1)
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    whole = math.lgamma(n + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_rate + (n - k) * log_rest) for k in ks
    )


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function of a rate crosses zero, from below, to the last bit that matters."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return low


def _check_counts(successes: float, n: int, confidence: float) -> None:
    _check_confidence(confidence)
    if n < 1 or not 0 <= successes <= n + 1e-9:
        raise ValueError(f"{successes!r} successes of {n!r} samples; need at least one sample and 0 to n successes")


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence!r} must lie between 0 and 1, such as 0.95")
