"""Other ways to route, re-implemented from their papers on one embedding (all-MiniLM-L6-v2).

Each predicts the quality of every model on a query; all are then traced along the same dial with the same expected
cost, the training mean of the query's task. `label` means that the router is told task and subtask, as ours is; the
papers' routers see the prompt alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from _measures import Array, Frame
from numpy.typing import NDArray

Peer = Callable[[Frame, Frame, Array, Array], Array]
"""From training half, judged half and their embeddings to expected quality, shape (n_judged, m)."""
SHRINKAGE = 10.0
"""Pseudo-queries with which the shrunk table pulls a label's mean to the mean of all."""

PUBLISHED = {
    "routellm_mmlu": {
        "RouteLLM SW ranking (D_arena + D_gold)": {"cpt50": 35.40, "cpt80": 71.55, "apgr": 0.603},
        "RouteLLM causal LLM (D_arena + D_gold)": {"cpt50": 35.49, "cpt80": 70.31, "apgr": 0.600},
        "RouteLLM matrix factorisation (D_arena + D_gold)": {"cpt50": 35.46, "cpt80": 71.40, "apgr": 0.597},
        "RouteLLM BERT (D_arena + D_gold)": {"cpt50": 41.30, "cpt80": 72.20, "apgr": 0.572},
    },
    "routellm_gsm8k": {
        "RouteLLM SW ranking (D_arena + D_judge)": {"cpt50": 41.21, "cpt80": 72.20, "apgr": 0.568},
        "RouteLLM causal LLM (D_arena + D_judge)": {"cpt50": 33.64, "cpt80": 63.26, "apgr": 0.622},
        "RouteLLM matrix factorisation (D_arena + D_judge)": {"cpt50": 38.82, "cpt80": 72.62, "apgr": 0.565},
        "RouteLLM BERT (D_arena + D_judge)": {"cpt50": 44.76, "cpt80": 79.09, "apgr": 0.531},
    },
}
"""RouteLLM, arXiv 2406.18665v4, tables 2 (MMLU, 5-shot) and 3 (GSM8K, 8-shot): on all queries of the benchmark, by
routers trained on other data; ours are trained on half of the table and judged on the other."""


