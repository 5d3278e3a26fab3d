"""From two opinions to one calibrated probability: blend, curves, and what it takes to beat the best constant.

Everything here is fitted on predictions that were made without their own outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.predict.labels import Floats

CURVE_GRID = np.linspace(-6.0, 6.0, 49)
"""Log-odds at which calibration curves are stored; straight lines between."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the logistic heads that the blend tries."""
HANDICAPS = (0.0, 0.005, 0.01, 0.02)
"""Values of `Blend.handicap` that are tried in turn."""
ISOTONIC_LABELS = 1_000
"""From this many labels of one model on, its calibration curve is isotonic; Platt's two numbers below."""

Isotonic = Callable[[Floats, Floats, Floats], Floats]
"""Isotonic log-odds at points, fitted on log-odds and outcomes: `fit.fit_isotonic`."""


def logit(probability: Floats) -> Floats:
    """Log-odds, kept within the calibration grid."""
    inside = np.clip(probability, 0.0025, 0.9975)
    return np.asarray(np.log(inside / (1.0 - inside)))


def sigmoid(log_odds: Floats) -> Floats:
    """Probability of log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """How table and logistic heads become one calibrated probability."""

    share: float
    """Weight of the logistic heads' log-odds; the table has the rest."""
    curves: Floats
    """Shape (m, len(CURVE_GRID)): calibrated log-odds at each point of the grid."""
    handicap: Floats
    """Shape (m,): taken off the quality of every model but the best constant one, so that another must promise
    more than chance does to take its place. Off the others, not onto the best: a bar must never be passed by it."""

    def mixed(self, table: Floats, logistic: Floats) -> Floats:
        """Log-odds before calibration, shape (n, m), from means by label and log-odds of the heads."""
        return self.share * logistic + (1.0 - self.share) * logit(table)

    def calibrated(self, mixed: Floats) -> Floats:
        """Calibrated log-odds, shape (n, m)."""
        return read_curves(self.curves, mixed)

    def quality(self, log_odds: Floats) -> Floats:
        """Expected quality of calibrated log-odds, handicap included, shape (n, m)."""
        return np.maximum(sigmoid(log_odds) - self.handicap, 0.0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        return {f"blend_{field.name}": np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Blend:
        """The blend that `arrays` was taken from."""
        return cls(share=float(arrays["blend_share"]), curves=arrays["blend_curves"], handicap=arrays["blend_handicap"])


def read_curves(curves: Floats, log_odds: Floats) -> Floats:
    """Each column of `log_odds` (n, m) through its model's curve (m, len(CURVE_GRID)), flat beyond the grid's ends."""
    step = CURVE_GRID[1] - CURVE_GRID[0]
    place = np.clip((log_odds - CURVE_GRID[0]) / step, 0.0, len(CURVE_GRID) - 1.000001)
    left = place.astype(np.int64)
    part = place - left
    model = np.arange(len(curves))
    return np.asarray(curves[model, left] * (1.0 - part) + curves[model, left + 1] * part)


def fit_blend(table: Floats, logistic: Floats, quality: Floats, isotonic: Isotonic) -> Blend:
    """Fit share, curves and handicap.

    Args:
        table: shape (n, m), means by label.
        logistic: shape (n, m), log-odds of the logistic heads.
        quality: shape (n, m), NaN where a model was not asked.
        isotonic: fits an isotonic curve.
    """
    _, share = best_share(table, logistic, quality)
    models = quality.shape[1]
    blend = Blend(share=share, curves=np.tile(CURVE_GRID, (models, 1)), handicap=np.zeros(models))
    mixed = blend.mixed(table, logistic)
    blend = replace(blend, curves=fit_curves(mixed, quality, isotonic))
    return replace(blend, handicap=fit_handicap(blend.quality(blend.calibrated(mixed)), quality))


def best_share(table: Floats, logistic: Floats, quality: Floats) -> tuple[float, float]:
    """Smallest routing loss of a blend of table and logistic heads, and the heads' share in it."""
    blends = [(share, sigmoid(share * logistic + (1.0 - share) * logit(table))) for share in SHARES]
    return min((routing_loss(blended, quality), share) for share, blended in blends)


def routing_loss(probability: Floats, quality: Floats) -> float:
    """Mean squared error of the differences between models on the same query, plus 1 % of the log loss.

    A router needs to know which model is better by how much. What all models have in common on a query dominates
    the log loss and asks for less shrinkage than the differences bear; it only breaks ties here.
    """
    seen = np.isfinite(quality)
    count = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    error = np.where(seen, probability - quality, 0.0)
    apart = np.where(seen, error - error.sum(axis=1, keepdims=True) / count, 0.0)
    return float((apart**2).sum() / seen.sum()) + 0.01 * log_loss(probability, quality)


def fit_curves(mixed: Floats, quality: Floats, isotonic: Isotonic) -> Floats:
    """Calibration curve of each model on held-out log-odds, shape (m, len(CURVE_GRID)).

    Args:
        mixed: shape (n, m), log-odds made without the row's own label.
        quality: shape (n, m), NaN where a model was not asked.
        isotonic: fits an isotonic curve.
    """
    curves = np.empty((quality.shape[1], len(CURVE_GRID)))
    for model in range(quality.shape[1]):
        seen = np.isfinite(quality[:, model])
        own, labels = mixed[seen, model], quality[seen, model]
        offset, slope = fit_platt(own, labels)
        curves[model] = np.clip(offset + slope * CURVE_GRID, CURVE_GRID[0], CURVE_GRID[-1])
        if len(labels) >= ISOTONIC_LABELS:
            # Half Platt, half isotonic: steps alone would tie requests that the head can tell apart.
            curves[model] = (curves[model] + isotonic(curves[model], offset + slope * own, labels)) / 2.0
    return curves


def fit_platt(log_odds: Floats, quality: Floats) -> tuple[float, float]:
    """Offset and slope of calibrated log-odds, with a prior of 0 and 1 (deviations 1 and 0.25) that rules small tables.

    J. Platt, Probabilistic outputs for support vector machines, 1999; Newton's method.
    """
    coefficients, precision = np.array([0.0, 1.0]), np.diag([1.0, 16.0])
    columns = np.column_stack([np.ones(len(log_odds)), log_odds])
    for _ in range(25):
        expected = sigmoid(columns @ coefficients)
        gradient = columns.T @ (quality - expected) - precision @ (coefficients - [0.0, 1.0])
        curvature = (columns * (expected * (1.0 - expected))[:, None]).T @ columns + precision
        coefficients = coefficients + np.linalg.solve(curvature, gradient)
    return float(coefficients[0]), max(float(coefficients[1]), 0.05)


def fit_handicap(expected: Floats, quality: Floats) -> Floats:
    """The smallest handicap at which nothing says that the best prediction is worse than the best constant model.

    One standard error of the paired difference is left for chance: the best constant is itself picked by these
    outcomes and looks better than it is. Shape (m,).
    """
    whole = np.isfinite(quality).all(axis=1)
    handicap = np.zeros(quality.shape[1])
    if not whole.any():
        return handicap
    known = quality[whole]
    best = int(known.mean(axis=0).argmax())
    for value in HANDICAPS:
        handicap[:] = value
        handicap[best] = 0.0
        chosen = (expected[whole] - handicap).argmax(axis=1)
        gain = known[np.arange(len(known)), chosen] - known[:, best]
        if gain.mean() >= -gain.std() / np.sqrt(len(gain)):
            break
    return handicap


def log_loss(probability: Floats, quality: Floats) -> float:
    """Mean log loss in nats over the outcomes there are."""
    seen = np.isfinite(quality)
    inside, labels = np.clip(probability[seen], 0.0025, 0.9975), quality[seen]
    return float(-(labels * np.log(inside) + (1.0 - labels) * np.log(1.0 - inside)).mean())


def calibration_error(expected: Floats, quality: Floats) -> float:
    """Expected calibration error: mean over models of |expected - observed| over ten equally full bins."""
    errors = []
    for model in range(quality.shape[1]):
        seen = np.isfinite(quality[:, model])
        order = np.argsort(expected[seen, model], kind="stable")
        gap = (expected[seen, model] - quality[seen, model])[order]
        errors.append(sum(abs(float(part.sum())) for part in np.array_split(gap, 10)) / max(len(gap), 1))
    return float(np.mean(errors))
