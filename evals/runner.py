"""Asks every candidate every sample, through the router, and writes each answer down as it comes."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from queue import SimpleQueue

from evals.plan import Asks, Job, Plan
from evals.store import Run
from evals.suite import Suite
from evals.types import EvalError, Failed, Result, Score
from router.errors import RouterError

PER_CANDIDATE = 2
AT_ONCE = 8
"""Calls in flight: two for each candidate and eight together; one for each model on this machine."""


@dataclass(slots=True)
class Progress:
    """How far a run is."""

    total: int
    finished: int = 0
    failed: int = 0
    spent_usd: Decimal = Decimal(0)
    is_stopped_by_cap: bool = False
    last: Result | None = None


def execute(
    plan: Plan,
    suite: Suite,
    router: Asks,
    run: Run,
    *,
    max_cost_usd: Decimal | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Ask all jobs of a plan; every answer is on disk before the next one is reported.

    A call that fails is recorded as such and does not end the run. An interruption (Ctrl-C) does; calls in
    flight are waited for and kept, until a second one.

    Args:
        plan: made for this run by `plan_run`.
        suite: judges the answers.
        router: sends the calls.
        run: where answers are kept.
        max_cost_usd: nothing is sent that could take the whole run, its earlier sessions included, above it.
        on_progress: called after each cell, always from the calling thread.

    Raises:
        EvalError: there is a cap, but a candidate's price is unknown; or another process writes the run.
    """
    if max_cost_usd is not None:
        unknown = sorted({job.cell.candidate for job in plan.jobs if job.worst_usd is None})
        if unknown:
            raise EvalError(
                f"the price of {', '.join(unknown)} is unknown, so a cap of ${max_cost_usd} cannot be kept; "
                "add `price: {input, output}` to the model in the policy, or run without --max-cost-usd"
            )
    with run.writing():
        run.plan(plan.manifest, plan.samples)
        spent = sum((Decimal(str(result.cost_usd)) for result in run.history() if result.cost_usd), Decimal(0))
        progress = Progress(total=len(plan.jobs), spent_usd=spent)
        purse = _Purse(spent, max_cost_usd)
        answers: SimpleQueue[Result | None] = SimpleQueue()
        lanes = _lanes(plan.jobs, router)
        asking = [
            threading.Thread(
                target=_work, args=(lane, router, suite, plan.manifest.run_id, purse, answers), daemon=True
            )
            for lane, workers in lanes
            for _ in range(workers)
        ]
        for thread in asking:
            thread.start()
        try:
            with _gentle_interrupt(purse):
                _collect(len(asking), answers, run, purse, progress, on_progress)
        finally:
            purse.close()
        progress.is_stopped_by_cap = purse.is_empty and progress.finished < progress.total
    return progress


