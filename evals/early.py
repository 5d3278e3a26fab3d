"""Stopping early inside a run: feeds the races in the order that was planned, whatever order answers come home in."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from statistics import fmean

from evals.outcomes import value_of
from evals.plan import Job, Plan
from evals.sequential import Goal, Races
from evals.store import Manifest
from evals.types import Result


class EarlyStop:
    """Says which jobs are still worth their call.

    An answer that takes long is often a hard one. If answers counted as they came, the easy ones would come first
    and a bar could be held by them alone; so each candidate's samples count in the order of the plan, and one that is
    missing holds back those behind it.
    """

    def __init__(self, plan: Plan, known: Iterable[Result], goal: Goal) -> None:
        """Start with what earlier sessions of the run have found."""
        bars = {task: (bar["min"], bar["confidence"]) for task, bar in plan.manifest.bars.items()}
        self.races = Races.of(bars, cheapest_first(plan), goal, plan.manifest.planned)
        self._task = {sample.id: sample.task for sample in plan.samples}
        self._missing: dict[tuple[str, str], int] = {}
        self._values: dict[tuple[str, str], list[float]] = {}
        asked = {job.cell for job in plan.jobs}
        for cell in asked:
            pair = cell.sample, cell.candidate
            self._missing[pair] = self._missing.get(pair, 0) + 1
        for result in known:
            if result.cell not in asked and result.cell.sample in self._task:
                self._keep(result)
        pairs = self._missing.keys() | self._values.keys()
        self._waiting = {
            (task, candidate): deque(
                sample.id for sample in plan.samples if sample.task == task and (sample.id, candidate) in pairs
            )
            for task in plan.manifest.scorers
            for candidate in plan.manifest.candidates
        }
        for task, candidate in self._waiting:
            self._feed(task, candidate)

    def wants(self, job: Job) -> bool:
        """Whether a job's answer could still change a verdict; once false, it stays false."""
        return self.races.wants(job.sample.task, job.cell.candidate)

    def note(self, result: Result) -> None:
        """Count a finished cell."""
        pair = result.cell.sample, result.cell.candidate
        self._missing[pair] -= 1
        self._keep(result)
        self._feed(self._task[result.cell.sample], result.cell.candidate)

    def _keep(self, result: Result) -> None:
        value = value_of(result)
        values = self._values.setdefault((result.cell.sample, result.cell.candidate), [])
        if value is not None:
            values.append(value)

    def _feed(self, task: str, candidate: str) -> None:
        waiting = self._waiting[task, candidate]
        while waiting and not self._missing.get((waiting[0], candidate)):
            values = self._values.pop((waiting.popleft(), candidate), [])
            if values:
                self.races.add(task, candidate, fmean(values))


def stopping_early(plan: Plan, *, has_answers: bool) -> Manifest:
    """The manifest of a run that stops early from now on.

    Its planned end is what is planned before the first answer; an end chosen after a look at answers proves nothing.
    """
    if plan.manifest.stop_early:
        return plan.manifest
    planned = {} if has_answers else dict(Counter(sample.task for sample in plan.samples))
    return replace(plan.manifest, stop_early=True, planned=planned)


def cheapest_first(plan: Plan) -> list[str]:
    """The candidates of a run by list price of input and output together; unknown prices last."""

    def price(candidate: str) -> Decimal:
        listed = plan.manifest.prices.get(candidate)
        return Decimal("Infinity") if listed is None else Decimal(listed["input"]) + Decimal(listed["output"])

    return sorted(plan.manifest.candidates, key=price)
