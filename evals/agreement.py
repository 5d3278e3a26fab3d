"""Agreement of two sets of verdicts, and what their differences go along with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

import numpy as np

from evals.stats import clopper_pearson_lower, clopper_pearson_upper


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of counted things, with a two-sided exact (Clopper-Pearson) interval at 0.95."""

    count: int
    of: int
    value: float | None
    """None when `of` is 0."""
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """A least-squares slope with a 95 % interval (normal approximation, errors of White 1980)."""

    value: float
    low: float
    high: float


def share(count: int, of: int) -> Share:
    """A share with its exact interval; of nothing, nothing is known."""
    if not of:
        return Share(count=0, of=0, value=None, low=0.0, high=1.0)
    low, high = clopper_pearson_lower(count, of, 0.975), clopper_pearson_upper(count, of, 0.975)
    return Share(count=count, of=of, value=count / of, low=low, high=high)


def kappa(left: Sequence[bool], right: Sequence[bool]) -> float | None:
    """Agreement beyond chance (Cohen 1960); None when chance alone would agree always.

    >>> kappa([True] * 25 + [False] * 25, [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15)
    0.4
    """
    if not left:
        return None
    n = len(left)
    observed = sum(a == b for a, b in zip(left, right, strict=True)) / n
    chance = (sum(left) * sum(right) + (n - sum(left)) * (n - sum(right))) / n**2
    return None if chance >= 1 else round((observed - chance) / (1 - chance), 12)


def slope(x: Sequence[float], y: Sequence[float]) -> Slope | None:
    """Least-squares slope of y on x; None with fewer than three points or without any variation of x."""
    if len(x) < 3 or max(x) - min(x) < 1e-9:
        return None
    xs, ys = np.asarray(x) - fmean(x), np.asarray(y) - fmean(y)
    square = float(xs @ xs)
    value = float(xs @ ys) / square
    residual = ys - value * xs
    error = math.sqrt(float((xs**2) @ (residual**2)) * len(x) / (len(x) - 2)) / square
    half = NormalDist().inv_cdf(0.975) * error
    return Slope(value=value, low=value - half, high=value + half)
