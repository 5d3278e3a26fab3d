"""An artifact that knows one model more, by its answers to a few queries of the table it was trained on.

Nothing that was learned of the other models changes. The new one is fitted to what is expected of it on all queries,
gets wider intervals for having answered so few of them, and is a candidate for single calls; ladders stay as they
are. Nothing is promoted: what held-out queries said was said of a router without this model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from router.errors import ArtifactError, OutcomesError
from router.predict import fit
from router.predict.anchors import Estimate
from router.predict.artifact import Artifact
from router.predict.calibrate import logit
from router.predict.cost import CostModel, fit_cost
from router.predict.dial import trace
from router.predict.labels import Floats, Indices, Labels, shrunk_means
from router.predict.matrix import Matrix, read_matrix
from router.predict.meaning import Reader
from router.predict.new_model import MIN_KNOWN, ErrorToExpect, Known, Spent, expect_spending, study
from router.predict.predictor import Predictor
from router.predict.quality import NORMAL_90, QualityModel
from router.predict.train import CAUTION

if TYPE_CHECKING:
    import pyarrow as pa

MIN_ANCHORS = 10
"""Answers below which a model is not added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is expected of the new model on a group of queries."""

    name: str
    """A task, task/subtask, or `all`."""
    queries: int
    anchors: int
    quality: float
    quality_low: float
    """90 % interval of its mean recorded quality, were it asked all of them."""
    quality_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AddReport:
    """What is known of the new model now, and what is not."""

    model: str
    anchors: int
    ignored: int
    """Rows whose query is not among those that all known models have answered."""
    parts: tuple[Part, ...]
    """Every group, then `all`."""
    output_tokens: float
    """Expected mean per query."""
    cost_usd: float
    error: ErrorToExpect | None
    """None: too few known models to tell."""
    promoted: bool
    reason: str


def add_model(artifact: Artifact, table: pa.Table, answers: pa.Table) -> tuple[Artifact, AddReport]:
    """Add a model to an artifact.

    Args:
        artifact: as `clearbar train` or an earlier `add_model` made it.
        table: the outcome table it was trained on.
        answers: outcome table of the one new model, on queries of that table (by id, else by prompt).

    Raises:
        ArtifactError: the artifact was trained on another table.
        OutcomesError: `answers` names no or several models, one that is known, or too few queries of the table.
    """
    matrix = read_matrix(table)
    if artifact.manifest["table_sha256"] != matrix.sha256:
        raise ArtifactError(
            "the artifact was trained on other outcomes than these; give the table that `clearbar train` was given, "
            "or train again"
        )
    known = Known.of(matrix)
    model = _only_model(answers, artifact.manifest["models"])
    asked, rows, ignored = _matched(matrix, known, answers)
    done = study(known, asked=asked) if len(known.models) > MIN_KNOWN else None
    result = known.scale().estimate(asked, rows["quality"])
    spent = expect_spending(known, asked, rows["input_tokens"], rows["output_tokens"], rows["cost_usd"])
    parts = _parts(known, asked, result, done.stretch if done else 2.0)
    reason = (
        f"{model} is known by {len(asked)} answers, and no held-out query says yet that routing to it pays. It serves "
        "where a rule names it and evidence carries the bar; for the learned router to choose it, record its outcomes "
        "on the other queries and train on all of them. Until then let the artifact without it serve"
    )
    report = AddReport(
        model=model,
        anchors=len(asked),
        ignored=ignored,
        parts=parts,
        output_tokens=float(spent.output_tokens.mean()),
        cost_usd=float(spent.cost_usd.mean()),
        error=ErrorToExpect.of(done) if done else None,
        promoted=False,
        reason=reason,
    )
    arrays = _extended(artifact, matrix, known, asked, result, spent, parts[-1])
    manifest = {
        **artifact.manifest,
        "models": [*artifact.manifest["models"], model],
        "promoted": [],
        "added": [*artifact.manifest.get("added", []), asdict(report)],
    }
    return _with_dial(Artifact(manifest=manifest, arrays=arrays), matrix, known), report


def _only_model(answers: pa.Table, models: list[str]) -> str:
    named = sorted(set(answers["model"].to_pylist()))
    if len(named) != 1:
        raise OutcomesError(
            f"the answers are of {len(named)} models ({', '.join(named[:3])}); add one model at a time, from a table "
            "with its rows alone"
        )
    if named[0] in models:
        raise OutcomesError(f"the artifact knows {named[0]!r} already; add a model of another name, or train again")
    return str(named[0])


def _matched(matrix: Matrix, known: Known, answers: pa.Table) -> tuple[Indices, dict[str, Floats], int]:
    """Positions in `known.rows` of the queries that were answered, their numbers, and how many rows match none.

    A suite gives samples ids of their own, so a query is found by its prompt where its id is unknown.
    """
    by_id = {matrix.query_ids[row]: place for place, row in enumerate(known.rows)}
    by_prompt: dict[str, int] = {}
    for place, row in enumerate(known.rows):
        by_prompt.setdefault(matrix.texts[row], place)
    ids, prompts = answers["query_id"].to_pylist(), answers["prompt"].to_pylist()
    places = [by_id.get(own, by_prompt.get(text, -1)) for own, text in zip(ids, prompts, strict=True)]
    first = {place: row for row, place in reversed(list(enumerate(places))) if place >= 0}
    if len(first) < MIN_ANCHORS:
        raise OutcomesError(
            f"only {len(first)} of {len(places)} answers are to queries that all known models have answered; adding a "
            f"model needs {MIN_ANCHORS}; pick such queries with: clearbar anchors"
        )
    asked = np.asarray(sorted(first), dtype=np.int64)
    kept = [first[int(place)] for place in asked]
    numbers = {
        name: answers[name].to_numpy()[kept].astype(np.float64)
        for name in ("quality", "input_tokens", "output_tokens", "cost_usd")
    }
    return asked, numbers, len(places) - len(kept)


def _parts(known: Known, asked: Indices, result: Estimate, stretch: float) -> tuple[Part, ...]:
    groups = [(name, np.flatnonzero(known.group == number)) for number, name in enumerate(known.names)]
    parts = []
    for name, rows in [*groups, ("all", np.arange(len(known.group)))]:
        mean, deviation = result.mean(rows)
        reach = NORMAL_90 * stretch * deviation
        parts.append(
            Part(
                name=name,
                queries=len(rows),
                anchors=int(np.isin(asked, rows).sum()),
                quality=mean,
                quality_low=max(mean - reach, 0.0),
                quality_high=min(mean + reach, 1.0),
            )
        )
    return tuple(parts)


def _extended(
    artifact: Artifact, matrix: Matrix, known: Known, asked: Indices, result: Estimate, spent: Spent, whole: Part
) -> dict[str, Any]:
    """The artifact's arrays with one model more at the end of every axis of models."""
    model = QualityModel.from_arrays(artifact.arrays)
    labels = Labels(tasks=tuple(artifact.manifest["tasks"]), cells=tuple(map(tuple, artifact.manifest["cells"])))
    texts = [matrix.texts[row] for row in known.rows]
    task, cell = labels.encode([matrix.tasks[row] for row in known.rows], [matrix.subtasks[row] for row in known.rows])
    columns = model.heads.design(Reader.of(artifact.manifest, artifact.arrays).columns(texts), task, cell)

    quality = result.known_quality[:, None]
    cell_of_task = np.asarray([labels.tasks.index(name) for name, _ in labels.cells], dtype=np.int64)
    overall = quality.mean(axis=0)
    task_means = shrunk_means(quality, task, overall, len(labels.tasks), fit.PSEUDO_COUNT)
    cell_means = shrunk_means(quality, cell, task_means[cell_of_task], len(labels.cells), fit.PSEUDO_COUNT)
    prior = fit.Prior(**artifact.manifest["prior"])
    # What is fitted to is smooth: all models' answers are in it, so it is trusted like the shared difficulty.
    head = fit.fit_logistic(columns, quality[:, 0], prior.shared or prior.own)
    weights, intercept = head if head is not None else (np.zeros(columns.shape[1]), float(logit(overall)[0]))
    new: dict[str, Any] = {
        "quality_overall": overall,
        "quality_task_means": task_means,
        "quality_cell_means": cell_means,
        "quality_weights": weights[None],
        "quality_intercepts": np.array([intercept]),
        "quality_spread": _spread(model, columns, overall, prior, len(asked), whole)[None].astype(np.float32),
        "blend_offsets": np.zeros(1),
        "blend_slopes": np.ones(1),
        **_cost(columns, matrix, known, task, len(labels.tasks), spent).arrays(),
    }
    kept = {name: values for name, values in artifact.arrays.items() if not _is_promise(name)}
    of_rows = {"quality_weights", "quality_spread"}
    for name, values in new.items():
        kept[name] = np.concatenate([kept[name], values], axis=0 if name in of_rows else -1)
    return kept


