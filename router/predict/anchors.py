"""Anchors: the few queries whose answers tell most about a model that nobody has asked yet.

Every query is described by what the known models made of it: how many of them cleared it, and in which group (task,
or task and subtask) it stands. A model is described by a short vector of traits: how able it is, how steeply that
falls with difficulty, and how both bend and differ between groups. P(clears) is a logistic function of the two, which
is item response theory (F. Lord, Applications of Item Response Theory, 1980) with the difficulty observed instead of
estimated. How traits vary between models is learned from the known ones, so that a new model's follow from few answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.predict.calibrate import sigmoid
from router.predict.labels import Floats, Indices

KNOTS = (-0.5, 0.5)
"""Standardized difficulties at which a model's curve may bend."""
SHARED = 2 + len(KNOTS)
"""Columns that all groups share: constant, difficulty, bends."""
LOOSE = (0.01, 0.01, 1.0, 1.0)
"""Precision of the shared traits when the known models' own are fitted; groups and their slopes come after them."""
LOOSE_GROUP, LOOSE_SLOPE = 1.0, 4.0
USUAL = (4.0, 0.5, 0.25, 0.25)
"""Variance of the shared traits that `USUAL_MODELS` further, imagined models have: a few known models say little."""
USUAL_GROUP, USUAL_SLOPE, USUAL_MODELS = 0.1, 0.05, 1.0
DRAWS = 256
STEPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """How traits vary between models: a normal distribution."""

    mean: Floats
    """Shape (d,)."""
    covariance: Floats
    """Shape (d, d)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What some answers say about a model on all n queries."""

    quality: Floats
    """Shape (n,): expected quality; where the model was asked, still what is expected of it."""
    _draws: Floats
    """Shape (n, DRAWS): the same for draws of the traits, with the recorded quality where the model was asked."""
    _is_asked: NDArray[np.bool_]

    @property
    def known_quality(self) -> Floats:
        """Expected quality, or the recorded one where the model was asked; shape (n,)."""
        return np.asarray(self._draws.mean(axis=1))

    def mean(self, rows: Indices) -> tuple[float, float]:
        """Mean quality over some queries, and the standard deviation of what is not known about it.

        Both the traits are unknown and the luck of each answer that was not recorded.
        """
        means = self._draws[rows].mean(axis=0)
        expected = np.where(self._is_asked[rows], 0.0, self.quality[rows] * (1.0 - self.quality[rows]))
        return float(means.mean()), float(np.sqrt(means.var() + expected.sum() / len(rows) ** 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What the known models say about the queries, and about how models differ: enough to place a new one."""

    columns: Floats
    """Of `describe`, shape (n, d)."""
    group: Indices
    """Shape (n,)."""
    traits: Traits

    @classmethod
    def of(cls, quality: Floats, group: Indices, groups: int) -> Scale:
        """From the known models' outcomes (n, m) without gaps."""
        return cls(columns=describe(quality, group, groups), group=group, traits=fit_traits(quality, group, groups))

    def pick(self, count: int, allowed: NDArray[np.bool_] | None = None) -> Indices:
        """The anchors: see `pick`."""
        return pick(self.columns, self.group, self.traits, count, allowed)

    def estimate(self, asked: Indices, quality: Floats) -> Estimate:
        """A new model's quality on all queries: see `estimate`."""
        return estimate(self.columns, self.traits, asked, quality)


def describe(quality: Floats, group: Indices, groups: int) -> Floats:
    """Columns of each query, shape (n, SHARED + groups [+ groups]), by the known models' outcomes.

    Args:
        quality: shape (n, m), without gaps.
        group: shape (n,).
        groups: number of groups; with one alone it needs no columns of its own.
    """
    models = quality.shape[1]
    cleared = (quality.sum(axis=1) + 0.5) / (models + 1.0)
    ease = np.log(cleared / (1.0 - cleared))
    ease = (ease - ease.mean()) / max(float(ease.std()), 1e-9)
    bends = np.column_stack([np.maximum(ease - knot, 0.0) for knot in KNOTS])
    shared = np.column_stack([np.ones(len(ease)), ease, bends - bends.mean(axis=0)])
    if groups < 2:
        return shared
    own = np.eye(groups)[group]
    return np.hstack([shared, own, own * ease[:, None]])


def fit_traits(quality: Floats, group: Indices, groups: int) -> Traits:
    """How traits vary between the known models, each described by the outcomes of the others."""
    models = quality.shape[1]
    found = []
    for model in range(models):
        columns = describe(np.delete(quality, model, axis=1), group, groups)
        loose = _diagonal(columns.shape[1], LOOSE, LOOSE_GROUP, LOOSE_SLOPE)
        found.append(fit_logit(columns, quality[:, model], np.zeros(len(loose)), np.diag(loose))[0])
    traits = np.asarray(found)
    mean = np.zeros(traits.shape[1])
    mean[:SHARED] = traits[:, :SHARED].mean(axis=0)
    apart = traits - mean
    seen = np.diag((apart**2).mean(axis=0))
    seen[:2, :2] = apart[:, :2].T @ apart[:, :2] / models
    for columns_of in np.array_split(np.arange(SHARED, len(mean)), 2):
        # No group has outcomes enough to say how models differ there; all of them together do.
        seen[columns_of, columns_of] = (apart[:, columns_of] ** 2).mean() if len(columns_of) else 0.0
    usual = np.diag(_diagonal(len(mean), USUAL, USUAL_GROUP, USUAL_SLOPE))
    return Traits(mean=mean, covariance=(models * seen + USUAL_MODELS * usual) / (models + USUAL_MODELS))


def estimate(columns: Floats, traits: Traits, asked: Indices, quality: Floats) -> Estimate:
    """A model's quality on all queries from its answers to some.

    Args:
        columns: of `describe`, shape (n, d).
        traits: of `fit_traits`.
        asked: positions of the queries it was asked.
        quality: its quality there, the same length.
    """
    mean, covariance = fit_logit(
        columns[asked], quality, traits.mean, np.asarray(np.linalg.inv(traits.covariance), dtype=np.float64)
    )
    random = np.random.default_rng(0)
    drawn = random.multivariate_normal(mean, covariance, DRAWS, method="cholesky")
    draws = sigmoid(columns @ drawn.T)
    expected = draws.mean(axis=1)
    draws[asked] = quality[:, None]
    is_asked = np.zeros(len(columns), dtype=bool)
    is_asked[asked] = True
    return Estimate(quality=expected, _draws=draws, _is_asked=is_asked)


def fit_logit(columns: Floats, quality: Floats, mean: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Coefficients of a logistic regression under a normal prior and their covariance (Laplace), by damped Newton."""

    def loss(at: Floats) -> float:
        log_odds, apart = columns @ at, at - mean
        return float((np.logaddexp(0.0, log_odds) - quality * log_odds).sum() + 0.5 * apart @ precision @ apart)

    def curvature(expected: Floats) -> Floats:
        return np.asarray((columns * (expected * (1.0 - expected))[:, None]).T @ columns + precision)

    at, now = mean.copy(), loss(mean)
    for _ in range(STEPS):
        expected = sigmoid(columns @ at)
        step = np.linalg.solve(curvature(expected), columns.T @ (quality - expected) - precision @ (at - mean))
        length = 1.0
        # Where a model clears everything, whole steps overshoot to and fro.
        while (after := loss(at + length * step)) > now and length > 1e-4:
            length /= 2.0
        at = at + length * step
        if now - after < 1e-7:
            break
        now = after
    return at, np.asarray(np.linalg.inv(curvature(sigmoid(columns @ at))), dtype=np.float64)


def pick(
    columns: Floats, group: Indices, traits: Traits, count: int, allowed: NDArray[np.bool_] | None = None
) -> Indices:
    """The queries whose answers leave least in doubt, greedily, every group keeping its share; shape (count,).

    The doubt is the expected variance of the model's quality, half of it on single queries and half in the groups'
    means (a V-optimal design: K. Chaloner and I. Verdinelli, Bayesian experimental design, 1995).

    Args:
        columns: of `describe`, shape (n, d).
        group: shape (n,).
        traits: of `fit_traits`.
        count: how many; at most as many as there are queries.
        allowed: shape (n,), queries that may be picked; default all.
    """
    open_ = np.ones(len(columns), dtype=bool) if allowed is None else allowed.copy()
    left = shares(group[open_], int(group.max()) + 1, min(count, int(open_.sum())))
    drawn = np.random.default_rng(0).multivariate_normal(traits.mean, traits.covariance, 64, method="cholesky")
    expected = sigmoid(columns @ drawn.T)
    told = np.maximum((expected * (1.0 - expected)).mean(axis=1), 1e-6)
    slopes = columns * told[:, None]
    single = slopes.T @ slopes / len(columns)
    means = np.zeros_like(single)
    for number in np.unique(group):
        slope = slopes[group == number].mean(axis=0)
        means += np.outer(slope, slope) * (group == number).mean()
    doubt = traits.covariance.copy()
    weight = single / np.trace(doubt @ single) + means / np.trace(doubt @ means)
    picked: list[int] = []
    for _ in range(int(left.sum())):
        spread = columns @ doubt
        noise = 1.0 / told + (spread * columns).sum(axis=1)
        gain = ((spread @ weight) * spread).sum(axis=1) / noise
        best = int(np.where(open_ & (left[group] > 0), gain, -1.0).argmax())
        picked.append(best)
        open_[best] = False
        left[group[best]] -= 1
        doubt = doubt - np.outer(spread[best], spread[best]) / noise[best]
    return np.asarray(picked, dtype=np.int64)


def pick_at_random(group: Indices, count: int, random: np.random.Generator) -> Indices:
    """As many queries of each group as `pick` takes, drawn blindly: what a choice has to beat."""
    wanted = shares(group, int(group.max()) + 1, count)
    return np.concatenate([random.choice(np.flatnonzero(group == at), n, replace=False) for at, n in enumerate(wanted)])


def shares(group: Indices, groups: int, count: int) -> Indices:
    """How many of `count` each group gets by its size (largest remainders), shape (groups,)."""
    exact = np.bincount(group, minlength=groups) / max(len(group), 1) * count
    whole = np.floor(exact).astype(np.int64)
    most = np.argsort(whole - exact, kind="stable")[: count - int(whole.sum())]
    whole[most] += 1
    return whole


def _diagonal(width: int, shared: tuple[float, ...], group: float, slope: float) -> Floats:
    groups = (width - SHARED) // 2
    return np.asarray([*shared, *[group] * groups, *[slope] * groups])
