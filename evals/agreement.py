"""Agreement of two sets of verdicts, and what their differences go along with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.stats import student_t_quantile, wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of counted things, with a two-sided Wilson interval at 0.95, for display."""

    count: int
    of: int
    value: float | None
    """None when `of` is 0."""
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """A least-squares slope with a 95 % interval, about: Student's t, errors that need no equal variances (HC3)."""

    value: float
    low: float
    high: float


def share(count: int, of: int) -> Share:
    """A share with its interval; of nothing, nothing is known."""
    if not of:
        return Share(count=0, of=0, value=None, low=0.0, high=1.0)
    found = wilson(count, of)
    return Share(count=count, of=of, value=found.value, low=found.low, high=found.high)


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


def slope(
    x: Sequence[float], y: Sequence[float], beside: Sequence[float] | None = None, *, is_paired: bool = False
) -> Slope | None:
    """Least-squares slope of y on x.

    The standard error is HC3 (MacKinnon and White 1985), which does not grow too small with few points as White's does.

    Args:
        x: what y may go along with.
        y: as many values.
        beside: a second cause of y that is held fixed.
        is_paired: whether all are differences within pairs; then there is no intercept.

    Returns:
        None where nothing can be said: too few points, no variation of x that is its own, a point that alone decides
        the slope, or a fit without any error, which has no interval.
    """
    columns = [np.asarray(x, dtype=float)]
    if not is_paired:
        columns.append(np.ones(len(x)))
    if beside is not None and (any(beside) if is_paired else len(set(beside)) > 1):
        columns.append(np.asarray(beside, dtype=float))
    design, values = np.column_stack(columns), np.asarray(y, dtype=float)
    n, k = design.shape
    if n < k + 2 or np.linalg.matrix_rank(design) < k:
        return None
    inverse = np.linalg.inv(design.T @ design)
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    if float(leverage.max()) > 1 - 1e-9:
        return None
    fit = inverse @ design.T @ values
    residual = (values - design @ fit) / (1 - leverage)
    if float(np.abs(residual).max()) < 1e-9:
        return None
    variance = inverse @ (design.T * residual**2) @ design @ inverse
    half = student_t_quantile(0.975, n - k) * math.sqrt(max(0.0, float(variance[0, 0])))
    return Slope(value=float(fit[0]), low=float(fit[0]) - half, high=float(fit[0]) + half)
