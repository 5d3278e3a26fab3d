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

from router.predict.calibrate import Blend, logit, sigmoid
from router.predict.labels import Floats, Indices, centered

LABEL_SCALE = 3.0
"""Length of a label's column: the prior deviation of a label's effect is three times that of a text column."""
NORMAL_90 = 1.645
"""Half-width of a two-sided 90 % normal interval, in standard deviations."""


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

    def predict(self, columns: Floats, task: Indices, cell: Indices) -> tuple[Floats, Floats, Floats]:
        """Expected quality with a 90 % interval of that expectation; three arrays of shape (n, m).

        `columns` are those of `heads.design`. The interval is the logistic head's posterior (Laplace), plus what table
        and head disagree about, plus the prior of a label that is not known. It widens away from the training texts.
        """
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
        kept |= {
            **self.blend.arrays(),
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
            blend=Blend.from_arrays(arrays),
            axes=arrays["quality_axes"].astype(np.float64),
            spread=arrays["quality_spread"].astype(np.float64),
            prior_variance=float(arrays["quality_prior_variance"]),
        )
