"""Answers out of a file, stored as if they had been asked for: a service starts with its own questions and answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from router._request import chat_request
from router._router import Router
from router.cache.exact import Entry
from router.errors import InvalidRequestError
from router.types import Message


@dataclass(frozen=True, slots=True)
class Warmed:
    """What came of it."""

    stored: int
    """Answers that serve the same question at once."""
    alike: int
    """Of these, answers that questions like theirs may find."""


def warm_up(
    one: Router, pairs: Iterable[tuple[str, str]], *, source: str, before: Sequence[Message] = (),
    ttl_s: float | None = None, **options: Any,
) -> Warmed:  # fmt: skip
    """Store questions with their answers, as written by a named source.

    Args:
        one: whose policy and state.
        pairs: question and answer.
        source: a name that the rule lists under `cache: {sources: [...]}`.
        before: the messages that requests carry before the question, such as the system prompt.
        ttl_s: seconds for which the answers may be served; None: the rule's `ttl`.
        **options: the other arguments of `complete()` that requests carry, such as task, customer and temperature.

    Raises:
        InvalidRequestError: an argument cannot be used, or the rule does not list the source.
    """
    from router.cache.partition import NotAlike  # it brings numpy

    model, stored, alike = f"source:{source}", 0, 0
    caches = one._kit.caches
    for question, answer in pairs:
        request = chat_request([*before, {"role": "user", "content": question}], **options)
        ruling = one._kit.decide(request)
        if model not in ruling.caching.source_models or caches.exact is None:
            raise InvalidRequestError(
                f"{ruling.decision.rule} does not take answers of {source!r}; list it there: cache: "
                f"{{mode: {ruling.caching.mode}, sources: [{source}]}}"
            )
        key = caches.fingerprint(request)
        if key is None:
            raise InvalidRequestError("these requests have a parameter without a JSON form, so none can be found again")
        payload, lasts_s = _payload(model, answer), ttl_s or ruling.caching.ttl
        costs = {candidate.model: candidate.expected_cost_usd for candidate in ruling.decision.candidates}
        saves_usd = costs.get(ruling.decision.plan[0]) if ruling.decision.plan else None
        caches.exact.put(
            key, Entry(model, payload, request.id), expire_s=lasts_s, tags=request.tags, cost_usd=saves_usd
        )
        stored += 1
        if caches.alike is None or not ruling.caching.looks_alike:
            continue
        try:
            caches.alike.add(
                request, ruling.caching, ruling.decision.task.task, model, payload, ttl_s=lasts_s, cost_usd=saves_usd
            )
            alike += 1
        except NotAlike:
            pass  # the same question is served all the same
    return Warmed(stored, alike)


def _payload(model: str, answer: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer}
    return {
        "id": model,
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
