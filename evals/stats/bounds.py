"""Bounds of a pass/fail rate, and what all statistics here share.

None degenerates at 0 % or 100 %: ten right answers of ten prove a rate of 0.74, not of 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist


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
    check_counts(successes, n, confidence)
    if successes == 0:
        return 0.0
    return root(lambda rate: upper_tail(successes, n, rate) - (1 - confidence))


def clopper_pearson_upper(successes: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided upper bound of a success rate; n successes of n give 1."""
    return 1.0 - clopper_pearson_lower(n - successes, n, confidence)


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Two-sided score interval (Wilson 1927), for display; `successes` may be a sum of graded scores."""
    check_counts(successes, n, confidence)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, spread = successes / n, z * z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = z * math.sqrt(rate * (1 - rate) / n + spread / (4 * n)) / (1 + spread)
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


def upper_tail(successes: int, n: int, rate: float) -> float:
    """P(X >= successes) for X ~ Binomial(n, rate), summed in logarithms so that no term underflows early."""
    if rate <= 0 or rate >= 1:
        return float(rate >= 1 or successes == 0)
    ks = range(successes, n + 1)
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    whole = math.lgamma(n + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_rate + (n - k) * log_rest) for k in ks
    )


def root(rising: Callable[[float], float]) -> float:
    """Where a rising function of a rate crosses zero, from below, to the last bit that matters."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return low


def check_counts(successes: float, n: int, confidence: float) -> None:
    """Refuse counts and a confidence that cannot be."""
    check_confidence(confidence)
    if n < 1 or not 0 <= successes <= n + 1e-9:
        raise ValueError(f"{successes!r} successes of {n!r} samples; need at least one sample and 0 to n successes")


def check_confidence(confidence: float) -> None:
    """Refuse a confidence outside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence!r} must lie between 0 and 1, such as 0.95")
