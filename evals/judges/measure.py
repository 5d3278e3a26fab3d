"""Measures a judge: it grades answers that people have labelled, and compares some of them in both orders.

The work is a judging like any other (`evals.judges.session`), in a directory of its own beside the result, so it
keeps to a cap, survives a crash, and goes on where it stopped:

```
grades/   every labelled answer, graded `repeats` times
pairs/    answers to one prompt, compared in both orders
```
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from evals.agreement import Share, Slope, kappa, share, slope
from evals.calibration import Calibration, expiry
from evals.judges.asking import is_kin
from evals.judges.labels import Label, pairs_of
from evals.judges.models import Judge, Judged, PairwiseJudge, RubricJudge, verdicts_of
from evals.judges.rubric import Rubric
from evals.judges.session import Item, Judging, calls_at_once, judge_run, judged_manifest, read_judgements, spent_before
from evals.plan import Asks
from evals.store import Manifest, Run
from evals.types import Cell, EvalError, Failed, Result, Scored, Unscored

UNKNOWN = "unknown"
"""Stands for the model of an answer that names none."""
_LEAST_MISTAKES = 3
"""Fewer mistakes than this say nothing about what mistakes go along with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What is asked of a judge to calibrate it, and the directory it happens in."""

    judges: tuple[RubricJudge, PairwiseJudge]
    rubric: Rubric
    labels: Sequence[Label]
    pairs: Sequence[tuple[Label, Label]]
    repeats: int
    runs: tuple[Run, Run]
    manifests: tuple[Manifest, Manifest]
    items: tuple[list[Item], list[Item]]
    """Grades and comparisons that have no verdict yet."""
    at_once: int

    @property
    def calls(self) -> int:
        """Calls still to be made."""
        grader, comparer = self.judges
        return len(self.items[0]) * grader.calls_each + len(self.items[1]) * comparer.calls_each


def plan_measurement(
    router: Asks, model: str, rubric: Rubric, labels: Sequence[Label], folder: Path, *, repeats: int = 2
) -> Measurement:
    """What is still to be asked; nothing is spent yet.

    Args:
        router: sends the calls.
        model: policy id of the judge.
        rubric: what it looks at.
        labels: from `read_labels`.
        folder: where verdicts are kept; those that are there already are not asked for again.
        repeats: how often each answer is judged; the first verdict counts, the others show consistency.

    Raises:
        EvalError: the policy has no such model, or the folder is of another judge or rubric.
    """
    judges = RubricJudge(router, model, rubric), PairwiseJudge(router, model, rubric)
    runs = Run(folder / "grades"), Run(folder / "pairs")
    pairs = pairs_of(labels)
    candidates = tuple(dict.fromkeys(label.model or UNKNOWN for label in labels))
    fresh = Manifest(
        run_id=f"calibrate-{hashlib.sha256(f'{model}/{rubric.sha256}'.encode()).hexdigest()[:12]}", suite="labels",
        suite_sha256=hashlib.sha256(b"labels").hexdigest(), candidates=candidates, repeats=repeats,
        created=datetime.now(UTC).isoformat(timespec="seconds"), scorers={"labels": ""}, bars={},
        prices=dict.fromkeys(candidates),
    )  # fmt: skip
    manifests = [judged_manifest(fresh, judge, rubric.sha256, router=router, rubric=rubric) for judge in judges]
    for place, (run, manifest) in enumerate(zip(runs, manifests, strict=True)):
        if run.exists:
            before = run.manifest()
            if before.suite_sha256 != manifest.suite_sha256:
                raise EvalError(f"{run.directory}: holds another judge's or rubric's verdicts; give a fresh --out")
            manifests[place] = replace(manifest, created=before.created)
    grades = [_item(manifests[0], label, None, repeat) for label in labels for repeat in range(max(1, repeats))]
    compared = [_item(manifests[1], one, other, 0) for one, other in pairs]
    return Measurement(
        judges=judges,
        rubric=rubric,
        labels=labels,
        pairs=pairs,
        repeats=repeats,
        runs=runs,
        manifests=(manifests[0], manifests[1]),
        items=(_missing(grades, runs[0]), _missing(compared, runs[1])),
        at_once=calls_at_once(router, [model]),
    )


def measure(
    plan: Measurement,
    *,
    max_cost_usd: Decimal | None = None,
    worst_usd: Decimal | None = None,
    on_progress: Callable[[Judging], None] = lambda _: None,
) -> Judging:
    """Ask what is missing, first the grades, then the comparisons; both under one cap.

    Args:
        plan: from `plan_measurement`.
        max_cost_usd: nothing is sent that could take all sessions together above it.
        worst_usd: the most that one call can cost; needed with a cap.
        on_progress: called after each verdict.

    Raises:
        EvalError: there is a cap but no known worst cost; or another process writes here.
    """
    total = Judging(total=sum(map(len, plan.items)))
    jobs: Sequence[tuple[Judge, Run, Manifest, list[Item]]] = list(
        zip(plan.judges, plan.runs, plan.manifests, plan.items, strict=True)
    )
    worst = [None if worst_usd is None else worst_usd * judge.calls_each for judge in plan.judges]
    for place, (judge, run, manifest, items) in enumerate(jobs):
        left = max_cost_usd
        if left is not None:
            # What the later part has spent in earlier sessions is under the same cap.
            gone = sum(map(spent_before, plan.runs[place + 1 :], worst[place + 1 :]), total.spent_usd)
            left = max(Decimal(0), left - gone)
        samples = [item.sample for item in items]
        done = judge_run(
            items, judge, manifest, run, list({one.id: one for one in [*run.samples(), *samples]}.values()),
            max_cost_usd=left, worst_usd=worst[place],
            at_once=plan.at_once, on_progress=on_progress,
        )  # fmt: skip
        total.judged += done.judged
        total.failed += done.failed
        total.unscored += done.unscored
        total.spent_usd += done.spent_usd
        total.has_unknown_cost |= done.has_unknown_cost
        total.is_stopped_by_cap |= done.is_stopped_by_cap
    return total


def calibration_of(plan: Measurement, router: Asks) -> Calibration:
    """What the verdicts on disk say of the judge."""
    model, rubric = plan.judges[0].models[0], plan.rubric
    said = [read_judgements(run.directory / "judgements.jsonl") for run in plan.runs]
    rounds = [
        [said[0].get(_cell(plan.manifests[0], label, repeat)) for repeat in range(max(1, plan.repeats))]
        for label in plan.labels
    ]
    verdicts = [_passes(each[0], rubric) for each in rounds]
    known = [(label, verdict) for label, verdict in zip(plan.labels, verdicts, strict=True) if verdict is not None]
    errors = [float(verdict) - float(label.is_right) for label, verdict in known]
    is_right = [float(label.is_right) for label, _ in known]
    mistakes = sum(error != 0 for error in errors)
    of_kin = [float(label.model is not None and is_kin(router, model, label.model)) for label, _ in known]
    right = [verdict for label, verdict in known if label.is_right]
    wrong = [not verdict for label, verdict in known if not label.is_right]
    every = [judged for kept in said for judged in kept.values()]
    versions = tuple(dict.fromkeys(version for judged in every for version in judged.versions))
    created = datetime.fromisoformat(plan.manifests[0].created)
    expires = expiry(created, versions)
    flips, first, by_length = _order(plan, said[1])
    return Calibration(
        judge=model,
        call=router.policy.deployments[model][0].call,
        versions=versions,
        rubric=rubric.name,
        rubric_sha256=rubric.sha256,
        created=created.isoformat(),
        expires=None if expires is None else expires.isoformat(),
        labels=len(plan.labels),
        judged=len(known),
        base_rate=len(right) / len(known) if known else None,
        agreement=share(len(errors) - mistakes, len(errors)),
        kappa=kappa([label.is_right for label, _ in known], [verdict for _, verdict in known]),
        sensitivity=share(sum(right), len(right)),
        specificity=share(sum(wrong), len(wrong)),
        self_consistency=_consistency(rounds, rubric) if plan.repeats > 1 else None,
        length_slope=slope([_doublings(label.response) for label, _ in known], errors, is_right)
        if mistakes >= _LEAST_MISTAKES
        else None,
        length_slope_pairs=by_length,
        position_flips=flips,
        position_first=first,
        family_leniency=slope(of_kin, errors, is_right) if mistakes >= _LEAST_MISTAKES else None,
        kin=int(sum(of_kin)),
        cost_per_answer_usd=_cost_each([judged for each in rounds for judged in each if judged is not None]),
    )


def _order(plan: Measurement, said: Mapping[Cell, Judged]) -> tuple[Share | None, Share | None, Slope | None]:
    """Flips with the order, flips that favour the first place, and the slope on length."""
    leans, wins, longer, better = [], [], [], []
    for one, other in plan.pairs:
        judged = said.get(_cell(plan.manifests[1], one, 0, other))
        both = None if judged is None else verdicts_of(judged)
        if both is None:
            continue
        points = {"first": 1, "tie": 0, "second": -1}
        forward, backward = points[both[0]], points[both[1]]
        leans.append(forward + backward)  # of the place, whoever stood there
        wins.append((forward - backward) / 4)  # of `one`, whatever its place; a sure win is 0.5
        longer.append(_doublings(one.response) - _doublings(other.response))
        better.append(float(one.is_right) - float(other.is_right))
    flipped = [lean for lean in leans if lean]
    if not leans:
        return None, None, None
    return (
        share(len(flipped), len(leans)),
        share(sum(lean > 0 for lean in flipped), len(flipped)),
        slope(longer, wins, better, is_paired=True) if len(set(wins)) > 1 else None,
    )


def _cell(manifest: Manifest, label: Label, repeat: int, other: Label | None = None) -> Cell:
    sample = label.sample.id if other is None else f"{label.sample.id}-{other.sample.id}"
    return Cell(suite_sha256=manifest.suite_sha256, sample=sample, candidate=label.model or UNKNOWN, repeat=repeat)


def _item(manifest: Manifest, label: Label, other: Label | None, repeat: int) -> Item:
    cell = _cell(manifest, label, repeat, other)
    result = Result(cell=cell, score=Unscored("labelled"), response=label.response)
    return Item(cell=cell, result=result, sample=label.sample, other=None if other is None else other.response)


def _missing(items: list[Item], run: Run) -> list[Item]:
    kept = read_judgements(run.directory / "judgements.jsonl")
    return [item for item in items if item.cell not in kept or isinstance(kept[item.cell].score, Failed)]


def _doublings(text: str) -> float:
    return math.log2(1 + len(text.split()))


def _passes(judged: Judged | None, rubric: Rubric) -> bool | None:
    return rubric.passes(judged.score.value) if judged is not None and isinstance(judged.score, Scored) else None


def _consistency(rounds: Sequence[Sequence[Judged | None]], rubric: Rubric) -> Share:
    verdicts = [[_passes(judged, rubric) for judged in each] for each in rounds]
    whole = [each for each in verdicts if None not in each]
    return share(sum(len(set(each)) == 1 for each in whole), len(whole))


def _cost_each(every: Sequence[Judged]) -> float | None:
    costs = [judged.cost_usd for judged in every]
    scored = sum(isinstance(judged.score, Scored) for judged in every)
    if None in costs or not scored:
        return None
    return float(sum((cost for cost in costs if cost is not None), Decimal(0)) / scored)
