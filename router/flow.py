"""Retries, fallback and the deadline, as a generator: yields `Call` or `Sleep`, receives what came of it.

No I/O and no clock of its own, so that the sync and the async driver share one logic and tests need no
waiting.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from router.errors import (
    AllCandidatesFailedError,
    BadRequestError,
    BudgetExceededError,
    DeadlineExceededError,
    ProviderError,
)
from router.types import Call, Reply, Sleep

DEFAULT_TIMEOUT_S = 300.0
"""For one attempt when the request has no deadline."""
RETRIES_ALONE = 2
"""Repeats at the last model of the plan, when nobody else can answer."""
RETRIES_WITH_FALLBACK = 1
"""Repeats at a model while another one stands by."""
BACKOFF_S = 0.25
"""Mean pause before the first repeat; doubles with each."""
PATIENCE_S = 2.0
"""The longest pause a provider may ask for while another model stands by."""
LAST_PATIENCE_S = 60.0
"""The longest pause a provider may ask for when nobody else can answer; beyond it the caller should know at once."""
LEAST_TIME_S = 0.02
"""With less time left than this, an attempt is not worth starting."""
_JITTER = random.Random()  # noqa: S311  spreads repeats; no secrecy asked of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came of the step that was yielded last."""

    now_s: float
    """The driver's monotonic clock."""
    outcome: Reply | ProviderError | BudgetExceededError | None
    """None after a `Sleep`; a `BudgetExceededError` when the call was not allowed and not sent."""


Flow = Generator[Call | Sleep, Heard, tuple[Call, Reply]]


class Listener(Protocol):
    """Hears the answers of a cascade and says when they are enough."""

    def hear(self, call: Call, reply: Reply) -> None:
        """Take in an answer."""

    def wants(self, model: str, left_s: float | None) -> bool:
        """Whether this model is worth asking, too, in the time left; only asked once there is an answer."""

    def standing(self) -> str:
        """The model whose answer stands, out of those heard."""

    def check(self, model: str) -> Call | None:
        """The call that asks a verifier about the answer that stands, where that pays before this model is asked."""

    def checked(self, reply: Reply | None) -> None:
        """Take in what came of it; None: no reply."""


def run(
    plan: Sequence[Sequence[Call]],
    *,
    now_s: float,
    deadline_s: float | None = None,
    patience_s: float | None = None,
    listener: Listener | None = None,
    latest_s: float | None = None,
    rng: random.Random | None = None,
) -> Flow:
    """Try each model of a plan until one answers, or, with a listener, until the answers are enough.

    An attempt may use its model's equal share of the time that is left, so that a stalled provider leaves
    room for the ones behind it. A deployment that has not been asked yet is asked at once; repeats then go round
    the deployments, with full jitter (delay drawn from [0, 2 * BACKOFF_S * 2^n]) or after the pause the provider
    asks for.

    Args:
        plan: for each model, in order, one call per deployment.
        now_s: the driver's monotonic clock at the start.
        deadline_s: when the request's time ends, on the same clock.
        patience_s: the longest pause a provider may ask for; default by whether another model stands by.
        listener: of a cascade. Once there is an answer, no failure or refusal of a further model is an error.
        latest_s: when the request should be answered, on the same clock; unlike the deadline, it ends no call.
        rng: source of the jitter.

    Returns:
        The call whose answer stands, and its reply.

    Raises:
        DeadlineExceededError: time ran out.
        ProviderError: the only model failed, or an error that no other model would mend.
        AllCandidatesFailedError: several models were tried and all failed.
        BudgetExceededError: no model that is left may be paid for.
    """
    rng = rng or _JITTER
    failures: list[ProviderError] = []
    denial: BudgetExceededError | None = None
    answers: dict[str, tuple[Call, Reply]] = {}
    for position, calls in enumerate(plan):
        if listener is not None and answers:
            now_s = yield from _check(listener, calls[0].model, now_s, deadline_s)
            left_s = None if latest_s is None else latest_s - now_s
            if not listener.wants(calls[0].model, left_s):
                continue
        models_left = len(plan) - position
        share_end = None if deadline_s is None else now_s + (deadline_s - now_s) / models_left
        asked = yield from _ask(calls, now_s, share_end, patience_s, rng, has_next=models_left > 1)
        now_s = asked.now_s
        if asked.reply is not None:
            answer = asked.call, asked.reply
            if listener is None:
                return answer
            listener.hear(*answer)
            answers[asked.call.model] = answer
            continue
        denial = asked.denial or denial
        if asked.failure is not None:
            failures.append(asked.failure)
            if not asked.failure.try_next and not answers:
                raise asked.failure
    if listener is not None and answers:
        return answers[listener.standing()]
    raise _end(failures, denial, is_late=deadline_s is not None and deadline_s - now_s < LEAST_TIME_S)


