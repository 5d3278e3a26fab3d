"""OpenAI's answer shape, for transports that make answers themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any


def chat_payload(model: str, text: str, *, input_tokens: int, output_tokens: int) -> dict[str, Any]:
    """A whole chat answer with one choice."""
    return {
        "id": "made-here",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        },
    }


def chat_chunks(payload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Any whole chat answer as the chunks of a stream: one per word, then each choice's end, then the usage."""
    head = {name: value for name, value in payload.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    for choice in payload.get("choices") or ():
        message = dict(choice.get("message") or {})
        content = message.pop("content", None) or ""
        words = content.split(" ") if isinstance(content, str) else [content]
        if message.get("tool_calls"):
            message["tool_calls"] = [{"index": i, **call} for i, call in enumerate(message["tool_calls"])]
        for position, word in enumerate(words):
            delta = {"content": f" {word}"} if position else {**message, "content": word}
            yield {**head, "choices": [{"index": choice.get("index", 0), "delta": delta, "finish_reason": None}]}
        end = {name: value for name, value in choice.items() if name != "message"}
        yield {**head, "choices": [{**end, "delta": {}}]}
    yield {**head, "choices": [], "usage": payload.get("usage")}


async def as_async(chunks: Iterator[Mapping[str, Any]]) -> AsyncIterator[Mapping[str, Any]]:
    """Chunks that are there already, for `async for`."""
    for chunk in chunks:
        yield chunk
