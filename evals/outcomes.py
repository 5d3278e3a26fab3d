"""A run as an outcome table, for training and replay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from evals.store import Run
from evals.types import EvalError, Failed, Result, Scored
from router.outcomes import write_outcomes


def outcome_rows(run: Run) -> Iterator[dict[str, Any]]:
    """One row for each sample and candidate that has a judged answer; repeats are averaged.

    Failed calls and unscored answers have no row: they say nothing about the quality of an answer. Rows whose
    cost nobody knows are left out, too, because a table with a wrong cost trains a wrong router.
    """
    samples = {sample.id: sample for sample in run.samples()}
    for (sample_id, candidate), results in by_pair(run).items():
        judged = [result for result in results if isinstance(result.score, Scored)]
        costs = [result.list_cost_usd for result in judged]
        if sample_id not in samples or not judged or None in costs:
            continue
        sample, latencies = samples[sample_id], [r.latency_s for r in judged if r.latency_s is not None]
        yield {
            "query_id": sample.id,
            "task": sample.task,
            "subtask": sample.subtask,
            "prompt": sample.prompt,
            "reference": sample.reference,
            "model": candidate,
            "quality": fmean(result.score.value for result in judged if isinstance(result.score, Scored)),
            "response": judged[0].response,
            "input_tokens": round(fmean(result.input_tokens for result in judged)),
            "output_tokens": round(fmean(result.output_tokens for result in judged)),
            "cost_usd": fmean(cost for cost in costs if cost is not None),
            "latency_s": fmean(latencies) if latencies else None,
            "logprob": judged[0].logprob,
        }


def write_run_outcomes(run: Run, path: str | Path) -> int:
    """Write a run's outcome table (`.jsonl`, `.csv`, else Parquet); returns the number of rows.

    Raises:
        EvalError: the run has no row to write.
    """
    run.manifest()
    rows = list(outcome_rows(run))
    if not rows:
        raise EvalError(
            f"{run.directory}: no answer with a score and a known cost yet; `clearbar eval report` shows why"
        )
    write_outcomes(path, rows)
    return len(rows)


def by_pair(run: Run) -> dict[tuple[str, str], list[Result]]:
    """Results by sample and candidate, repeats in order."""
    pairs: dict[tuple[str, str], list[Result]] = {}
    for result in sorted(run.results().values(), key=lambda r: (r.cell.sample, r.cell.candidate, r.cell.repeat)):
        pairs.setdefault((result.cell.sample, result.cell.candidate), []).append(result)
    return pairs


def value_of(result: Result) -> float | None:
    """A cell's worth for a bar: the score, 0 for a failure (a user would have got nothing), None if unscored."""
    match result.score:
        case Scored(value):
            return value
        case Failed():
            return 0.0
        case _:
            return None
