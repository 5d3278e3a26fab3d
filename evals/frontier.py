"""Per task: what each candidate's quality costs, in money and in time, and whom nobody should choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import fmean

import numpy as np

from evals.compare import Pair, answers_of, p_not_worse, paired
from evals.outcomes import by_pair
from evals.stats import clustered, holm
from evals.store import Run
from evals.summary import DEFAULT_CONFIDENCE, Standing, standings
from evals.types import EvalError, Failed, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One candidate on one task."""

    standing: Standing
    """Mean quality with its interval, bound against the bar, n."""
    cost_usd: float | None
    """Mean list cost of one answer; None when any is unknown."""
    latency_p95_s: float | None
    """95th percentile, nearest rank; None without a latency."""
    dominated_by: tuple[str, ...]
    """Candidates that are proved better to choose, the cheapest first. Empty does not mean good."""


def frontier(run: Run, *, margin: float = 0.0) -> dict[str, list[Point]]:
    """Every candidate of every task, cheapest first, unknown costs last.

    X is *dominated* by Y if, on the samples that both answered,

    1. the true mean quality of Y is proved to be at least that of X, less the margin (`evals.compare.p_not_worse`),
    2. the true mean list cost of Y is proved to be lower (Student's t on paired costs), and
    3. Y is not slower at the 95th percentile, as measured (not proved: a tail needs more samples than a suite has).

    The proof of a pair is as weak as the weaker of 1 and 2, and all pairs of a task are adjusted together (Holm), so
    that the chance of calling anybody of a task dominated wrongly by 1 or 2 is at most 1 - confidence. Without a margin
    equals never dominate each other: 1 then needs Y to be better.

    Args:
        run: a run, also an unfinished one.
        margin: in [0, 1): quality that may be lost.

    Raises:
        EvalError: there is no scored answer yet.
    """
    if not 0 <= margin < 1:
        raise EvalError(f"--margin {margin!r}: give a difference of means from 0 to below 1, such as 0.02")
    manifest = run.manifest()
    found = standings(run)
    if not found:
        raise EvalError(f"{run.directory}: no scored answer yet; run the suite first")
    tasks = {sample.id: sample.task for sample in run.samples()}
    answers: dict[tuple[str, str], list[Result]] = {}
    for (sample, candidate), results in by_pair(run).items():
        if sample in tasks:
            kept = [result for result in results if not isinstance(result.score, Failed)]
            answers.setdefault((tasks[sample], candidate), []).extend(kept)
    costs = {key: _mean_cost(results) for key, results in answers.items()}
    latencies = {key: _p95([r.latency_s for r in results]) for key, results in answers.items()}
    p_values: dict[str, dict[str, float]] = {}
    pairs: dict[str, dict[str, tuple[str, str]]] = {}
    values = answers_of(run)
    for better, worse in permutations(manifest.candidates, 2):
        for task, both in paired(values, better, worse)[0].items():
            name = f"{better} over {worse}"
            pairs.setdefault(task, {})[name] = better, worse
            is_slower = _is_more(latencies.get((task, better)), latencies.get((task, worse)))
            is_dearer = _is_more(costs.get((task, better)), costs.get((task, worse)))
            # A pair that is out by what was measured still counts as a question asked.
            is_out = is_slower or is_dearer
            p_values.setdefault(task, {})[name] = 1.0 if is_out else _p(both, margin, manifest.stop_early)
    frontiers: dict[str, list[Point]] = {}
    for standing in found:
        task, candidate = standing.task, standing.candidate
        adjusted = holm(p_values.get(task, {}))
        winners = [
            better for name, (better, worse) in pairs.get(task, {}).items()
            if worse == candidate and adjusted[name] <= 1 - _confidence(manifest.bars, task) + 1e-12
        ]  # fmt: skip
        frontiers.setdefault(task, []).append(
            Point(
                standing=standing,
                cost_usd=costs.get((task, candidate)),
                latency_p95_s=latencies.get((task, candidate)),
                dominated_by=tuple(sorted(winners, key=lambda winner: costs[task, winner] or 0.0)),
            )
        )
    for points in frontiers.values():
        points.sort(key=lambda point: (point.cost_usd is None, point.cost_usd or 0.0))
    return frontiers


def _p(pairs: Sequence[Pair], margin: float, is_stopped_early: bool) -> float:
    """P-value against the first being dearer or worse; 1 where a cost is unknown or there are too few pairs."""
    savings: list[float] = []
    for pair in pairs:
        if isinstance(pair.result_a.score, Failed) or isinstance(pair.result_b.score, Failed):
            continue  # a failed call has no cost of an answer
        a, b = pair.result_a.list_cost_usd, pair.result_b.list_cost_usd
        if a is None or b is None:
            return 1.0
        savings.append(b - a)
    if len(savings) < 2:
        return 1.0
    cheaper = clustered(savings, range(len(savings))).p_above(0.0)
    return max(cheaper, p_not_worse(pairs, margin, is_stopped_early))


def _is_more(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one > other


def _mean_cost(results: Sequence[Result]) -> float | None:
    costs = [result.list_cost_usd for result in results]
    known = [cost for cost in costs if cost is not None]
    return fmean(known) if known and len(known) == len(costs) else None


def _p95(latencies: Sequence[float | None]) -> float | None:
    known = sorted(latency for latency in latencies if latency is not None)
    return known[int(np.ceil(0.95 * len(known))) - 1] if known else None


def _confidence(bars: Mapping[str, Mapping[str, float]], task: str) -> float:
    return bars[task]["confidence"] if task in bars else DEFAULT_CONFIDENCE
