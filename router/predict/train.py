"""Training: from an outcome table to an artifact and an honest report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from router.predict import fit
from router.predict.artifact import Artifact
from router.predict.calibrate import best_share, calibration_error, fit_blend
from router.predict.cost import CostModel, fit_cost
from router.predict.dial import trace
from router.predict.evaluate import HeldOut, TrainReport, judge, verdict
from router.predict.labels import Floats, Indices, Labels
from router.predict.matrix import MIN_QUERIES, Matrix, read_matrix
from router.predict.quality import Heads, QualityModel

if TYPE_CHECKING:
    import pyarrow as pa

FOLDS = 5
CAUTION = 3.0
"""What the priors' own variance is multiplied by for the intervals. The shrinkage that routes best is biased
toward the mean, which a posterior under the same prior does not know of; with 3 the intervals hold the true
probability in 80 to 100 % of synthetic cases, with 1 in 71 to 100 %."""


def train(table: pa.Table, *, seed: int = 0) -> tuple[Artifact, TrainReport]:
    """Train on an outcome table and compare the result with what needs no training.

    Args:
        table: as `router.outcomes.read_outcomes` returns it.
        seed: of the folds, the projection and the bootstrap; the same table and seed give the same artifact.

    Returns:
        The artifact (save it with `router.predict.artifact.save`) and the held-out report, whose verdict
        may be "do not route".

    Raises:
        OutcomesError: fewer than 2 models or 20 queries.
    """
    matrix = read_matrix(table)
    return _Training(matrix, seed).result()


@dataclass(frozen=True, slots=True, kw_only=True)
class _CrossFitted:
    """Expectations of every query, made without its own outcomes; arrays of shape (n, m)."""

    table: Floats
    logistic: Floats
    """Log-odds."""


class _Training:
    """One training run, in reading order."""

    def __init__(self, matrix: Matrix, seed: int) -> None:
        self.matrix, self.seed = matrix, seed
        self.labels = Labels.of(matrix.tasks, matrix.subtasks)
        self.task, self.cell = self.labels.encode(matrix.tasks, matrix.subtasks)
        self.cell_of_task = np.asarray([self.labels.tasks.index(task) for task, _ in self.labels.cells], dtype=np.int64)
        self.lengths = np.asarray([len(text) for text in matrix.texts], dtype=np.float64)
        self.folds = matrix.folds(FOLDS, seed)

    def result(self) -> tuple[Artifact, TrainReport]:
        embedder = fit.fit_embedder(self.matrix.texts, seed=self.seed)
        embedded = embedder.embed_many(self.matrix.texts)
        prior, crossed, expected_cost = self.cross_fit(embedded)
        quality = self.matrix.quality

        blend = fit_blend(crossed.table, crossed.logistic, quality, fit.fit_isotonic)
        heads = self.heads(embedded, np.arange(len(embedded)), prior)
        columns = heads.design(embedded, self.task, self.cell)
        cost = self.cost(columns, np.arange(len(embedded)))
        axes, spread = posterior(columns, heads, prior)
        model = QualityModel(
            heads=heads, blend=blend, axes=axes, spread=spread, prior_variance=prior.shared + prior.own
        )
        task_model, task_accuracy = fit.fit_tasks(
            embedder, self.matrix.texts, self.task, len(self.labels.tasks), self.folds, seed=self.seed
        )

        final = blend.quality(blend.calibrated(blend.mixed(crossed.table, crossed.logistic)))
        report = self.report(crossed, expected_cost, final, task_accuracy)
        lambdas, costs = trace(final, expected_cost)
        arrays = {**embedder.arrays(), **model.arrays(), **cost.arrays(), **task_model.arrays()}
        arrays |= {"dial_lambdas": lambdas, "dial_costs": costs}
        manifest = {
            "models": list(self.matrix.models),
            "tasks": list(self.labels.tasks),
            "cells": [list(cell) for cell in self.labels.cells],
            "table_sha256": self.matrix.sha256,
            "seed": self.seed,
            "prior": asdict(prior),
            "promoted": report.promoted,
            "report": asdict(report),
        }
        return Artifact(manifest=manifest, arrays=arrays), report

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
                    read, written, _ = costs.tokens(columns[out], self.lengths[out])
                    cost[out] = costs.cost_usd(read, written, self.task[out])
            loss = best_share(table, logistic, self.matrix.quality)[0]
            tried.append((loss, number, _CrossFitted(table=table, logistic=logistic)))
        _, number, crossed = min(tried, key=lambda item: item[:2])
        return fit.PRIORS[number], crossed, cost

    def report(
        self, crossed: _CrossFitted, expected_cost: Floats, final: Floats, task_accuracy: float | None
    ) -> TrainReport:
        """Judge on the queries that every model has answered; too few of them are a verdict, too."""
        quality, cost = self.matrix.quality, self.matrix.cost_usd
        learned = np.empty(quality.shape)
        for fold in np.unique(self.folds):
            out, rest = self.folds == fold, self.folds != fold
            part = fit_blend(crossed.table[rest], crossed.logistic[rest], quality[rest], fit.fit_isotonic)
            learned[out] = part.quality(part.calibrated(part.mixed(crossed.table[out], crossed.logistic[out])))
        seen, whole = np.isfinite(quality), self.matrix.complete
        held_out = HeldOut(
            quality=quality[whole],
            cost_usd=cost[whole],
            learned=learned[whole],
            table=crossed.table[whole],
            expected_cost=expected_cost[whole],
            folds=self.folds[whole],
        )
        rows = np.arange(int(whole.sum()))
        if len(rows) >= MIN_QUERIES:
            scores, comparisons = judge(held_out, self.seed)
            promoted, reason = verdict(comparisons)
            price = replace(held_out, learned=final[whole]).operating_lambda(final[whole], rows)
        else:
            scores, comparisons, promoted, price = (), (), False, 0.0
            reason = (
                f"only {len(rows)} queries have outcomes of all {len(self.matrix.models)} models and the comparison "
                f"needs {MIN_QUERIES}; record the missing outcomes, or train on fewer models"
            )
        best = held_out.best_constant() if len(rows) else int(np.nanmean(quality, axis=0).argmax())
        return TrainReport(
            queries=len(quality),
            judged_queries=len(rows),
            models=len(self.matrix.models),
            tasks=len(self.labels.tasks),
            best_constant=self.matrix.models[best],
            scores=scores,
            comparisons=comparisons,
            operating_lambda=price,
            ece=calibration_error(learned, quality),
            brier=float(((learned - quality)[seen] ** 2).mean()),
            table_brier=float(((crossed.table - quality)[seen] ** 2).mean()),
            task_accuracy=task_accuracy,
            promoted=promoted,
            reason=reason,
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
