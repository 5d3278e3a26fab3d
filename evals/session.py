"""One event loop that asks: starts what lanes and purse allow, judges what comes home, and tells each result.

Threads would do as well for ten calls at once; at a hundred they cost a third more time on the processor.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from evals.lanes import Lane, Purse
from evals.plan import Asks, Job, list_price
from evals.suite import Suite
from evals.types import Cell, Failed, Result, Score
from router.answers import mean_logprob
from router.errors import ProviderUnavailableError, RateLimitedError, RouterError

if TYPE_CHECKING:
    from evals.early import EarlyStop

LEAST_CALLS = 20
"""Fewer finished calls than this are too few to call a run broken."""
TRIES = 10
"""How often a call is asked again that the provider turned away (which costs nothing)."""
PAUSE_S = 1.0
"""For a provider that turns calls away without saying for how long."""
JUDGES = 32
"""Answers judged at once."""
COMPLAINTS = (RateLimitedError.__name__, ProviderUnavailableError.__name__)


@dataclass(frozen=True, slots=True)
class News:
    """A finished cell, and how the run stands with it."""

    result: Result
    spent_usd: Decimal
    skipped: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come: always the last thing told."""

    error: BaseException | None = None


class Session:
    """The calls of one `execute`; `run()` it in a thread of its own."""

    def __init__(
        self,
        *,
        lanes: Mapping[str, Lane],
        purse: Purse,
        router: Asks,
        suite: Suite,
        run_id: str,
        max_failures: float,
        early: EarlyStop | None,
        tell: Callable[[News | Ended], None],
    ) -> None:
        self.skipped = 0
        self.is_out_of_money = self.is_failing = False
        self._lane_of, self._lanes = lanes, list(dict.fromkeys(lanes.values()))
        self._purse, self._router, self._suite, self._run_id = purse, router, suite, run_id
        self._max_failures, self._early, self._tell = max_failures, early, tell
        self._is_closed = False
        self._error: BaseException | None = None
        self._finished = self._failed = 0
        self._turned_away: Counter[Cell] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._judges = ThreadPoolExecutor(JUDGES, thread_name_prefix="clearbar-judge")

    def run(self) -> None:
        """Ask until nothing is left or may be asked."""
        try:
            asyncio.run(self._run())
        except asyncio.CancelledError:
            pass
        except BaseException as broken:  # noqa: BLE001  raised again in the thread that waits for us
            self._error = broken
        self._judges.shutdown(wait=False, cancel_futures=True)
        self._tell(Ended(self._error))

    def close(self) -> None:
        """Start no more calls. Safe in a signal handler and from any thread."""
        self._is_closed = True
        self._call(self._changed.set)

    def abandon(self) -> None:
        """Break off the calls in flight, too; nothing happens when all are home."""
        self._is_closed = True
        self._call(self._cancel)

    def _call(self, function: Callable[[], object]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(function)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            pause_s = self._start()
            if not self._tasks and pause_s is None:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()

    def _start(self) -> float | None:
        """Start all calls that may start; the seconds until another one may, where only the clock is in the way."""
        pauses: list[float] = []
        is_short = False
        for lane in self._lanes:
            now_s = time.monotonic()
            while not self._is_closed and (job := lane.next(now_s)) is not None:
                if self._early is not None and not self._early.wants(job):
                    self.skipped += 1
                elif self._purse.hold(job.worst_usd):
                    lane.in_flight += 1
                    task = asyncio.create_task(self._serve(lane, job))
                    self._tasks.add(task)
                    task.add_done_callback(self._came_home)
                else:
                    lane.put_back(job)
                    is_short = True
                    break
            if not self._is_closed and (pause_s := lane.pause_s(now_s)) is not None:
                pauses.append(pause_s)
        # Calls in flight give back what they do not spend; only when none is left the money is really gone.
        self.is_out_of_money = is_short and not self._tasks and not pauses
        return min(pauses, default=None)

    def _came_home(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The calls in flight are paid for: they come home before the error is told.
            self._is_closed, self._error = True, error

    async def _serve(self, lane: Lane, job: Job) -> None:
        started_s, is_settled = time.monotonic(), False
        try:
            result, error, done = await self._ask(job)
            self._listen(lane, job, started_s, error, done)
            if error is not None and _is_turned_away(error) and self._turned_away[job.cell] < TRIES:
                self._turned_away[job.cell] += 1
                lane.put_back(job)
                cost = _billed(error)
                self._purse.settle(job.worst_usd, Decimal(0) if cost is None else cost)
                is_settled = True
                return
            if done is not None:
                score = await asyncio.get_running_loop().run_in_executor(self._judges, self._judge, job, done)
                result = _answered(self._router, job, done, score)
            cost_usd = None if result.cost_usd is None else Decimal(str(result.cost_usd))
            self._purse.settle(job.worst_usd, cost_usd)
            is_settled = True
            self._note(result)
        finally:
            lane.in_flight -= 1
            if not is_settled:
                self._purse.settle(job.worst_usd, None)

    async def _ask(self, job: Job) -> tuple[Result, RouterError | None, Any]:
        sample, error = job.sample, None
        try:
            done = await self._router.acomplete(
                sample.messages,
                model=job.cell.candidate,
                task=sample.task,
                workflow="eval",
                run_id=self._run_id,
                patience_s=0.0,  # a pause that a provider asks for is the whole lane's, which only hears of it here
                **job.params,
            )
            return Result(cell=job.cell, score=Failed("")), None, done
        except RouterError as refused:
            error, cost = refused, _number(_billed(refused))
            score = Failed(f"{type(refused).__name__}: {refused}"[:500])
        except Exception as broken:  # noqa: BLE001  one broken cell must not cost the others
            score, cost = Failed(f"{type(broken).__name__}: {broken}"[:500]), None
        return Result(cell=job.cell, score=score, cost_usd=cost, list_cost_usd=cost), error, None

    def _listen(self, lane: Lane, job: Job, started_s: float, error: RouterError | None, done: Any) -> None:
        """Let the lane hear how the provider is; the router may have met complaints and tried again by itself."""
        now_s = time.monotonic()
        if isinstance(error, (RateLimitedError, ProviderUnavailableError)):
            pause_s = error.retry_after_s
            if pause_s is None and isinstance(error, RateLimitedError):
                pause_s = PAUSE_S * 2 ** self._turned_away[job.cell]
            lane.note_complaint(started_s, now_s, pause_s)
        elif done is not None and any((attempt.error or "").startswith(COMPLAINTS) for attempt in done.attempts):
            lane.note_complaint(started_s, now_s)
        else:
            lane.note_answer()

    def _judge(self, job: Job, done: Any) -> Score:
        try:
            return self._suite.scorer_of(job.sample)(_response(done), job.sample.reference)
        except Exception as error:  # noqa: BLE001  the answer is paid for; keep it and say what broke
            return Failed(f"scorer: {type(error).__name__}: {error}"[:500])

    def _note(self, result: Result) -> None:
        self._finished += 1
        self._failed += isinstance(result.score, Failed)
        if self._early is not None:
            self._early.note(result)
        if self._finished >= LEAST_CALLS and self._failed > self._max_failures * self._finished:
            self.is_failing = self._is_closed = True
        self._tell(News(result, self._purse.spent, self.skipped))


def _is_turned_away(error: RouterError) -> bool:
    """Whether the same call may succeed later, by the provider's own word."""
    if isinstance(error, ProviderUnavailableError):
        return error.retry_after_s is not None
    return isinstance(error, RateLimitedError)


def _response(done: Any) -> str:
    """The answer's text; of an answer that calls tools instead, its calls as JSON."""
    calls = done.choices[0].message.get("tool_calls") if not done.text else None
    return json.dumps({"tool_calls": calls}) if calls else str(done.text)


def _answered(router: Asks, job: Job, done: Any, score: Score) -> Result:
    billed = listed = done.cost_usd
    if done.cache in ("exact", "semantic"):
        listed = _list_cost(router, job, done)
        billed = None if listed is None else billed  # free this time, but nobody knows what it costs
    return Result(
        cell=job.cell,
        score=score,
        response=_response(done),
        input_tokens=int(done.usage.prompt_tokens),
        output_tokens=int(done.usage.completion_tokens),
        cost_usd=_number(billed),
        list_cost_usd=_number(listed),
        latency_s=done.latency_s,
        logprob=mean_logprob(done.payload),
        model_version=done.attempts[-1].model_version if done.attempts else None,
    )


def _list_cost(router: Asks, job: Job, done: Any) -> Decimal | None:
    """What an answer from the cache would cost afresh: its usage at today's list price."""
    price = list_price(router, job.cell.candidate)
    if price is None:
        return None
    tokens = done.usage.prompt_tokens * price.input + done.usage.completion_tokens * price.output
    return Decimal(tokens) / 1_000_000


def _billed(error: RouterError) -> Decimal | None:
    costs = [attempt.cost_usd for attempt in error.attempts]
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


def _number(cost: Decimal | None) -> float | None:
    return None if cost is None else float(cost)
