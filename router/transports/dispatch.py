"""Which transport sends a call: by the first part of its model string."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from router.errors import ConfigurationError
from router.transports.base import Transport
from router.types import Call, Reply

if TYPE_CHECKING:
    from router.transports.litellm_batches import LiteLLMBatches


class DispatchTransport:
    """`local/NAME` goes to a local model, `fake/NAME` and `replay/NAME` to no model, the rest through litellm.

    `local/minilm` is the embedder, which needs no server.

    Each transport is made on its first call, so that a service pays for none that it does not use.
    """

    def __init__(self) -> None:
        self._made: dict[str, Transport] = {}
        self._lock = threading.RLock()

    def send(self, call: Call) -> Reply:
        """Send through the transport that serves the call's model string."""
        return self._for(call).send(call)

    async def asend(self, call: Call) -> Reply:
        """Send through the transport that serves the call's model string."""
        return await self._for(call).asend(call)

    def batches(self) -> LiteLLMBatches:
        """What sends batches."""
        from router.transports.litellm_batches import LiteLLMBatches

        return LiteLLMBatches()

    def close(self) -> None:
        """Close every transport that was made."""
        for transport in self._made.values():
            transport.close()

    def _for(self, call: Call) -> Transport:
        name = call.deployment.call
        kind = name if name in _MAKERS else name.partition("/")[0]
        return self._get(kind if kind in _MAKERS else "litellm")

    def _get(self, kind: str) -> Transport:
        transport = self._made.get(kind)
        if transport is None:
            with self._lock:
                transport = self._made.get(kind) or _MAKERS[kind](self._get)
                self._made[kind] = transport
        return transport


def _litellm(get: Callable[[str], Transport]) -> Transport:  # noqa: ARG001  all makers look alike
    from router.transports.litellm import LiteLLMTransport

    return LiteLLMTransport()


def _local(get: Callable[[str], Transport]) -> Transport:
    from router.transports.local import LocalTransport

    return LocalTransport(get("litellm"))


def _local_embedding(get: Callable[[str], Transport]) -> Transport:  # noqa: ARG001  all makers look alike
    from router.transports.local_embedding import LocalEmbeddingTransport

    return LocalEmbeddingTransport()


def _fake(get: Callable[[str], Transport]) -> Transport:  # noqa: ARG001  all makers look alike
    from router.transports.fake import FakeTransport

    return FakeTransport()


def _replay(get: Callable[[str], Transport]) -> Transport:  # noqa: ARG001  all makers look alike
    from router.outcomes import read_outcomes
    from router.transports.replay import ReplayTransport

    path = os.environ.get("CLEARBAR_REPLAY")
    if not path:
        raise ConfigurationError(
            "a `replay/` model answers from an outcome table: set CLEARBAR_REPLAY to its path, "
            "or pass Router(transport=ReplayTransport(...))"
        )
    return ReplayTransport.of_rows(read_outcomes(path, needs_quality=False).to_pylist(), by="prompt")


_MAKERS: dict[str, Callable[[Callable[[str], Transport]], Transport]] = {
    "litellm": _litellm,
    "local": _local,
    "local/minilm": _local_embedding,
    "fake": _fake,
    "replay": _replay,
}
