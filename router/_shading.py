"""One request's shadow: asked once, held against the budgets, booked as a request of its own, and compared."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Generator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from router._books import Books
from router._calls import calls_of
from router._purse import Purse
from router.decide import Ruling
from router.decisions import Candidate, Decision, Shade
from router.errors import BudgetExceededError, ConfigurationError, ProviderError
from router.flow import Flow, Heard
from router.policy import Policy
from router.shadows import SUFFIX, Shadowed, Shadows
from router.spend.meter import Meter
from router.transports.base import Transport
from router.types import Call, Reply, Request, Sleep

TIMEOUT_S = 120.0
"""For one call; a slower answer is an error."""
NUMBER = re.compile(r"\$?\d[\d,.]*(?<![,.])")


class RouterClosed(BaseException):
    """What interrupted a shadow that was under way when its router was closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request that a model has answered."""

    request: Request
    ruling: Ruling
    policy: Policy
    books: Books
    model: str
    payload: Mapping[str, Any]
    cost_usd: Decimal | None
    latency_s: float

    @property
    def unfit(self) -> str | None:
        """Why the drawn shadow is not asked, in words that are the same for many requests; None: it is."""
        shade = self.ruling.decision.shadow
        if shade is not None and shade.barred is not None:
            return NUMBER.sub("N", shade.barred)
        return "it answered the request itself" if shade is not None and shade.model == self.model else None

    def apart(self) -> Answered:
        """With messages and parameters of its own: the caller may go on with theirs."""
        messages, params = deepcopy((self.request.messages, dict(self.request.params)))
        return replace(self, request=replace(self.request, messages=messages, params=params))


class Asking:
    """A shadow on its way, from the queue to its rows in the ledger.

    Args:
        answered: what was answered.
        shade: who is asked.
        shadows: where the comparison is kept.
    """

    def __init__(self, answered: Answered, shade: Shade, shadows: Shadows) -> None:
        self.shade = shade
        self._answered, self._shadows = answered, shadows
        self._is_quiet = answered.ruling.data.log == "none"
        # Between the thread that asks and the one that closes the router.
        self._lock, self._is_sent, self._is_over = threading.Lock(), False, False

    def ask(self, transport: Transport) -> str | None:
        """Ask and book; returns why nothing was sent, None where it was."""
        with self._lock:
            if self._is_over:
                return None
            try:
                if (tight := self._answered.books.squeezed(self._request)) is not None:
                    self._is_over = True
                    return f"the budget {tight.partition(' at ')[0]} asks for cheaper routes"
                call = next(self._steps)
            except BudgetExceededError:
                self._is_over = True
                return "a budget has too little room"
            assert isinstance(call, Call)  # noqa: S101  it waits for no room
            self._is_sent = True
        outcome = _sent(transport, call)
        with self._lock:
            if self._is_over:  # the router was closed meanwhile, and all is booked
                return None
            self._is_over = True
            return self._hear(outcome)

    def stop(self) -> None:
        """Book a call that is under way as interrupted: its provider may bill it."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            if self._is_sent:
                self._hear(RouterClosed("the router was closed"))

    # All that is not needed before it is asked is made then: somebody waits until it stands in the queue.

    @cached_property
    def _request(self) -> Request:
        given = self._answered.request
        params = {name: value for name, value in given.params.items() if name != "stream_options"}
        return replace(given, id=given.id + SUFFIX, stream=False, params=params)

    @cached_property
    def _decision(self) -> Decision:
        return _decision(self._answered.ruling.decision, self._request.id, self.shade)

    @cached_property
    def _meter(self) -> Meter:
        ruling, prices = self._answered.ruling, self._answered.policy.prices
        return Meter(prices, ruling.limit_usd, ruling.input_bound, is_quiet=self._is_quiet)

    @cached_property
    def _purse(self) -> Purse:
        return Purse(self._request, self._decision.task.task, self._meter, self._answered.books)

    @cached_property
    def _steps(self) -> Generator[Call | Sleep, Heard, tuple[Call, Reply]]:
        asked = replace(self._answered.ruling, decision=self._decision, listener=None)
        call = calls_of(self._request, asked, self._answered.policy, None)[0][0]
        return self._purse.pay(_once(replace(call, role="shadow", timeout_s=TIMEOUT_S)))

    def _hear(self, outcome: Reply | BaseException) -> str | None:
        """Settle and book what came of the call."""
        try:
            if isinstance(outcome, (Reply, ProviderError)):
                self._steps.send(Heard(now_s=time.monotonic(), outcome=outcome))
            else:
                self._steps.throw(outcome)
        except StopIteration as done:
            _, reply = done.value
            self._write(reply.payload or {}, None)
        except ConfigurationError:  # nothing was sent
            return "its model cannot be called: the policy or the environment is not complete"
        except BaseException as error:  # noqa: BLE001  whatever it is, the call is paid
            self._write(None, error)
        return None

    def _write(self, payload: Mapping[str, Any] | None, error: BaseException | None) -> None:
        self._purse.book()
        answered, meter = self._answered, self._meter
        told = None if error is None else type(error).__name__
        if error is not None and not self._is_quiet:
            told = f"{told}: {error}"[:500]
        is_cut = isinstance(error, RouterClosed)
        latency_s = meter.attempts[-1].latency_s
        shadowed = Shadowed(
            name=self.shade.name,
            shadowed=answered.request.id,
            is_same=None if payload is None else _agree(answered, payload),
            error=None if error is None else type(error).__name__,
            cost_usd=meter.cost_usd,
            served_usd=answered.cost_usd,
            latency_s=latency_s,
            served_s=None if answered.request.stream else answered.latency_s,
        )
        with answered.books.ledger.batch():
            answered.books.ledger.append_request(
                self._request,
                self._decision,
                outcome="ok" if error is None else "cut" if is_cut else "error",
                attempts=meter.attempts,
                cost_usd=meter.cost_usd,
                latency_s=latency_s,
                cache="off",
                model=self.shade.model if error is None else None,
                error=told,
            )
            self._shadows.note(shadowed)
        if answered.books.texts is not None and payload is not None and not self._is_quiet:
            answered.books.texts.keep(self._request, self._decision.task.task, payload)


def _once(call: Call) -> Flow:
    """One call, without a repeat: what a provider refuses now it may need for requests."""
    heard = yield call
    if isinstance(heard.outcome, Reply):
        return call, heard.outcome
    assert heard.outcome is not None  # noqa: S101  a call always has an outcome
    raise heard.outcome


def _sent(transport: Transport, call: Call) -> Reply | BaseException:
    try:
        return transport.send(call)
    except BaseException as error:  # noqa: BLE001  it is booked
        return error


def _agree(answered: Answered, payload: Mapping[str, Any]) -> bool | None:
    """Whether both answers say the same; None: nobody can tell."""
    from router.cache.identity import agree  # it brings numpy, for policies that have a shadow

    with contextlib.suppress(Exception):  # a provider's payload may be anything
        return agree(answered.payload, payload, answered.request.text)
    return None


def _decision(served: Decision, id: str, shade: Shade) -> Decision:
    """Why the shadow is asked, as a row of the ledger says it."""
    return Decision(
        id=id,
        task=served.task,
        rule=served.rule,
        strategy="shadow",
        bar=served.bar,
        plan=(shade.model,),
        candidates=(Candidate(model=shade.model, is_in=True, reason=f"in the shadow of {served.id}"),),
        policy_version=served.policy_version,
        artifact_version=served.artifact_version,
        shadow_of=served.id,
        data=served.data,
    )
