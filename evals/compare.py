"""Two candidates of a run, sample by sample: is one not worse than the other, and where do they differ?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Literal

from evals.corrected import Judging, discernment, judging_of, seen_value
from evals.outcomes import by_pair
from evals.stats import (
    Interval,
    anytime_difference,
    anytime_p_above,
    clustered,
    difference_interval,
    holm,
    mcnemar,
    p_above,
    sign_flip_p,
)
from evals.store import Run
from evals.summary import DEFAULT_CONFIDENCE
from evals.types import EvalError, Result, Sample

DEFAULT_MARGIN = 0.02
"""A mean score this much lower still counts as not worse."""

Verdict = Literal["not worse", "worse", "not enough evidence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One sample that both candidates answered."""

    sample: Sample
    a: float
    b: float
    """Values, repeats averaged; a failed call counts 0."""
    result_a: Result
    result_b: Result
    """First repeats, to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the paired values of a task say about `a - b`."""

    interval: Interval
    """Mean and two-sided interval at 0.95."""
    p_equal: float
    """Two-sided, against equal quality: McNemar's for pass/fail scores, else a randomisation test."""
    p_not_worse: float
    """Against `a` being worse by the margin or more: small means not worse."""
    p_worse: float
    """Against `a` being worse by at most the margin: small means worse."""
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Candidate `a` beside `b` on one task."""

    task: str
    n: int
    """Samples that both have a value for."""
    unpaired: int
    """Samples that only one of them has a value for; left out."""
    mean_a: float
    mean_b: float
    a_better: int
    """Samples with the higher score for `a`."""
    b_better: int
    findings: Findings
    """P-values as they are; `verdict` counts that several tasks were asked."""
    verdict: Verdict
    discordant: tuple[Pair, ...] = field(repr=False)
    """Samples whose scores differ: where `b` is better first, the largest differences first."""


def compare(run: Run, a: str, b: str, *, margin: float = DEFAULT_MARGIN) -> list[Comparison]:
    """Compare two candidates on the samples that both answered, task by task.

    `a` is *not worse* on a task if its true mean is proved to lie above that of `b` less the margin, and *worse* if it
    is proved to lie below. Both kinds of proof are adjusted for the number of tasks (Holm). A judge's mistakes shrink
    differences, so the margin shrinks with them; a judge that nobody has calibrated proves nothing.

    Args:
        run: a run, also an unfinished one.
        a: the candidate that may take over.
        b: the candidate it is measured against.
        margin: in [0, 1): how much lower still counts as not worse.

    Raises:
        EvalError: the run has no such candidate, or no task with a sample that both answered.
    """
    manifest = run.manifest()
    for candidate in (a, b):
        if candidate not in manifest.candidates:
            raise EvalError(f"{run.directory}: has no candidate {candidate!r}; it has {', '.join(manifest.candidates)}")
    if a == b:
        raise EvalError(f"{a!r} is compared with itself; give two candidates of the run")
    if not 0 <= margin < 1:
        raise EvalError(f"--margin {margin!r}: give a difference of means from 0 to below 1, such as 0.02")
    pairs, unpaired = paired(answers_of(run), a, b)
    judging = judging_of(run, manifest)
    findings = {
        task: paired_tests(found, margin, manifest.stop_early) if judging is None
        else _judged_tests(found, margin, manifest.stop_early, judging)
        for task, found in pairs.items()
    }  # fmt: skip
    if not findings:
        raise EvalError(f"{run.directory}: no sample has a score of both {a!r} and {b!r} yet; go on with --resume")
    not_worse = holm({task: one.p_not_worse for task, one in findings.items()})
    worse = holm({task: one.p_worse for task, one in findings.items()})
    comparisons = []
    for task, found in pairs.items():
        bar = manifest.bars.get(task)
        alpha = 1 - (bar["confidence"] if bar else DEFAULT_CONFIDENCE) + 1e-12
        comparisons.append(
            Comparison(
                task=task,
                n=len(found),
                unpaired=unpaired[task],
                mean_a=fmean(pair.a for pair in found),
                mean_b=fmean(pair.b for pair in found),
                a_better=sum(pair.a > pair.b for pair in found),
                b_better=sum(pair.a < pair.b for pair in found),
                findings=findings[task],
                verdict="not worse" if not_worse[task] <= alpha
                else "worse" if worse[task] <= alpha else "not enough evidence",
                discordant=tuple(
                    sorted((pair for pair in found if pair.a != pair.b), key=lambda pair: pair.a - pair.b)
                ),
            )
        )  # fmt: skip
    return comparisons


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """A run's values, read once for any number of comparisons."""

    samples: Mapping[str, Sample]
    tasks: tuple[str, ...]
    by_candidate: Mapping[str, Mapping[str, tuple[float, Result]]]
    """By candidate and sample id: value, repeats averaged, and the first repeat."""


def answers_of(run: Run) -> Answers:
    """Read a run's values."""
    samples = {sample.id: sample for sample in run.samples()}
    manifest = run.manifest()
    judging = judging_of(run, manifest)
    by_candidate: dict[str, dict[str, tuple[float, Result]]] = {name: {} for name in manifest.candidates}
    for (sample, candidate), results in by_pair(run).items():
        values = [value for result in results if (value := seen_value(result, judging)) is not None]
        if candidate in by_candidate and sample in samples and values:
            by_candidate[candidate][sample] = fmean(values), results[0]
    return Answers(samples=samples, tasks=tuple(manifest.scorers), by_candidate=by_candidate)


