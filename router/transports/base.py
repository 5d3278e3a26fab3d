"""The one seam to the outside: a transport sends a call and brings back a reply."""

from __future__ import annotations

from typing import Protocol

from router.types import Call, Reply


class Transport(Protocol):
    """Sends calls to models.

    `send` and `asend` do the same. They raise only `ProviderError` and its children for what goes wrong at
    the provider, and `ConfigurationError` for what the user must mend. A streaming call returns after its
    first chunk has arrived, so that a failure before it may still fall back to another model; a failure
    later is raised by the chunk iterator, also as a `ProviderError`.
    """

    def send(self, call: Call) -> Reply:
        """Send one call and wait for its reply."""
        ...

    async def asend(self, call: Call) -> Reply:
        """Send one call without blocking the event loop."""
        ...

    def close(self) -> None:
        """Let go of connections and processes."""
        ...
