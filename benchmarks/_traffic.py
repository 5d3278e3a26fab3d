"""Simulated traffic: calls of several workflows over weeks, the same for the same seed, with faults planted on request.

Days and weeks have their shape, days differ beyond it, workflows grow (one shrinks, one starts in the middle), calls
and tokens have heavy tails, contexts grow within a run. The workflows do what honest ones do and what looks like a
loop: they poll the same tool, sample the same question five times, map one prompt over hundreds of documents, repeat a
failed call, hear "yes" and "continue" again and again.

    calls = traffic(days=30, seed=1, plants=[Plant(kind="loop", workflow="coder", start_s=20 * DAY_S)])
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

DAY_S = 86_400
EPOCH_S = 1_790_553_600
"""What `at_s` counts from, in seconds since 1970: Monday 2026-09-28, midnight UTC."""
PRICES = {"small": (0.15, 0.60), "medium": (0.80, 3.20), "large": (2.50, 10.00)}
"""USD per million tokens of input and output; cached input costs a tenth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimCall:
    """One call of a run."""

    at_s: float
    """Seconds since the start of the traffic, which is a Monday, 0 o'clock UTC."""
    team: str
    workflow: str
    customer: str
    run_id: str
    model: str
    prompt: int
    """Stands for what is asked: the same number is the same last message."""
    input_tokens: int
    cached_tokens: int
    """Part of the input."""
    output_tokens: int
    cost_usd: float
    latency_s: float
    planted: str = ""
    """Kind of the plant that made it or changed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """How a workflow behaves."""

    name: str
    team: str
    runs_a_day: float
    style: Literal["chat", "coder", "poll", "map", "sample", "single"]
    calls: float
    """Median calls of a run."""
    spread: float
    """Sigma of the logarithm of a run's calls and tokens."""
    models: tuple[tuple[str, float], ...]
    context: int
    """Input tokens of a run's first call, at the median."""
    step: int
    """Input tokens that each call adds."""
    output: int
    gap_s: float
    growth: float = 1.0
    """Volume at the end of 30 days against the start."""
    weekend: float = 0.3
    peak_hour: float | None = 14.0
    """None: the whole day alike."""
    starts_day: float = 0.0
    customers: int = 20


