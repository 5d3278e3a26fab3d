"""Evidence files: what makes a bar a promise. Read here, written by `clearbar eval propose`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from router.plain_files import read_plain
from router.policy.models import ModelEntry
from router.policy.schema import Bar


class Evidence(BaseModel):
    """How good one model is on one task, as measured on samples that were not chosen for the result."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    version: Literal[1]
    task: str
    model: str
    model_version: str | None
    run_id: str
    suite_sha256: str
    n: Annotated[int, Field(ge=1)]
    mean: Annotated[float, Field(ge=0, le=1)]
    lower: Annotated[float, Field(ge=0, le=1)]
    """One-sided lower bound of the mean at `confidence`."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    metric: str
    scorer: str
    price: Any = None
    created: datetime
    expires: datetime | None
    """None: never (the model is pinned by the hash of its weights and cannot change)."""
    judge: Annotated[Any, Field(exclude=True)] = None
    """Who scored and how well that is known, where a judge did; its mistakes are in `mean` and `lower`, and only they
    move routes, so a version of a policy is made without it."""

    @model_validator(mode="after")
    def _bound_lies_below(self) -> Evidence:
        if self.lower > self.mean:
            raise ValueError(f"lower {self.lower:g} is above mean {self.mean:g}")
        return self


MOST_BYTES = 1_000_000
"""Of an evidence file."""
DROP_NEEDS_ARTIFACT = "a max_drop bar is carried by the plan of a promoted artifact alone"
"""Why no evidence file lets a model serve under such a bar; the reference itself drops nothing and may."""
EvidenceTable = Mapping[tuple[str, str], Evidence]
"""By task and model id."""


def read_evidence(directory: Path) -> tuple[dict[tuple[str, str], Evidence], list[str]]:
    """All evidence of a directory, and one line for each file that cannot be used."""
    found: dict[tuple[str, str], Evidence] = {}
    sources: dict[tuple[str, str], Path] = {}
    problems: list[str] = []
    for path in sorted(directory.glob("*.json")) if directory.is_dir() else ():
        try:
            evidence = Evidence.model_validate(json.loads(read_plain(path, MOST_BYTES)))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            problems.append(f"{path}: {where}: {first['msg']}; write it again with `clearbar eval propose`")
        except (OSError, ValueError, RecursionError) as error:
            problems.append(f"{path}: not readable as JSON ({error}); write it again with `clearbar eval propose`")
        else:
            pair = evidence.task, evidence.model
            if pair in sources:
                # They may differ, and no choice between them would be honest: neither counts.
                problems.append(f"{path}: {sources[pair].name} has the same task and model; remove one of the two")
                found.pop(pair, None)
            else:
                found[pair], sources[pair] = evidence, path
    return found, problems


def evidence_gap(
    evidence: Evidence | None,
    *,
    task: str | None,
    model: ModelEntry,
    bar: Bar,
    metric: str | None,
    now: datetime,
    is_alone: bool = True,
) -> str | None:
    """Why evidence does not carry a bar, with what is missing; None when it does.

    With `is_alone=False` only whether the model may take part in a plan that carries the bar as a whole: it must
    have been measured, but need not reach the bar by itself.
    """
    if is_alone and bar.max_drop is not None and model.id != bar.vs:
        # A file knows one model at a time; a drop is between two, on the same queries.
        return DROP_NEEDS_ARTIFACT
    if bar.min == 0 and is_alone:
        return None
    if evidence is None:
        least = least_samples(bar.min, bar.confidence)
        needs = (
            f"needs at least {least} samples for bar {bar.min:g}" if least else "no sample can carry bar 1; lower it"
        )
        return f"no evidence for task {task or 'unknown'}" + (f": {needs}" if is_alone else "")
    if evidence.expires is not None and _utc(evidence.expires) <= now:
        return f"no evidence: run {evidence.run_id} expired on {evidence.expires:%Y-%m-%d}; evaluate again"
    if model.version is not None and evidence.model_version != model.version:
        return f"no evidence for version {model.version} (run {evidence.run_id} measured {evidence.model_version})"
    if metric is not None and evidence.metric != metric:
        return f"no evidence by metric {metric} (run {evidence.run_id} measured {evidence.metric})"
    return _below(evidence, bar) if is_alone else None


def _below(evidence: Evidence, bar: Bar) -> str | None:
    if evidence.confidence < bar.confidence:
        return f"no evidence at confidence {bar.confidence:g} (run {evidence.run_id} has {evidence.confidence:g})"
    if evidence.lower >= bar.min:
        return None
    enough, right = samples_for_mean(evidence.mean, bar.min, bar.confidence), _more_right(evidence, bar)
    alone = f"about {right} more if all of them are right" if right else "no sample can carry bar 1; lower it"
    remedy = f"about {max(1, (enough or 0) - evidence.n)} more at this mean would carry it, {alone}"
    if enough is None:
        remedy = f"no number of samples at this mean would carry it, {alone}"
    elif evidence.judge is not None:  # what is unknown of the judge stays so, however many answers it scores
        remedy = "a judge scored it; `clearbar eval report` says whether samples or labels are missing"
    return (
        f"below bar {bar.min:g}: mean {evidence.mean:.3f} on n={evidence.n}, lower bound {evidence.lower:.3f}; {remedy}"
    )


def least_samples(bar: float, confidence: float) -> int:
    """Fewest samples, all of them right, whose one-sided Clopper-Pearson bound reaches the bar.

    With n of n right the bound is (1 - confidence)^(1/n), so n = ln(1 - confidence) / ln(bar), rounded up.
    0 where none are needed (bar 0) or no number would do (bar 1).
    """
    if not 0 < bar < 1:
        return 0
    # Less the dust of the logarithms: ln(0.1) / ln(0.1) may come out above 1.
    return max(1, math.ceil(math.log(1 - confidence) / math.log(bar) - 1e-9))


def _more_right(evidence: Evidence, bar: Bar) -> int:
    return more_right(evidence.mean, evidence.n, bar.min, bar.confidence)


@lru_cache(maxsize=4096)  # asked for each candidate that is left out, of each request
def more_right(mean: float, n: int, bar: float, confidence: float) -> int:
    """About how many samples, all of them right, are missing to `n` of this mean; 0 where no number would do (bar 1).

    By Wilson's one-sided bound (1927), and no fewer than a bar takes from nothing.
    """
    if bar >= 1:
        return 0
    z = _normal_quantile(confidence)

    def reaches(more: int) -> bool:
        total = n + more
        p = (mean * n + more) / total
        half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
        return (p + z * z / (2 * total) - half) / (1 + z * z / total) >= bar

    most = 1
    while not reaches(most) and most < 1 << 60:
        most *= 2
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if reaches(middle) else (middle, most)
    return max(most, least_samples(bar, confidence) - n)


def samples_for_mean(mean: float, bar: float, confidence: float) -> int | None:
    """About how many samples of this mean a bar needs (normal approximation), or None if the mean is too low."""
    if mean <= bar:
        return None
    z = _normal_quantile(confidence)
    return max(math.ceil((z / (mean - bar)) ** 2 * mean * (1 - mean)), least_samples(bar, confidence))


def _normal_quantile(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