def embeddings(texts: Sequence[str], cache: Path | None) -> Array:
    """Vectors of texts, shape (n, 384), from a file if one was kept; computing them takes 10 to 60 ms a text."""
    keys = [hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() for text in texts]
    known: dict[str, NDArray[np.float32]] = {}
    if cache is not None and cache.exists():
        with np.load(cache, allow_pickle=False) as stored:
            known = dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))
    fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if fresh:
        from router.embedding import shared

        names, missing = list(fresh), list(fresh.values())
        for start in range(0, len(missing), 32):
            vectors = shared().embed(missing[start : start + 32]).vectors
            known |= dict(zip(names[start : start + 32], vectors, strict=True))
        if cache is not None:
            np.savez(cache, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
    return np.stack([known[key] for key in keys]).astype(np.float64)


def expected_cost(seen: Frame, frame: Frame) -> Array:
    """Mean cost of every model in the query's task, shape (n_judged, m)."""
    means = {task: seen.cost_usd[seen.tasks == task].mean(0) for task in np.unique(seen.tasks)}
    return np.stack([means.get(task, seen.cost_usd.mean(0)) for task in frame.tasks])


def table(pseudo: float) -> Peer:
    """The mean of each label (subtask where there is one, else task), pulled to the mean of all."""

    def predict(seen: Frame, frame: Frame, _: Array, __: Array) -> Array:
        overall = seen.quality.mean(0)
        means = {}
        for leaf in np.unique(seen.leaves):
            own = seen.quality[seen.leaves == leaf]
            means[leaf] = (own.sum(0) + pseudo * overall) / (len(own) + pseudo)
        return np.stack([means.get(leaf, overall) for leaf in frame.leaves])

    return predict


def neighbours(k: int) -> Peer:
    """RouterBench's kNN (arXiv 2403.12031): the unweighted mean of the k nearest queries by cosine."""

    def predict(seen: Frame, _: Frame, known: Array, asked: Array) -> Array:
        nearest = np.argpartition(-(asked @ known.T), min(k, len(known)) - 1, axis=1)[:, :k]
        return seen.quality[nearest].mean(1)

    return predict


def perceptron(seen: Frame, _: Frame, known: Array, asked: Array) -> Array:
    """MLP (RouterBench): one hidden layer of 100, all models at once."""
    from sklearn.neural_network import MLPRegressor

    fitted = MLPRegressor(hidden_layer_sizes=(100,), max_iter=300, early_stopping=True, random_state=0).fit(
        known, seen.quality
    )
    return np.asarray(fitted.predict(asked))


def support_vectors(seen: Frame, _: Frame, known: Array, asked: Array) -> Array:
    """SVM (RouterBench): a support vector regression per model, radial kernel."""
    from sklearn.svm import SVR

    return np.column_stack([SVR(C=1.0).fit(known, quality).predict(asked) for quality in seen.quality.T])


def logistic(seen: Frame, _: Frame, known: Array, asked: Array) -> Array:
    """A logistic regression per model."""
    from sklearn.linear_model import LogisticRegression

    columns = []
    for quality in seen.quality.T:
        clears = quality >= 0.5
        if clears.all() or not clears.any():
            columns.append(np.full(len(asked), float(clears.all())))
            continue
        columns.append(LogisticRegression(max_iter=2000).fit(known, clears).predict_proba(asked)[:, 1])
    return np.column_stack(columns)


def logistic_with_label(seen: Frame, frame: Frame, known: Array, asked: Array) -> Array:
    """The same, told task and subtask."""
    leaves = np.unique(seen.leaves)
    labels, theirs = seen.leaves[:, None] == leaves, frame.leaves[:, None] == leaves
    return logistic(seen, frame, np.hstack([known, labels]), np.hstack([asked, theirs]))


def factorised(seen: Frame, _: Frame, known: Array, asked: Array) -> Array:
    """Matrix factorisation (RouteLLM; EmbedLLM, arXiv 2410.02223): P = sigmoid(w . (v_model * W q) + b_model).

    RouteLLM's bilinear form with EmbedLLM's loss, which suits any number of models; d = 128, noise on the query as in
    RouteLLM, Adam, stopped at the best loss on a tenth of the training queries. The weights w are part of v.
    """
    random = np.random.default_rng(0)
    width, models = 128, seen.quality.shape[1]
    order = random.permutation(len(known))
    held, rest = order[: len(order) // 10], order[len(order) // 10 :]
    start = seen.quality[rest].mean(0).clip(0.02, 0.98)
    weights = [
        random.normal(0, known.shape[1] ** -0.5, (known.shape[1], width)),
        random.normal(0, width**-0.5, (width, models)),
        np.log(start / (1 - start)),
    ]
    moments = [(np.zeros_like(weight), np.zeros_like(weight)) for weight in weights]

    def chance(rows: Array) -> Array:
        return 1 / (1 + np.exp(-(rows @ weights[0] @ weights[1] + weights[2])))

    best, kept, step = np.inf, [weight.copy() for weight in weights], 0
    for _epoch in range(60):
        for batch in np.array_split(random.permutation(rest), max(1, len(rest) // 64)):
            rows = known[batch] + random.normal(0, 0.05 * known.std(), (len(batch), known.shape[1]))
            error = (chance(rows) - seen.quality[batch]) / len(batch)
            hidden = rows @ weights[0]
            slopes = [rows.T @ (error @ weights[1].T), hidden.T @ error, error.sum(0)]
            step += 1
            for place, slope in enumerate(slopes):
                first, second = moments[place]
                first += 0.1 * (slope - first)
                second += 0.001 * (slope**2 - second)
                stride = 3e-3 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                weights[place] -= stride * first / (np.sqrt(second) + 1e-8)
        guess = chance(known[held]).clip(1e-6, 1 - 1e-6)
        loss = -(seen.quality[held] * np.log(guess) + (1 - seen.quality[held]) * np.log(1 - guess)).mean()
        if loss < best:
            best, kept = loss, [weight.copy() for weight in weights]
    weights = kept
    return chance(asked)


PEERS: dict[str, Peer] = {
    "per-task table (label)": table(0.0),
    "per-task table, shrunk (label)": table(SHRINKAGE),
    "kNN 40": neighbours(40),
    "kNN 100": neighbours(100),
    "MLP": perceptron,
    "SVM": support_vectors,
    "logistic": logistic,
    "logistic (label)": logistic_with_label,
    "matrix factorisation": factorised,
}
