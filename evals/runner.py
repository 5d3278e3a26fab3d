"""Asks every candidate every sample, through the router, and writes each answer down as it comes.

All calls are made from one event loop in a thread of its own (`evals.session`); the calling thread writes and reports.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from evals.lanes import Purse, lanes_of
from evals.plan import Asks, Plan
from evals.session import Ended, News, Session
from evals.store import Run
from evals.suite import Suite
from evals.types import CALLS_AT_ONCE, EvalError, Failed, Result

if TYPE_CHECKING:
    from evals.early import EarlyStop
    from evals.sequential import Goal

MAX_FAILURES = 0.1
"""More failed calls than this share end a run early: most likely something is wrong that more calls will not mend."""


@dataclass(slots=True)
class Progress:
    """How far a run is."""

    total: int
    """Jobs of this session."""
    finished: int = 0
    failed: int = 0
    skipped: int = 0
    """Jobs that were not worth their call any more, because the run stops early."""
    spent_usd: Decimal = Decimal(0)
    is_stopped_by_cap: bool = False
    is_stopped_by_failures: bool = False
    last: Result | None = None


def execute(
    plan: Plan,
    suite: Suite,
    router: Asks,
    run: Run,
    *,
    max_cost_usd: Decimal | None = None,
    concurrency: int = CALLS_AT_ONCE,
    max_failures: float = MAX_FAILURES,
    stop_early: Goal | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Ask all jobs of a plan; every answer is on disk before it is reported.

    A call that fails is recorded as such and does not end the run; too many of them do. An interruption (Ctrl-C)
    does, too; calls in flight are waited for and kept, until a second one.

    Args:
        plan: made for this run by `plan_run`.
        suite: judges the answers.
        router: sends the calls.
        run: where answers are kept.
        max_cost_usd: nothing is sent that could take the whole run, its earlier sessions included, above it.
        concurrency: calls at once that a hosted provider gets at most; fewer while it complains.
        max_failures: share of failed calls, of at least 20, above which no more are sent.
        stop_early: leave out candidates whose bar is decided; see `evals.sequential`. Default: ask everything.
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
        early: EarlyStop | None = None
        if stop_early is not None:
            from evals.early import EarlyStop, stopping_early  # numpy, which a plain run does without

            plan = replace(plan, manifest=stopping_early(plan, has_answers=bool(run.results())))
            early = EarlyStop(plan, run.results().values(), stop_early)
        run.plan(plan.manifest, plan.samples)
        spent = _spent(run, plan)
        progress = Progress(total=len(plan.jobs), spent_usd=spent)
        answers: SimpleQueue[News | Ended] = SimpleQueue()
        session = Session(
            lanes=lanes_of(plan.jobs, router, concurrency),
            purse=Purse(spent, max_cost_usd),
            router=router,
            suite=suite,
            run_id=plan.manifest.run_id,
            max_failures=max_failures,
            early=early,
            tell=answers.put,
        )
        asking = threading.Thread(target=session.run, name="clearbar-eval", daemon=True)
        asking.start()
        try:
            with _gentle_interrupt(session):
                _collect(answers, run, progress, on_progress)
        finally:
            session.abandon()
            asking.join(timeout=5)
        progress.skipped = session.skipped
        progress.is_stopped_by_cap, progress.is_stopped_by_failures = session.is_out_of_money, session.is_failing
    return progress


def _spent(run: Run, plan: Plan) -> Decimal:
    """Dollars of earlier sessions. A lost call may still be billed: where it is asked again, its worst case counts."""
    worst = {job.cell: job.worst_usd for job in plan.jobs}
    costs = (
        worst.get(result.cell) if result.cost_usd is None else Decimal(str(result.cost_usd)) for result in run.history()
    )
    return sum((cost for cost in costs if cost is not None), Decimal(0))


def _collect(
    answers: SimpleQueue[News | Ended], run: Run, progress: Progress, on_progress: Callable[[Progress], None]
) -> None:
    """Write answers down, all that are there with one wait for the disk, and then report them."""
    while True:
        heard = [answers.get()]
        try:
            while True:
                heard.append(answers.get_nowait())
        except Empty:
            pass
        news = [one for one in heard if isinstance(one, News)]
        if news:
            run.append(*(one.result for one in news))
        for one in news:
            progress.finished += 1
            progress.failed += isinstance(one.result.score, Failed)
            progress.spent_usd, progress.skipped, progress.last = one.spent_usd, one.skipped, one.result
            on_progress(progress)
        if isinstance(heard[-1], Ended):
            if heard[-1].error is not None:
                raise heard[-1].error
            return


@contextmanager
def _gentle_interrupt(session: Session) -> Iterator[None]:
    """Ctrl-C lets the calls in flight come home, which have been paid for; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return
    is_interrupted = False

    def note(*_: object) -> None:
        nonlocal is_interrupted
        if is_interrupted:
            raise KeyboardInterrupt
        is_interrupted = True
        session.close()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    if is_interrupted:
        raise KeyboardInterrupt
