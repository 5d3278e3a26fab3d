"""Streams: chunks as they come, and the whole completion at the end."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Literal

from router.errors import DeadlineExceededError, ProviderTimeoutError, RouterError
from router.spend.usage import merged
from router.types import Completion, Payload

End = Literal["ok", "error", "cut"]
Finish = Callable[[Mapping[str, Any], End, str | None], Completion]
"""Books what was received: (assembled answer, how it ended, error) -> completion."""


class _Received:
    """What has come of a stream so far, booked exactly once."""

    def __init__(self, finish: Finish, deadline_s: float | None) -> None:
        self._finish, self._deadline_s = finish, deadline_s
        self._chunks: list[Mapping[str, Any]] = []
        self._completion: Completion | None = None

    def add(self, chunk: Mapping[str, Any]) -> Payload:
        self._chunks.append(chunk)
        if self.left_s == 0:
            raise self.too_late()
        return Payload(chunk)

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline, at least 0; None without one."""
        return None if self._deadline_s is None else max(0.0, self._deadline_s - time.monotonic())

    @staticmethod
    def too_late() -> DeadlineExceededError:
        return DeadlineExceededError("the request's time ran out in the middle of the stream")

    def book(self, end: End, error: BaseException | None = None) -> None:
        if self._completion is None:
            told = f"{type(error).__name__}: {error}" if error else None
            self._completion = self._finish(assemble(self._chunks), end, told)
            if isinstance(error, RouterError):
                error.decision, error.attempts = self._completion.decision, self._completion.attempts

    @property
    def is_booked(self) -> bool:
        return self._completion is not None

    @property
    def completion(self) -> Completion:
        if self._completion is None:
            raise RuntimeError("the stream has not ended; read it to its end or close() it first")
        return self._completion


class Stream:
    """An answer as it comes: iterate for OpenAI's chunks, then read `.completion`.

    Close it (or use `with`) to stop early; what was received until then is billed and booked. Another thread may
    close it: that waits for the chunk that is on its way.
    """

    def __init__(self, chunks: Iterator[Mapping[str, Any]], finish: Finish, deadline_s: float | None = None) -> None:
        self._chunks, self._received = chunks, _Received(finish, deadline_s)
        self._lock, self._pid = threading.RLock(), os.getpid()

    def __iter__(self) -> Iterator[Payload]:
        return self

    def __next__(self) -> Payload:
        with self._lock:
            if self._received.is_booked:
                raise StopIteration
            try:
                return self._received.add(self._next())
            except StopIteration:
                self._received.book("ok")
                raise
            except BaseException as error:
                self._stop("error" if isinstance(error, RouterError) else "cut", error)
                raise

    @property
    def completion(self) -> Completion:
        """The whole answer; RuntimeError while the stream is still open."""
        return self._received.completion

    def _next(self) -> Mapping[str, Any]:
        try:
            return next(self._chunks)
        except ProviderTimeoutError:
            if self._received.left_s == 0:
                raise self._received.too_late() from None
            raise

    def close(self) -> None:
        """Stop reading, close the connection and book what was received."""
        with self._lock:
            if not self._received.is_booked:
                self._stop("cut", None)

    def _stop(self, end: End, error: BaseException | None) -> None:
        try:
            close = getattr(self._chunks, "close", None)
            if close is not None:
                close()
        finally:
            self._received.book(end, error)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # A stream that was dropped halfway has been paid for as well.
        # In a forked child it is a copy: the parent reads on.
        if getattr(self, "_pid", None) == os.getpid():
            self.close()


