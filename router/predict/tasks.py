"""Which task a text belongs to, with the right to say that it is none of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.predict.labels import Floats
from router.types import TaskGuess


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskModel:
    """Multinomial logistic regression over embedded texts."""

    weights: Floats
    """Shape (tasks, width); no rows when training knew one task only, which teaches nothing about others."""
    intercepts: Floats
    """Shape (tasks,)."""
    floor: float
    """Below this probability it abstains."""
    reach: float
    """Beyond this distance from the training texts it abstains: a classifier is sure of itself far from its data."""

    def probabilities(self, embedded: NDArray[np.float32]) -> Floats:
        """Shape (n, tasks); rows sum to 1."""
        scores = embedded.astype(np.float64) @ self.weights.T + self.intercepts
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def guess(self, embedded: NDArray[np.float32], names: Sequence[str]) -> TaskGuess:
        """The task of one embedded text of shape (width,)."""
        if not len(self.weights):
            return TaskGuess(task=None, probability=0.0, by="none")
        row = self.probabilities(embedded[None])[0]
        best = int(row.argmax())
        probability = float(row[best])
        if probability < self.floor or distance(embedded[None])[0] > self.reach:
            return TaskGuess(task=None, probability=probability, by="none")
        return TaskGuess(task=names[best], probability=probability, by="classifier")

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        return {f"tasks_{field.name}": np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> TaskModel:
        """The model that `arrays` was taken from."""
        return cls(
            weights=arrays["tasks_weights"],
            intercepts=arrays["tasks_intercepts"],
            floor=float(arrays["tasks_floor"]),
            reach=float(arrays["tasks_reach"]),
        )


def distance(embedded: NDArray[np.float32]) -> Floats:
    """Root mean square of an embedded text's columns (about 1 in training), shape (n,)."""
    return np.asarray(np.sqrt((embedded.astype(np.float64) ** 2).mean(axis=1)))
