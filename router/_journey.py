"""One request on its way: what was decided about it, what came of it, and how it ends up in the books."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from router._books import Books
from router._caches import Caches, Visit
from router._purse import Purse
from router.cache.exact import Entry
from router.canaries import IN_TIME
from router.decide import Ruling
from router.decisions import Decision, TaskGuess
from router.errors import ProviderError, RouterError
from router.flow import Flow, Heard
from router.policy import Canary
from router.sessions import Session
from router.spend.meter import Meter
from router.spend.prices import Price
from router.types import Attempt, Call, Completion, Payload, Reply, Request, Sleep, Wait

if TYPE_CHECKING:
    from router.cache.shelf import Stored
    from router.climb import Listener

Outcome = Literal["ok", "error", "cut"]
Steps = Generator[Call | Sleep | Wait, Heard, Any]
"""What a driver runs: it sends each call, sleeps each pause, waits where it must, and says what came of it."""
Hear = Callable[[str, Mapping[str, Any], Decimal | None, float], None]
"""Hears of an answer: its model, itself, what the request cost in USD, and how many seconds it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A call of a request that came to nothing before its journey began, such as its line of a batch."""

    call: Call
    error: ProviderError
    held_usd: Decimal | None
    """What budgets hold for it."""
    latency_s: float


class Journey:
    """The mutable part of one request, from its check to its last ledger row."""

    def __init__(self, request: Request, books: Books, caches: Caches, *, is_async: bool) -> None:
        self.request, self._books = request, books
        self.started_s = time.monotonic()
        self.deadline_s = None if request.timeout_s is None else self.started_s + request.timeout_s
        self.decision: Decision | None = None
        self.visit = Visit(caches, request, self.started_s, is_async=is_async)
        self._purse = Purse(request, request.task, Meter({}), books)
        self._session: Session | None = None
        self._canary: Canary | None = None
        self._listener: Listener | None = None
        self._shadow: Hear | None = None
        self._is_quiet = False
        self._is_settled = False

    @property
    def meter(self) -> Meter:
        """What it may spend and has spent."""
        return self._purse.meter

    def follow(self, ruling: Ruling, prices: Mapping[str, Sequence[Price]]) -> None:
        """Take what was decided: the plan, the limit on its cost, and whether the answer may be kept."""
        self.decision, self._listener = ruling.decision, ruling.listener
        self._canary = ruling.canary
        self._session, self._is_quiet = ruling.session, ruling.data.log == "none"
        meter = Meter(prices, ruling.limit_usd, ruling.input_bound, is_quiet=self._is_quiet)
        self._purse = Purse(self.request, ruling.decision.task.task, meter, self._books)
        self.visit.follow(ruling)

    def shadowed_by(self, shadow: Hear) -> None:
        """Who hears of the answer once it is there, if a model gives one."""
        self._shadow = shadow

    def lose(self, lost: Lost) -> None:
        """Book a call that was lost before; the next one is the request's second."""
        self.meter.held_usd = lost.held_usd
        self.meter.settle(lost.call, lost.error, lost.latency_s)
        self._purse.book()

    def ask_alike(self, ruling: Ruling) -> Generator[Wait, Any, Stored | None]:
        """The stored answer to a question like it, if it may serve; what the semantic cache said is noted."""
        found = yield from self.visit.ask_alike(ruling, self.patience_s(math.inf))
        if found is None:
            return None
        self.decision = replace(ruling.decision, semantic=found.note)
        return found.stored

    def patience_s(self, most_s: float) -> float:
        """Seconds until the request's deadline, but at most so many."""
        return most_s if self.deadline_s is None else max(0.0, min(most_s, self.deadline_s - time.monotonic()))

    def check_run(self) -> None:
        """Ask the breaker before anything is sent; what it would have said in shadow is noted.

        Raises:
            RunStoppedError: the request's run is stopped.
        """
        if self._books.breaker is None:
            return
        told = self._books.breaker.check(self.request)
        if told is not None and self.decision is not None:
            self.decision = replace(self.decision, run_stop=told)

    def pay(self, flow: Flow) -> Generator[Call | Sleep, Heard, tuple[Call, Reply]]:
        """Run a flow to its answer; its calls are paid for."""
        return self._purse.pay(flow)

    def finish(
        self, call: Call, payload: Mapping[str, Any], outcome: Outcome = "ok", error: str | None = None
    ) -> Completion:
        """Write the request's row, keep its answer where that is allowed, and hand it over."""
        self._write(outcome, model=call.model, error=error)
        self._books.memory.note(self.request, self._answering, time.monotonic())
        if self._session is not None:
            self._books.sessions.note(self._session, call.model)
        answered = self._purse.answers.get(call.model, self.meter.attempts[-1])
        payload = {**payload, "usage": _openai_usage(answered, payload.get("usage"))}
        if outcome == "ok":
            self.visit.keep(call.model, payload, self.meter.cost_usd)
            self._keep_text(payload)
            if self._shadow is not None:
                self._shadow(call.model, payload, self.meter.cost_usd, time.monotonic() - self.started_s)
        else:
            self.visit.leave()
        return self._completion(call.model, payload, self.meter.cost_usd)

    def tell(self, call: Call, payload: Mapping[str, Any]) -> Completion:
        """The completion of a request whose rows stand in the ledger already; nothing is written."""
        payload = {**payload, "usage": _openai_usage(self.meter.attempts[-1], payload.get("usage"))}
        return self._completion(call.model, payload, self.meter.cost_usd)

    def finish_stream(self, call: Call, payload: Mapping[str, Any], outcome: Outcome, error: str | None) -> Completion:
        """The same for a stream, which is settled when it ends, however it ends."""
        if not self._is_settled:  # else its row could not be written the first time
            self.meter.settle_stream(call, payload, outcome, time.monotonic() - self._purse.sent_s, error)
            self._is_settled = True
        return self.finish(call, payload, outcome, error)

    def answer_from(self, entry: Entry, policy_version: str) -> Generator[Sleep, Heard, Completion]:
        """A stored answer: billed 0, with a row of its own."""
        yield from self._pretend(entry.wait_s)
        self.visit.outcome = "exact"
        guess = TaskGuess(task=self.request.task, probability=1.0 if self.request.task else 0.0,
                          by="label" if self.request.task else "none")  # fmt: skip
        self.decision = Decision(id=self.request.id, task=guess, rule="exact cache", strategy="cache", bar=0.0,
                                 plan=(entry.model,), candidates=(), policy_version=policy_version)  # fmt: skip
        self._write("ok", model=entry.model)
        self._keep_text(entry.payload)
        return self._completion(entry.model, entry.payload, Decimal(0))

    def answer_alike(self, stored: Stored) -> Generator[Sleep, Heard, Completion]:
        """The stored answer to another question: billed 0, with a row of its own."""
        yield from self._pretend(self.visit.wait_s(stored, self._books.ledger))
        self.visit.outcome = "semantic"
        self._write("ok", model=stored.model)
        self._keep_text(stored.payload)
        return self._completion(stored.model, stored.payload, Decimal(0))

    def fail(self, error: BaseException) -> None:
        """Write the row of a request that got no answer; one of our errors will tell what was tried."""
        self.visit.leave()
        if isinstance(error, RouterError):
            error.decision, error.attempts = self.decision, tuple(self.meter.attempts)
            self._write("error", error=f"{type(error).__name__}: {error}"[:500])
        else:
            self._write("cut", error=type(error).__name__)

    def _pretend(self, wait_s: float) -> Generator[Sleep, Heard, None]:
        """Take at least so many seconds, but not beyond the deadline."""
        rest_s = self.patience_s(wait_s - (time.monotonic() - self.started_s))
        if rest_s > 0:
            yield Sleep(seconds=rest_s)

    @property
    def _answering(self) -> list[Attempt]:
        """The attempts at the request itself, sent live.

        A verifier's have another prompt and a few tokens of answer, and a batch's time says nothing of the model.
        """
        return [
            attempt
            for attempt in self.meter.attempts
            if attempt.role == "answer" and (attempt.usage is None or attempt.usage.service_tier != "batch")
        ]

    def _tell_canary(self) -> None:
        """Say whether the model on trial answered, and in time, where it was asked and nobody broke off."""
        decision = self.decision
        canaries = self._books.canaries
        if canaries is None or self._canary is None or decision is None or decision.canary is None:
            return
        rollback = self._canary.rollback
        asked = {one.outcome: one for one in self.meter.attempts if one.model == self._canary.model}
        if "ok" in asked or "error" in asked:
            canaries.heard(decision.canary, "errors", float("ok" in asked), 1 - rollback.errors)
        answered = asked.get("ok")
        if rollback.latency_ms is not None and not self.request.stream and answered in self._answering:
            is_in_time = answered.latency_s * 1_000 <= rollback.latency_ms
            canaries.heard(decision.canary, "latency", float(is_in_time), IN_TIME)

    def _keep_text(self, payload: Mapping[str, Any]) -> None:
        if self._books.texts is not None and self.decision is not None and not self._is_quiet:
            self._books.texts.keep(self.request, self.decision.task.task, payload)

    def _write(self, outcome: Outcome, *, model: str | None = None, error: str | None = None) -> None:
        attempts = self.meter.attempts
        if self._is_quiet and error is not None:
            error = error.partition(":")[0]  # a provider's message may quote the prompt
        if self._listener is not None and self._listener.verdicts and self.decision is not None:
            self.decision = replace(self.decision, verdicts=self._listener.verdicts)
        if self._books.paces is not None and self.decision is not None:
            self._books.paces.note(self.decision.task.task, self._answering, time.time())
            if self._listener is not None and self._listener.late:
                self.decision = replace(self.decision, late=tuple(self._listener.late))
        self._books.ledger.append_request(
            self.request,
            self.decision,
            outcome=outcome,
            attempts=attempts,
            unwritten=len(attempts) - self.meter.written,
            cost_usd=self.meter.cost_usd,
            latency_s=time.monotonic() - self.started_s,
            cache=self.visit.outcome,
            cache_key=self.visit.key,
            model=model,
            error=error,
        )
        # After the row: whatever goes wrong here, what was paid is in the ledger.
        self._tell_canary()
        if self._books.breaker is not None:
            self._books.breaker.paid(self.request, attempts)

    def _completion(self, model: str, payload: Mapping[str, Any], cost_usd: Decimal | None) -> Completion:
        assert self.decision is not None  # noqa: S101  nothing ends well without one
        return Completion(
            id=self.request.id,
            model=model,
            payload=Payload(payload),
            decision=self.decision,
            attempts=tuple(self.meter.attempts),
            cost_usd=cost_usd,
            cache=self.visit.outcome,
            latency_s=time.monotonic() - self.started_s,
        )


def _openai_usage(attempt: Attempt, given: Any) -> dict[str, Any]:
    """The usage that is booked, in OpenAI's shape; the provider's other fields stay where its figures were usable."""
    usage = attempt.usage
    if usage is None:
        return dict(given or {})
    figures = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    return {**given, **figures} if usage.source == "provider" else figures