class AsyncStream:
    """The same for `async for`; stop early with `await stream.aclose()` or `async with`."""

    def __init__(
        self, chunks: AsyncIterator[Mapping[str, Any]], finish: Finish, deadline_s: float | None = None
    ) -> None:
        self._chunks, self._received, self._pid = chunks, _Received(finish, deadline_s), os.getpid()

    def __aiter__(self) -> AsyncIterator[Payload]:
        return self

    async def __anext__(self) -> Payload:
        if self._received.is_booked:
            raise StopAsyncIteration
        try:
            return self._received.add(await self._next())
        except StopAsyncIteration:
            self._received.book("ok")
            raise
        except BaseException as error:  # also a cancelled task: what came was billed
            await self._stop("error" if isinstance(error, RouterError) else "cut", error)
            raise

    @property
    def completion(self) -> Completion:
        """The whole answer; RuntimeError while the stream is still open."""
        return self._received.completion

    async def _next(self) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(self._received.left_s) as limit:
                return await anext(self._chunks)
        except TimeoutError:
            if limit.expired():
                raise self._received.too_late() from None
            raise

    async def aclose(self) -> None:
        """Stop reading, close the connection and book what was received."""
        if not self._received.is_booked:
            await self._stop("cut", None)

    async def _stop(self, end: End, error: BaseException | None) -> None:
        try:
            close = getattr(self._chunks, "aclose", None)
            if close is not None:
                await close()
        finally:
            self._received.book(end, error)

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # No event loop to close the connection in; booking what was received needs none.
        if getattr(self, "_pid", None) == os.getpid() and not self._received.is_booked:
            self._received.book("cut")


def assemble(chunks: list[Mapping[str, Any]]) -> dict[str, Any]:
    """One OpenAI-shaped answer out of its chunks; also of an incomplete stream."""
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name not in ("choices", "usage") and value is not None:
                answer[name] = value
        if isinstance(chunk.get("usage"), Mapping):
            answer["usage"] = merged((answer.get("usage") or {}, chunk["usage"]))
        for part in chunk.get("choices") or ():
            choice = choices.setdefault(part.get("index") or 0, {"index": part.get("index") or 0, "message": {}})
            _merge_message(choice["message"], part.get("delta") or {})
            if part.get("finish_reason"):
                choice["finish_reason"] = part["finish_reason"]
            for kind, tokens in (part.get("logprobs") or {}).items():
                choice.setdefault("logprobs", {}).setdefault(kind, []).extend(tokens or ())
    for choice in choices.values():
        for call in choice["message"].get("tool_calls") or ():
            del call["index"]  # belongs to the stream, not to the answer
        choice["message"].setdefault("role", "assistant")
        choice["message"].setdefault("content", None if choice["message"].get("tool_calls") else "")
        choice.setdefault("finish_reason", None)
    if answer:
        answer["object"] = "chat.completion"
    return {**answer, "choices": [choices[index] for index in sorted(choices)]}


def _merge_message(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        if value is None:
            continue
        if name == "tool_calls":
            for part in value:
                _merge_tool_call(message.setdefault("tool_calls", []), part)
        else:
            message[name] = value if name == "role" else _joined(message.get(name), value)


def _joined(before: Any, added: Any) -> Any:
    """Two parts of the same field: texts and lists follow each other, objects join field by field."""
    if isinstance(before, str) and isinstance(added, str):
        return before + added
    if isinstance(before, list) and isinstance(added, list):
        return [*before, *added]
    if isinstance(before, Mapping) and isinstance(added, Mapping):
        return {**before, **{k: v if k in ("id", "type") else _joined(before.get(k), v) for k, v in added.items()}}
    return before if added is None else added


def _merge_tool_call(calls: list[dict[str, Any]], part: Mapping[str, Any]) -> None:
    index, begins = part.get("index"), bool(part.get("id"))
    if index is not None:
        known = [call for call in calls if call.get("index") == index]
    else:  # some providers leave the index out: a new id begins a new call
        known = [call for call in calls if call.get("id") == part["id"]] if begins else calls[-1:]
    call: dict[str, Any] = known[0] if known else {"index": index, "function": {"name": "", "arguments": ""}}
    if not known:
        calls.append(call)
    for name in ("id", "type"):
        if part.get(name):
            call[name] = part[name]
    function = part.get("function") or {}
    for name in ("name", "arguments"):
        call["function"][name] += function.get(name) or ""
