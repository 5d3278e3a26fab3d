"""What a judge's verdicts prove once its own mistakes are counted: nothing, until somebody has measured the judge.

A judged run carries its judge in the manifest, and beside its cells the calibration that `clearbar eval judge
--calibration` put there. Where that holds, pass rates are corrected by it (Rogan and Gladen 1978) and bounds count
the labels' uncertainty; else the judged mean is shown, and no bar is held or failed by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from evals.calibration import Calibration, read_calibration
from evals.outcomes import value_of
from evals.stats import (
    Interval,
    JudgeRecord,
    anytime_lower,
    clopper_pearson_lower,
    clopper_pearson_upper,
    corrected_rate,
    labels_needed,
    lower_behind,
    lower_bound,
    part_of_error,
    samples_needed,
    upper_behind,
    wilson,
)
from evals.store import Manifest, Run, replace_file
from evals.types import EvalError, Failed, Result

CALIBRATION = "calibration.json"
"""Name of the calibration in a judged run's directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Who judged a run, and what is known of the judge."""

    name: str
    facts: Mapping[str, Any]
    """Of the manifest."""
    gap: str | None
    """Why its verdicts cannot be corrected, so that they prove nothing; None when they can."""
    calibration: Calibration | None = None
    """There when `gap` is None."""

    def is_kin(self, candidate: str) -> bool:
        """Whether a candidate is of a judge's family."""
        return candidate in self.facts.get("kin", ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A judged pass rate with the judge's mistakes taken out."""

    interval: Interval
    lower: float
    upper: float
    judged: Interval
    """The rate as the judge saw it."""
    labels_needed: int | None
    """Labelled wrong answers with which the bar could be held; None when the judged rate itself is too low."""


def judging_of(run: Run, manifest: Manifest, now: datetime | None = None) -> Judging | None:
    """Who judged a run; None when no judge did.

    Args:
        run: any run.
        manifest: its manifest.
        now: when a calibration must hold; default the clock.
    """
    if not manifest.judge and not (run.directory / "judgements.jsonl").is_file():
        return None
    name = str(manifest.judge.get("name") or next(iter(manifest.scorers.values()), "a judge"))
    found, gap = None, None
    try:
        found, gap = _calibration(run, manifest.judge, now)
    except EvalError as error:
        gap = str(error)
    return Judging(name=name, facts=manifest.judge, gap=gap, calibration=found if gap is None else None)


def _calibration(run: Run, facts: Mapping[str, Any], now: datetime | None) -> tuple[Calibration | None, str | None]:
    from evals.judges.session import read_judgements

    path = run.directory / CALIBRATION
    if "rubric_sha256" not in facts:
        return None, "a calibration is of one model that grades by a rubric"
    if not path.is_file():
        return None, "it was never held against people's labels"
    found = read_calibration(path)
    judged = read_judgements(run.directory / "judgements.jsonl").values()
    versions = tuple(dict.fromkeys(version for one in judged for version in one.versions))
    void = found.void_because(facts["rubric_sha256"], facts["models"][0], facts["call"], versions, now=now)
    return found, f"its calibration is void: {void}" if void else found.weakness


def corrected(
    samples: Sequence[Sequence[Result]],
    judging: Judging,
    *,
    bar: float | None,
    confidence: float,
    is_stopped_early: bool = False,
) -> Corrected:
    """The true pass rate behind a judge's verdicts on one task and candidate.

    A failed call is a wrong answer that no judge saw: the estimate counts it as such, the lower bound as one the
    judge failed, and the upper bound not at all; both bounds are on the safe side.

    Args:
        samples: results of each sample, its repeats together; at least one has a value.
        judging: with a calibration.
        bar: for `labels_needed`.
        confidence: of both one-sided bounds.
        is_stopped_early: whether answers were counted while they came, so that only a bound for any time holds.
    """
    calibration = judging.calibration
    record = None if calibration is None else calibration.record
    if record is None:
        raise EvalError(f"{judging.name} has no calibration to correct by: {judging.gap}")
    pass_at = float(judging.facts["pass_at"])
    every, seen = [], []
    for results in samples:
        passes = [(float(value >= pass_at - 1e-9), result) for result in results
                  if (value := value_of(result)) is not None]  # fmt: skip
        if passes:
            every.append(fmean(passed for passed, _ in passes))
        answered = [passed for passed, result in passes if not isinstance(result.score, Failed)]
        if answered:
            seen.append(fmean(answered))
    each = part_of_error(confidence)
    low = anytime_lower(Counter(every), each) if is_stopped_early else lower_bound(every, each)
    estimate = _estimate(seen, len(seen) / len(every), record)
    return Corrected(
        interval=estimate,
        lower=min(estimate.value, lower_behind(low, record, each)),
        upper=max(estimate.value, upper_behind(_upper(seen, each, is_stopped_early), record, each)),
        judged=wilson(sum(every), len(every)),
        labels_needed=None if bar is None else labels_needed(low, bar, confidence),
    )


def _estimate(seen: Sequence[float], answered: float, record: JudgeRecord) -> Interval:
    if not seen:
        return Interval(0.0, 0.0, 1.0)
    found = corrected_rate(sum(seen), len(seen), record)
    return Interval(found.value * answered, min(found.value, found.low) * answered, max(found.value, found.high))


def _upper(seen: Sequence[float], each: float, is_stopped_early: bool) -> float:
    if not seen:
        return 1.0
    if is_stopped_early:
        return 1 - anytime_lower(Counter(1 - value for value in seen), each)
    wrong = round(sum(1 - value for value in seen))
    return clopper_pearson_upper(len(seen) - wrong, len(seen), each)


def needs(judging: Judging, bar: float | None, confidence: float) -> str:
    """What an uncalibrated judge lacks, and how to come by it."""
    if "rubric_sha256" not in judging.facts:
        return "judge by one model and a rubric (`clearbar eval judge --judge MODEL --rubric FILE`) to hold a bar"
    if judging.gap is not None and "no better than a coin" in judging.gap:
        return "take another judge, or a clearer rubric"
    how_many = "at least 30 right and 30 wrong answers"
    if bar is not None and 0 < bar < 1:
        # With all answers passed, of four times the fewest samples that could prove the bar.
        least = labels_needed((1 - part_of_error(confidence)) ** (1 / (4 * samples_needed(bar, confidence))), bar,
                              confidence) or 1  # fmt: skip
        how_many = f"at least {max(30, least)} wrong answers, and as many right ones,"
    return (
        f"label {how_many} of this run, `clearbar eval calibrate`, then `clearbar eval judge --calibration FILE`, "
        "which asks nothing again"
    )


def attach(run: Run, source: str | Path) -> None:
    """Put a calibration beside a judged run's cells."""
    replace_file(run.directory / CALIBRATION, Path(source).read_text(encoding="utf-8"))


def seen_value(result: Result, judging: Judging | None) -> float | None:
    """A cell's worth for a comparison: `value_of`, and pass or fail where a calibration says what those are worth."""
    value = value_of(result)
    if value is None or judging is None or judging.calibration is None:
        return value
    return float(value >= float(judging.facts["pass_at"]) - 1e-9)


def discernment(judging: Judging, confidence: float) -> tuple[float, float]:
    """Bounds of sensitivity + specificity - 1, to which a judge shrinks differences; from 0 to 1 if uncalibrated."""
    record = None if judging.calibration is None else judging.calibration.record
    if record is None:
        return 0.0, 1.0
    each = part_of_error(confidence)
    low = clopper_pearson_lower(record.right_passed, record.right, each) + clopper_pearson_lower(
        record.wrong_failed, record.wrong, each
    )
    high = clopper_pearson_upper(record.right_passed, record.right, each) + clopper_pearson_upper(
        record.wrong_failed, record.wrong, each
    )
    return max(0.0, low - 1), max(0.0, high - 1)


def compared_by(judging: Judging) -> str:
    """What a judge's mistakes do to a difference of two candidates, in words."""
    if judging.calibration is None or judging.calibration.record is None:
        return f"as judged by {judging.name}, judge not calibrated ({judging.gap}): nothing is proved"
    record = judging.calibration.record
    shrunk = record.sensitivity + record.specificity - 1
    return (
        f"as judged by {judging.name}: its mistakes shrink a difference of pass rates to about {shrunk:.0%}, if it "
        "makes them alike on both; the margin shrinks with it"
    )
