"""From held-out outcomes to a promise: the cheapest operating point that keeps a bar, or what is missing to say so.

Learn then Test (Angelopoulos et al. 2021) with fixed-sequence testing: the operating points are tested one after the
other from the best quality down to the cheapest, each at the full error of 1 - confidence, and the first that fails
ends the walk. The chance that any point passes whose true mean breaks the bar is at most 1 - confidence, for a false
pass needs the first broken point of the walk to pass, and that is one point, fixed beforehand. The order is the index
of the points, which training gave them: it may not be chosen by the outcomes that are tested. Dividing the error over
several starting points (so that a walk need not end at a poor first point) was tried and certifies less.

Where the bar is a drop against a reference model, the walk starts at the reference itself, whose drop is 0 and needs
no test: a failed first point means that nothing is routed down, not that nothing serves.

Every test is exact for quality of 0 and 1, and by betting for graded quality, which gains from paired differences
that are mostly 0 (`router.bounds`). The promise is about the mean over queries like the tested ones, drawn
independently, at the plan whose decisions were recorded; it ends where the traffic changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from router.bounds import betting_p, check_confidence, difference_lower, lower_bound, p_above, upper_tail
from router.predict.labels import Floats, Indices

POWER = 0.8
"""Chance with which the planned number of labels is to certify, if the observed mean and variance are true."""
MOST_LABELS = 100_000
_EXACTLY = 5_000
"""Up to so many labels a plan is checked by the test itself; above, the normal approximation is near enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """An operating point that keeps the bar, with the confidence that was asked for."""

    point: int
    """0 is the cheapest of all points; every point above it was tested and holds, too."""
    mean: float
    """Observed mean quality; against a reference, its mean difference to the reference's."""
    lower: float
    """One-sided lower bound of that mean, by this point's outcomes alone; never below what is promised."""
    cost_usd: float
    """Mean USD per query."""
    saving: float | None
    """Share of the reference's cost that is not spent; None without a reference, or where it is free."""
    n: int
    """Held-out queries behind it."""
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """Why no operating point may be promised, and what would help."""

    reason: str
    """One sentence with the numbers."""
    point: int | None
    """The point that the missing labels are for; None where no number of labels would help."""
    labels_missing: int | None
    """About how many more labelled queries certify it with a chance of `POWER`, at the observed mean and variance."""
    labels_cost_usd: float | None
    """What their answers cost; None where the cost of a label is unknown, too."""
    n: int
    confidence: float


def certify_min(
    quality: Floats,
    minimum: float,
    confidence: float,
    *,
    cost_usd: Floats,
    label_cost_usd: float | None = None,
    is_rough: bool = False,
) -> Promise | Shortfall:
    """The cheapest operating point whose mean quality is at least `minimum`, with the given confidence.

    Args:
        quality: of the served answers at each operating point, in [0, 1], shape (points, n); the last point is the
            best. The order of the queries must not depend on their outcomes.
        minimum: mean quality to promise, in (0, 1).
        confidence: in (0, 1).
        cost_usd: of each query at each operating point, all calls together, shape (points, n).
        label_cost_usd: mean USD per query of answering with every model that the plan may call.
        is_rough: plan missing labels by the normal approximation alone, which takes no time.

    Raises:
        ValueError: shapes that do not fit, scores outside [0, 1], a minimum or confidence that cannot be.
    """
    if not 0 < minimum < 1:
        raise ValueError(f"minimum {minimum!r} must lie between 0 and 1, such as 0.9; no number of labels proves 1")
    _check(quality, cost_usd, confidence)

    def p_value(scores: Floats, rows: Indices, harder: float) -> float:
        scores, least = scores[rows], minimum + harder
        if least >= 1:
            return 1.0
        if bool(np.isin(scores, (0.0, 1.0)).all()):
            return upper_tail(int(scores.sum()), len(scores), least)
        return betting_p(scores.tolist(), least, confidence)

    walk = _Walk(quality - minimum, quality, cost_usd, confidence, label_cost_usd, p_value, is_rough=is_rough)
    if walk.held:
        best = walk.cheapest()
        scores = quality[best]
        lower = max(minimum, lower_bound(scores.tolist(), confidence))
        return walk.promise(best, float(scores.mean()), lower, None)
    return walk.shortfall(f"mean quality {minimum:g}", offset=minimum, aim=minimum, least=minimum)


