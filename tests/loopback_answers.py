"""What the loopback provider's models answer, as payloads; the rule of their usage is told in `tests/loopback.py`."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopback import Step

CREATED = 1_750_000_000
"""The `created` of every answer, so that answers can be compared whole."""


def words(text: str) -> int:
    """The token count of a text, by this provider's rule."""
    return len(text.split())


def prompt_words(messages: list[dict[str, Any]]) -> int:
    """The token count of a chat request."""
    return sum(words(text) for message in messages for text in _texts(message))


def _texts(message: dict[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if part.get("type") == "text":
            yield part["text"]


def embedding(text: str, dimensions: int = 8) -> list[float]:
    """A unit vector that depends on the text's words only."""
    sums = [0.0] * dimensions
    for word in text.lower().split() or [""]:
        digest = hashlib.sha256(word.encode()).digest()
        for i in range(dimensions):
            sums[i] += digest[i] / 127.5 - 1
    norm = sum(value * value for value in sums) ** 0.5 or 1.0
    # Rounded to what a 32-bit float keeps, so that base64 and JSON answers agree.
    return [struct.unpack("<f", struct.pack("<f", value / norm))[0] for value in sums]


def _answer_text(body: dict[str, Any], step: Step) -> tuple[str, str]:
    """The answer's text and finish reason."""
    text = step.text
    if text is None:
        text = " ".join(_texts(body["messages"][-1]))
        if (body.get("response_format") or {}).get("type") in ("json_object", "json_schema"):
            text = json.dumps({"echo": text})
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit and words(text) > limit:
        return " ".join(text.split()[:limit]), "length"
    return text, step.finish_reason or "stop"


def _usage(body: dict[str, Any], step: Step, text: str) -> dict[str, Any]:
    if step.usage is not None:
        return step.usage
    prompt, completion = prompt_words(body["messages"]), words(text) * (body.get("n") or 1)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def completion(body: dict[str, Any], step: Step) -> dict[str, Any]:
    text, finish_reason = _answer_text(body, step)
    message = {"role": "assistant", "content": text, **(step.message or {})}
    choices = [
        {"index": index, "message": message, "finish_reason": finish_reason} for index in range(body.get("n") or 1)
    ]
    answer = {"id": "chatcmpl-loopback", "object": "chat.completion", "created": CREATED, "model": body["model"]}
    usage = {"usage": _usage(body, step, text)} if step.has_usage else {}
    return {**answer, "choices": choices, **usage, **step.fields}


def chunks(body: dict[str, Any], step: Step) -> Iterator[dict[str, Any]]:
    text, finish_reason = _answer_text(body, step)
    head = {"id": "chatcmpl-loopback", "object": "chat.completion.chunk", "created": CREATED, "model": body["model"]}
    head |= step.fields
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in _pieces(text)]
    for position, call in enumerate((step.message or {}).get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        opening = {**call, "index": position, "function": {**call["function"], "arguments": ""}}
        half = len(arguments) // 2
        rest = [{"index": position, "function": {"arguments": part}} for part in (arguments[:half], arguments[half:])]
        deltas += [{"tool_calls": [part]} for part in (opening, *rest)]
    indices = range(body.get("n") or 1)
    for delta in deltas:
        for index in indices:
            yield {**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}
    for index in indices:
        yield {**head, "choices": [{"index": index, "delta": {}, "finish_reason": finish_reason}]}
    if step.has_usage and (body.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": _usage(body, step, text)}


def _pieces(text: str) -> list[str]:
    return [word + " " for word in text.split(" ")[:-1]] + [text.split(" ")[-1]] if text else []


def embeddings(body: dict[str, Any], step: Step) -> dict[str, Any]:
    texts = [body["input"]] if isinstance(body["input"], str) else list(body["input"])
    vectors: list[Any] = [embedding(str(text), body.get("dimensions") or 8) for text in texts]
    if body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
    count = sum(words(str(text)) for text in texts)
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    usage = {"usage": step.usage or {"prompt_tokens": count, "total_tokens": count}} if step.has_usage else {}
    return {"object": "list", "model": body["model"], "data": data, **usage}
