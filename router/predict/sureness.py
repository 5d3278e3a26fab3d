"""How sure models were of their own words: token log-probabilities as a signal whether an answer clears.

They are looked at last: where they are known, they correct the chance that agreement, length and shape came to;
where they are not, that chance stays as it is. So answers without them are judged as if nobody had ever heard of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.predict.labels import Floats, Indices, shrunk_means

LEAST_ROWS = 100
"""Recorded log-probabilities that a model needs, and judged answers with one that the correction needs."""
PSEUDO_COUNT = 10.0
"""Responses that a model's overall mean weighs in a task's."""
NEARLY_ALL = 0.9
"""Share of recorded answers with a log-probability from which on one without it is a stranger."""
PENALTY = 1.0
"""Ridge on the correction's weights."""
MOST_DEVIATIONS = 4.0
"""A log-probability farther out counts as so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sureness:
    """What mean log-probabilities per token add to the log-odds that an answer clears."""

    center: Floats
    """Shape (tasks + 1, m): each model's usual mean log-probability by task; the last row is for unknown tasks. NaN
    for a model of which too few were recorded."""
    scale: Floats
    weights: Floats
    """Shape (COLUMNS,), of `columns`."""
    share: Floats
    """Shape (m,): share of each model's recorded answers that told it."""

    @property
    def models(self) -> NDArray[np.bool_]:
        """Shape (m,): whether a model's log-probabilities are looked at."""
        return np.asarray(np.isfinite(self.center[-1]))

    def is_missing(self, model: int, logprob: float) -> bool:
        """Whether an answer does not tell (NaN) what nearly all of its model's recorded ones told.

        Nothing was learned about such answers, and a provider that stops telling sends nothing else.
        """
        return bool(self.models[model] and self.share[model] >= NEARLY_ALL and np.isnan(logprob))

    def columns(
        self, logprob: Floats, called: NDArray[np.bool_], own: NDArray[np.bool_], task: Indices, scored: Floats
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """What the correction looks at, shape (n, COLUMNS), and where anything of it is known, shape (n,).

        Args:
            logprob: shape (n, m), NaN where unknown.
            called: shape (n, m), who was asked.
            own: shape (n, m), who stands behind the answer.
            task: shape (n,), -1 for unknown.
            scored: shape (n,), log-odds without the correction.
        """
        away = (logprob - self.center[task]) / self.scale[task]
        away = np.clip(away, -MOST_DEVIATIONS, MOST_DEVIATIONS)
        behind, is_known = _mean(away, own)
        others, _ = _mean(away, called & ~own)
        is_alone = called.sum(axis=1) == 1
        columns = [np.ones(len(scored)), scored, behind, behind * is_alone, behind * np.abs(scored), others]
        return np.column_stack(columns) * is_known[:, None], is_known

    def corrected(
        self, scored: Floats, logprob: Floats, called: NDArray[np.bool_], own: NDArray[np.bool_], task: Indices
    ) -> Floats:
        """Log-odds with the correction, shape (n,); unchanged where nothing is known."""
        return np.asarray(scored + self.columns(logprob, called, own, task, scored)[0] @ self.weights)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        return {f"sureness_{f.name}": getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Sureness | None:
        """What `arrays` was taken from; None where training had no log-probabilities."""
        if "sureness_weights" not in arrays:
            return None
        return cls(**{f.name: arrays[f"sureness_{f.name}"] for f in fields(cls)})


COLUMNS = 6


def scales(logprob: Floats, task: Indices, tasks: int) -> tuple[Floats, Floats] | None:
    """Center and scale of the log-probabilities, as `Sureness` has them; None where no model has enough of them."""
    is_enough = np.isfinite(logprob).sum(axis=0) >= LEAST_ROWS
    if not is_enough.any():
        return None
    known = np.where(is_enough, logprob, np.nan)
    overall = np.where(is_enough, np.nansum(known, axis=0) / np.maximum(np.isfinite(known).sum(axis=0), 1), np.nan)
    center = shrunk_means(known, task, overall, tasks, PSEUDO_COUNT)
    squares = (known - center[task]) ** 2
    spread = np.where(is_enough, np.nansum(squares, axis=0) / np.maximum(np.isfinite(squares).sum(axis=0), 1), np.nan)
    scale = np.sqrt(shrunk_means(squares, task, spread, tasks, PSEUDO_COUNT))
    return np.vstack([center, overall]), np.vstack([scale, np.sqrt(spread)]) + 1e-3


def _mean(values: Floats, mask: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """Mean of the known values under a mask, shape (n,), 0 where there is none; and whether there is one."""
    known = mask & np.isfinite(values)
    count = known.sum(axis=1)
    return np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), count > 0
