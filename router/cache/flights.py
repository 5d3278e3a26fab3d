"""Identical requests that are under way at the same time: the first one is sent, the others wait for its answer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

LEASE_S = 60.0
"""How long the others wait for the first one, at most; later ones no longer wait for it then."""


@dataclass(slots=True, eq=False)
class Flight:
    """A request under way."""

    landed: Future[None] = field(default_factory=Future)
    """Done when it has ended, however it did."""
    at_s: float = field(default_factory=time.monotonic)
    process: int = field(default_factory=os.getpid)

    @property
    def is_over(self) -> bool:
        """Whether nobody should wait for it any more."""
        # After a fork, the thread that leads lives in the parent alone.
        return self.process != os.getpid() or time.monotonic() - self.at_s > LEASE_S


class Flights:
    """Requests under way in this process, by fingerprint; for threads and event loops alike, without a lock."""

    def __init__(self) -> None:
        self._under_way: dict[str, Flight] = {}

    @contextmanager
    def boarded(self, key: str | None) -> Iterator[Future[None] | None]:
        """Be the first, or learn whom to wait for; whoever was first lets the others go at the end, however it ends.

        Args:
            key: fingerprint of the request; None takes no part.

        Yields:
            None for the first; for the others, what is done when the first has ended.
        """
        if key is None:
            yield None
            return
        mine = Flight()
        first = self._under_way.setdefault(key, mine)
        if first is not mine and first.is_over:
            self._under_way[key] = first = mine
        if first is not mine:
            yield first.landed
            return
        try:
            yield None
        finally:
            if self._under_way.get(key) is mine:
                del self._under_way[key]
            mine.landed.set_result(None)
