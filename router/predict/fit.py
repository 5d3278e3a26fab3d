"""Everything that needs scikit-learn: fitting the embedder, the logistic heads and the task classifier.

The only file that imports it, inside functions, so that serving never loads it. What is fitted here leaves as
plain arrays.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.predict.calibrate import logit
from router.predict.features import BUCKETS, Embedder, buckets, surface, windowed
from router.predict.labels import Floats, Indices, shrunk_means
from router.predict.quality import Heads, design
from router.predict.tasks import TaskModel, likeness

DIMENSIONS = 96
"""Length of the dense vector; 48 to 160 route alike, and the artifact grows with it."""
MAX_ROWS = 8_192
"""N-grams kept, the most frequent ones: 96 x 8,192 float32 are 3 MB."""
MIN_TEXTS = 3
"""Texts an n-gram must occur in."""
PSEUDO_COUNT = 20.0
"""Queries that a label's parent mean weighs in the table of means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """How far the logistic heads may move away from the table of means."""

    shared: float
    """Variance of a coefficient of the difficulty that all models share; 0: every model on its own."""
    own: float
    """Variance of a coefficient of one model's deviation from it."""


PRIORS = (Prior(shared=0.03, own=0.001), Prior(shared=0.03, own=0.003))
"""Priors that cross-fitting chooses from. What makes a query hard for everyone is learned from all models'
answers and may be trusted early; what makes it hard for one model has only that model's answers. More priors to
choose from are more chances to choose by luck: without a shared difficulty, or at 0.01, tables route worse."""
DIFFICULTY_SCALE = 5.0
"""Length of the difficulty's column: long enough that its slope is hardly penalised."""
INNER_FOLDS = 5


def fit_embedder(texts: Sequence[str], *, seed: int) -> Embedder:
    """Fit n-gram weights, projection and scales on texts; no labels are looked at."""
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import TruncatedSVD

    counted = [buckets(windowed(text)) for text in texts]
    frequency = np.zeros(BUCKETS)
    for counts in counted:
        frequency[list(counts)] += 1
    common = np.argsort(-frequency, kind="stable")[:MAX_ROWS]
    kept = np.sort(common[frequency[common] >= min(MIN_TEXTS, len(texts))])
    row_of_bucket = np.full(BUCKETS, -1, dtype=np.int32)
    row_of_bucket[kept] = np.arange(len(kept))
    weight = np.log((1.0 + len(texts)) / (1.0 + frequency[kept])) + 1.0

    starts, columns, values = [0], [], []
    for counts in counted:
        rows = row_of_bucket[list(counts)] if counts else np.zeros(0, dtype=np.int32)
        known = rows >= 0
        row_values = np.log1p(np.fromiter(counts.values(), dtype=np.float64)[known]) * weight[rows[known]]
        columns.append(rows[known])
        values.append(row_values / max(float(np.linalg.norm(row_values)), 1e-9))
        starts.append(starts[-1] + len(row_values))
    matrix = csr_matrix((np.concatenate(values), np.concatenate(columns), starts), shape=(len(texts), len(kept)))
    size = min(DIMENSIONS, len(kept) - 1, len(texts) - 1)
    if size < 1:
        projection = np.zeros((len(kept), 0))
    else:
        projection = TruncatedSVD(size, random_state=seed).fit(matrix).components_.T
    dense = np.asarray(matrix @ projection)
    counts_of = np.asarray([surface(text) for text in texts])
    # The dense columns share one scale, so that leading directions keep their greater length and the
    # ridge trusts them more; the surface counts have nothing in common and get one each.
    widest = float(dense.std(axis=0).max(initial=0.0)) / 2.0 or 1.0
    spread = counts_of.std(axis=0)
    scale = np.concatenate([np.full(dense.shape[1], widest), np.where(spread > 1e-6, spread, 1.0)])
    return Embedder(
        row_of_bucket=row_of_bucket,
        weight=weight.astype(np.float32),
        projection=projection.astype(np.float32),
        center=np.concatenate([dense.mean(axis=0), counts_of.mean(axis=0)]).astype(np.float32),
        scale=scale.astype(np.float32),
    )


