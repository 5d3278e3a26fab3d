"""Expected tokens and cost of every model on a text.

Output length is a ridge on log(1 + tokens); the mean comes back through Duan's smearing factor, median and 95th
percentile through the residuals' own in the task. Prices are read off the training table, for replay; a live router
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
"""Queries that a task's parent mean weighs, and with which its quantiles are pulled to those of all tasks."""
QUANTILES = (0.5, 0.95)
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
class Tokens:
    """Tokens of n requests by m models; every array has shape (n, m)."""

    read: Floats
    written: Floats
    """Mean."""
    written_p50: Floats
    """Half of the answers are at most so long."""
    written_p95: Floats
    """95 of 100 answers are at most so long; not below the mean."""


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
    quantiles: Floats
    """Shape (2, tasks + 1, m): exp of the residuals' median and 95th percentile in each task; last, over all tasks."""
    ceiling: Floats
    """Shape (m,): longest output in training; no estimate goes beyond it."""
    prices: Floats
    """Shape (2, m): USD per input token and per output token in the training table."""
    overall_cost: Floats
    """Shape (m,): mean USD per query."""
    task_cost: Floats
    """Shape (tasks, m): mean USD per query, shrunk toward `overall_cost`."""

    def tokens(self, columns: Floats, lengths: Floats, task: Indices) -> Tokens:
        """How many tokens each model is expected to read and to write.

        Args:
            columns: the design columns, shape (n, columns).
            lengths: characters of each text, shape (n,).
            task: shape (n,), -1 where unknown.
        """
        log_tokens = np.minimum(np.maximum(columns @ self.weights + self.intercepts, 0.0), np.log1p(self.ceiling))
        mean = np.minimum(np.maximum(np.exp(log_tokens) * self.smearing - 1.0, 0.0), self.ceiling)
        half, most = np.exp(log_tokens) * self.quantiles[:, task] - 1.0  # unknown, -1, is the row of all tasks
        high = np.minimum(np.maximum(most, mean), self.ceiling)
        return Tokens(
            read=self.input_slopes[0] + np.outer(lengths, self.input_slopes[1]),
            written=mean,
            written_p50=np.clip(half, 0.0, high),
            written_p95=high,
        )

    def cost_usd(self, tokens: Tokens, task: Indices) -> Floats:
        """Expected USD at the training table's prices, shape (n, m), steadied by `REQUEST_SHARE`.

        The task's mean sets its level; how far the request departs from that, the median of its length: few very
        long answers should not make a model dear for every request.
        """
        request = tokens.read * self.prices[0] + tokens.written_p50 * self.prices[1]
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
    intercepts, smearing, ceiling = np.zeros((3, models))
    quantiles = np.ones((len(QUANTILES), task_count + 1, models))
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
        quantiles[:, :, model] = np.exp(_quantiles(residual, task[seen], task_count))
        ceiling[model] = written.max()
    seen_costs = np.isfinite(cost_usd)
    overall = np.nansum(cost_usd, axis=0) / np.maximum(seen_costs.sum(axis=0), 1)
    return CostModel(
        input_slopes=slopes,
        weights=weights,
        intercepts=intercepts,
        smearing=smearing,
        quantiles=quantiles,
        ceiling=ceiling,
        prices=prices,
        overall_cost=overall,
        task_cost=shrunk_means(cost_usd, task, overall, task_count, PSEUDO_COUNT),
    )


def _quantiles(residual: Floats, task: Indices, task_count: int) -> Floats:
    """`QUANTILES` of the residuals in each task, pulled to those of all, which come last; shape (2, tasks + 1)."""
    overall = np.quantile(residual, QUANTILES)
    found = np.tile(overall[:, None], task_count + 1)
    for place in range(task_count):
        own = residual[task == place]
        if len(own):
            share = len(own) / (len(own) + PSEUDO_COUNT)
            found[:, place] += share * (np.quantile(own, QUANTILES) - overall)
    return found


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
