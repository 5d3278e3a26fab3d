"""Embeddings by the embedder of this process, in a provider's shape."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from router.embedding import WIDTH, WINDOW, shared
from router.embedding.minilm import SHA256
from router.errors import (
    BadRequestError,
    ContextTooLongError,
    ModelNotFoundError,
    ProviderTimeoutError,
    UnsupportedParameterError,
)
from router.types import Call, Reply

STEP = 32
"""Texts between two looks at the clock, at most 2 s of work."""


class LocalEmbeddingTransport:
    """Serves `local/minilm`."""

    def send(self, call: Call) -> Reply:
        """Embed the call's `input`; its usage counts word pieces.

        Raises:
            WeightsError: the extra `embed` is not installed.
            ContextTooLongError: a text is longer than the window. A silent cut would make different texts alike.
            BadRequestError: `input` is not text, or an option is not the model's.
            ModelNotFoundError: it is no embedding request.
            ProviderTimeoutError: the texts are too many for the call's time.
        """
        if call.kind != "embedding":
            raise ModelNotFoundError(f"{call.deployment.call} embeds texts; it answers no chat", model=call.model)
        return _embedded(call)

    async def asend(self, call: Call) -> Reply:
        """Embed without blocking the event loop; as `send`."""
        return await asyncio.to_thread(self.send, call)

    def close(self) -> None:
        """Nothing to let go of: the embedder belongs to the process."""


def _embedded(call: Call) -> Reply:
    texts = _texts(call)
    started = time.monotonic()
    vectors: list[list[float]] = []
    pieces = 0
    for first in range(0, len(texts), STEP):
        if time.monotonic() - started > call.timeout_s:
            raise ProviderTimeoutError(
                f"{call.deployment.call}: {first} of {len(texts)} texts in {call.timeout_s:g} s", model=call.model
            )
        found = shared().embed(texts[first : first + STEP])
        if True in found.truncated:
            raise ContextTooLongError(
                f"{call.deployment.call}: input {first + found.truncated.index(True)} is longer than the {WINDOW - 2} "
                "word pieces that the model reads (about 190 English words); split it",
                model=call.model,
            )
        vectors += found.vectors.tolist()
        pieces += sum(found.pieces)
    return Reply(
        payload={
            "object": "list",
            "model": call.deployment.call,
            "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)],
            "usage": {"prompt_tokens": pieces, "total_tokens": pieces},
            "system_fingerprint": f"sha256:{SHA256[:12]}",
        }
    )


def _texts(call: Call) -> list[str]:
    for option, fit in (("dimensions", WIDTH), ("encoding_format", "float")):
        if call.params.get(option, fit) != fit:
            raise UnsupportedParameterError(
                f"{call.deployment.call}: {option}={call.params[option]!r}; this model gives {fit!r} only",
                model=call.model,
            )
    given: Any = call.params["input"]
    texts = [given] if isinstance(given, str) else list(given)
    if not all(isinstance(text, str) for text in texts):
        raise BadRequestError(f"{call.deployment.call}: takes texts, not token numbers", model=call.model)
    return texts