WORKFLOWS = (
    Workflow(name="support", team="care", runs_a_day=400, style="chat", calls=4, spread=0.6,
             models=(("small", 0.8), ("large", 0.2)), context=900, step=350, output=180, gap_s=40, growth=1.3),
    Workflow(name="coder", team="platform", runs_a_day=60, style="coder", calls=14, spread=0.8,
             models=(("large", 0.9), ("small", 0.1)), context=6000, step=900, output=450, gap_s=9, growth=1.6,
             weekend=0.15),
    Workflow(name="reports", team="finance", runs_a_day=12, style="poll", calls=6, spread=0.7,
             models=(("medium", 1.0),), context=2500, step=120, output=300, gap_s=15, peak_hour=8.0, weekend=0.05),
    Workflow(name="ingest", team="search", runs_a_day=10, style="map", calls=40, spread=0.9,
             models=(("small", 1.0),), context=3000, step=0, output=120, gap_s=0.4, peak_hour=2.0, weekend=1.0),
    Workflow(name="triage", team="care", runs_a_day=900, style="single", calls=1, spread=0.4,
             models=(("small", 1.0),), context=500, step=0, output=12, gap_s=1, growth=0.8, weekend=0.6),
    Workflow(name="extract", team="finance", runs_a_day=80, style="sample", calls=2, spread=0.5,
             models=(("medium", 0.7), ("small", 0.3)), context=1800, step=200, output=220, gap_s=3, growth=1.1),
    Workflow(name="research", team="search", runs_a_day=25, style="chat", calls=9, spread=1.0,
             models=(("large", 0.6), ("medium", 0.4)), context=4000, step=2200, output=900, gap_s=20, peak_hour=None,
             weekend=0.8),
    Workflow(name="onboarding", team="growth", runs_a_day=70, style="chat", calls=5, spread=0.6,
             models=(("medium", 1.0),), context=1200, step=400, output=250, gap_s=25, starts_day=15),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A fault, or a change that somebody should hear of."""

    kind: Literal["loop", "surge", "drift", "new", "price", "mix", "models"]
    """`loop`: one run repeats its last `lap` calls `size` times. `surge`: `size` times the runs. `drift`: tokens of a
    call grow by the share `size` a day. `new`: a customer never seen, with `size` of the workflow's volume on top.
    `price`: the model `value` costs `size` times as much. `mix`: output grows `size` times at the same total tokens.
    `models`: the share `size` of the calls goes to the model `value`."""
    workflow: str
    start_s: float
    end_s: float = math.inf
    size: float = 50.0
    value: str = ""
    lap: int = 1
    """Calls of a loop's cycle: 2 is A-B-A-B."""
    grows: bool = True
    """Whether a loop's context grows as it turns."""

    def holds(self, workflow: str, at_s: float) -> bool:
        """Whether it is at work."""
        return workflow == self.workflow and self.start_s <= at_s < self.end_s


def traffic(
    days: int = 30, seed: int = 0, plants: Sequence[Plant] = (), workflows: Sequence[Workflow] = WORKFLOWS
) -> list[SimCall]:
    """All calls of all workflows, in the order of time; a workflow's normal calls do not depend on the plants."""
    found: list[SimCall] = []
    for number, workflow in enumerate(workflows):
        mine = [plant for plant in plants if plant.workflow == workflow.name or plant.kind == "price"]
        found += _Simulation(workflow, mine, seed * 1000 + number).calls(days)
    return sorted(found, key=lambda call: call.at_s)


def hourly(calls: Iterable[SimCall], days: int, by: str = "workflow") -> dict[str, np.ndarray]:
    """Cost in USD of every hour, for every value of a field; `.reshape(days, 24).sum(1)` makes days of it."""
    sums: dict[str, np.ndarray] = {}
    for call in calls:
        if call.at_s < days * DAY_S:
            row = sums.setdefault(getattr(call, by), np.zeros(days * 24))
            row[int(call.at_s // 3600)] += call.cost_usd
    return sums


class _Simulation:
    def __init__(self, workflow: Workflow, plants: Sequence[Plant], seed: int) -> None:
        self._w, self._plants, self._seed = workflow, plants, seed
        self._loops = sorted((p for p in plants if p.kind == "loop"), key=lambda plant: plant.start_s)

    def calls(self, days: int) -> Iterator[SimCall]:
        shape = np.random.default_rng((self._seed, 1))
        unusual = shape.lognormal(0.0, 0.12, days)  # a day beyond its weekday
        number = 0
        for hour in range(int(self._w.starts_day * 24), days * 24):
            at_s = hour * 3600.0
            usual = self._runs_an_hour(hour) * unusual[hour // 24] * shape.gamma(12.0, 1 / 12.0)
            for _ in range(int(shape.poisson(usual))):
                number += 1
                yield from self._run(at_s, number, f"{self._w.name}-{number}", "")
            yield from self._more(at_s, usual, hour)

    def _more(self, at_s: float, usual: float, hour: int) -> Iterator[SimCall]:
        """Runs on top, out of a random stream of their own."""
        for index, plant in enumerate(self._plants):
            if plant.kind in ("surge", "new") and plant.holds(self._w.name, at_s):
                rng = np.random.default_rng((self._seed, 2, index, hour))
                more = usual * (plant.size - 1 if plant.kind == "surge" else plant.size)
                for one in range(int(rng.poisson(max(0.0, more)))):
                    name = f"{self._w.name}-{plant.kind}{index}-{hour}-{one}"
                    yield from self._run(at_s, 10**9 + hour * 10_000 + one, name, plant.kind)

    def _runs_an_hour(self, hour: int) -> float:
        w = self._w
        shape = 1.0
        if w.peak_hour is not None:
            shape = 0.15 + 1.7 * math.exp(-(((hour - w.peak_hour + 12) % 24 - 12) ** 2) / (2 * 3.5**2))
        day = w.weekend if hour // 24 % 7 >= 5 else 1.0
        return w.runs_a_day / 24 * shape * day * w.growth ** (hour / 720)

    def _run(self, hour_s: float, number: int, run_id: str, planted: str) -> Iterator[SimCall]:
        w, rng = self._w, np.random.default_rng((self._seed, 3, number))
        at_s = hour_s + rng.uniform(0, 3600)
        customer = f"new-{w.name}" if planted == "new" else f"c{int(rng.zipf(1.6)) % w.customers}"
        size = rng.lognormal(0.0, w.spread / 2)
        context = w.context * size
        prompts, model = _prompts(w, rng), _drawn(w.models, rng)
        done: list[SimCall] = []
        for position, prompt in enumerate(prompts):
            call = self._call(rng, at_s, run_id, customer, model, prompt, context, position, planted)
            done.append(call)
            yield call
            context += w.step * rng.lognormal(0.0, w.spread)
            # What is mapped and sampled is asked in parallel.
            at_s += rng.exponential(w.gap_s) + (0.0 if w.style in ("map", "sample") else call.latency_s)
        if self._loops and hour_s >= self._loops[0].start_s and len(done) >= self._loops[0].lap and not planted:
            yield from self._loop(self._loops.pop(0), rng, done, context, at_s)

    def _loop(
        self, plant: Plant, rng: np.random.Generator, done: list[SimCall], context: float, at_s: float
    ) -> Iterator[SimCall]:
        lap = done[-plant.lap :]
        for turn in range(int(plant.size) * len(lap)):
            old = lap[turn % len(lap)]
            context += self._w.step if plant.grows else 0
            call = self._call(rng, at_s, old.run_id, old.customer, old.model, old.prompt, context, 5, "loop")
            yield call
            at_s += call.latency_s + rng.exponential(2.0)

    def _call(
        self, rng: np.random.Generator, at_s: float, run_id: str, customer: str, model: str, prompt: int,
        context: float, position: int, planted: str,
    ) -> SimCall:  # fmt: skip
        w = self._w
        given = context * rng.lognormal(0.0, 0.1)
        made = w.output * rng.lognormal(0.0, 0.7)
        cached = 0.0 if position == 0 else given * rng.uniform(0.3, 0.9) * (w.step > 0)
        luck, factor = rng.random(), 1.0
        for plant in self._plants:
            if plant.kind in ("loop", "surge", "new"):
                continue
            if plant.kind == "price":
                if plant.value == model and plant.start_s <= at_s < plant.end_s:
                    factor, planted = factor * plant.size, "price"
            elif plant.holds(w.name, at_s):
                planted = plant.kind
                if plant.kind == "drift":
                    grown = (1 + plant.size) ** ((at_s - plant.start_s) / DAY_S)
                    given, made, cached = given * grown, made * grown, cached * grown
                elif plant.kind == "mix":
                    more = min(made * (plant.size - 1), given * 0.9)
                    given, made = given - more, made + more
                    cached = min(cached, given)
                elif plant.kind == "models" and luck < plant.size:
                    model = plant.value
        read, written = PRICES[model]
        tokens = max(1, round(given)), round(cached), max(1, round(made))
        cost = ((tokens[0] - tokens[1]) * read + tokens[1] * read / 10 + tokens[2] * written) * factor / 1e6
        return SimCall(
            at_s=at_s, team=w.team, workflow=w.name, customer=customer, run_id=run_id, model=model, prompt=prompt,
            input_tokens=tokens[0], cached_tokens=min(tokens[1], tokens[0]), output_tokens=tokens[2], cost_usd=cost,
            latency_s=0.4 + tokens[2] / 80, planted=planted,
        )  # fmt: skip


def _drawn(models: Sequence[tuple[str, float]], rng: np.random.Generator) -> str:
    luck = rng.random()
    for model, share in models:
        luck -= share
        if luck < 0:
            return model
    return models[-1][0]


def _prompts(w: Workflow, rng: np.random.Generator) -> list[int]:
    """What a run asks, call by call; some of it more than once, as honest runs do."""
    count = max(1, round(w.calls * rng.lognormal(0.0, w.spread)))
    new = (int(one) for one in rng.integers(1_000, 2**53, 20_000 if count > 5_000 else 3 * count + 200))
    if w.style == "single":
        return [next(new)]
    if w.style == "map":
        return [next(new) for _ in range(count)]
    if w.style == "sample":
        return [prompt for _ in range(count) for prompt in [next(new)] * 5]
    if w.style == "poll":
        polls = min(60, int(rng.geometric(1 / 6)))
        return [next(new), *[next(new)] * polls, *(next(new) for _ in range(count // 2))]
    if w.style == "coder":
        told, prompts = int(rng.integers(100)), []
        while len(prompts) < count:
            prompts.append(next(new))  # an edit
            if rng.random() < 0.4:  # what the tests say, which is often what they said before
                told = told if rng.random() < 0.5 else int(rng.integers(100))
                prompts.append(told)
        return _with_repeats(prompts, rng, 0.03)
    # A chat: one turn in twelve is "yes", "continue" or the like.
    return _with_repeats([int(rng.integers(5)) if rng.random() < 0.08 else next(new) for _ in range(count)], rng, 0.02)


def _with_repeats(prompts: list[int], rng: np.random.Generator, share: float) -> list[int]:
    """Some calls are sent again, because they failed: once to three times."""
    sent: list[int] = []
    for prompt in prompts:
        sent += [prompt] * (1 + (int(rng.integers(1, 4)) if rng.random() < share else 0))
    return sent
