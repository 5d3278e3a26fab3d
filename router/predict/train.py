"""Training: from an outcome table to an artifact and an honest report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from router.predict import fit
from router.predict.artifact import Artifact
from router.predict.calibrate import best_share, calibration_error, fit_blend, sigmoid, squared_error
from router.predict.cost import CostModel, fit_cost
from router.predict.dial import trace
from router.predict.dialled import Dialled
from router.predict.evaluate import TrainReport, Verdict, best_constant, judge
from router.predict.fit_agreement import read_answers
from router.predict.fit_cascade import can_cascade, fit_cascade
from router.predict.labels import Floats, Indices, Labels
from router.predict.latency import fit_latency
from router.predict.likeness import Likeness
from router.predict.matrix import MIN_QUERIES, Matrix, read_matrix
from router.predict.meaning import NAMES, Reader, embed, fit_meaning, require
from router.predict.promises import Promises, thinned
from router.predict.quality import Heads, QualityModel
from router.predict.seen import marks_of
from router.predict.simulate import Recorded
from router.predict.worth import Worth, gain_at_equal_cost

if TYPE_CHECKING:
    import pyarrow as pa

FOLDS = 5
CAUTION = 3.0
"""What the priors' own variance is multiplied by for the intervals. The shrinkage that routes best is biased
toward the mean, which a posterior under the same prior does not know of; with 3 the intervals hold the true
probability in 80 to 100 % of synthetic cases, with 1 in 71 to 100 %."""


def train(table: pa.Table, *, seed: int = 0, embedding: str | None = None) -> tuple[Artifact, TrainReport]:
    """Train on an outcome table and compare the result with what needs no training.

    Args:
        table: as `router.outcomes.read_outcomes` returns it.
        seed: of the folds, the projection and the bootstrap; the same table and seed give the same artifact.
        embedding: a name of `meaning.NAMES`, whose vectors of the prompts the predictor then reads, too, here and
            wherever it serves; None for n-grams and surface counts alone.

    Returns:
        The artifact (save it with `router.predict.artifact.save`) and the held-out report, whose verdict
        may be "do not route".

    Raises:
        OutcomesError: fewer than 2 models or 20 queries.
        ConfigurationError: no such embedding.
        WeightsError: the embedder is not installed.
    """
    if embedding is not None:
        require(embedding)
    return _Training(read_matrix(table), seed, embedding).result()


@dataclass(frozen=True, slots=True, kw_only=True)
class _CrossFitted:
    """Expectations of every query, made without its own outcomes; arrays of shape (n, m)."""

    table: Floats
    logistic: Floats
    """Log-odds."""


class _Training:
    """One training run, in reading order."""

    def __init__(self, matrix: Matrix, seed: int, embedding: str | None = None) -> None:
        self.matrix, self.seed, self.embedding = matrix, seed, embedding
        self.labels = Labels.of(matrix.tasks, matrix.subtasks)
        self.task, self.cell = self.labels.encode(matrix.tasks, matrix.subtasks)
        self.cell_of_task = np.asarray([self.labels.tasks.index(task) for task, _ in self.labels.cells], dtype=np.int64)
        self.lengths = np.asarray([len(text) for text in matrix.texts], dtype=np.float64)
        self.folds = matrix.folds(FOLDS, seed)

    def result(self) -> tuple[Artifact, TrainReport]:
        reader, embedded = self.read()
        prior, crossed, expected_cost = self.cross_fit(embedded)
        quality = self.matrix.quality

        blend = fit_blend(crossed.table, crossed.logistic, quality)
        heads = self.heads(embedded, np.arange(len(embedded)), prior)
        columns = heads.design(embedded, self.task, self.cell)
        cost = self.cost(columns, np.arange(len(embedded)))
        axes, spread = posterior(columns, heads, prior)
        model = QualityModel(
            heads=heads, blend=blend, axes=axes, spread=spread, prior_variance=prior.shared + prior.own
        )
        task_model, task_accuracy = fit.fit_tasks(
            reader.ngrams, self.matrix.texts, self.task, len(self.labels.tasks), self.folds, seed=self.seed
        )

        final = sigmoid(blend.calibrated(blend.mixed(crossed.table, crossed.logistic)))
        lambdas, costs = trace(final, expected_cost)
        arrays = {**reader.arrays(), **model.arrays(), **cost.arrays(), **task_model.arrays()}
        arrays |= {"dial_lambdas": lambdas, "dial_costs": costs, "seen": marks_of(self.matrix.texts)}

        if np.isfinite(self.matrix.latency_s).any():
            arrays["latency_s"] = fit_latency(self.matrix.latency_s, self.task, len(self.labels.tasks))

        learned = self.learned(crossed)
        whole = np.flatnonzero(self.matrix.complete)
        ways = {"single": self.dialled(learned, expected_cost, whole)}
        recorded, likeness = self.recorded(learned, expected_cost, whole)
        if can_cascade(recorded):
            cascade, found = fit_cascade(
                recorded, tasks=len(self.labels.tasks), task_of_leaf=self.cell_of_task, seed=self.seed
            )
            arrays |= replace(cascade, likeness=likeness).arrays()
            ways |= found
        arrays |= self.promises(ways, whole).arrays()
        table = self.dialled(crossed.table, expected_cost, whole)
        report = self.report(learned, crossed.table, table, ways, whole, task_accuracy)
        report = replace(report, embedding=self.worth(reader, embedded, learned, ways["single"], whole))
        manifest = {
            "models": list(self.matrix.models),
            "tasks": list(self.labels.tasks),
            "cells": [list(cell) for cell in self.labels.cells],
            "table_sha256": self.matrix.sha256,
            "seed": self.seed,
            "prior": asdict(prior),
            "embedding": {"name": self.embedding, "version": NAMES[self.embedding]} if self.embedding else None,
            **({"verifier": self.matrix.verifier} if "verified" in ways else {}),
            "promoted": list(report.promoted),
            "report": asdict(report),
        }
        return Artifact(manifest=manifest, arrays=arrays), report

    def read(self) -> tuple[Reader, NDArray[np.float32]]:
        """What reads the texts, and what it read, shape (n, columns): those of the n-grams stand first."""
        ngrams = fit.fit_embedder(self.matrix.texts, seed=self.seed)
        columns = ngrams.embed_many(self.matrix.texts)
        if self.embedding is None:
            return Reader(ngrams=ngrams, meaning=None), columns
        vectors, truncated = embed(self.matrix.texts)
        meaning = fit_meaning(vectors, truncated)
        return Reader(ngrams=ngrams, meaning=meaning), np.hstack([columns, meaning.of_vectors(vectors)])

    def worth(
        self, reader: Reader, embedded: NDArray[np.float32], learned: Floats, single: Dialled, rows: Indices
    ) -> Worth | None:
        """What the embedding adds, by training once more without it; None where there is none."""
        if self.embedding is None or reader.meaning is None:
            return None
        _, crossed, expected_cost = self.cross_fit(embedded[:, : reader.ngrams.width])
        without = self.learned(crossed)
        return Worth.of(
            self.embedding,
            reader.meaning,
            (learned, without),
            self.matrix.quality,
            gain_at_equal_cost(single, self.dialled(without, expected_cost, rows)),
        )

    def heads(self, embedded: NDArray[np.float32], rows: Indices, prior: fit.Prior) -> Heads:
        return fit.fit_heads(
            embedded[rows],
            self.matrix.quality[rows],
            self.task[rows],
            self.cell[rows],
            task_count=len(self.labels.tasks),
            cell_of_task=self.cell_of_task,
            prior=prior,
        )

    def cost(self, columns: Floats, rows: Indices) -> CostModel:
        return fit_cost(
            columns[rows],
            self.lengths[rows],
            self.task[rows],
            len(self.labels.tasks),
            input_tokens=self.matrix.input_tokens[rows],
            output_tokens=self.matrix.output_tokens[rows],
            cost_usd=self.matrix.cost_usd[rows],
        )

    def cross_fit(self, embedded: NDArray[np.float32]) -> tuple[fit.Prior, _CrossFitted, Floats]:
        """The prior with the smallest held-out routing loss, its expectations, and expected costs."""
        shape = self.matrix.quality.shape
        cost = np.empty(shape)
        tried: list[tuple[float, int, _CrossFitted]] = []
        for number, prior in enumerate(fit.PRIORS):
            table, logistic = np.empty(shape), np.empty(shape)
            for fold in np.unique(self.folds):
                out, rest = np.flatnonzero(self.folds == fold), np.flatnonzero(self.folds != fold)
                heads = self.heads(embedded, rest, prior)
                columns = heads.design(embedded, self.task, self.cell)
                table[out] = heads.table(self.task[out], self.cell[out])
                logistic[out] = heads.logistic(columns[out])
                if number == 0:
                    costs = self.cost(columns, rest)
                    tokens = costs.tokens(columns[out], self.lengths[out], self.task[out])
                    cost[out] = costs.cost_usd(tokens, self.task[out])
            loss = best_share(table, logistic, self.matrix.quality)[0]
            tried.append((loss, number, _CrossFitted(table=table, logistic=logistic)))
        _, number, crossed = min(tried, key=lambda item: item[:2])
        return fit.PRIORS[number], crossed, cost

    def learned(self, crossed: _CrossFitted) -> Floats:
        """Expected quality with heads and blend that have not seen the query's own fold, shape (n, m)."""
        quality, learned = self.matrix.quality, np.empty(self.matrix.quality.shape)
        for fold in np.unique(self.folds):
            out, rest = self.folds == fold, self.folds != fold
            part = fit_blend(crossed.table[rest], crossed.logistic[rest], quality[rest])
            learned[out] = sigmoid(part.calibrated(part.mixed(crossed.table[out], crossed.logistic[out])))
        return learned

    def dialled(self, expected: Floats, expected_cost: Floats, rows: Indices) -> Dialled:
        """What one call each, chosen by expectations, did with some queries."""
        return Dialled.single(
            expected[rows], expected_cost[rows], self.matrix.quality[rows], self.matrix.cost_usd[rows]
        )

    def promises(self, ways: Mapping[str, Dialled], rows: Indices) -> Promises:
        """What may be promised of the strategies, by what they did with queries they had not seen."""
        return Promises(
            models=self.matrix.models,
            tasks=self.labels.tasks,
            task=self.task[rows],
            quality=self.matrix.quality[rows],
            cost_usd=self.matrix.cost_usd[rows],
            ways={name: thinned(way.prices, way.quality, way.cost_usd) for name, way in ways.items() if len(rows)},
        )

    def recorded(self, learned: Floats, expected_cost: Floats, rows: Indices) -> tuple[Recorded, Likeness | None]:
        """What cascades are simulated on, and when two answers in it say the same."""
        matrix = self.matrix
        given, likeness = read_answers(
            [matrix.texts[row] for row in rows],
            [matrix.responses[row] for row in rows],
            matrix.output_tokens[rows],
            matrix.logprob[rows],
            quality=matrix.quality[rows] if self.embedding else None,
        )
        recorded = Recorded(
            given=given,
            quality=matrix.response_quality[rows],
            cost_usd=matrix.cost_usd[rows],
            expected=learned[rows],
            expected_cost=expected_cost[rows],
            task=self.task[rows],
            leaf=self.cell[rows],
            folds=self.folds[rows],
            verified=matrix.verified[rows] if matrix.verifier else None,
            verified_usd=matrix.verified_usd[rows] if matrix.verifier else None,
        )
        return recorded, likeness

    def report(
        self,
        learned: Floats,
        by_table: Floats,
        table: Dialled,
        ways: Mapping[str, Dialled],
        rows: Indices,
        task_accuracy: float | None,
    ) -> TrainReport:
        """Judge on the queries that every model has answered; too few of them are a verdict, too."""
        quality, cost = self.matrix.quality, self.matrix.cost_usd
        if len(rows) >= MIN_QUERIES:
            scores, verdicts = judge(quality[rows], cost[rows], self.folds[rows], table, ways, self.seed)
        else:
            reason = (
                f"only {len(rows)} queries have outcomes of all {len(self.matrix.models)} models and the comparison "
                f"needs {MIN_QUERIES}; record the missing outcomes, or train on fewer models"
            )
            scores, verdicts = (), tuple(Verdict(strategy=name, promoted=False, reason=reason) for name in ways)
        best = best_constant(quality[rows], cost[rows]) if len(rows) else int(np.nanmean(quality, axis=0).argmax())
        return TrainReport(
            queries=len(quality),
            judged_queries=len(rows),
            models=len(self.matrix.models),
            tasks=len(self.labels.tasks),
            best_constant=self.matrix.models[best],
            scores=scores,
            verdicts=verdicts,
            ece=calibration_error(learned, quality),
            brier=squared_error(learned, quality),
            table_brier=squared_error(by_table, quality),
            task_accuracy=task_accuracy,
        )


def posterior(columns: Floats, heads: Heads, prior: fit.Prior) -> tuple[Floats, Floats]:
    """Axes and variances of the heads' Laplace posterior: shapes (columns, columns) and (m, columns).

    All models share the axes (eigenvectors of the Gram matrix); each has the mean curvature of its own outcomes,
    and the shared difficulty that of all of them.
    """
    values, axes = np.linalg.eigh(columns.T @ columns)
    values = np.maximum(values, 0.0)
    curvature = heads.overall * (1.0 - heads.overall)
    spread = 1.0 / (np.outer(curvature, values) + 1.0 / (CAUTION * prior.own))
    if prior.shared:
        spread = spread + 1.0 / (curvature.sum() * values + 1.0 / prior.shared)
    return axes, spread
