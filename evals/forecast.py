"""What a run will take and what it can prove, worked out before anything is spent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from statistics import fmean, median

from evals.plan import Asks, Plan
from evals.stats import chance_to_prove, clopper_pearson_lower, samples_for_power, samples_needed
from evals.store import Run
from evals.suite import Suite
from evals.types import CALLS_AT_ONCE, Failed, Sample

CHARACTERS_PER_TOKEN = 4
"""English text in common tokenizers; code and other languages take more tokens."""
GUESSED_OUTPUT = 256
"""Output tokens of an answer when nothing is known and the suite's `max_tokens` does not say less."""
FIRST_TOKEN_S, TOKENS_PER_S, LOCAL_TOKENS_PER_S = 0.6, 60.0, 15.0
"""Guessed speed of hosted models, and of one model on this machine."""
POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one candidate will be asked on one task."""

    task: str
    candidate: str
    calls: int
    input_tokens: int
    """Estimated, all calls together."""
    output_tokens: int
    expected_usd: Decimal | None
    """At list price; None when nobody knows it."""
    worst_usd: Decimal | None
    """One attempt of each call, at its cap of output tokens."""
    latency_s: float
    """Of one call: median of earlier runs, else a guess."""
    is_measured: bool
    """Whether tokens and latency come from earlier runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What the planned samples can say about one bar."""

    task: str
    bar: float
    confidence: float
    samples: int
    fewest: int | None
    """Samples that prove the bar if every answer is right; None for a bar of 1, which no number proves."""
    highest_bar: float
    """The highest bar these samples can prove, namely with every answer right."""
    rates: Mapping[float, tuple[int | None, float]]
    """By assumed true rate: samples for 80 % power (None: over 100,000), and the chance with the planned ones."""

    @property
    def is_possible(self) -> bool:
        """Whether the planned samples could prove the bar at all."""
        return self.fewest is not None and self.samples >= self.fewest


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A run before it starts."""

    loads: tuple[Load, ...]
    reaches: tuple[Reach, ...]
    done: int
    """Cells that are finished already."""

    @property
    def calls(self) -> int:
        """Calls still to be made."""
        return sum(load.calls for load in self.loads)

    @property
    def expected_usd(self) -> Decimal | None:
        """All candidates together; None if any price is unknown."""
        return total([load.expected_usd for load in self.loads])

    @property
    def worst_usd(self) -> Decimal | None:
        """All candidates together, one attempt each; None if any price is unknown."""
        return total([load.worst_usd for load in self.loads])

    def minutes(self, at_once: int = CALLS_AT_ONCE, local: Sequence[str] = ()) -> float:
        """Of the slowest candidate: each hosted one has `at_once` calls under way, those on this machine take turns.

        A provider that takes fewer at once makes them more.
        """
        busy: dict[str, float] = defaultdict(float)
        for load in self.loads:
            if load.candidate in local:
                busy[""] += load.calls * load.latency_s
            else:
                busy[load.candidate] += load.calls * load.latency_s / min(at_once, max(1, load.calls))
        return max(busy.values(), default=0.0) / 60


def total(costs: Sequence[Decimal | None]) -> Decimal | None:
    """The sum, or None if any part is unknown."""
    return None if None in costs else sum((cost for cost in costs if cost is not None), Decimal(0))


