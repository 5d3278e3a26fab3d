"""How far a judge can be trusted: its verdicts beside people's labels.

A calibration holds for one rubric, one judge and the version of it that answered; `Calibration.void_because` says
when it no longer does. Its sensitivity and specificity are what `evals.stats.corrected_lower` takes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from statistics import fmean
from typing import Any

from evals.agreement import Share, Slope, kappa, share, slope
from evals.judges import Judged, PairwiseJudge, Rubric, RubricJudge
from evals.judges.models import is_kin
from evals.judges.session import AT_ONCE
from evals.plan import Asks
from evals.sources.files import read_rows
from evals.types import EvalError, Sample, Scored, make_sample

MAX_PAIRS = 50
"""Pairs of answers to one prompt that are compared in both orders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A judge beside people's labels."""

    judge: str
    """Policy id of the judge."""
    call: str
    """Its model string."""
    versions: tuple[str, ...]
    """What the provider said it served."""
    rubric: str
    rubric_sha256: str
    labels: int
    """Labelled answers."""
    judged: int
    """Of these, answers with a verdict; all shares below are among them."""
    base_rate: float | None
    """Share that people labelled right: what agreement is to be compared with."""
    agreement: Share
    kappa: float | None
    """Cohen's kappa; None when judge or people gave one verdict throughout."""
    sensitivity: Share
    """Of the answers labelled right, those that the judge passes."""
    specificity: Share
    """Of the answers labelled wrong, those that the judge fails."""
    self_consistency: Share | None
    """Answers with the same verdict every time; None without repeats."""
    length_slope: Slope | None
    """Change of (verdict - label) for each doubling of the answer's words; above 0: it likes long answers."""
    position_slope: Share | None
    """Decided comparisons that go to the answer shown first, both orders asked; 0.5 is fair. None without pairs."""
    position_consistency: Share | None
    """Pairs with the same winner in both orders."""
    family_leniency: float | None
    """Mean of (verdict - label) on answers of the judge's own family less that on others; None without both."""
    kin: int
    """Labelled answers by models of the judge's family."""
    cost_per_answer_usd: float | None
    """None when any price is unknown."""

    def void_because(self, rubric: Rubric, judge: str, call: str, versions: Sequence[str] = ()) -> str | None:
        """Why this calibration does not hold for a judge and its rubric; None when it does."""
        if rubric.sha256 != self.rubric_sha256:
            return f"the rubric changed ({self.rubric_sha256[:12]} is now {rubric.sha256[:12]})"
        if (judge, call) != (self.judge, self.call):
            return f"it is of judge {self.judge} ({self.call}), not {judge} ({call})"
        unknown = [version for version in versions if version not in self.versions]
        if unknown:
            return f"the judge's version changed ({', '.join(self.versions) or 'unknown'} is now {unknown[0]})"
        return None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"version": 1, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One labelled answer."""

    sample: Sample
    response: str
    is_right: bool
    model: str | None = None


def read_labels(path: str | Path, rubric: Rubric) -> list[Label]:
    """Read labelled answers: columns `prompt`, `response`, `label`, and if known `reference` and `model`.

    A label is true or false, or, where any label of the file is neither these nor 0 or 1, a grade of the rubric.

    Raises:
        EvalError: the file or one of its rows is wrong.
    """
    rows = [(f"{path}:{line}", row) for line, row in read_rows(Path(path))]
    for place, row in rows:
        for name in ("prompt", "response", "label"):
            if name not in row:
                raise EvalError(f"{place}: has no column {name!r}; a labelled answer has prompt, response and label")
    words = {"true": True, "false": False, "1": True, "0": False, "pass": True, "fail": False}
    given = [str(row["label"]).strip().casefold() for _, row in rows]
    is_binary = all(label in words for label in given)
    labels = []
    for (place, row), label in zip(rows, given, strict=True):
        if is_binary:
            is_right = words[label]
        else:
            try:
                grade = float(label)
            except ValueError:
                grade = math.nan
            if not min(rubric.scale) <= grade <= max(rubric.scale):
                raise EvalError(f"{place}: label {row['label']!r} is neither true nor false nor a grade of the rubric")
            is_right = grade >= rubric.passing
        message = {"role": "user", "content": str(row["prompt"])}
        sample = make_sample("labels", (message,), str(row.get("reference") or ""))
        model = str(row["model"]) if row.get("model") else None
        labels.append(Label(sample=sample, response=str(row["response"]), is_right=is_right, model=model))
    if not labels:
        raise EvalError(f"{path}: holds no labelled answer")
    return labels


def calibrate(
    router: Asks,
    model: str,
    rubric: Rubric,
    labels: Sequence[Label],
    *,
    repeats: int = 2,
    on_progress: Callable[[int, int], None] = lambda _, __: None,
) -> Calibration:
    """Let a judge grade labelled answers and compare.

    Args:
        router: sends the calls.
        model: policy id of the judge.
        rubric: what it looks at.
        labels: from `read_labels`.
        repeats: how often each answer is judged; the first verdict counts, the others show consistency.
        on_progress: called with verdicts so far and in all.
    """
    judge = RubricJudge(router, model, rubric)

    def judged_often(label: Label) -> list[Judged]:
        return [judge.judge(label.sample, label.response, candidate=label.model) for _ in range(max(1, repeats))]

    rounds: list[list[Judged]] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for each in pool.map(judged_often, labels):
            rounds.append(each)
            on_progress(len(rounds), len(labels))
    verdicts = [_passes(each[0], rubric) for each in rounds]
    known = [(label, verdict) for label, verdict in zip(labels, verdicts, strict=True) if verdict is not None]
    errors = [float(verdict) - float(label.is_right) for label, verdict in known]
    of_kin = [label.model is not None and is_kin(router, model, label.model) for label, _ in known]
    apart = [[error for error, kin in zip(errors, of_kin, strict=True) if kin is side] for side in (True, False)]
    order = _order(router, model, rubric, labels)
    every = [judged for each in rounds for judged in each] + order.judged
    right = [verdict for label, verdict in known if label.is_right]
    wrong = [not verdict for label, verdict in known if not label.is_right]
    return Calibration(
        judge=model,
        call=router.policy.deployments[model][0].call,
        versions=tuple(dict.fromkeys(version for judged in every for version in judged.versions)),
        rubric=rubric.name,
        rubric_sha256=rubric.sha256,
        labels=len(labels),
        judged=len(known),
        base_rate=len(right) / len(known) if known else None,
        agreement=share(sum(error == 0 for error in errors), len(errors)),
        kappa=kappa([label.is_right for label, _ in known], [verdict for _, verdict in known]),
        sensitivity=share(sum(right), len(right)),
        specificity=share(sum(wrong), len(wrong)),
        self_consistency=_consistency(rounds, rubric) if repeats > 1 else None,
        length_slope=slope([math.log2(1 + len(label.response.split())) for label, _ in known], errors),
        position_slope=order.first if order.first.of else None,
        position_consistency=order.consistent if order.consistent.of else None,
        family_leniency=fmean(apart[0]) - fmean(apart[1]) if all(apart) else None,
        kin=sum(of_kin),
        cost_per_answer_usd=_mean_cost([judged for each in rounds for judged in each]),
    )


def read_calibration(path: str | Path) -> Calibration:
    """Read back a calibration.

    Raises:
        EvalError: the file is missing or no calibration.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        if values.pop("version") != 1:
            raise EvalError(f"{path}: written by another version of clearbar; calibrate again")
        for name in ("agreement", "sensitivity", "specificity", "self_consistency", "position_slope",
                     "position_consistency"):  # fmt: skip
            values[name] = None if values[name] is None else Share(**values[name])
        values["length_slope"] = None if values["length_slope"] is None else Slope(**values["length_slope"])
        return Calibration(**{**values, "versions": tuple(values["versions"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvalError(f"{path}: not a calibration ({error}); run `clearbar eval calibrate`") from error


@dataclass(frozen=True, slots=True)
class _Order:
    first: Share
    consistent: Share
    judged: list[Judged]


def _order(router: Asks, model: str, rubric: Rubric, labels: Sequence[Label]) -> _Order:
    judge = PairwiseJudge(router, model, rubric)
    first = decided = consistent = pairs = 0
    found: list[Judged] = []
    for one, other in _pairs(labels):
        (forward, judged), (backward, again) = (
            judge.ask(one.sample, one.response, other.response),
            judge.ask(one.sample, other.response, one.response),
        )
        found += [judged, again]
        if forward is None or backward is None:
            continue
        pairs += 1
        first += (forward == "first") + (backward == "first")
        decided += (forward != "tie") + (backward != "tie")
        consistent += (forward, backward) in {("first", "second"), ("second", "first"), ("tie", "tie")}
    return _Order(share(first, decided), share(consistent, pairs), found)


def _pairs(labels: Sequence[Label]) -> Iterator[tuple[Label, Label]]:
    by_prompt: dict[str, list[Label]] = {}
    for label in labels:
        by_prompt.setdefault(label.sample.id, []).append(label)
    pairs = (
        (one, other)
        for group in by_prompt.values()
        for one, other in zip(group[::2], group[1::2], strict=False)
        if one.response != other.response
    )
    for pair, _ in zip(pairs, range(MAX_PAIRS), strict=False):
        yield pair


def _passes(judged: Judged, rubric: Rubric) -> bool | None:
    return rubric.passes(judged.score.value) if isinstance(judged.score, Scored) else None


def _consistency(rounds: Sequence[Sequence[Judged]], rubric: Rubric) -> Share:
    verdicts = [[_passes(judged, rubric) for judged in each] for each in rounds]
    whole = [each for each in verdicts if None not in each]
    return share(sum(len(set(each)) == 1 for each in whole), len(whole))


def _mean_cost(every: Sequence[Judged]) -> float | None:
    costs = [judged.cost_usd for judged in every]
    if None in costs or not costs:
        return None
    return float(sum((cost for cost in costs if cost is not None), Decimal(0)) / len(costs))
