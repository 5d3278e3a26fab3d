"""A run as evidence files, which a policy's bars ask for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evals.store import Run, replace_file
from evals.summary import MAX_FAILED, Standing, standings
from evals.types import EvalError, NotEnoughEvidenceError

LIFETIME = timedelta(days=90)
"""How long evidence holds for a model that its provider may change at any time."""


def evidence(run: Run, *, candidates: Sequence[str] | None = None, now: datetime | None = None) -> list[dict[str, Any]]:
    """The evidence of a run, one for each task and candidate.

    Args:
        run: a run, also an unfinished one: evidence counts what is there.
        candidates: only these; default all.
        now: time of creation, default the clock.

    Raises:
        EvalError: too many calls of a candidate failed, or its version changed during the run.
        NotEnoughEvidenceError: a judge that nobody has calibrated gave the scores.
    """
    manifest = run.manifest()
    created = (now or datetime.now(UTC)).replace(microsecond=0)
    found = []
    for standing in standings(run, now=now):
        if candidates is not None and standing.candidate not in candidates:
            continue
        version = _one_version(standing, run)
        if standing.judging is not None and standing.judging.gap is not None:
            raise NotEnoughEvidenceError(f"{run.directory}: {standing.judge_note}")
        is_pinned = version is not None and version.startswith("sha256:")
        found.append(
            {
                "version": 1,
                "task": standing.task,
                "model": standing.candidate,
                "model_version": version,
                "run_id": manifest.run_id,
                "suite_sha256": manifest.suite_sha256,
                "n": standing.n,
                "mean": standing.interval.value,
                "lower": standing.lower,
                "confidence": standing.confidence,
                "metric": "mean_score" if standing.judging is None else "pass_rate",
                "scorer": manifest.scorers[standing.task],
                "price": manifest.prices.get(standing.candidate),
                "created": created.isoformat(),
                # Pinned weights cannot change; everything else can be swapped behind its name.
                "expires": _soonest(None if is_pinned else (created + LIFETIME).isoformat(), standing),
                **_judged(standing),
            }
        )
    if not found:
        raise EvalError(f"{run.directory}: no scored answer yet; run the suite first")
    return found


def write_evidence(found: Sequence[dict[str, Any]], directory: str | Path) -> list[Path]:
    """Write each as `<task>--<model>.json`, whole or not at all; other files in the directory stay."""
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for one in found:
            # A task or model name may hold a slash, such as `openai/gpt-4o-mini`.
            path = folder / f"{quote(one['task'], safe=' +@:')}--{quote(one['model'], safe=' +@:')}.json"
            replace_file(path, json.dumps(one, indent=2, ensure_ascii=False) + "\n")
            paths.append(path)
    except OSError as error:
        raise EvalError(f"{folder}: evidence cannot be written ({error.strerror}); give another --out") from error
    return paths


def _soonest(expires: str | None, standing: Standing) -> str | None:
    calibration = None if standing.judging is None else standing.judging.calibration
    times = [time for time in (expires, calibration and calibration.expires) if time]
    return min(times, key=datetime.fromisoformat) if times else None


def _judged(standing: Standing) -> dict[str, Any]:
    """How a judge's rate became the `mean` and `lower` of the evidence: both are corrected for its mistakes."""
    if standing.judging is None or standing.judging.calibration is None or standing.correction is None:
        return {}
    found, judged = standing.judging.calibration, standing.correction.judged
    return {
        "judge": {
            "model": found.judge,
            "call": found.call,
            "versions": list(found.versions),
            "rubric": found.rubric,
            "rubric_sha256": found.rubric_sha256,
            "judged_rate": judged.value,
            "labels": found.judged,
            "right_passed": found.sensitivity.count,
            "right": found.sensitivity.of,
            "wrong_failed": found.specificity.count,
            "wrong": found.specificity.of,
            "calibrated": found.created,
            "same_family": standing.judging.is_kin(standing.candidate),
        }
    }


def _one_version(standing: Standing, run: Run) -> str | None:
    if standing.failed > MAX_FAILED * standing.cells:
        raise EvalError(
            f"{run.directory}: {standing.failed} calls of {standing.candidate!r} on task {standing.task!r} failed "
            f"(more than {MAX_FAILED:.0%}); run it again with --resume, or leave it out with --candidates"
        )
    if len(standing.versions) > 1:
        raise EvalError(
            f"{run.directory}: {standing.candidate!r} changed its version during the run "
            f"({', '.join(map(str, standing.versions))}); evidence holds for one version; run it again in a fresh --out"
        )
    return standing.versions[0] if standing.versions else None
