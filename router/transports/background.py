"""Blocking use of async code: one event loop in a thread of its own, shared by all callers of the process.

A blocking HTTP client bounds each read, so a provider that sends a byte now and then can hold a caller for ever.
An awaited call can be ended at any moment; so blocking calls are awaited over there.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

CLOSING_S = 5.0
"""The longest wait for a connection to be closed."""

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None


def run(coroutine: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
    """Run a coroutine over there and wait for its result; an interruption here cancels it there."""
    future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, _running_loop())
    try:
        return future.result(timeout_s)
    except BaseException:
        future.cancel()
        raise


class Blocking:
    """An async stream of chunks, for a plain `for`."""

    def __init__(self, chunks: AsyncIterator[Mapping[str, Any]]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return self

    def __next__(self) -> Mapping[str, Any]:
        try:
            return run(self._next())
        except StopAsyncIteration:
            raise StopIteration from None

    async def _next(self) -> Mapping[str, Any]:
        return await anext(self._chunks)

    def close(self) -> None:
        """Close the connection."""
        close = getattr(self._chunks, "aclose", None)
        if close is None or sys.is_finalizing():
            return
        if threading.current_thread() is _thread:
            # The garbage collector ends dropped streams in any thread; waiting here for ourselves would be for ever.
            asyncio.run_coroutine_threadsafe(close(), _running_loop())
            return
        run(close(), CLOSING_S)


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _thread
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_loop.run_forever, name="clearbar-calls", daemon=True)
            _thread.start()
        return _loop


def _after_fork() -> None:
    """The child has the parent's loop, but not the thread that ran it."""
    global _lock, _loop, _thread
    _lock, _loop, _thread = threading.Lock(), None, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