class _Purse:
    """What may still be spent: money gone plus the worst case of all calls in flight stays below the cap."""

    def __init__(self, spent: Decimal, cap: Decimal | None) -> None:
        self.spent, self._cap = spent, cap
        self._held, self._in_flight = Decimal(0), 0
        self._changed = threading.Condition()
        self.is_empty = self.is_interrupted = self._is_closed = False

    def hold(self, amount: Decimal | None) -> bool:
        """Set money aside for a call; waits for calls in flight where only their worst case stands in the way."""
        with self._changed:
            while not self._is_closed and not self._fits(amount or Decimal(0)):
                if not self._in_flight:
                    self.is_empty = True
                    return False
                self._changed.wait()
            if self._is_closed:
                return False
            self._held += amount or 0
            self._in_flight += 1
            return True

    def settle(self, held: Decimal | None, cost: Decimal | None) -> None:
        """Book a call that has come home. A lost call may still be billed: its worst case counts."""
        with self._changed:
            self._held -= held or 0
            self._in_flight -= 1
            self.spent += (held or 0) if cost is None else cost
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody start another call."""
        self._is_closed = True
        # Called by a signal handler, too, which must not wait for a lock that its own thread may hold: workers
        # that wait are woken by the next call that comes home, or here when nobody holds the lock.
        if self._changed.acquire(blocking=False):
            self._changed.notify_all()
            self._changed.release()

    def _fits(self, amount: Decimal) -> bool:
        return self._cap is None or self.spent + self._held + amount <= self._cap


def _lanes(jobs: Sequence[Job], router: Asks) -> list[tuple[deque[Job], int]]:
    """One queue for each candidate and its number of workers; an overloaded provider slows only its own lane."""
    lanes: dict[str, deque[Job]] = {}
    for job in jobs:
        lanes.setdefault(job.cell.candidate, deque()).append(job)
    each = max(1, min(PER_CANDIDATE, AT_ONCE // max(1, len(lanes))))
    return [(lane, 1 if _is_local(router, candidate) else each) for candidate, lane in lanes.items()]


def _is_local(router: Asks, candidate: str) -> bool:
    return any(deployment.call.startswith("local/") for deployment in router.policy.deployments[candidate])


def _work(
    lane: deque[Job], router: Asks, suite: Suite, run_id: str, purse: _Purse, answers: SimpleQueue[Result | None]
) -> None:
    try:
        while lane:
            try:
                job = lane.popleft()
            except IndexError:  # another worker of this lane took the last one
                return
            if not purse.hold(job.worst_usd):
                return
            result = _ask(job, router, suite, run_id)
            cost = None if result.cost_usd is None else Decimal(str(result.cost_usd))
            purse.settle(job.worst_usd, cost)
            answers.put(result)
    finally:
        answers.put(None)


def _ask(job: Job, router: Asks, suite: Suite, run_id: str) -> Result:
    sample = job.sample
    try:
        done = router.complete(
            sample.messages,
            model=job.cell.candidate,
            task=sample.task,
            workflow="eval",
            run_id=run_id,
            **job.params,
        )
    except RouterError as error:
        costs = [attempt.cost_usd for attempt in error.attempts]
        known = [cost for cost in costs if cost is not None]
        cost = sum(known, Decimal(0)) if len(known) == len(costs) else None
        return Result(cell=job.cell, score=Failed(f"{type(error).__name__}: {error}"[:500]), cost_usd=_number(cost))
    except Exception as error:  # noqa: BLE001  one broken cell must not cost the others
        return Result(cell=job.cell, score=Failed(f"{type(error).__name__}: {error}"[:500]))
    score: Score
    try:
        score = suite.scorer_of(sample)(done.text, sample.reference)
    except Exception as error:  # noqa: BLE001  the answer is paid for; keep it and say what broke
        score = Failed(f"scorer: {type(error).__name__}: {error}"[:500])
    return Result(
        cell=job.cell,
        score=score,
        response=done.text,
        input_tokens=int(done.usage.prompt_tokens),
        output_tokens=int(done.usage.completion_tokens),
        cost_usd=_number(done.cost_usd),
        latency_s=done.latency_s,
        model_version=done.attempts[-1].model_version if done.attempts else None,
    )


def _collect(
    workers: int,
    answers: SimpleQueue[Result | None],
    run: Run,
    purse: _Purse,
    progress: Progress,
    on_progress: Callable[[Progress], None],
) -> None:
    while workers:
        result = answers.get()
        if result is None:
            workers -= 1
            continue
        run.append(result)
        progress.finished += 1
        progress.failed += isinstance(result.score, Failed)
        progress.spent_usd, progress.last = purse.spent, result
        on_progress(progress)


@contextmanager
def _gentle_interrupt(purse: _Purse) -> Iterator[None]:
    """Ctrl-C lets the calls in flight come home, which have been paid for; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return

    def note(*_: object) -> None:
        if purse.is_interrupted:
            raise KeyboardInterrupt
        purse.is_interrupted = True
        purse.close()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    if purse.is_interrupted:
        raise KeyboardInterrupt


def _number(cost: Decimal | None) -> float | None:
    return None if cost is None else float(cost)