def fit_heads(
    embedded: NDArray[np.float32],
    quality: Floats,
    task: Indices,
    cell: Indices,
    *,
    task_count: int,
    cell_of_task: Indices,
    prior: Prior,
) -> Heads:
    """Fit the table of means and one logistic head per model.

    Args:
        embedded: shape (n, width).
        quality: shape (n, m), values in [0, 1], NaN where a model was not asked.
        task: shape (n,), task of each row.
        cell: shape (n,), cell of each row, -1 for none.
        task_count: number of tasks.
        cell_of_task: shape (cells,), the task of each cell.
        prior: how far the heads may move.
    """
    overall = (np.nansum(quality, axis=0) + 0.5) / (np.isfinite(quality).sum(axis=0) + 1.0)
    task_means = shrunk_means(quality, task, overall, task_count, PSEUDO_COUNT)
    cell_means = shrunk_means(quality, cell, task_means[cell_of_task], len(cell_of_task), PSEUDO_COUNT)
    task_shares = np.bincount(task[task >= 0], minlength=task_count) / len(task)
    cell_shares = np.bincount(cell[cell >= 0], minlength=len(cell_of_task)) / len(cell)
    columns = design(embedded, task, cell, task_shares, cell_shares)
    weights, intercepts = _fit_logistic_heads(columns, quality, overall, prior)
    return Heads(
        overall=overall,
        task_means=task_means,
        cell_means=cell_means,
        task_shares=task_shares,
        cell_shares=cell_shares,
        weights=weights,
        intercepts=intercepts,
    )


def _fit_logistic_heads(columns: Floats, quality: Floats, overall: Floats, prior: Prior) -> tuple[Floats, Floats]:
    """Weights (m, columns) and intercepts (m,)."""
    weights, intercepts = np.zeros((quality.shape[1], columns.shape[1])), logit(overall)
    difficulty = fit_difficulty(columns, quality, overall, prior.shared) if prior.shared else None
    wide = columns if difficulty is None else np.column_stack([columns, difficulty[0]])
    for model in range(quality.shape[1]):
        seen = np.isfinite(quality[:, model])
        found = fit_logistic(wide[seen], quality[seen, model], prior.own)
        if found is None:
            continue
        own, intercepts[model] = found
        weights[model] = own[: columns.shape[1]]
        if difficulty is not None:
            # The difficulty is linear in the columns, too: fold it in, and serving is one product.
            weights[model] += own[-1] * difficulty[1]
            intercepts[model] += own[-1] * difficulty[2]
    return weights, intercepts


def fit_difficulty(
    columns: Floats, quality: Floats, overall: Floats, variance: float
) -> tuple[Floats, Floats, float] | None:
    """How easy each query is for the models together.

    Returns:
        The cross-fitted column of shape (n,) that heads are trained on (fitted on the row itself it would promise
        too much), and the weights (columns,) and intercept that give it on new texts. None if nothing varies.
    """
    seen = np.isfinite(quality)
    # A missing outcome counts as that model's mean, so that a query is not easy because a weak model was not asked.
    mean = np.where(seen, quality, overall).mean(axis=1)
    whole = fit_logistic(columns, mean, variance)
    if whole is None:
        return None
    column = columns @ whole[0] + whole[1]
    center, scale = float(column.mean()), max(float(column.std()), 1e-9) / DIFFICULTY_SCALE
    turn = np.random.default_rng(len(columns)).permutation(len(columns)) % INNER_FOLDS
    for fold in range(INNER_FOLDS):
        part = fit_logistic(columns[turn != fold], mean[turn != fold], variance)
        if part is not None:
            column[turn == fold] = columns[turn == fold] @ part[0] + part[1]
    return (column - center) / scale, whole[0] / scale, (whole[1] - center) / scale


