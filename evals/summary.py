"""A run in numbers: what each candidate reached on each task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from statistics import fmean, median
from typing import Literal

from evals.corrected import Corrected, Judging, corrected, judging_of, needs
from evals.outcomes import by_pair, value_of
from evals.sequential import Race
from evals.stats import Interval, anytime_lower, clopper_pearson_upper, lower_bound, wilson
from evals.store import Manifest, Run
from evals.types import Failed, Result, Unscored

DEFAULT_CONFIDENCE = 0.95
MAX_FAILED = 0.05
"""More failed calls than this share mean that the run is broken, not that the model is bad."""

Verdict = Literal["held", "failed", "not enough evidence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One candidate on one task."""

    task: str
    candidate: str
    n: int
    """Samples with a value; repeats of a sample count once."""
    cells: int
    """Finished cells, whatever came of them."""
    failed: int
    """Cells whose call failed; they count as wrong."""
    unscored: int
    """Answers no scorer could judge; they are left out of `n`."""
    interval: Interval
    """Mean and two-sided Wilson interval at 0.95, for display."""
    lower: float
    """One-sided lower bound at `confidence`, to promise; in a run that stopped early one that holds at any stop."""
    upper: float
    """One-sided upper bound at `confidence`: a bar above it is missed."""
    confidence: float
    bar: float | None
    cost_usd: float | None
    """Mean list cost of one answer; None when any is unknown."""
    latency_p50_s: float | None
    versions: tuple[str | None, ...]
    """Every version that answered, in order of first appearance."""
    judging: Judging | None = None
    """Who judged, where a model did. Its mistakes are counted in mean and bounds if it was calibrated; else the mean
    is the judged one and the bounds are 0 and 1, because nothing is known about the true one."""
    correction: Corrected | None = None
    """How the judged rate became the corrected one."""

    @property
    def verdict(self) -> Verdict | None:
        """Whether the bar is held; None without a bar."""
        if self.bar is None:
            return None
        if self.lower >= self.bar:
            return "held"
        return "failed" if self.upper < self.bar else "not enough evidence"

    @property
    def judge_note(self) -> str:
        """What a reader must know about the judge; empty without one."""
        if self.judging is None:
            return ""
        if self.judging.gap is not None:
            asked = needs(self.judging, self.bar, self.confidence)
            return f"judge not calibrated ({self.judging.name}: {self.judging.gap}); no bar is held by it: {asked}"
        return self._correction_note()

    def _correction_note(self) -> str:
        if self.judging is None or self.judging.calibration is None or self.correction is None:
            return ""
        found, judged = self.judging.calibration, self.correction.judged
        note = (
            f"{self.judging.name} passed {judged.value:.3f}; corrected by {found.judged} labels (it passes "
            f"{found.sensitivity.value or 0:.0%} of right and {1 - (found.specificity.value or 0):.0%} of wrong ones)"
        )
        if self.judging.is_kin(self.candidate):
            note += "; it is of the candidate's family"
        if self.verdict == "not enough evidence":
            wanted, wrong = self.correction.labels_needed, found.specificity.of
            if wanted is None:
                note += "; it takes more samples, or a better model, to hold the bar"
            elif wanted > wrong:
                note += f"; it takes at least {wanted} labelled wrong answers, there are {wrong}"
            else:
                note += "; it takes more labels or a better judge to hold the bar"
        return note