def paired(answers: Answers, a: str, b: str) -> tuple[dict[str, list[Pair]], Mapping[str, int]]:
    """The samples that both answered, by task; and how many only one of them has a value for."""
    first, second = answers.by_candidate[a], answers.by_candidate[b]
    found: dict[str, list[Pair]] = {}
    unpaired: Counter[str] = Counter()
    # By sample id: an order that has nothing to do with the answers.
    for key in sorted(first.keys() | second.keys()):
        left, right, asked = first.get(key), second.get(key), answers.samples[key]
        if left is None or right is None:
            unpaired[asked.task] += 1
            continue
        found.setdefault(asked.task, []).append(
            Pair(sample=asked, a=left[0], b=right[0], result_a=left[1], result_b=right[1])
        )
    return {task: found[task] for task in answers.tasks if task in found}, unpaired


def p_not_worse(pairs: Sequence[Pair], margin: float, is_stopped_early: bool) -> float:
    """The same figure of `paired_tests` alone; the interval, which costs far more, is left out."""
    a, b = [pair.a for pair in pairs], [pair.b for pair in pairs]
    if is_stopped_early:
        return anytime_p_above(a, b, -margin)
    if len(set(named := _clusters(pairs))) < len(named):
        return _clustered_tests(a, b, named, margin).p_not_worse
    return p_above(a, b, -margin)


def paired_tests(pairs: Sequence[Pair], margin: float, is_stopped_early: bool) -> Findings:
    """Test `a - b` on paired values, by what the run allows.

    Clusters (`cluster` in a sample's metadata): Student's t on cluster-robust errors. A run that stopped early: bets
    that hold at any stop. Else exact for pass/fail scores, and by betting for graded ones.
    """
    a, b = [pair.a for pair in pairs], [pair.b for pair in pairs]
    if is_stopped_early:
        below, above = anytime_p_above(b, a, 0.0), anytime_p_above(a, b, 0.0)
        return Findings(
            interval=anytime_difference(a, b),
            p_equal=min(1.0, 2 * min(below, above)),
            p_not_worse=anytime_p_above(a, b, -margin),
            p_worse=anytime_p_above(b, a, margin),
            method="betting, valid at any stop",
        )
    if len(set(named := _clusters(pairs))) < len(named):
        return _clustered_tests(a, b, named, margin)
    return Findings(
        interval=difference_interval(a, b),
        p_equal=_p_equal(a, b),
        p_not_worse=p_above(a, b, -margin),
        p_worse=p_above(b, a, margin),
        method="exact" if {*a, *b} <= {0.0, 1.0} else "betting",
    )


def _judged_tests(pairs: Sequence[Pair], margin: float, is_stopped_early: bool, judging: Judging) -> Findings:
    """The same for scores of a judge that errs alike on both candidates.

    A true difference d looks like d times (sensitivity + specificity - 1); the test and the bounds of these two have a
    third of the error each.
    """
    low, high = discernment(judging, DEFAULT_CONFIDENCE)
    found = paired_tests(pairs, margin * high, is_stopped_early)
    not_worse = p_not_worse(pairs, margin * low, is_stopped_early) if low > 0 else 1.0
    return replace(
        found,
        p_not_worse=min(1.0, 3 * not_worse),
        p_worse=min(1.0, 3 * found.p_worse) if low > 0 else 1.0,
        method=f"{found.method}, {'as judged' if judging.gap is None else 'judge not calibrated'}",
    )


def _clusters(pairs: Sequence[Pair]) -> list[str]:
    clusters = [pair.sample.metadata.get("cluster") for pair in pairs]
    return [f"sample {place}" if cluster is None else f"cluster {cluster}" for place, cluster in enumerate(clusters)]


def _clustered_tests(a: Sequence[float], b: Sequence[float], clusters: Sequence[str], margin: float) -> Findings:
    if len(set(clusters)) < 2:
        return Findings(interval=Interval(fmean(a) - fmean(b), -1.0, 1.0), p_equal=1.0, p_not_worse=1.0, p_worse=1.0,
                     method="one cluster proves nothing")  # fmt: skip
    ahead = clustered([x - y for x, y in zip(a, b, strict=True)], clusters)
    behind = clustered([y - x for x, y in zip(a, b, strict=True)], clusters)
    return Findings(
        interval=ahead.interval(),
        p_equal=min(1.0, 2 * min(ahead.p_above(0.0), behind.p_above(0.0))),
        p_not_worse=ahead.p_above(-margin),
        p_worse=behind.p_above(margin),
        method=f"t on {ahead.clusters} clusters",
    )


def _p_equal(a: Sequence[float], b: Sequence[float]) -> float:
    if {*a, *b} <= {0.0, 1.0}:
        return mcnemar(sum(x > y for x, y in zip(a, b, strict=True)), sum(x < y for x, y in zip(a, b, strict=True)))
    return sign_flip_p([x - y for x, y in zip(a, b, strict=True)])
