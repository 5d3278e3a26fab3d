"""Which cells a run still has to ask, and what they can cost: known before anything is spent."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from evals.store import Manifest, Run
from evals.suite import Suite
from evals.types import Cell, EvalError, Failed, Sample
from router.config import suggestion
from router.tokens import forget_table

ANY_AMOUNT = Decimal(1_000_000)
"""A limit nothing meets, so that the router works out the worst case of a call."""


class Asks(Protocol):
    """The part of `router.Router` that evals use."""

    @property
    def policy(self) -> Any:
        """`models`, `prices` and `deployments` by model id, and `version`."""
        ...

    def complete(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Any:
        """One answer; a `Completion`."""
        ...

    async def acomplete(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Any:
        """The same without blocking an event loop."""
        ...

    def explain(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Any:
        """What would be done, and the most it can cost; a `Decision`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One cell still to be asked."""

    cell: Cell
    sample: Sample
    params: Mapping[str, Any]
    worst_usd: Decimal | None
    """Upper bound of one attempt; None when nobody knows the price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would ask, and what it can cost, before anything is spent."""

    manifest: Manifest
    samples: tuple[Sample, ...]
    jobs: tuple[Job, ...]
    """Cells without an answer, in order."""
    done: int
    """Cells that are finished already."""

    def worst_usd(self, candidate: str | None = None) -> Decimal | None:
        """The most the jobs (of one candidate) can cost, one attempt each; None if any price is unknown."""
        worst = [job.worst_usd for job in self.jobs if candidate in (None, job.cell.candidate)]
        return None if None in worst else sum((cost for cost in worst if cost is not None), Decimal(0))


def plan_run(
    suite: Suite,
    router: Asks,
    candidates: Sequence[str],
    run: Run,
    *,
    limit: int | None = None,
    repeats: int | None = None,
) -> Plan:
    """Work out which cells are missing and what they can cost.

    A run that exists is continued: what it has is kept, failed calls are asked again, new candidates, samples
    and repeats are added.

    Args:
        suite: what is asked.
        router: knows prices and models.
        candidates: policy model ids.
        run: where the run is or will be.
        limit: at most so many samples of each task.
        repeats: how often each sample is asked; default: what the suite says for its task.

    Raises:
        EvalError: a candidate is not in the policy, or the run belongs to another suite.
    """
    for candidate in candidates:
        if candidate not in router.policy.models:
            known = list(router.policy.models)
            raise EvalError(f"the policy lists no model {candidate!r}{suggestion(candidate, known)}")
    samples = {sample.id: sample for sample in suite.samples(limit)}
    finished: set[Cell] = set()
    most = max(map(suite.repeats, suite.tasks)) if repeats is None else repeats
    manifest = _manifest(suite, router, candidates, most)
    if run.exists:
        before = run.manifest()
        if before.suite_sha256 != suite.sha256:
            raise EvalError(
                f"{run.directory} was started with another version of suite {before.suite!r} "
                f"(sha256 {before.suite_sha256[:12]}, now {suite.sha256[:12]}); give a fresh --out"
            )
        samples = {sample.id: sample for sample in run.samples()} | samples
        manifest = replace(
            manifest,
            run_id=before.run_id,
            created=before.created,
            candidates=tuple(dict.fromkeys([*before.candidates, *candidates])),
            repeats=max(most, before.repeats),
            prices={**before.prices, **manifest.prices},
            stop_early=before.stop_early,
            planned=before.planned,
        )
        finished = {cell for cell, result in run.results().items() if not isinstance(result.score, Failed)}
    jobs = []
    for sample in samples.values():
        params = suite.params(sample.task)
        for candidate in candidates:
            worst = _worst_usd(router, sample, candidate, params)
            for repeat in range(suite.repeats(sample.task) if repeats is None else repeats):
                cell = Cell(suite_sha256=suite.sha256, sample=sample.id, candidate=candidate, repeat=repeat)
                if cell not in finished:
                    jobs.append(Job(cell=cell, sample=sample, params=params, worst_usd=worst))
    forget_table()  # what follows is calls, which providers count
    return Plan(manifest=manifest, samples=tuple(samples.values()), jobs=tuple(jobs), done=len(finished))


def _manifest(suite: Suite, router: Asks, candidates: Sequence[str], repeats: int) -> Manifest:
    return Manifest(
        run_id=f"run-{uuid.uuid4().hex[:12]}",
        suite=suite.name,
        suite_sha256=suite.sha256,
        candidates=tuple(candidates),
        repeats=repeats,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        scorers={task: suite.scorer_name(task) for task in suite.tasks},
        bars={
            task: {"min": entry.bar.min, "confidence": entry.bar.confidence}
            for task, entry in suite.tasks.items()
            if entry.bar is not None
        },
        prices={candidate: _price(router, candidate) for candidate in candidates},
        policy_version=router.policy.version,
        contamination=suite.contamination,
    )


def list_price(router: Asks, candidate: str) -> Any:
    """The list price that holds today, `input` and `output` in USD per million tokens; None when it is unknown."""
    today = datetime.now(UTC).date()
    held = [price for price in router.policy.prices[candidate] if price.effective is None or price.effective <= today]
    return max(held, key=lambda price: (price.effective is not None, price.effective), default=None)


def _price(router: Asks, candidate: str) -> dict[str, str] | None:
    price = list_price(router, candidate)
    return None if price is None else {"input": format(price.input, "f"), "output": format(price.output, "f")}


def _worst_usd(router: Asks, sample: Sample, candidate: str, params: Mapping[str, Any]) -> Decimal | None:
    decision = router.explain(sample.messages, model=candidate, task=sample.task, max_cost_usd=ANY_AMOUNT, **params)
    worst: Decimal | None = next(
        (offer.worst_cost_usd for offer in decision.candidates if offer.model == candidate), None
    )
    return worst
