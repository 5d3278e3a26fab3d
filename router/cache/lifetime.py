"""For how long an answer may be served again: an absolute time from its first day on, which no hit extends."""

from __future__ import annotations

from router.cache import vetoes
from router.policy import Caching
from router.types import Request, message_texts


def lifetime_s(caching: Caching, request: Request) -> float:
    """Seconds for which the exact tier may serve this request's answer.

    Args:
        caching: what the rule says: `ttl`, and `fresh_ttl` for questions about what changes.
        request: whose last message tells which of them it is.
    """
    if caching.fresh_ttl is None or not request.messages:
        return caching.ttl
    asks_for_what_changes = any(vetoes.traits(text).fresh for text in message_texts(request.messages[-1]))
    return min(caching.ttl, caching.fresh_ttl) if asks_for_what_changes else caching.ttl