def _is_promise(name: str) -> bool:
    """Held-out results of the strategies: they were another router's."""
    return name.startswith(("promise_single_", "promise_cascade_"))


def _spread(
    model: QualityModel, columns: Floats, overall: Floats, prior: fit.Prior, anchors: int, whole: Part
) -> Floats:
    """Posterior variance of the new head along each axis, shape (columns,).

    What is this model's own has been seen in `anchors` rows only; what all models share, in all of them. The doubt
    about its mean is no coefficient's: it is spread over the axes so that it adds up to itself on the usual text.
    """
    turned = ((columns @ model.axes) ** 2).sum(axis=0)
    curvature = float((overall * (1.0 - overall))[0])
    spread = 1.0 / (curvature * turned * anchors / len(columns) + 1.0 / (CAUTION * prior.own))
    if prior.shared:
        others = float((model.heads.overall * (1.0 - model.heads.overall)).sum())
        spread = spread + 1.0 / (others * turned + 1.0 / prior.shared)
    low, high = logit(np.array([whole.quality_low, whole.quality_high]))
    doubt = ((high - low) / (2.0 * NORMAL_90)) ** 2
    return np.asarray(spread + doubt / max(float((columns**2).sum(axis=1).mean()), 1e-9))


def _cost(columns: Floats, matrix: Matrix, known: Known, task: Indices, tasks: int, spent: Spent) -> CostModel:
    fitted = fit_cost(
        columns,
        np.asarray([len(matrix.texts[row]) for row in known.rows], dtype=np.float64),
        task,
        tasks,
        input_tokens=spent.input_tokens[:, None],
        output_tokens=spent.output_tokens[:, None],
        cost_usd=spent.cost_usd[:, None],
    )
    # Lengths that were expected vary less than lengths that happen. What the text does not tell of the former and
    # what the former do not tell of the latter have nothing to do with each other: their squares add up.
    most = fitted.quantiles[1]
    most[:] = np.exp(np.hypot(np.log(np.maximum(most, 1.0)), np.log(max(spent.tail, 1.0))))
    fitted.ceiling[:] = np.maximum(fitted.ceiling, spent.longest)
    return fitted


def _with_dial(artifact: Artifact, matrix: Matrix, known: Known) -> Artifact:
    """The dial of single calls traced anew, with the model among the candidates."""
    expected = Predictor(artifact).predict_many(
        [matrix.texts[row] for row in known.rows],
        [matrix.tasks[row] for row in known.rows],
        [matrix.subtasks[row] or None for row in known.rows],
    )
    lambdas, costs = trace(expected.quality, expected.cost_usd)
    return Artifact(
        manifest=artifact.manifest, arrays={**artifact.arrays, "dial_lambdas": lambdas, "dial_costs": costs}
    )
