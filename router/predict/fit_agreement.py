"""Fitting `agreement`: who has to agree, in which task, before an answer may be taken for right.

Cascades ask few models, in an order that is not known yet. So both steps are fitted on random subsets of the models
such as cascades ask: those that look best at some price of quality, with luck. Among subsets of any models there are
few of strong ones, and acceptance would be too sure of those, with which cascades end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from router.answers import answer_of, options_of
from router.predict.agreement import COLUMNS, SHAPE, SLOPES, Acceptance, Given, Mask, Votes, grouped, shape_of, voters
from router.predict.calibrate import sigmoid
from router.predict.labels import Floats, Indices, shrunk_means
from router.predict.likeness import Likeness, fit_likeness
from router.predict.meaning import embed
from router.predict.sureness import COLUMNS as SURENESS_COLUMNS
from router.predict.sureness import LEAST_ROWS, PENALTY, Sureness, scales

SUBSETS = 6
"""Random subsets of models per query."""
MOST_MODELS = 6
"""Size of the largest subset."""
LUCK = 0.15
"""Standard deviation of what is added to each model's worth in a draw, in quality."""
DEAR, CHEAP = 3.0, 0.02
"""Prices of quality that subsets are drawn at, in units of one point of quality for the best model's cost."""
VOTE_PENALTY = 1.0
"""Ridge on each model's own utilities; half a label's worth of doubt."""
SECOND_SHARE = 0.5
"""Weight of the second best supported answer in the logistic regression; it matters only where it wins."""
COLUMN_PENALTY, LABEL_PENALTY, SLOPE_PENALTY = 0.3, 1.0, 2.0
"""Ridge on the regression's shared columns, on a leaf's or task's constant, and on a task's own slopes."""
PSEUDO_COUNT = 10.0
"""Responses that the overall length weighs in a task's."""


def read_answers(
    prompts: Sequence[str],
    responses: Sequence[Sequence[str]],
    output_tokens: Floats,
    logprob: Floats | None = None,
    *,
    quality: Floats | None = None,
) -> tuple[Given, Likeness | None]:
    """Answers of every query and model, and when two of them in prose say the same.

    Args:
        prompts: n texts.
        responses: n rows of m responses.
        output_tokens: shape (n, m); NaN counts as 0.
        logprob: shape (n, m), mean log-probability per token; NaN where unknown.
        quality: shape (n, m); where it is given, prose is embedded, and its likeness fitted.
    """
    group = np.full(output_tokens.shape, -1, dtype=np.int64)
    shape = np.zeros((*output_tokens.shape, len(SHAPE)))
    prose: list[list[tuple[int, str]]] = []
    for row, (prompt, given) in enumerate(zip(prompts, responses, strict=True)):
        options = options_of(prompt)
        answers = [answer_of(response, options) for response in given]
        group[row] = grouped([answer.key for answer in answers])
        prose.append([(model, answer.prose) for model, answer in enumerate(answers) if answer.prose])
        shape[row] = [shape_of(answer, text, prompt) for answer, text in zip(answers, given, strict=True)]
    likeness = _join_prose(group, prose, quality) if quality is not None and any(prose) else None
    unknown = np.full(output_tokens.shape, np.nan)
    given_all = Given(
        group=group,
        shape=shape,
        length=np.log1p(np.nan_to_num(output_tokens)),
        logprob=unknown if logprob is None else logprob,
    )
    return given_all, likeness


def _join_prose(group: Indices, prose: Sequence[Sequence[tuple[int, str]]], quality: Floats) -> Likeness | None:
    """Fit when answers in prose say the same, and give those that do one number, in `group`."""
    vectors, _ = embed([text for row in prose for _, text in row])
    ends = np.cumsum([len(row) for row in prose])
    parts = np.split(vectors, ends[:-1])
    rows = [([model for model, _ in row], part) for row, part in zip(prose, parts, strict=True)]
    likeness = fit_likeness(rows, quality)
    if likeness is not None:
        for row, (models, part) in enumerate(rows):
            if len(models) > 1:
                group[row] = likeness.join(group[row].tolist(), models, part)
    return likeness


