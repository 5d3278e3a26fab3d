"""Means of scores that belong together: samples from one document, repeats of one sample."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from evals.stats.bounds import Interval
from router.bounds import check_confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustered:
    """A mean whose error counts that samples of one cluster resemble each other."""

    mean: float
    standard_error: float
    clusters: int

    def interval(self, confidence: float = 0.95) -> Interval:
        """Two-sided interval by Student's t with clusters - 1 degrees of freedom; for display, ends may pass 0 or 1."""
        check_confidence(confidence)
        half = student_t_quantile(0.5 + confidence / 2, self.clusters - 1) * self.standard_error
        return Interval(self.mean, self.mean - half, self.mean + half)

    def p_above(self, threshold: float) -> float:
        """One-sided p-value against a true mean of at most `threshold`."""
        if self.standard_error == 0:
            # Clusters that all agree prove less than t says: no more than this many tosses of a coin.
            return 0.5**self.clusters if self.mean > threshold else 1.0
        return 1 - student_t((self.mean - threshold) / self.standard_error, self.clusters - 1)


def clustered(scores: Sequence[float], clusters: Sequence[Hashable]) -> Clustered:
    """Mean with its clustered standard error (CR0 with the factor G / (G - 1); Miller 2024, "Adding error bars").

    With one sample in each cluster this is the ordinary standard error, so on differences of two candidates it is the
    paired t-test.

    Args:
        scores: one for each sample, any finite numbers.
        clusters: what each sample belongs to, such as its source document.

    Raises:
        ValueError: fewer than two clusters, or the lengths differ.

    >>> clustered([1, 1, 0, 0], ["a", "a", "b", "b"]).standard_error
    0.5
    """
    if len(scores) != len(clusters):
        raise ValueError(f"{len(scores)} scores need as many clusters, not {len(clusters)}")
    values = np.asarray(scores, dtype=float)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    if len(numbers) < 2:
        raise ValueError("a clustered error needs at least two clusters; one tells nothing about the next")
    mean = float(values.mean())
    sums = np.bincount([numbers[name] for name in clusters], weights=values - mean)
    count = len(numbers)
    error = math.sqrt(count / (count - 1) * float(sums @ sums)) / len(values)
    return Clustered(mean=mean, standard_error=error, clusters=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variances:
    """Where the spread of repeated scores comes from."""

    between: float
    """Of the true means of samples: more samples lower its share of the error."""
    within: float | None
    """Of repeats of one sample: more repeats lower it; None without repeats."""


def variances(repeats: Sequence[Sequence[float]]) -> Variances:
    """Variance between samples and within them (one-way random effects, for equal or unequal repeats).

    Args:
        repeats: for each sample, the scores of its repeats, at least one each.

    >>> variances([[1, 1], [0, 0], [1, 1], [0, 0]]).within
    0.0
    """
    groups = [np.asarray(scores, dtype=float) for scores in repeats]
    if len(groups) < 2 or not all(len(group) for group in groups):
        raise ValueError("variances need at least two samples with a score each")
    means = np.array([group.mean() for group in groups])
    spread = float(means.var(ddof=1))
    free = sum(len(group) - 1 for group in groups)
    if not free:
        return Variances(between=spread, within=None)
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / free
    noise = within * float(np.mean([1 / len(group) for group in groups]))
    return Variances(between=max(0.0, spread - noise), within=within)


def student_t(t: float, degrees: int) -> float:
    """P(T <= t) for Student's t with whole degrees of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4).

    >>> round(student_t(2.228139, 10), 6)
    0.975
    """
    if degrees < 1:
        raise ValueError(f"{degrees!r} degrees of freedom; need at least 1")
    angle = math.atan2(t, math.sqrt(degrees))
    cosine = math.cos(angle) ** 2
    odd = degrees % 2
    term = math.sin(angle) * (math.cos(angle) if odd else 1.0)
    total = 0.0 if degrees == 1 else term
    for k in range(2 + odd, degrees - 1, 2):
        term *= cosine * (k - 1) / k
        total += term
    return 0.5 + (angle + total) / math.pi if odd else 0.5 + total / 2


def student_t_quantile(probability: float, degrees: int) -> float:
    """The t below which Student's t lies with the given probability, to nine digits.

    >>> round(student_t_quantile(0.975, 10), 6)
    2.228139
    """
    check_confidence(probability)
    low, high = -1.0, 1.0
    while student_t(low, degrees) > probability:
        low *= 2
    while student_t(high, degrees) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_t(middle, degrees) < probability else (low, middle)
    return high
