"""What the page shows, gathered from a run directory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from evals.frontier import Point, frontier
from evals.outcomes import by_pair, value_of
from evals.stats import clopper_pearson_lower, samples_needed
from evals.store import Manifest, Run
from evals.summary import Standing
from evals.types import Failed, Result, Sample, Scored, Unscored
from router.types import message_texts

LONGEST_TEXT = 20_000
"""Characters of one message or answer that the page keeps; a longer one is cut, and says so."""
MANY = 100_000
"""Beyond so many samples a bar is out of reach for any practical purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One candidate on one task, as the page shows it."""

    standing: Standing
    list_usd: float | None
    """Mean cost of one request at the run's list prices; None when unknown."""
    latency_p95_s: float | None
    """95th percentile of its answers; None without a latency."""
    dominated_by: tuple[str, ...]
    """Candidates proved to be cheaper and not worse, and not slower (`evals.frontier`), the cheapest first."""
    is_choice: bool
    """The cheapest candidate that holds the task's bar."""
    missing: int | None
    """More samples that would prove the bar at the present rate; None when no practical number would, or the run
    stops early, where the number depends on the order of answers to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole run, ready to be drawn."""

    manifest: Manifest
    entries: Mapping[str, tuple[Entry, ...]]
    """By task, candidates in the order of the run."""
    samples: tuple[Sample, ...]
    pairs: Mapping[tuple[str, str], Sequence[Result]]
    """By sample id and candidate: repeats in order."""
    versions: Mapping[str, tuple[str, ...]]
    """By candidate: what providers said they served."""
    billed_usd: float
    """Everything the run paid, calls that were tried again included."""
    unpriced: int
    """Calls whose cost nobody knows; they are missing from `billed_usd`."""
    list_usd: float | None
    """What all answers would cost at list prices, each asked once."""
    contamination: Mapping[str, str]
    """By task: the suite's word on samples having been in training data, where it has one."""

    @property
    def candidates(self) -> tuple[str, ...]:
        """All candidates of the run."""
        return self.manifest.candidates

    def list_costs(self, candidate: str) -> list[float]:
        """What each of a candidate's answers costs at list price, where that is known."""
        listed = [result.list_cost_usd for result in self.results(candidate) if _is_answer(result)]
        return [cost for cost in listed if cost is not None]

    def results(self, candidate: str) -> list[Result]:
        """All finished cells of a candidate."""
        return [result for (_, name), results in self.pairs.items() if name == candidate for result in results]


def read_page(run: Run) -> Page:
    """Gather all that the page shows.

    Raises:
        EvalError: the run is broken, or has no scored answer yet.
    """
    manifest = run.manifest()
    frontiers = frontier(run)
    samples = tuple(run.samples())
    pairs = by_pair(run)
    versions: dict[str, dict[str, None]] = {candidate: {} for candidate in manifest.candidates}
    for (_, candidate), results in pairs.items():
        for result in results:
            if result.model_version:
                versions.setdefault(candidate, {})[result.model_version] = None
    order = manifest.candidates
    costs = [result.cost_usd for result in run.history()]
    listed = [result.list_cost_usd for group in pairs.values() for result in group if _is_answer(result)]
    return Page(
        manifest=manifest,
        entries={
            task: _entries(sorted(points, key=lambda point: order.index(point.standing.candidate)), manifest.stop_early)
            for task, points in frontiers.items()
        },
        samples=samples,
        pairs=pairs,
        versions={candidate: tuple(names) for candidate, names in versions.items()},
        billed_usd=math.fsum(cost for cost in costs if cost is not None),
        unpriced=sum(cost is None for cost in costs),
        list_usd=_sum(listed),
        contamination=manifest.contamination,
    )


def still_missing(standing: Standing) -> int | None:
    """How many more samples would prove the bar if the candidate went on as it does.

    Starts at the size that the score test asks for, then steps up until the exact bound agrees.
    """
    bar, rate, confidence = standing.bar, standing.interval.value, standing.confidence
    if bar is None or rate <= bar or bar >= 1:
        return None
    fewest = max(standing.n + 1, samples_needed(bar, confidence))
    z = NormalDist().inv_cdf(confidence)
    guess = max(fewest, math.ceil(z * z * bar * (1 - bar) / (rate - bar) ** 2))
    while guess <= MANY:
        if clopper_pearson_lower(math.floor(rate * guess + 1e-9), guess, confidence) >= bar:
            return guess - standing.n
        guess += max(1, guess // 50)
    return None


def payload(page: Page) -> dict[str, Any]:
    """All samples and answers for the page's viewer, as plain JSON values without repeated keys."""
    tasks = list(page.entries)
    places = {task: place for place, task in enumerate(tasks)}
    rows = []
    for sample in page.samples:
        if sample.task not in places:
            continue
        answers = [
            [_answer(result) for result in page.pairs.get((sample.id, candidate), ())] for candidate in page.candidates
        ]
        if not any(answers):
            continue
        messages = [[str(message.get("role", "")), _cut(_text(message))] for message in sample.messages]
        rows.append([sample.id, places[sample.task], sample.subtask, messages, _cut(sample.reference), answers])
    return {"tasks": tasks, "candidates": list(page.candidates), "samples": rows}


def _entries(points: Sequence[Point], stop_early: bool) -> tuple[Entry, ...]:
    holding = [(p.cost_usd, p.standing.candidate) for p in points if p.standing.verdict == "held"]
    priced = [(cost, candidate) for cost, candidate in holding if cost is not None]
    choice = min(priced)[1] if priced else None
    return tuple(
        Entry(
            standing=point.standing,
            list_usd=point.cost_usd,
            latency_p95_s=point.latency_p95_s,
            dominated_by=point.dominated_by,
            is_choice=point.standing.candidate == choice,
            missing=still_missing(point.standing)
            if point.standing.verdict == "not enough evidence" and not stop_early
            else None,
        )
        for point in points
    )


def _answer(result: Result) -> list[Any]:
    """Value, kind, reason, response, tokens in and out, list cost, seconds; `page.js` reads them by position."""
    match result.score:
        case Scored(_, reason):
            kind = "scored"
        case Unscored(reason):
            kind = "unscored"
        case Failed(reason):
            kind = "failed"
    cost = result.list_cost_usd if _is_answer(result) else None
    return [
        value_of(result), kind, _cut(reason), _cut(result.response), result.input_tokens, result.output_tokens,
        None if cost is None else float(f"{cost:.4g}"),
        None if result.latency_s is None else round(result.latency_s, 3),
    ]  # fmt: skip


def _is_answer(result: Result) -> bool:
    return not isinstance(result.score, Failed)


def _text(message: Mapping[str, Any]) -> str:
    return "\n".join(message_texts(message))


def _cut(text: str) -> str:
    left = len(text) - LONGEST_TEXT
    return text if left <= 0 else f"{text[:LONGEST_TEXT]}\n[cut here: {left:,} more characters in the run directory]"


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None
