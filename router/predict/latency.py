"""How long the recorded calls took, by task and model: what an artifact knows of latency."""

from __future__ import annotations

import numpy as np

from router.decisions import Pace
from router.predict.labels import Floats, Indices

LEAST_CALLS = 20
"""With fewer recorded calls of a model in a task, all of the model's calls speak for it; in all, nothing does."""


def fit_latency(latency_s: Floats, task: Indices, tasks: int) -> Floats:
    """Median and 95th percentile of each model's seconds in each task.

    Args:
        latency_s: shape (n, m), NaN where it was not recorded.
        task: shape (n,).
        tasks: number of tasks.

    Returns:
        Shape (tasks + 1, m, 2), the last row for unknown tasks; NaN where too few calls were recorded.
    """
    found = np.full((tasks + 1, latency_s.shape[1], 2), np.nan)
    for row in (tasks, *range(tasks)):
        own = latency_s if row == tasks else latency_s[task == row]
        for model in range(latency_s.shape[1]):
            taken = own[np.isfinite(own[:, model]), model]
            found[row, model] = np.quantile(taken, (0.5, 0.95)) if len(taken) >= LEAST_CALLS else found[-1, model]
    return found


def recorded_pace(latency: Floats, model: int, task: int, name: str) -> Pace | None:
    """The pace of a model; None where too few calls were recorded.

    Args:
        latency: of `fit_latency`.
        model: its position; models that were added to the artifact later stand behind those of the table.
        task: position of the task, -1 for unknown.
        name: of the model.
    """
    if model >= latency.shape[1] or np.isnan(latency[task, model, 0]):
        return None
    median_s, p95_s = latency[task, model].tolist()
    return Pace(model=name, median_s=median_s, p95_s=p95_s, calls=0, of="outcomes")