def certify_drop(
    quality: Floats,
    reference: Floats,
    max_drop: float,
    confidence: float,
    *,
    cost_usd: Floats,
    reference_cost_usd: Floats,
    label_cost_usd: float | None = None,
    is_rough: bool = False,
) -> Promise | Shortfall:
    """The cheapest operating point that loses at most `max_drop` of mean quality against one model for everything.

    A point that is not cheaper than the reference is never promised: then the reference may as well serve.

    Args:
        quality: as in `certify_min`.
        reference: quality of the reference model's answer to each query, in [0, 1], shape (n,). Where it is the
            answer that the plan serves, both are the same number.
        max_drop: in (0, 1).
        confidence: in (0, 1).
        cost_usd: as in `certify_min`.
        reference_cost_usd: of the reference model on each query, shape (n,).
        label_cost_usd: as in `certify_min`, the reference included.
        is_rough: as in `certify_min`.

    Raises:
        ValueError: as in `certify_min`.
    """
    if not 0 < max_drop < 1:
        raise ValueError(f"max_drop {max_drop!r} must lie between 0 and 1, such as 0.02")
    _check(quality, cost_usd, confidence)
    for name, values in (("reference", reference), ("reference_cost_usd", reference_cost_usd)):
        if values.shape != quality.shape[1:]:
            raise ValueError(f"{name} has shape {values.shape}, but quality {quality.shape}")
    if not bool(((reference >= 0) & (reference <= 1)).all()):
        raise ValueError("reference must lie in [0, 1], without NaN")

    def p_value(scores: Floats, rows: Indices, harder: float) -> float:
        return p_above(scores[rows].tolist(), reference[rows].tolist(), min(harder - max_drop, 0.999), confidence)

    walk = _Walk(
        quality - reference + max_drop, quality, cost_usd, confidence, label_cost_usd, p_value, is_rough=is_rough
    )
    full = float(reference_cost_usd.mean()) if walk.n else 0.0
    if walk.held and walk.spent[walk.cheapest()] < full:
        best = walk.cheapest()
        lower = difference_lower(quality[best].tolist(), reference.tolist(), confidence, refuted=-max_drop)
        return walk.promise(best, float((quality[best] - reference).mean()), lower, full)
    what = f"a drop of at most {max_drop:g}"
    return walk.shortfall(what, offset=-max_drop, aim=-max_drop, least=1 - max_drop, full_usd=full)


