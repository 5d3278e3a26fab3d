"""One thread for what would hold up an event loop: embedding, looking up, and learning from an answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from router.types import Wait

T = TypeVar("T")


class Aside:
    """Does work in the order in which it was given; event loops may share it, and it is safe to fork.

    One thread, because the embedder shares its processor with the loop; it starts with the first piece of work. The
    order makes an answer known to every look-up that is asked for after it was handed over.
    """

    def __init__(self) -> None:
        # By process: in a child made by fork, the parent's thread does not exist.
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def soon(self, work: Callable[[], T]) -> Future[T]:
        """Have work done; it must not raise where nobody asks for its result."""
        pool = self._pools.get(os.getpid()) or self._pools.setdefault(
            os.getpid(), ThreadPoolExecutor(1, thread_name_prefix="clearbar-aside")
        )
        return pool.submit(work)

    def result(
        self, work: Callable[[], T], *, seconds: float, unused: Callable[[T], Any]
    ) -> Generator[Wait, Any, T | None]:
        """Steps that wait for work, at most so many seconds.

        Args:
            work: what to do.
            seconds: after which the result is None.
            unused: gets the result that came too late, or for a request that was cancelled meanwhile.
        """
        under_way = self.soon(work)
        try:
            yield Wait(until=under_way, seconds=seconds)
            if under_way.done():
                return under_way.result()
        except BaseException:
            _leave(under_way, unused)
            raise
        _leave(under_way, unused)
        return None

    def settle(self) -> None:
        """Wait for all that was given until now."""
        if os.getpid() in self._pools:
            self.soon(lambda: None).result()

    def close(self) -> None:
        """Wait for all, and end the thread; later work starts another."""
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.shutdown()


def _leave(under_way: Future[T], unused: Callable[[T], Any]) -> None:
    if not under_way.cancel():
        under_way.add_done_callback(lambda done: unused(done.result()))