def forecast(plan: Plan, suite: Suite, router: Asks, *, earlier: Sequence[Run] = ()) -> Forecast:
    """Work out what a plan will take and prove.

    Args:
        plan: made by `plan_run`.
        suite: what is asked.
        router: knows which models run on this machine.
        earlier: runs whose tokens, latencies and scores replace guesses, by task and candidate.
    """
    known = _Known(earlier)
    inputs = {sample.id: _input_tokens(sample) for sample in plan.samples}
    groups: dict[tuple[str, str], list[tuple[str, Decimal | None]]] = defaultdict(list)
    for job in plan.jobs:
        groups[job.sample.task, job.cell.candidate].append((job.sample.id, job.worst_usd))
    loads = []
    for (task, candidate), jobs in groups.items():
        measured = known.output_tokens.get((task, candidate))
        each = measured if measured is not None else min(suite.params(task).get("max_tokens", 1 << 30), GUESSED_OUTPUT)
        latency_s = known.latency_s.get((task, candidate))
        if latency_s is None:
            speed = LOCAL_TOKENS_PER_S if candidate in local_models(router, [candidate]) else TOKENS_PER_S
            latency_s = FIRST_TOKEN_S + each / speed
        input_tokens, output_tokens = sum(inputs[sample] for sample, _ in jobs), ceil(each * len(jobs))
        worst_usd = total([worst for _, worst in jobs])
        expected_usd = _cost(plan.manifest.prices.get(candidate), input_tokens, output_tokens)
        if expected_usd is not None and worst_usd is not None:
            expected_usd = min(expected_usd, worst_usd)  # the router counted tokens; this page only estimates them
        loads.append(
            Load(
                task=task,
                candidate=candidate,
                calls=len(jobs),
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                expected_usd=expected_usd,
                worst_usd=worst_usd,
                latency_s=latency_s,
                is_measured=measured is not None,
            )
        )
    sizes: dict[str, int] = defaultdict(int)
    for sample in plan.samples:
        sizes[sample.task] += 1
    reaches = [
        reach(task, bar["min"], bar["confidence"], sizes[task], known.rates(task))
        for task, bar in plan.manifest.bars.items()
        if sizes[task]
    ]
    return Forecast(loads=tuple(loads), reaches=tuple(reaches), done=plan.done)


def reach(task: str, bar: float, confidence: float, samples: int, rates: Sequence[float] = ()) -> Reach:
    """What so many samples can say about a bar.

    Args:
        task: name of the task.
        bar: mean quality to prove.
        confidence: of the one-sided bound.
        samples: pass/fail samples; graded scores vary less and usually need fewer.
        rates: assumed true rates; those not above the bar are left out. Default: half and three quarters of the way
            from the bar to 1.
    """
    chosen = [rate for rate in rates if bar < rate] or [round(bar + (1 - bar) * part, 4) for part in (0.5, 0.75)]
    by_rate: dict[float, tuple[int | None, float]] = {}
    wanted: int | None
    for rate in sorted(set(chosen)) if 0 < bar < 1 else ():
        try:
            wanted = samples_for_power(bar, rate, confidence, POWER) if rate < 1 else samples_needed(bar, confidence)
        except ValueError:  # so near to the bar that no sensible number of samples would do
            wanted = None
        by_rate[rate] = (wanted, chance_to_prove(bar, rate, samples, confidence))
    return Reach(
        task=task,
        bar=bar,
        confidence=confidence,
        samples=samples,
        fewest=samples_needed(bar, confidence) if bar < 1 else None,
        highest_bar=clopper_pearson_lower(samples, samples, confidence),
        rates=by_rate,
    )


def local_models(router: Asks, candidates: Sequence[str]) -> list[str]:
    """Those that run on this machine."""
    deployments = router.policy.deployments
    return [name for name in candidates if any(one.call.startswith("local/") for one in deployments[name])]


def _cost(price: Mapping[str, str] | None, input_tokens: int, output_tokens: int) -> Decimal | None:
    if price is None:
        return None
    return (input_tokens * Decimal(price["input"]) + output_tokens * Decimal(price["output"])) / 1_000_000


def _input_tokens(sample: Sample) -> int:
    # Four tokens around each message and three around the whole, as chat formats add them.
    return ceil(len(sample.prompt) / CHARACTERS_PER_TOKEN) + 4 * len(sample.messages) + 3


class _Known:
    """What earlier runs measured, by task and candidate."""

    def __init__(self, runs: Sequence[Run]) -> None:
        from evals.outcomes import value_of

        tokens: dict[tuple[str, str], list[int]] = defaultdict(list)
        latencies: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._values: dict[tuple[str, str], list[float]] = defaultdict(list)
        for run in runs:
            tasks = {sample.id: sample.task for sample in run.samples()}
            for cell, result in run.results().items():
                if isinstance(result.score, Failed) or cell.sample not in tasks:
                    continue
                key = (tasks[cell.sample], cell.candidate)
                tokens[key].append(result.output_tokens)
                if result.latency_s is not None:
                    latencies[key].append(result.latency_s)
                value = value_of(result)
                if value is not None:
                    self._values[key].append(value)
        self.output_tokens = {key: fmean(found) for key, found in tokens.items()}
        self.latency_s = {key: median(found) for key, found in latencies.items()}

    def rates(self, task: str) -> list[float]:
        """Mean scores of every candidate on a task."""
        return [round(fmean(values), 4) for (name, _), values in self._values.items() if name == task]
