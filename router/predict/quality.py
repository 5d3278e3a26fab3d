"""Expected quality of every model on a text: a table of means and a logistic head, blended and calibrated.

All models share one pipeline and no pair of models is trained against each other, so that a model can be added
by fitting one more row. The blend is calibrated on predictions that were made without their own label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.predict.labels import Floats, Indices, centered

LABEL_SCALE = 3.0
"""Length of a label's column: the prior deviation of a label's effect is three times that of a text column."""
CURVE_GRID = np.linspace(-6.0, 6.0, 49)
"""Log-odds at which calibration curves are stored; straight lines between."""
NORMAL_90 = 1.645
"""Half-width of a two-sided 90 % normal interval, in standard deviations."""


def logit(probability: Floats) -> Floats:
    """Log-odds, kept within the calibration grid."""
    inside = np.clip(probability, 0.0025, 0.9975)
    return np.asarray(np.log(inside / (1.0 - inside)))


def sigmoid(log_odds: Floats) -> Floats:
    """Probability of log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """What one fit of the quality learns, before blending."""

    overall: Floats
    """Shape (m,): mean quality of each model."""
    task_means: Floats
    """Shape (tasks, m), shrunk toward `overall`."""
    cell_means: Floats
    """Shape (cells, m), shrunk toward their task's means."""
    task_shares: Floats
    """Shape (tasks,): share of the training queries."""
    cell_shares: Floats
    """Shape (cells,)."""
    weights: Floats
    """Shape (m, columns) of the logistic heads; columns are those of `design`."""
    intercepts: Floats
    """Shape (m,)."""

    def table(self, task: Indices, cell: Indices) -> Floats:
        """Shrunk mean quality by label, shape (n, m); an unknown label falls back to its parent."""
        return look_up(self.overall, self.task_means, self.cell_means, task, cell)

    def design(self, embedded: NDArray[np.float32], task: Indices, cell: Indices) -> Floats:
        """Columns of the logistic heads: the embedded text, then the centred labels."""
        return design(embedded, task, cell, self.task_shares, self.cell_shares)

    def logistic(self, columns: Floats) -> Floats:
        """Log-odds of the logistic heads, shape (n, m)."""
        return np.asarray(columns @ self.weights.T + self.intercepts)


def look_up(overall: Floats, by_task: Floats, by_cell: Floats, task: Indices, cell: Indices) -> Floats:
    """Rows by cell, else by task, else overall; shape (n, m)."""
    rows = np.tile(overall, (len(task), 1))
    rows[task >= 0] = by_task[task[task >= 0]]
    rows[cell >= 0] = by_cell[cell[cell >= 0]]
    return rows


def design(
    embedded: NDArray[np.float32], task: Indices, cell: Indices, task_shares: Floats, cell_shares: Floats
) -> Floats:
    """Embedded texts and centred labels side by side, shape (n, columns)."""
    labels = [centered(task, task_shares, LABEL_SCALE), centered(cell, cell_shares, LABEL_SCALE)]
    return np.hstack([embedded.astype(np.float64), *labels])


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """How table and logistic head become one calibrated probability."""

    share: float
    """Weight of the logistic head's log-odds; the table has the rest."""
    curves: Floats
    """Shape (m, len(CURVE_GRID)): calibrated log-odds at each point of the grid."""
    centers: Floats
    """Shape (m,): log-odds of each model's mean quality."""
    trust: float
    """0 to 1: how much of a model's own deviation from the models' common one is believed. 0 leaves the
    order of the models as their means have it, so that the best model wins everywhere."""

    def mixed(self, table: Floats, logistic: Floats) -> Floats:
        """Log-odds before calibration, shape (n, m)."""
        return self.share * logistic + (1.0 - self.share) * logit(table)

    def calibrated(self, mixed: Floats) -> Floats:
        """Calibrated log-odds, shape (n, m)."""
        deviation = read_curves(self.curves, mixed) - self.centers
        common = deviation.mean(axis=1, keepdims=True)
        return np.asarray(self.centers + common + self.trust * (deviation - common))


def read_curves(curves: Floats, log_odds: Floats) -> Floats:
    """Each column of `log_odds` (n, m) through its model's curve (m, len(CURVE_GRID)), flat beyond the grid's ends."""
    step = CURVE_GRID[1] - CURVE_GRID[0]
    place = np.clip((log_odds - CURVE_GRID[0]) / step, 0.0, len(CURVE_GRID) - 1.000001)
    left = place.astype(np.int64)
    part = place - left
    model = np.arange(len(curves))
    return np.asarray(curves[model, left] * (1.0 - part) + curves[model, left + 1] * part)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityModel:
    """Heads, blend and how sure they are."""

    heads: Heads
    blend: Blend
    axes: Floats
    """Shape (columns, columns): eigenvectors of the training design's Gram matrix, one a column."""
    spread: Floats
    """Shape (m, columns): posterior variance of each model's head along each axis."""
    prior_variance: float
    """Variance of one coefficient before any data; what an unknown label adds."""

    def predict(self, embedded: NDArray[np.float32], task: Indices, cell: Indices) -> tuple[Floats, Floats, Floats]:
        """Expected quality with a 90 % interval of that expectation; three arrays of shape (n, m).

        The interval is the logistic head's posterior (Laplace), plus what table and head disagree about,
        plus the prior of a label that is not known. It widens away from the training texts.
        """
        columns = self.heads.design(embedded, task, cell)
        table, logistic = self.heads.table(task, cell), self.heads.logistic(columns)
        center = self.blend.calibrated(self.blend.mixed(table, logistic))
        variance = (columns @ self.axes) ** 2 @ self.spread.T
        variance += self.blend.share * (1.0 - self.blend.share) * (logistic - logit(table)) ** 2
        variance += np.where(task < 0, LABEL_SCALE**2 * self.prior_variance, 0.0)[:, None]
        reach = NORMAL_90 * np.sqrt(variance)
        return sigmoid(center), sigmoid(center - reach), sigmoid(center + reach)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        kept = {f"quality_{field.name}": getattr(self.heads, field.name) for field in fields(Heads)}
        kept |= {f"blend_{field.name}": np.asarray(getattr(self.blend, field.name)) for field in fields(Blend)}
        kept |= {
            "quality_axes": self.axes.astype(np.float32),
            "quality_spread": self.spread.astype(np.float32),
            "quality_prior_variance": np.asarray(self.prior_variance),
        }
        return kept

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> QualityModel:
        """The model that `arrays` was taken from."""
        return cls(
            heads=Heads(**{field.name: arrays[f"quality_{field.name}"] for field in fields(Heads)}),
            blend=Blend(
                share=float(arrays["blend_share"]),
                curves=arrays["blend_curves"],
                centers=arrays["blend_centers"],
                trust=float(arrays["blend_trust"]),
            ),
            axes=arrays["quality_axes"].astype(np.float64),
            spread=arrays["quality_spread"].astype(np.float64),
            prior_variance=float(arrays["quality_prior_variance"]),
        )