def standings(run: Run, *, now: datetime | None = None) -> list[Standing]:
    """All tasks and candidates that have at least one value, in the order of the suite and the run.

    Args:
        run: any run, also one that a judge scored.
        now: when a judge's calibration must hold; default the clock.
    """
    manifest = run.manifest()
    judging = judging_of(run, manifest, now)
    asked = run.samples()
    tasks = {sample.id: sample.task for sample in asked}
    pairs = by_pair(run)
    if manifest.stop_early:  # a race counts answers in the order in which they were to be asked
        turns = {sample.id: turn for turn, sample in enumerate(asked)}
        pairs = dict(sorted(pairs.items(), key=lambda pair: turns.get(pair[0][0], 0)))
    groups: dict[tuple[str, str], list[list[Result]]] = {
        (task, candidate): [] for task in manifest.scorers for candidate in manifest.candidates
    }
    for (sample, candidate), results in pairs.items():
        if sample in tasks and (tasks[sample], candidate) in groups:
            groups[tasks[sample], candidate].append(results)
    found = []
    for (task, candidate), samples in groups.items():
        bar = manifest.bars.get(task)
        standing = _standing(task, candidate, samples, bar["min"] if bar else None,
                             bar["confidence"] if bar else DEFAULT_CONFIDENCE, manifest, judging)  # fmt: skip
        if standing is not None:
            found.append(standing)
    return found


def _standing(
    task: str,
    candidate: str,
    samples: Sequence[Sequence[Result]],
    bar: float | None,
    confidence: float,
    manifest: Manifest,
    judging: Judging | None,
) -> Standing | None:
    values = []
    for results in samples:
        known = [value for value in map(value_of, results) if value is not None]
        if known:
            # Repeats of one sample are one observation: they do not tell how the next sample will fare.
            values.append(fmean(known))
    if not values:
        return None
    every = [result for results in samples for result in results]
    answered = [result for result in every if not isinstance(result.score, Failed)]
    costs = [result.list_cost_usd for result in answered]
    latencies = [result.latency_s for result in answered if result.latency_s is not None]
    interval, lower, upper, correction = _proved(samples, values, task, bar, confidence, manifest, judging)
    return Standing(
        task=task,
        candidate=candidate,
        n=len(values),
        cells=len(every),
        failed=len(every) - len(answered),
        unscored=sum(isinstance(result.score, Unscored) for result in every),
        interval=interval,
        lower=lower,
        upper=upper,
        confidence=confidence,
        bar=bar,
        cost_usd=None if None in costs or not costs else float(sum(Decimal(str(cost)) for cost in costs) / len(costs)),
        latency_p50_s=median(latencies) if latencies else None,
        versions=tuple(dict.fromkeys(result.model_version for result in answered)),
        judging=judging,
        correction=correction,
    )


def _proved(
    samples: Sequence[Sequence[Result]],
    values: Sequence[float],
    task: str,
    bar: float | None,
    confidence: float,
    manifest: Manifest,
    judging: Judging | None,
) -> tuple[Interval, float, float, Corrected | None]:
    """Mean and interval, one-sided lower and upper bound, and the correction where a calibrated judge scored."""
    shown, early = wilson(sum(values), len(values)), manifest.stop_early
    if judging is not None and judging.gap is not None:
        return shown, 0.0, 1.0, None
    if judging is not None:
        found = corrected(samples, judging, bar=bar, confidence=confidence, is_stopped_early=early)
        return found.interval, found.lower, found.upper, found
    lower = (
        _lower_anytime(values, bar, confidence, manifest.planned.get(task)) if early
        else lower_bound(values, confidence)
    )  # fmt: skip
    return shown, lower, _upper(values, confidence, early), None


def _lower_anytime(values: Sequence[float], bar: float | None, confidence: float, size: int | None) -> float:
    race = Race(["it"], bar=bar or 0.0, confidence=confidence, size=size)
    for value in values:
        race.add("it", value)
    return race.lower("it")


def _upper(values: Sequence[float], confidence: float, is_stopped_early: bool) -> float:
    if is_stopped_early:
        return 1 - anytime_lower(Counter(1 - value for value in values), confidence)
    # Graded scores vary less than pass/fail ones of the same mean, so the binomial bound is on the safe side.
    wrong = round(sum(1 - value for value in values))
    return clopper_pearson_upper(len(values) - wrong, len(values), confidence)
