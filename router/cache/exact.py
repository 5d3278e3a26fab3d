"""The exact tier: the same request in the same scope gets the same answer, billed 0."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from router.types import Request, Tags

EXPIRE_S = 24 * 3600.0
KEY_VERSION = 1
"""Part of every key; goes up when the meaning of an entry changes."""


class TextByKey(Protocol):
    """Where entries are kept."""

    def get(self, key: str) -> str | None:
        """The text behind a key, or None."""
        ...

    def set(self, key: str, text: str, *, expire_s: float, owner: str = "", usd: float = 0.0) -> None:
        """Keep a text for so many seconds; owner and cost say what goes first when the store is full."""
        ...

    def delete(self, key: str) -> bool:
        """Drop a key; True when it was there."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored answer, the policy id of the model that gave it, and the request that it gave it to."""

    model: str
    payload: Mapping[str, Any]
    request_id: str
    at_s: float = field(default_factory=time.time)
    """When it was stored, seconds since 1970."""
    wait_s: float = 0.0
    """What a hit must take, in seconds: as long as the answer took, where the policy hides hits."""

    def is_within(self, max_age_s: float | None) -> bool:
        """Whether it is young enough for a request that sets an age."""
        return max_age_s is None or time.time() - self.at_s <= max_age_s


def exact_key(
    request: Request, *, policy_version: str, artifact_version: str | None, tags: tuple[str, ...],
    standing: tuple[bool, ...] = (),
) -> str | None:  # fmt: skip
    """Fingerprint of everything that may change the answer or the right to it.

    The scope (team and customer) is part of it, so tenants never share; so are the tags that the policy's
    rules look at, the versions of policy and artifact, and which conditions on time and budgets hold now
    (`standing`): an entry can only answer a request that the same rule would decide in the same way.

    Returns:
        64 hex digits, or None when a parameter has no JSON form and so no fingerprint.
    """
    fields = [
        KEY_VERSION, policy_version, artifact_version, request.tags.team, request.tags.customer,
        [request.tags.get(name) for name in tags], request.kind, request.model, request.task, request.bar,
        None if request.max_cost_usd is None else str(request.max_cost_usd.normalize()),
        request.messages, {name: value for name, value in request.params.items() if name != "stream_options"},
        *standing,
    ]  # fmt: skip
    try:
        text = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    except (TypeError, ValueError, RecursionError):
        return None


def owner_of(tags: Tags, secret: bytes = b"") -> str:
    """Team and customer as 16 hex digits: in a full cache, nobody's entries push out another's."""
    return hmac.new(secret, json.dumps([tags.team, tags.customer]).encode(), hashlib.sha256).hexdigest()[:16]


_SHAPE = {"model": str, "payload": dict, "request_id": str, "at_s": float, "wait_s": float}


class ExactCache:
    """Stored answers by fingerprint."""

    def __init__(self, store: TextByKey) -> None:
        self._store = store

    def get(self, key: str) -> Entry | None:
        """The stored answer, or None."""
        text = self._store.get(key)
        try:
            kept = json.loads(text) if text is not None else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(kept, dict) or {name: type(kept.get(name)) for name in kept} != _SHAPE:
            return None  # nothing there, or nothing that this version wrote
        return Entry(**kept) if _is_answer(kept["payload"]) else None

    def put(
        self, key: str, entry: Entry, *, expire_s: float = EXPIRE_S, tags: Tags | None = None,
        cost_usd: Decimal | None = None,
    ) -> None:  # fmt: skip
        """Keep an answer, if it is one that may be served again and has a JSON form.

        Args:
            key: of the request.
            entry: the answer.
            expire_s: for how long, in seconds.
            tags: of the request: whose answer it is.
            cost_usd: what it cost to make.
        """
        if not is_storable(entry.payload):
            return
        try:
            kept = {name: getattr(entry, name) for name in _SHAPE}
            text = json.dumps(kept, ensure_ascii=True)
        except (TypeError, ValueError, RecursionError):
            return  # it was paid for: that it cannot be kept is no reason not to hand it over
        self._store.set(key, text, expire_s=expire_s, owner=owner_of(tags or Tags()), usd=float(cost_usd or 0))

    def close(self) -> None:
        """Close the store behind it."""
        self._store.close()

    def drop(self, key: str) -> bool:
        """Forget an answer; True when it was there."""
        return self._store.delete(key)


def _is_answer(payload: object) -> bool:
    """Whether a stored payload has the shape that callers read; a damaged row must count as none."""
    if not isinstance(payload, dict):
        return False
    if isinstance(payload.get("data"), list):
        return True
    choices = payload.get("choices")
    return isinstance(choices, list) and bool(choices) and all(map(_is_choice, choices))


def _is_choice(choice: object) -> bool:
    message = choice.get("message") if isinstance(choice, dict) else None
    return isinstance(message, dict) and isinstance(message.get("content"), str | None)


def is_storable(payload: Mapping[str, Any]) -> bool:
    """Whether an answer came to its natural end: not cut, not filtered, not refused, no tool call."""
    if payload.get("data"):
        return True  # embeddings have no end to come to
    choices = payload.get("choices") or ()
    return bool(choices) and all(
        choice.get("finish_reason") == "stop"
        and not any((choice.get("message") or {}).get(name) for name in ("tool_calls", "function_call", "refusal"))
        for choice in choices
    )
