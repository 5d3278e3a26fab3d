"""A transport without models, for tests and benchmarks: yours and ours. Costs nothing and needs no network."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from router.errors import ProviderError
from router.transports.shapes import as_async, chat_chunks, chat_payload
from router.types import Call, Reply

Answer = str | Mapping[str, Any] | Exception
"""A text, a whole OpenAI-shaped answer, or an error to raise."""
Script = Answer | Callable[[Call], Answer] | Sequence[Answer]
"""One answer for all calls, a function of the call, or one answer per call in turn (the last one repeats)."""


class FakeTransport:
    """Answers by script.

    Example:
        >>> transport = FakeTransport({"small": "four", "large": [TimeoutError(), "4"]})

    Args:
        replies: by policy model id; other models get `default`. An error that is no `ProviderError` is raised as is.
        default: for models without a script.
        delay_s: pause before each answer.
    """

    def __init__(
        self, replies: Mapping[str, Script] | None = None, *, default: Script = "A fake answer.", delay_s: float = 0.0
    ) -> None:
        self._replies, self._default, self._delay_s = dict(replies or {}), default, delay_s
        self._lock, self._turns = threading.Lock(), Counter[str]()
        self.calls: list[Call] = []
        """Every call that was sent, in order."""

    def send(self, call: Call) -> Reply:
        """Answer by script."""
        if self._delay_s:
            time.sleep(self._delay_s)
        payload = self._payload(call)
        return Reply(chunks=chat_chunks(payload)) if call.stream else Reply(payload=payload)

    async def asend(self, call: Call) -> Reply:
        """Answer by script."""
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        payload = self._payload(call)
        return Reply(chunks=as_async(chat_chunks(payload))) if call.stream else Reply(payload=payload)

    def close(self) -> None:
        """Nothing is open."""

    def _payload(self, call: Call) -> Mapping[str, Any]:
        with self._lock:
            turn = self._turns[call.model]
            self._turns[call.model] += 1
            self.calls.append(call)
        script = self._replies.get(call.model, self._default)
        answer: Any
        if callable(script):
            answer = script(call)
        elif isinstance(script, Sequence) and not isinstance(script, str):
            answer = script[min(turn, len(script) - 1)]
        else:
            answer = script
        if isinstance(answer, ProviderError):
            answer.model = answer.model or call.model
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Mapping):
            return answer
        if call.kind == "embedding":
            return _embedding_payload(call)
        read = sum(len(str(message.get("content", "")).split()) for message in call.messages)
        return chat_payload(
            call.deployment.call, answer, input_tokens=read or 1, output_tokens=len(answer.split()) or 1
        )


def _embedding_payload(call: Call) -> dict[str, Any]:
    given = call.params["input"]
    texts = given if isinstance(given, list) else [given]
    vectors = [[float(len(str(text))), 1.0] for text in texts]
    return {
        "object": "list",
        "model": call.deployment.call,
        "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)],
        "usage": {"prompt_tokens": len(texts), "total_tokens": len(texts)},
    }