def fit_logistic(columns: Floats, quality: Floats, strength: float) -> tuple[Floats, float] | None:
    """Weights and intercept of a logistic regression on graded labels; None when the labels do not vary.

    A quality q counts as a pass of weight q and a fail of weight 1 - q.
    """
    from sklearn.linear_model import LogisticRegression

    if not len(quality) or np.ptp(quality) < 1e-9:
        return None
    if np.isin(quality, (0.0, 1.0)).all():
        rows, passed, weight = columns, quality > 0.5, np.ones(len(quality))
    else:
        rows = np.vstack([columns, columns])
        passed = np.repeat([True, False], len(quality))
        weight = np.concatenate([quality, 1.0 - quality])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # An early stop after 200 steps is close enough under this prior.
        found = LogisticRegression(C=strength, max_iter=200, tol=1e-4).fit(rows, passed, sample_weight=weight)
    return found.coef_[0], float(found.intercept_[0])


def fit_tasks(
    embedder: Embedder, texts: Sequence[str], task: Indices, task_count: int, folds: Indices, *, seed: int
) -> tuple[TaskModel, float | None]:
    """The task classifier, and its accuracy on held-out texts that it does not abstain from.

    The floor is the lowest probability (at least 0.5) from which on held-out guesses are right 97 times in 100;
    the likeness floor is what 98 of 100 texts reach that neither embedder nor centroids have seen.
    """
    embedded = embedder.embed_many(texts)
    if task_count < 2:
        nothing = np.zeros((0, embedder.width))
        dense = np.zeros((0, embedder.projection.shape[1]))
        model = TaskModel(weights=nothing, intercepts=np.zeros(0), floor=1.0, centroids=dense, likeness_floor=1.0)
        return model, None
    top, right = np.zeros(len(task)), np.zeros(len(task), dtype=bool)
    for fold in np.unique(folds):
        out = folds == fold
        rows = _multinomial(embedded[~out], task[~out], task_count).probabilities(embedded[out])
        top[out], right[out] = rows.max(axis=1), rows.argmax(axis=1) == task[out]
    order = np.argsort(-top, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(share >= 0.97)
    floor = max(0.5, float(top[order][enough[-1]])) if len(enough) else 1.0
    is_accepted = top >= floor
    model = replace(
        _multinomial(embedded, task, task_count),
        floor=floor,
        centroids=_centroids(embedder, texts, task, task_count),
        likeness_floor=_likeness_floor(texts, task, task_count, folds == folds[0], seed),
    )
    return model, float(right[is_accepted].mean()) if is_accepted.any() else None


def _centroids(embedder: Embedder, texts: Sequence[str], task: Indices, task_count: int) -> Floats:
    sums = np.zeros((task_count, embedder.projection.shape[1]))
    np.add.at(sums, task, np.stack([embedder.dense(text)[0] for text in texts]))
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9))


def _likeness_floor(
    texts: Sequence[str], task: Indices, task_count: int, held_out: NDArray[np.bool_], seed: int
) -> float:
    if held_out.all():
        return 1.0
    known = [text for text, is_out in zip(texts, held_out, strict=True) if not is_out]
    embedder = fit_embedder(known, seed=seed)
    centroids = _centroids(embedder, known, task[~held_out], task_count)
    found = [likeness(*embedder.dense(texts[row]), centroids) for row in np.flatnonzero(held_out).tolist()]
    return max(float(np.quantile(found, 0.02)), 1e-6)


def _multinomial(embedded: NDArray[np.float32], task: Indices, task_count: int) -> TaskModel:
    from sklearn.linear_model import LogisticRegression

    weights, intercepts = np.zeros((task_count, embedded.shape[1])), np.full(task_count, -20.0)
    present = np.unique(task)
    if len(present) == 1:
        intercepts[present] = 0.0
        return TaskModel(weights=weights, intercepts=intercepts, floor=1.0, centroids=weights, likeness_floor=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Any = LogisticRegression(C=0.1, max_iter=200, tol=1e-3).fit(embedded.astype(np.float64), task)
    if len(present) == 2:
        weights[present[1]], intercepts[present[1]] = found.coef_[0], found.intercept_[0]
        intercepts[present[0]] = 0.0
    else:
        weights[present], intercepts[present] = found.coef_, found.intercept_
    return TaskModel(weights=weights, intercepts=intercepts, floor=1.0, centroids=weights, likeness_floor=1.0)
