"""Expected tokens and cost of every model on a text.

Output length is a ridge on log(1 + tokens); the mean comes back through Duan's smearing factor, the 95th
percentile through the residuals' own. Prices are read off the training table, for replay; a live router
multiplies the tokens by its dated prices instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.predict.labels import Floats, Indices, shrunk_means

RIDGE = 100.0
"""Pseudo-observations against each column of the output length."""
PSEUDO_COUNT = 20.0
"""Queries that a task's parent mean weighs."""
REQUEST_SHARE = 0.25
"""How far, in logarithms, `cost_usd` follows the single request away from its task's mean cost.

A compromise, measured on halves of four public tables. What a long request gains from a strong model is
under-estimated (every estimate is shrunk) while what it costs is not, so the full request cost starves long requests:
saving at 98 % of the best model's quality, a quarter against in full, is 0.61 to 0.54 on three reasoning tasks and
0.23 to 0.18 on one homogeneous task. Across many subjects of different length the full cost saves more dollars
(0.48 to 0.56 and 0.26 to 0.38), at more calls to the strong model for the same quality.
"""
SHARE_OF_TWO = 0.1
"""The same between two models: the dial is nearly a threshold on the gain, so that a point stands for a share of
calls to the stronger one. A quarter costs up to 0.02 of the area under that curve (APGR) on two public tables,
nothing at all leaves a table of means without an order among requests of one label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Tokens and dollars by model; every array's first or last axis of length m is the model."""

    input_slopes: Floats
    """Shape (2, m): input tokens per request and per character."""
    weights: Floats
    """Shape (columns, m): log1p of output tokens on the quality model's design columns."""
    intercepts: Floats
    """Shape (m,)."""
    smearing: Floats
    """Shape (m,): mean of exp(residual), which turns exp(mean of log) into a mean."""
    tail: Floats
    """Shape (m,): exp of the residuals' 95th percentile."""
    ceiling: Floats
    """Shape (m,): longest output in training; no estimate goes beyond it."""
    prices: Floats
    """Shape (2, m): USD per input token and per output token in the training table."""
    overall_cost: Floats
    """Shape (m,): mean USD per query."""
    task_cost: Floats
    """Shape (tasks, m): mean USD per query, shrunk toward `overall_cost`."""

    def tokens(self, columns: Floats, lengths: Floats) -> tuple[Floats, Floats, Floats]:
        """Expected input tokens, expected output tokens, and their 95th percentile, each of shape (n, m).

        Args:
            columns: the design columns, shape (n, columns).
            lengths: characters of each text, shape (n,).
        """
        log_tokens = np.clip(columns @ self.weights + self.intercepts, 0.0, np.log1p(self.ceiling))
        mean = np.minimum(np.maximum(np.exp(log_tokens) * self.smearing - 1.0, 0.0), self.ceiling)
        high = np.minimum(np.maximum(np.exp(log_tokens) * self.tail - 1.0, mean), self.ceiling)
        return self.input_slopes[0] + np.outer(lengths, self.input_slopes[1]), mean, high

    def cost_usd(self, input_tokens: Floats, output_tokens: Floats, task: Indices) -> Floats:
        """Expected USD at the training table's prices, shape (n, m), steadied by `REQUEST_SHARE`."""
        request = input_tokens * self.prices[0] + output_tokens * self.prices[1]
        usual = np.where((task >= 0)[:, None], self.task_cost[task], self.overall_cost)
        share = REQUEST_SHARE if len(self.overall_cost) > 2 else SHARE_OF_TWO
        steady = np.maximum(usual, 1e-300) * (np.maximum(request, 1e-300) / np.maximum(usual, 1e-300)) ** share
        return np.where((request > 0) & (usual > 0), steady, 0.0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        return {f"cost_{field.name}": getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> CostModel:
        """The model that `arrays` was taken from."""
        return cls(**{field.name: arrays[f"cost_{field.name}"] for field in fields(cls)})


def fit_cost(
    columns: Floats,
    lengths: Floats,
    task: Indices,
    task_count: int,
    *,
    input_tokens: Floats,
    output_tokens: Floats,
    cost_usd: Floats,
) -> CostModel:
    """Fit on a training table; the three keyword arrays have shape (n, m), NaN where a model was not asked."""
    models = cost_usd.shape[1]
    slopes, prices = np.zeros((2, 2, models))
    weights = np.zeros((columns.shape[1], models))
    intercepts, smearing, tail, ceiling = np.zeros((4, models))
    for model in range(models):
        seen = np.isfinite(cost_usd[:, model])
        if not seen.any():
            continue
        own, spent = columns[seen], cost_usd[seen, model]
        read, written = input_tokens[seen, model], output_tokens[seen, model]
        slopes[:, model] = non_negative_pair(np.ones(len(own)), lengths[seen], read)
        prices[:, model] = non_negative_pair(read, written, spent)
        target = np.log1p(written)
        intercepts[model], weights[:, model], fitted = ridge(own, target)
        residual = target - fitted
        smearing[model] = np.clip(np.exp(residual).mean(), 1.0, 20.0)
        tail[model] = np.exp(np.quantile(residual, 0.95))
        ceiling[model] = written.max()
    seen_costs = np.isfinite(cost_usd)
    overall = np.nansum(cost_usd, axis=0) / np.maximum(seen_costs.sum(axis=0), 1)
    return CostModel(
        input_slopes=slopes,
        weights=weights,
        intercepts=intercepts,
        smearing=smearing,
        tail=tail,
        ceiling=ceiling,
        prices=prices,
        overall_cost=overall,
        task_cost=shrunk_means(cost_usd, task, overall, task_count, PSEUDO_COUNT),
    )


def ridge(columns: Floats, target: Floats) -> tuple[float, Floats, Floats]:
    """Intercept, weights, and leave-one-out fitted values (so that residuals are honest about width)."""
    center, mean = columns.mean(axis=0), target.mean()
    inside = columns - center
    gram = inside.T @ inside + RIDGE * np.eye(columns.shape[1])
    solved = np.linalg.solve(gram, inside.T)
    weights = solved @ (target - mean)
    leverage = np.minimum(np.einsum("ij,ji->i", inside, solved) + 1.0 / len(target), 0.99)
    fitted = mean + inside @ weights
    honest = target - (target - fitted) / (1.0 - leverage)
    return float(mean - center @ weights), weights, honest


def non_negative_pair(first: Floats, second: Floats, target: Floats) -> Floats:
    """Least squares of `target` on two columns with coefficients >= 0, shape (2,).

    Two columns need no general solver: if a coefficient comes out negative it is 0 and the other stands alone.
    """
    columns = np.column_stack([first, second])
    size = np.maximum(np.abs(columns).max(axis=0), 1e-12)
    found = np.linalg.lstsq(columns / size, target, rcond=None)[0] / size
    if (found >= 0).all():
        return np.asarray(found)
    pairs = []
    for column, unit in ((first, np.array([1.0, 0.0])), (second, np.array([0.0, 1.0]))):
        value = max(float(column @ target) / max(float(column @ column), 1e-300), 0.0)
        pairs.append((float(((target - value * column) ** 2).sum()), value * unit))
    return np.asarray(min(pairs, key=lambda pair: pair[0])[1])