def _check(
    listener: Listener, model: str, now_s: float, deadline_s: float | None
) -> Generator[Call | Sleep, Heard, float]:
    """Ask a verifier, once and in at most half of the time that is left; whatever comes of it, the cascade goes on."""
    call = listener.check(model)
    if call is None:
        return now_s
    time_s = call.timeout_s if deadline_s is None else min(call.timeout_s, (deadline_s - now_s) / 2)
    if time_s < LEAST_TIME_S:
        return now_s
    heard = yield replace(call, timeout_s=time_s, deadline_s=deadline_s)
    listener.checked(heard.outcome if isinstance(heard.outcome, Reply) else None)
    return heard.now_s


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What came of asking one model, after all repeats."""

    call: Call
    now_s: float
    reply: Reply | None = None
    failure: ProviderError | None = None
    """The last one, where there is no reply; None also if there was no time left to ask."""
    denial: BudgetExceededError | None = None


def _ask(
    calls: Sequence[Call],
    now_s: float,
    share_end: float | None,
    patience_s: float | None,
    rng: random.Random,
    *,
    has_next: bool,
) -> Generator[Call | Sleep, Heard, _Asked]:
    """Ask one model, at all its deployments, until it answers or trying again makes no sense."""
    retries = max(RETRIES_WITH_FALLBACK if has_next else RETRIES_ALONE, len(calls) - 1)
    failure: ProviderError | None = None
    call = calls[0]
    for turn in range(retries + 1):
        time_s = DEFAULT_TIMEOUT_S if share_end is None else share_end - now_s
        if time_s < LEAST_TIME_S:
            break
        call = calls[turn % len(calls)]
        heard = yield replace(call, timeout_s=time_s)
        now_s = heard.now_s
        if isinstance(heard.outcome, Reply):
            return _Asked(call=call, now_s=now_s, reply=heard.outcome)
        if isinstance(heard.outcome, BudgetExceededError):
            return _Asked(call=call, now_s=now_s, failure=failure, denial=heard.outcome)
        assert heard.outcome is not None  # noqa: S101  a call always has an outcome
        failure = heard.outcome
        if turn == retries:
            break
        if turn + 1 < len(calls) and failure.try_next and not isinstance(failure, BadRequestError):
            continue  # another place, with another key and its own limits
        if isinstance(failure, BadRequestError) and call.wants_logprobs:
            # Perhaps for that alone: it was our wish, not the caller's.
            calls = [replace(one, wants_logprobs=False) for one in calls]
            continue
        if not failure.retryable:
            break
        most_s = patience_s if patience_s is not None else PATIENCE_S if has_next else LAST_PATIENCE_S
        pause_s = _pause(failure, turn - len(calls) + 1, rng, most_s)
        if pause_s is None or (share_end is not None and now_s + pause_s > share_end - LEAST_TIME_S):
            break
        now_s = (yield Sleep(seconds=pause_s)).now_s
    return _Asked(call=call, now_s=now_s, failure=failure)


def _pause(failure: ProviderError, repeat: int, rng: random.Random, patience_s: float) -> float | None:
    """Seconds until the repeat, or None when moving on is better."""
    if failure.retry_after_s is None:
        return rng.uniform(0.0, 2 * BACKOFF_S * 2**repeat)
    return max(0.0, failure.retry_after_s) if failure.retry_after_s <= patience_s else None


def _end(
    failures: list[ProviderError], denial: BudgetExceededError | None, *, is_late: bool
) -> DeadlineExceededError | ProviderError | AllCandidatesFailedError | BudgetExceededError:
    if is_late or not (failures or denial):
        last = f"; last: {failures[-1]}" if failures else ""
        late = DeadlineExceededError(f"no answer before the deadline after {len(failures)} failed candidates{last}")
        late.__cause__ = failures[-1] if failures else None
        return late
    if denial is not None and not failures:
        return denial
    if len(failures) == 1:
        return failures[0]
    named = [(f"{error.model}: ", str(error)) for error in failures]  # most name their model themselves
    listed = "; ".join(text if text.startswith(name) else name + text for name, text in named)
    return AllCandidatesFailedError(f"all {len(failures)} candidates failed: {listed}"[:2000], failures)
