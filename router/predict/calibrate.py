"""From two opinions to one calibrated probability: blend and Platt's curves.

Everything here is fitted on predictions that were made without their own outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.predict.labels import Floats

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the logistic heads that the blend tries."""
CERTAINTY = (10.0, 100.0)
"""How sure it is, before any label, that a model's offset is 0 and its slope 1, as precisions of the two numbers.

Models are calibrated one by one, so the noise of each curve goes straight into the differences between models, which
is what routes. Isotonic curves, even halved with Platt's, cost 5 points of the saving at 98 % of the best model's
quality and gained nothing in calibration at 1,000 to 3,000 labels."""


def logit(probability: Floats) -> Floats:
    """Log-odds, kept within about -6 and 6."""
    inside = np.minimum(np.maximum(probability, 0.0025), 0.9975)  # a third of the time of `clip` on one row
    return np.asarray(np.log(inside / (1.0 - inside)))


def sigmoid(log_odds: Floats) -> Floats:
    """Probability of log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """How table and logistic heads become one calibrated probability."""

    share: float
    """Weight of the logistic heads' log-odds; the table has the rest."""
    offsets: Floats
    """Shape (m,): added to each model's log-odds after `slopes`."""
    slopes: Floats
    """Shape (m,): what each model's log-odds are multiplied by."""

    def mixed(self, table: Floats, logistic: Floats) -> Floats:
        """Log-odds before calibration, shape (n, m), from means by label and log-odds of the heads."""
        return self.share * logistic + (1.0 - self.share) * logit(table)

    def calibrated(self, mixed: Floats) -> Floats:
        """Calibrated log-odds, shape (n, m)."""
        return np.asarray(self.offsets + self.slopes * mixed)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        return {f"blend_{field.name}": np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Blend:
        """The blend that `arrays` was taken from."""
        return cls(share=float(arrays["blend_share"]), offsets=arrays["blend_offsets"], slopes=arrays["blend_slopes"])


def fit_blend(table: Floats, logistic: Floats, quality: Floats) -> Blend:
    """Fit share and curves.

    Args:
        table: shape (n, m), means by label.
        logistic: shape (n, m), log-odds of the logistic heads.
        quality: shape (n, m), NaN where a model was not asked.
    """
    _, share = best_share(table, logistic, quality)
    mixed = share * logistic + (1.0 - share) * logit(table)
    seen = np.isfinite(quality)
    curves = [fit_platt(own[rows], known[rows]) for own, known, rows in zip(mixed.T, quality.T, seen.T, strict=True)]
    return Blend(share=share, offsets=np.array([curve[0] for curve in curves]), slopes=np.array([c[1] for c in curves]))


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


def fit_platt(log_odds: Floats, quality: Floats) -> tuple[float, float]:
    """Offset and slope of calibrated log-odds, with a prior (`CERTAINTY`) that rules small tables.

    J. Platt, Probabilistic outputs for support vector machines, 1999; Newton's method.
    """
    coefficients, precision = np.array([0.0, 1.0]), np.diag(CERTAINTY)
    columns = np.column_stack([np.ones(len(log_odds)), log_odds])
    for _ in range(25):
        expected = sigmoid(columns @ coefficients)
        gradient = columns.T @ (quality - expected) - precision @ (coefficients - [0.0, 1.0])
        curvature = (columns * (expected * (1.0 - expected))[:, None]).T @ columns + precision
        coefficients = coefficients + np.linalg.solve(curvature, gradient)
    return float(coefficients[0]), max(float(coefficients[1]), 0.05)


def log_loss(probability: Floats, quality: Floats) -> float:
    """Mean log loss in nats over the outcomes there are."""
    seen = np.isfinite(quality)
    inside, labels = np.clip(probability[seen], 0.0025, 0.9975), quality[seen]
    return float(-(labels * np.log(inside) + (1.0 - labels) * np.log(1.0 - inside)).mean())


def squared_error(expected: Floats, quality: Floats) -> float:
    """Mean squared error over the outcomes there are (for right and wrong, the Brier score)."""
    return float(np.nanmean((expected - quality) ** 2))


def calibration_error(expected: Floats, quality: Floats) -> float:
    """Expected calibration error: mean over models of |expected - observed| over ten equally full bins."""
    errors = []
    for model in range(quality.shape[1]):
        seen = np.isfinite(quality[:, model])
        order = np.argsort(expected[seen, model], kind="stable")
        gap = (expected[seen, model] - quality[seen, model])[order]
        errors.append(sum(abs(float(part.sum())) for part in np.array_split(gap, 10)) / max(len(gap), 1))
    return float(np.mean(errors))