class _Walk:
    """The points of a plan, tested from the last downward until one fails."""

    def __init__(
        self,
        margin: Floats,
        quality: Floats,
        cost_usd: Floats,
        confidence: float,
        label_cost_usd: float | None,
        p_value: Callable[[Floats, Indices, float], float],
        *,
        is_rough: bool,
    ) -> None:
        self.margin, self.quality = margin, quality
        """Margin: what each outcome has above the bar, shape (points, n); its true mean must not be negative."""
        self.confidence, self.label_cost_usd, self.p_value = confidence, label_cost_usd, p_value
        self.is_rough = is_rough
        self.points, self.n = margin.shape
        self.spent = cost_usd.mean(axis=1) if self.n else np.zeros(self.points)
        self.held: list[int] = []
        everyone = np.arange(self.n)
        before: Floats | None = None
        for point in reversed(range(self.points)) if self.n else ():
            # Neighbours often decide alike, and then one test has answered for both.
            is_same = before is not None and bool(np.array_equal(before, quality[point]))
            if not is_same and p_value(quality[point], everyone, 0.0) > 1 - confidence:
                break
            self.held.append(point)
            before = quality[point]

    def cheapest(self) -> int:
        """The cheapest point that holds; the better one on a tie."""
        return min(self.held, key=lambda point: (self.spent[point], -point))

    def promise(self, point: int, mean: float, lower: float, full_usd: float | None) -> Promise:
        spent = float(self.spent[point])
        saving = 1 - spent / full_usd if full_usd else None
        return Promise(
            point=point, mean=mean, lower=lower, cost_usd=spent, saving=saving, n=self.n, confidence=self.confidence
        )

    def shortfall(
        self, what: str, *, offset: float, aim: float, least: float, full_usd: float | None = None
    ) -> Shortfall:
        """Which point the fewest labels would certify, and how many they are."""
        if not self.n:
            # With every answer as good as it can be: (least)^n <= 1 - confidence.
            labels = math.ceil(math.log(1 - self.confidence) / math.log(least) - 1e-9)
            reason = f"no held-out outcomes; {what} needs at least {labels} labels at {self.confidence:g}"
            return self._short(reason, self.points - 1, labels)
        target, needed = self._target(full_usd)
        failed = self.held[-1] - 1 if self.held else self.points - 1
        if failed < 0 or target is None:
            seen = max(failed, 0)
            mean = float(self.margin[seen].mean()) + offset
            why = (
                "every point that holds costs no less than the reference"
                if failed < 0
                else f"point {seen} has {mean:.3f} on n={self.n}, and no number of labels at this mean would help"
            )
            return self._short(f"{what} cannot be promised at {self.confidence:g}: {why}", None, None)
        mean = float(self.margin[failed].mean()) + offset
        reason = (
            f"{what} is not certain at {self.confidence:g}: point {failed} has {mean:.3f} on n={self.n} "
            f"(asked: {aim:g}); about {needed - self.n} more labels would certify point {target}"
        )
        return self._short(reason, target, needed - self.n)

    def _target(self, full_usd: float | None) -> tuple[int | None, int]:
        """The point that saves and needs the fewest labels (the cheapest of those that need as few), and how many."""
        needed = self.n
        options: list[tuple[int, float, int]] = []
        for point in reversed(range(self.points)):
            if point not in self.held:
                labels = self._labels(point)
                if labels is None:
                    break  # the walk would end here, however many labels there are
                needed = max(needed, labels)
            if needed > self.n and (full_usd is None or self.spent[point] < full_usd):
                options.append((needed, float(self.spent[point]), point))
        best = min(options, default=None)
        return (best[2], best[0]) if best else (None, 0)

    def _labels(self, point: int) -> int | None:
        """Number of labels that certify a point with a chance of `POWER`, if they are like those we have.

        The first guess is the normal approximation. It grows until the test itself passes on so many labels in the
        observed proportions, against a bar that is harder by what bad luck of 1 - POWER takes off their mean.
        """
        margin = self.margin[point]
        mean, sd = float(margin.mean()), float(margin.std())
        if mean <= 0:
            return None
        unlucky = NormalDist().inv_cdf(POWER) * sd
        rough = ((NormalDist().inv_cdf(self.confidence) * sd + unlucky) / mean) ** 2
        labels: int = max(self.n + 1, math.ceil(rough))
        order = np.argsort(margin, kind="stable")
        random = np.random.default_rng(0)
        while labels <= _EXACTLY and not self.is_rough:
            rows = order[((np.arange(labels) + 0.5) * self.n / labels).astype(np.int64)]
            harder = unlucky / math.sqrt(labels)
            if self.p_value(self.quality[point], random.permutation(rows), harder) <= 1 - self.confidence:
                return labels
            labels = math.ceil(labels * 1.1)
        return labels if labels <= MOST_LABELS else None

    def _short(self, reason: str, point: int | None, missing: int | None) -> Shortfall:
        each = self.label_cost_usd
        return Shortfall(
            reason=reason,
            point=point,
            labels_missing=missing,
            labels_cost_usd=missing * each if missing is not None and each is not None else None,
            n=self.n,
            confidence=self.confidence,
        )


def _check(quality: Floats, cost_usd: Floats, confidence: float) -> None:
    check_confidence(confidence)
    if quality.ndim != 2 or not len(quality) or cost_usd.shape != quality.shape:
        raise ValueError(f"quality {quality.shape} and cost_usd {cost_usd.shape} must both have shape (points, n)")
    if not bool(((quality >= 0) & (quality <= 1)).all()):
        raise ValueError("quality must lie in [0, 1], without NaN")
