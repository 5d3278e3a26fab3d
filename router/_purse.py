"""What one request pays its calls from: each is admitted before it is sent, and settled and booked after it."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

from router._books import Books
from router.errors import BudgetExceededError, ConfigurationError, ProviderError, ProviderUnavailableError
from router.flow import LEAST_TIME_S, Flow, Heard
from router.spend.budget import Denial
from router.spend.meter import Meter, unbounded
from router.spend.till import Till
from router.types import Attempt, Call, Reply, Request, Sleep

HOLD_PAUSE_S = 0.05
"""Between two looks whether calls under way have made room in a budget."""


class Purse:
    """Stands between a flow and its driver.

    Args:
        request: whose calls are paid.
        task: as decided, for the ledger.
        meter: of the request.
        books: with the ledger, and the till where the policy has budgets.
    """

    def __init__(self, request: Request, task: str | None, meter: Meter, books: Books) -> None:
        self._request, self._task, self.meter = request, task, meter
        self._ledger, self._till = books.ledger, books.till
        self.sent_s = time.monotonic()
        """When the last call was sent, on that clock."""
        self.answers: dict[str, Attempt] = {}
        """The settled attempt behind each model's whole answer."""

    def pay(self, flow: Flow) -> Generator[Call | Sleep, Heard, tuple[Call, Reply]]:
        """Run a flow, with every call admitted before it is sent and settled after it; returns the flow's answer."""
        step = next(flow)
        while True:
            if isinstance(step, Sleep):
                heard = yield step
            elif refusal := self.meter.refusal(step):
                heard = Heard(now_s=time.monotonic(), outcome=refusal)
            else:
                heard = yield from self._send(step)
            try:
                step = flow.send(heard)
            except StopIteration as done:
                answered: tuple[Call, Reply] = done.value
                return answered

    def _send(self, call: Call) -> Generator[Call | Sleep, Heard, Heard]:
        self.book()  # the answers of a cascade that goes on
        if self._till is not None:
            asked_s = time.monotonic()
            if denial := (yield from self._hold(self._till, call)):
                return Heard(now_s=time.monotonic(), outcome=denial)
            call = replace(call, timeout_s=max(LEAST_TIME_S, call.timeout_s - (time.monotonic() - asked_s)))
        self.sent_s = time.monotonic()
        try:
            heard = yield call
        except ConfigurationError:
            if self._till is not None and self.meter.held_usd is not None:
                self._till.release(self._request, len(self.meter.attempts))
            if call.role == "verifier":  # an answer stands without it
                self.meter.held_usd = None
                return Heard(now_s=time.monotonic(), outcome=None)
            raise  # nothing was sent
        except BaseException as interruption:
            # Cancelled or broken while the provider was working: it may bill, so the ledger must know.
            lost = ProviderUnavailableError(f"interrupted by {type(interruption).__name__}", model=call.model)
            lost.is_billed = None
            self.meter.settle(call, lost, time.monotonic() - self.sent_s)
            self.book()
            raise
        if isinstance(heard.outcome, ProviderError):
            self.meter.settle(call, heard.outcome, heard.now_s - self.sent_s)
            self.book()
        elif isinstance(heard.outcome, Reply) and heard.outcome.chunks is None:
            # Written together with its request, unless another call follows.
            settled = self.meter.settle(call, heard.outcome, heard.now_s - self.sent_s)
            if call.role == "answer":
                self.answers[call.model] = settled
        return heard

    def _hold(self, till: Till, call: Call) -> Generator[Sleep, Heard, BudgetExceededError | None]:
        """Hold what a call may cost; where only calls under way stand in the way, wait for them if that is allowed."""
        began_s, number = time.monotonic(), len(self.meter.attempts)
        is_bounded = not unbounded(self._request)
        worst_usd = self.meter.worst_usd(call) if is_bounded else None
        worst_tokens = self.meter.worst_tokens(call) if is_bounded else None
        while True:
            told = till.admit(self._request, call, number, worst_usd, worst_tokens)
            if not isinstance(told, Denial):
                self.meter.held_usd = told
                return None
            patience_s = min(told.wait_s, call.timeout_s) if call.role == "answer" else 0.0
            if time.monotonic() + HOLD_PAUSE_S > began_s + patience_s:
                return told.error
            yield Sleep(seconds=HOLD_PAUSE_S)

    def book(self) -> None:
        """Write down what was settled and is not in the ledger yet."""
        attempts = self.meter.attempts
        for number in range(self.meter.written, len(attempts)):
            self._ledger.append_attempt(self._request, number, attempts[number], self._task)
            self.meter.written = number + 1
