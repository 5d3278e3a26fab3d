"""What a request asks, as a number that tells nothing of the text: equal for a question that comes back.

The same question is the same last turn (with the tool calls it answers) behind the same beginning. Moments and
white space may differ, other numbers and ids may not: "page 17" is another question than "page 18". A keyed hash, so
that nobody without the state folder's key can try out texts.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from router.types import Message, Request, message_texts

ENDS = 2_000
"""Of longer texts, so many characters at both ends and the length are looked at."""
_CHANGES = re.compile(
    r"[0-9](?<!\w[0-9])(?:"  # a digit at a word's start, so that all else is passed over quickly
    r"[0-9]{3}-[0-9]{2}-[0-9]{2}(?:[t ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:z|[+-][0-9]{2}:?[0-9]{2})?)?"
    r"|[0-9]:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?"
    r"|(?<=1)[5-9][0-9]{8}(?:[0-9]{3})?"
    r")(?!\w)"
)
"""A date, a moment, a clock; seconds or milliseconds since 1970."""


def fingerprint(request: Request, secret: bytes) -> int:
    """48 bits over the request's beginning and its last turn.

    Args:
        request: chat or embedding.
        secret: the state folder's key.
    """
    if request.kind == "embedding":
        parts = [request.text]
    else:
        first, last = _beginning(request.messages), _last_turn(request.messages)
        parts = [*first, "\0", *(last if last != first else ())]
    hashed = hashlib.blake2b(key=secret[:64], digest_size=6)
    for part in parts:
        hashed.update(_plain(part).encode("utf-8", "replace") + b"\x1f")
    return int.from_bytes(hashed.digest(), "big")


def _beginning(messages: tuple[Message, ...]) -> list[str]:
    """System messages in front, and the first message after them."""
    parts: list[str] = []
    for message in messages:
        parts += _texts(message)
        if message["role"] not in ("system", "developer"):
            break
    return parts


def _last_turn(messages: tuple[Message, ...]) -> list[str]:
    """The last message; of tool results all, with the calls they answer."""
    first = len(messages) - 1
    while first > 0 and messages[first]["role"] in ("tool", "function"):
        first -= 1
    return [part for message in messages[first:] for part in _texts(message)]


def _texts(message: Message) -> list[str]:
    parts = [message["role"], *message_texts({**message, "tool_calls": None})]
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            parts += [str(function.get("name")), _arguments(function.get("arguments"))]
    content = message.get("content")
    if isinstance(content, (list, tuple)):  # pictures, sound, files
        parts += [repr(part) for part in content if isinstance(part, Mapping) and "text" not in part]
    return parts


def _arguments(given: Any) -> str:
    """A tool's arguments, whatever the order of their keys."""
    text = given if isinstance(given, str) else repr(given)
    if len(text) <= ENDS:
        try:
            return json.dumps(json.loads(text), sort_keys=True)
        except (ValueError, RecursionError):
            pass
    return text


def _plain(text: str) -> str:
    if len(text) > 2 * ENDS:
        text = f"{text[:ENDS]}\0{len(text)}\0{text[-ENDS:]}"
    return " ".join(_CHANGES.sub("#", text.lower()).split())
