"""An estimate with two ends; the one-sided bounds that promises rest on are in `router.bounds`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from router.bounds import check_counts


@dataclass(frozen=True, slots=True)
class Interval:
    """A point estimate and the two ends around it."""

    value: float
    low: float
    high: float


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Two-sided score interval (Wilson 1927), for display; `successes` may be a sum of graded scores."""
    check_counts(successes, n, confidence)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, spread = successes / n, z * z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = z * math.sqrt(rate * (1 - rate) / n + spread / (4 * n)) / (1 + spread)
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))
