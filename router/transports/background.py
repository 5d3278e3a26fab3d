"""One event loop in a thread of its own, in which all provider calls of the process are awaited.

A blocking HTTP client bounds each read, so a provider that sends a byte now and then can hold a caller for ever; an
awaited call can be ended at any moment. And clients that live in one loop are never met by another: a caller may use
as many loops, one after the other, as it likes.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError, Future
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


async def arun(coroutine: Coroutine[Any, Any, T]) -> T:
    """As `run`, for a caller with an event loop of its own; cancelling here cancels there."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, _running_loop()))


class Chunks:
    """A stream that is read over there, for a plain `for` here."""

    def __init__(self, chunks: AsyncIterator[Mapping[str, Any]]) -> None:
        self._chunks = chunks
        self._is_closed = False

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return self

    def __next__(self) -> Mapping[str, Any]:
        try:
            return run(self._next())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Close the connection."""
        if threading.current_thread() is _thread or sys.is_finalizing():
            # The garbage collector ends dropped streams in any thread; waiting here for ourselves would be for ever.
            self._close_soon()
        elif not self._is_closed:
            run(self._close(), CLOSING_S)

    def __del__(self) -> None:
        self._close_soon()

    async def _next(self) -> Mapping[str, Any]:
        return await anext(self._chunks)

    async def _close(self) -> None:
        self._is_closed = True
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()

    def _close_soon(self) -> None:
        if not self._is_closed and not sys.is_finalizing():
            asyncio.run_coroutine_threadsafe(self._close(), _running_loop())


class AsyncChunks(Chunks):
    """The same for `async for`."""

    def __aiter__(self) -> AsyncIterator[Mapping[str, Any]]:
        return self

    async def __anext__(self) -> Mapping[str, Any]:
        return await arun(self._next())

    async def aclose(self) -> None:
        """Close the connection."""
        if not self._is_closed:
            await arun(self._close())


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _thread
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_loop.run_forever, name="clearbar-calls", daemon=True)
            _thread.start()
        return _loop


@atexit.register
def _stop() -> None:
    """End the loop and what still runs in it, so that nothing is torn off at the process's end."""
    loop, thread = _loop, _thread
    if loop is None or thread is None or not thread.is_alive():
        return

    async def wind_up() -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=1.0) if others else None
        loop.call_soon(loop.stop)

    with contextlib.suppress(TimeoutError, CancelledError):
        asyncio.run_coroutine_threadsafe(wind_up(), loop).result(2.0)
    thread.join(1.0)


def _after_fork() -> None:
    """The child has the parent's loop, but not the thread that ran it."""
    global _lock, _loop, _thread
    _lock, _loop, _thread = threading.Lock(), None, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
