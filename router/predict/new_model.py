"""A model that is known by its answers to a few anchors: what to expect of it, and how far to trust that.

How far is measured on the table itself: each known model is taken out in turn and treated as if it were new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from router.errors import OutcomesError
from router.predict.anchors import Scale
from router.predict.cost import non_negative_pair
from router.predict.labels import Floats, Indices
from router.predict.matrix import MIN_QUERIES, Matrix
from router.predict.quality import NORMAL_90

MIN_KNOWN = 3
"""Known models below which nothing can be said about how models differ."""
LENGTH_PSEUDO_COUNT = 5.0
"""Answers that the known models' lengths weigh against the new model's own, in slope and in each group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The queries that every known model has answered."""

    rows: Indices
    """Their positions in the matrix, shape (n,)."""
    models: tuple[str, ...]
    names: tuple[str, ...]
    """Groups: tasks, or task/subtask where a task has several."""
    group: Indices
    """Shape (n,)."""
    quality: Floats
    """Shape (n, m)."""
    input_tokens: Floats
    output_tokens: Floats

    @classmethod
    def of(cls, matrix: Matrix) -> Known:
        """Raises `OutcomesError` where too few models or complete queries are known."""
        rows = np.flatnonzero(matrix.complete)
        if len(matrix.models) < MIN_KNOWN or len(rows) < MIN_QUERIES:
            raise OutcomesError(
                f"the outcome table has {len(rows)} queries that all of its {len(matrix.models)} models have answered; "
                f"anchors need at least {MIN_QUERIES} such queries and {MIN_KNOWN} models; record the missing outcomes"
            )
        subtasks: dict[str, set[str]] = {}
        for row in rows:
            subtasks.setdefault(matrix.tasks[row], set()).add(matrix.subtasks[row])
        labels = [
            f"{matrix.tasks[row]}/{matrix.subtasks[row]}" if len(subtasks[matrix.tasks[row]]) > 1 else matrix.tasks[row]
            for row in rows
        ]
        names, group = np.unique(labels, return_inverse=True)
        return cls(
            rows=rows,
            models=matrix.models,
            names=tuple(map(str, names)),
            group=group.astype(np.int64),
            quality=matrix.quality[rows],
            input_tokens=matrix.input_tokens[rows],
            output_tokens=matrix.output_tokens[rows],
        )

    def without(self, model: int) -> Known:
        """The same, one model fewer."""
        return replace(
            self,
            models=tuple(name for place, name in enumerate(self.models) if place != model),
            quality=np.delete(self.quality, model, axis=1),
            input_tokens=np.delete(self.input_tokens, model, axis=1),
            output_tokens=np.delete(self.output_tokens, model, axis=1),
        )

    def first_of(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which queries are the first with their text (one of `texts` for each), shape (n,)."""
        first = np.zeros(len(self.rows), dtype=bool)
        first[list({text: place for place, text in reversed(list(enumerate(texts)))}.values())] = True
        return first

    def scale(self) -> Scale:
        """What is needed to pick anchors and to place a new model."""
        return Scale.of(self.quality, self.group, len(self.names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One known model treated as new; the last entry of each array is the whole table, those before it its groups."""

    model: str
    truth: Floats
    """Mean recorded quality."""
    found: Floats
    """Its estimate from the anchors."""
    deviation: Floats
    brier: float
    """Mean squared error of the expected quality of single queries."""
    brier_of_means: float
    """The same where every query is expected to go as it did for the known models on average."""
    means: Floats
    """Mean quality of the other models: the estimate that needs no anchors."""

    @property
    def error(self) -> Floats:
        """Estimate minus truth."""
        return self.found - self.truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """All known models treated as new, one after the other."""

    anchors: int
    """Answers each model was placed by."""
    trials: tuple[Trial, ...]

    @property
    def stretch(self) -> float:
        """What deviations are multiplied by for 90 of 100 estimates to lie within the interval; at least 1."""
        return _stretch(self.trials)

    @property
    def coverage(self) -> float:
        """Share of estimates within their 90 % interval, each stretched by the other models' trials alone."""
        within = []
        for place, trial in enumerate(self.trials):
            others = _stretch([*self.trials[:place], *self.trials[place + 1 :]])
            within.append(np.abs(trial.error) <= NORMAL_90 * others * trial.deviation)
        return float(np.mean(within))

    def over_models(self, values: Floats) -> tuple[float, float, float]:
        """Mean over the trials with its 95 % bootstrap interval, of one value for each."""
        drawn = np.random.default_rng(0).integers(0, len(values), (2_000, len(values)))
        low, high = np.quantile(values[drawn].mean(axis=1), (0.025, 0.975))
        return float(values.mean()), float(low), float(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorToExpect:
    """What came of it when each known model was treated as new; each with a 95 % interval over the models."""

    models: int
    group_error: tuple[float, float, float]
    """Mean absolute error of a group's mean quality: mean, low, high."""
    group_error_all_models: tuple[float, float, float]
    """The same of the mean of all other models, which needs no anchors."""
    overall_error: tuple[float, float, float]
    brier: tuple[float, float, float]
    """Mean squared error of the expected quality of single queries."""
    brier_all_models: tuple[float, float, float]
    coverage: float
    """Share of the 90 % intervals that held the truth."""

    @classmethod
    def of(cls, done: Study) -> ErrorToExpect:
        """Sum up a study."""

        def over(values: list[float]) -> tuple[float, float, float]:
            return done.over_models(np.asarray(values))

        groups = slice(0, max(len(done.trials[0].truth) - 1, 1))
        return cls(
            models=len(done.trials),
            group_error=over([float(np.abs(trial.error[groups]).mean()) for trial in done.trials]),
            group_error_all_models=over(
                [float(np.abs(trial.means - trial.truth)[groups].mean()) for trial in done.trials]
            ),
            overall_error=over([abs(float(trial.error[-1])) for trial in done.trials]),
            brier=over([trial.brier for trial in done.trials]),
            brier_all_models=over([trial.brier_of_means for trial in done.trials]),
            coverage=done.coverage,
        )


def _stretch(trials: Sequence[Trial]) -> float:
    if not trials:
        return 1.0
    off = np.concatenate([np.abs(trial.error) / np.maximum(trial.deviation, 1e-9) for trial in trials])
    return max(1.0, float(np.quantile(off, 0.9)) / NORMAL_90)


def study(known: Known, count: int = 50, asked: Indices | None = None) -> Study:
    """Treat each known model as new.

    Args:
        known: the table.
        count: pick that many anchors afresh for each model, without its outcomes; not used with
        asked: these, as positions in `rows`. They were picked with its outcomes among all others', so the
            errors are a little too small.

    Raises:
        OutcomesError: too few models remain when one is taken out.
    """
    if len(known.models) <= MIN_KNOWN:
        raise OutcomesError(
            f"{len(known.models)} models are too few to tell how well anchors work: one is taken out in turn and "
            f"{MIN_KNOWN} must remain; add outcomes of another model"
        )
    trials = []
    for model in range(len(known.models)):
        rest = known.without(model)
        scale = rest.scale()
        own = asked if asked is not None else scale.pick(count)
        trials.append(trial(rest, scale, known.models[model], own, known.quality[:, model]))
    return Study(anchors=len(own), trials=tuple(trials))


def trial(rest: Known, scale: Scale, model: str, asked: Indices, quality: Floats) -> Trial:
    """One model of known `quality` (n,) treated as new beside the `rest`, whose `scale` it is."""
    result = scale.estimate(asked, quality[asked])
    parts = [np.flatnonzero(rest.group == number) for number in range(len(rest.names))]
    parts = [*parts, np.arange(len(quality))] if len(parts) > 1 else parts
    found = np.asarray([result.mean(rows) for rows in parts])
    usual = rest.quality.mean(axis=1)
    return Trial(
        model=model,
        truth=np.asarray([quality[rows].mean() for rows in parts]),
        found=found[:, 0],
        deviation=found[:, 1],
        brier=float(((result.quality - quality) ** 2).mean()),
        brier_of_means=float(((usual - quality) ** 2).mean()),
        means=np.asarray([usual[rows].mean() for rows in parts]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Tokens and dollars of the new model on every known query, shape (n,) each."""

    input_tokens: Floats
    output_tokens: Floats
    cost_usd: Floats
    tail: float
    """Factor from the typical length + 1 to its 95th percentile, around what was expected."""
    longest: float
    """Output tokens of the longest answer to an anchor, times `tail`."""


def expect_spending(known: Known, asked: Indices, read: Floats, written: Floats, cost_usd: Floats) -> Spent:
    """What the new model will read, write and cost, from what it did on the anchors.

    A query that made the known models write at length will make this one, too: its log length is theirs with an
    offset and a slope, and an offset for each group, ridged toward 0, 1 and 0.
    """
    usual = np.log1p(known.output_tokens).mean(axis=1)
    center = float(usual[asked].mean())
    columns = np.column_stack([np.ones(len(usual)), usual - center, np.eye(len(known.names))[known.group]])
    own = np.log1p(written) - usual[asked]
    penalty = np.full(columns.shape[1], LENGTH_PSEUDO_COUNT)
    penalty[0] = 1e-6
    penalty[1] *= max(float(usual[asked].var()), 1e-3)
    weights = np.linalg.solve(columns[asked].T @ columns[asked] + np.diag(penalty), columns[asked].T @ own)
    fitted = usual + columns @ weights
    residual = np.log1p(written) - fitted[asked]
    smearing = float(np.clip(np.exp(residual).mean(), 1.0, 20.0))
    output = np.maximum(np.exp(fitted) * smearing - 1.0, 0.0)
    others = known.input_tokens.mean(axis=1)
    input_ = others * float(read.sum() / max(float(others[asked].sum()), 1e-9))
    prices = non_negative_pair(read, written, cost_usd)
    return Spent(
        input_tokens=input_,
        output_tokens=output,
        cost_usd=input_ * prices[0] + output * prices[1],
        tail=(tail := float(np.exp(np.quantile(residual, 0.95)))),
        longest=float(written.max()) * max(tail, 1.0),
    )
