"""Which task a text belongs to, with the right to say that it is none of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.decisions import TaskGuess
from router.predict.features import Embedder
from router.predict.labels import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskModel:
    """Multinomial logistic regression over embedded texts, for texts that resemble a task at all."""

    weights: Floats
    """Shape (tasks, width); no rows when training knew one task only, which teaches nothing about others."""
    intercepts: Floats
    """Shape (tasks,)."""
    floor: float
    """Below this probability it abstains."""
    centroids: Floats
    """Shape (tasks, dimensions): unit vectors, the mean direction of each task's projected n-grams."""
    likeness_floor: float
    """Below this likeness to every task it abstains: a classifier is sure of itself far from its data."""

    def probabilities(self, embedded: NDArray[np.float32]) -> Floats:
        """Shape (n, tasks); rows sum to 1."""
        scores = embedded.astype(np.float64) @ self.weights.T + self.intercepts
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def guess(self, text: str, embedder: Embedder, names: Sequence[str]) -> TaskGuess:
        """The task of a text; `names` are the tasks in the order of the weights."""
        if not len(self.weights):
            return TaskGuess(task=None, probability=0.0, by="none")
        dense, share = embedder.dense(text)
        row = self.probabilities(embedder.scaled(dense, text)[None])[0]
        best = int(row.argmax())
        probability = float(row[best])
        if probability < self.floor or likeness(dense, share, self.centroids) < self.likeness_floor:
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
            centroids=arrays["tasks_centroids"],
            likeness_floor=float(arrays["tasks_likeness_floor"]),
        )


def likeness(dense: NDArray[np.float32], share: float, centroids: Floats) -> float:
    """Cosine of a text's n-grams, unknown ones included, to the nearest task's direction; -1 to 1.

    Args:
        dense: projected n-grams, shape (dimensions,).
        share: how much of the text they stand for.
        centroids: unit vectors, shape (tasks, dimensions).
    """
    return share * float((centroids @ dense).max(initial=-1.0)) if len(centroids) else 0.0