def fit_acceptance(
    given: Given,
    quality: Floats,
    expected: Floats,
    task: Indices,
    leaf: Indices,
    *,
    tasks: int,
    leaves: int,
    cost_usd: Floats,
    seed: int,
) -> Acceptance:
    """Fit both steps on queries that every model has answered.

    Args:
        given: n answers of m models.
        quality: shape (n, m), in [0, 1].
        expected: shape (n, m), log-odds of expected quality, made without the query's own outcomes.
        task: shape (n,).
        leaf: shape (n,), finest label.
        tasks: number of tasks.
        leaves: number of leaves.
        cost_usd: shape (m,), mean cost of each model.
        seed: of the subsets.
    """
    random = np.random.default_rng(seed)
    rows, called = subsets(sigmoid(expected), cost_usd, random)
    votes = fit_votes(given.group, quality, expected, rows, called)
    center, scale = _lengths(given.length, task, tasks)
    scaled = Acceptance(
        votes=votes,
        length_center=center,
        length_scale=scale,
        center=np.zeros(len(COLUMNS)),
        scale=np.ones(len(COLUMNS)),
        weights=np.zeros(1 + len(COLUMNS) + leaves + tasks * (1 + len(SLOPES))),
    )
    first, second = scaled.contenders(given.rows(rows), called, expected[rows], task[rows])
    there = np.flatnonzero(second[2])
    columns = np.concatenate([first[0], second[0][there]])
    labels = np.concatenate([quality[rows, first[1]], quality[rows, second[1]][there]])
    source = np.concatenate([rows, rows[there]])
    weight = np.concatenate([np.ones(len(rows)), np.full(len(there), SECOND_SHARE)]) / SUBSETS
    spread = columns.std(axis=0)
    scaled = replace(scaled, center=columns.mean(axis=0), scale=np.where(spread > 1e-6, spread, 1.0))
    design = scaled.design(columns, task[source], leaf[source])
    penalty = np.full(design.shape[1], SLOPE_PENALTY)
    penalty[: 1 + len(COLUMNS) + leaves + tasks] = LABEL_PENALTY
    penalty[: 1 + len(COLUMNS)] = COLUMN_PENALTY
    penalty[0] = 0.01
    fitted = replace(scaled, weights=ridge_logistic(design, labels, weight, penalty))
    masks = (np.concatenate([called, called[there]]), np.concatenate([first[3], second[3][there]]))
    sureness = fit_sureness(
        given.logprob, source, masks, task, tasks, scored=design @ fitted.weights, labels=labels, weight=weight
    )
    return replace(fitted, sureness=sureness)


def fit_sureness(
    logprob: Floats,
    source: Indices,
    masks: tuple[Mask, Mask],
    task: Indices,
    tasks: int,
    *,
    scored: Floats,
    labels: Floats,
    weight: Floats,
) -> Sureness | None:
    """What log-probabilities add to the answers' log-odds; None where too few of them are known.

    Args:
        logprob: shape (n, m).
        source: shape (rows,), query of each judged answer.
        masks: shape (rows, m) each, who was asked and who stands behind the answer.
        task: shape (n,).
        tasks: number of tasks.
        scored: shape (rows,), log-odds without log-probabilities.
        labels: shape (rows,), quality of the answers.
        weight: shape (rows,).
    """
    scale = scales(logprob, task, tasks)
    if scale is None:
        return None
    found = Sureness(
        center=scale[0],
        scale=scale[1],
        weights=np.zeros(SURENESS_COLUMNS),
        share=np.isfinite(logprob).mean(axis=0),
    )
    columns, known = found.columns(logprob[source], *masks, task[source], scored)
    if known.sum() < LEAST_ROWS:
        return None
    penalty = np.full(SURENESS_COLUMNS, PENALTY)
    weights = ridge_logistic(columns[known], labels[known], weight[known], penalty, offset=scored[known])
    return replace(found, weights=weights)


def subsets(expected: Floats, cost_usd: Floats, random: np.random.Generator) -> tuple[Indices, Mask]:
    """Random sets of models: query of each (rows,), and who is called (rows, m).

    Args:
        expected: shape (n, m), expected quality.
        cost_usd: shape (m,), mean cost of each model.
        random: draws sizes, prices and luck.
    """
    count, models = expected.shape
    unit = 1.0 / max(float(cost_usd[expected.mean(axis=0).argmax()]), 1e-12)
    drawn = []
    for _ in range(SUBSETS):
        size = random.integers(1, min(models, MOST_MODELS) + 1, count)
        price = unit * np.exp(random.uniform(np.log(CHEAP), np.log(DEAR), count))
        worth = expected - price[:, None] * cost_usd + LUCK * random.normal(size=expected.shape)
        drawn.append((-worth).argsort(axis=1).argsort(axis=1) < size[:, None])
    return np.tile(np.arange(count), SUBSETS), np.concatenate(drawn)


