"""Tasks and subtasks as numbers; a label that training has not seen is simply unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The tasks of the training table, and the cells (task and subtask) of tasks that have several subtasks."""

    tasks: tuple[str, ...]
    cells: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, tasks: Sequence[str], subtasks: Sequence[str]) -> Labels:
        """Collect the labels of a table, one task and subtask ("" for none) per query."""
        of_task: dict[str, set[str]] = {}
        for task, subtask in zip(tasks, subtasks, strict=True):
            of_task.setdefault(task, set()).add(subtask)
        cells = [(task, sub) for task, names in of_task.items() if len(names) > 1 for sub in names if sub]
        return cls(tasks=tuple(sorted(of_task)), cells=tuple(sorted(cells)))

    def encode(self, tasks: Sequence[str | None], subtasks: Sequence[str | None]) -> tuple[Indices, Indices]:
        """Positions of each query's task and cell, shape (n,) each; -1 where unknown."""
        task_at = {name: position for position, name in enumerate(self.tasks)}
        cell_at = {name: position for position, name in enumerate(self.cells)}
        task = [task_at.get(name, -1) if name is not None else -1 for name in tasks]
        cell = [cell_at.get((name or "", sub or ""), -1) for name, sub in zip(tasks, subtasks, strict=True)]
        return np.asarray(task, dtype=np.int64), np.asarray(cell, dtype=np.int64)


def centered(positions: Indices, shares: Floats, scale: float) -> Floats:
    """One-hot rows of shape (n, len(shares)) minus the training shares, times `scale`; unknown is a row of zeros.

    Centred, "unknown" stands for the training mix, and a ridge on these columns shrinks each label toward it.
    """
    places = positions[:, None]
    hot = (places == np.arange(len(shares))).astype(np.float64)
    return np.where(places >= 0, (hot - shares) * scale, 0.0)


def shrunk_means(values: Floats, positions: Indices, parents: Floats, count: int, pseudo_count: float) -> Floats:
    """Means of `values` (n, m; NaN where unknown) per label, each pulled toward its parent's mean.

    Args:
        values: what is averaged.
        positions: shape (n,), the label of each row, -1 for none.
        parents: shape (count, m) or (m,), where a label without data stands.
        count: number of labels.
        pseudo_count: how many rows the parent's mean weighs.

    Returns:
        Shape (count, m).
    """
    known = positions >= 0
    seen = np.isfinite(values[known])
    total, number = np.zeros((2, count, values.shape[1]))
    np.add.at(total, positions[known], np.where(seen, values[known], 0.0))
    np.add.at(number, positions[known], seen)
    return np.asarray((total + pseudo_count * parents) / (number + pseudo_count))