def fit_votes(group: Indices, quality: Floats, expected: Floats, rows: Indices, called: Mask) -> Votes:
    """Maximum likelihood of the conditional logit with a ridge, by L-BFGS."""
    from scipy.optimize import minimize

    models = quality.shape[1]
    members, columns = voters(group[rows], called, expected[rows])
    members = members.astype(np.float32)
    present = members.any(axis=1)
    same = group[rows][:, :, None] == np.arange(present.shape[1])
    mean = np.einsum("nm,nmk->nk", quality[rows], same) / np.maximum(same.sum(axis=1), 1)
    right = np.where(present, mean, 0.0)
    target = np.hstack([right, np.maximum(1.0 - right.max(axis=1, keepdims=True), 0.0)])
    target /= target.sum(axis=1, keepdims=True)
    answered = (called & (group[rows] >= 0)).astype(np.float64)
    silent = (called & (group[rows] < 0)).astype(np.float64)
    hope = (answered * expected[rows]).sum(axis=1)
    cuts = np.cumsum([models, 4, models, models])

    def loss(values: Floats) -> tuple[float, Floats]:
        support, prior, doubt, silence, base = np.split(values, cuts)
        utility = np.where(present, np.einsum("m,nmk->nk", support, members) + columns @ prior, -1e9)
        none = base[0] + base[1] * hope + answered @ doubt + silent @ silence
        whole = np.hstack([utility, none[:, None]])
        whole -= whole.max(axis=1, keepdims=True)
        chance = np.exp(whole)
        chance /= chance.sum(axis=1, keepdims=True)
        slope = (chance - target) / SUBSETS
        last = slope[:, -1]
        gradient = [
            np.einsum("nk,nmk->m", slope[:, :-1], members) + 2 * VOTE_PENALTY * support,
            np.einsum("nk,nkc->c", slope[:, :-1], columns) + 0.02 * (prior - [1.0, 0.0, 0.0, 0.0]),
            answered.T @ last + 2 * VOTE_PENALTY * doubt,
            silent.T @ last + 2 * VOTE_PENALTY * silence,
            np.array([last.sum(), last @ hope]),
        ]
        own = VOTE_PENALTY * float((support**2).sum() + (doubt**2).sum() + (silence**2).sum())
        own += 0.01 * float(((prior - [1.0, 0.0, 0.0, 0.0]) ** 2).sum())
        return own - float((target * np.log(chance + 1e-12)).sum()) / SUBSETS, np.concatenate(gradient)

    start = np.zeros(cuts[-1] + 2)
    start[models] = 1.0
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    support, prior, doubt, silence, base = np.split(found, cuts)
    return Votes(support=support, prior=prior, doubt=doubt, silence=silence, base=base)


def ridge_logistic(
    columns: Floats, labels: Floats, weight: Floats, penalty: Floats, offset: Floats | float = 0.0
) -> NDArray[np.float64]:
    """Weights of a logistic regression with a ridge of its own for every column, by Newton's method.

    `offset`: log-odds that are given, shape (n,).
    """
    weights = np.zeros(columns.shape[1])
    for _ in range(30):
        chance = sigmoid(columns @ weights + offset)
        gradient = columns.T @ (weight * (labels - chance)) - penalty * weights
        curvature = (columns * (weight * chance * (1.0 - chance) + 1e-9)[:, None]).T @ columns + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def _lengths(length: Floats, task: Indices, tasks: int) -> tuple[Floats, Floats]:
    """Mean and deviation of log lengths by task and model, shape (tasks + 1, m) each; the last row is everybody's."""
    overall, spread = length.mean(axis=0), length.std(axis=0)
    center = shrunk_means(length, task, overall, tasks, PSEUDO_COUNT)
    scale = np.sqrt(shrunk_means((length - center[task]) ** 2, task, spread**2, tasks, PSEUDO_COUNT))
    return np.vstack([center, overall]), np.vstack([scale, spread]) + 0.05
