"""Calls through litellm: the only file that imports it.

What litellm does and what is done about it here, each checked by a test against a real HTTP server:

- Its import takes seconds, fetches prices and reads a `.env` file into the environment: it happens on the first
  call, with both switched off.
- On every error it prints advice ("Give Feedback", "Provider List") to stdout unless its global
  `suppress_debug_info` is set, and it clears its global `num_retries`, which also makes it retry. There is no
  argument for either. Both are borrowed while a call runs and given back as they were found.
- Its default client for awaited calls, aiohttp, forgets what it has received when a connection breaks, so the end
  of a stream that was cut right behind it may be lost. Its other one, httpx, is wrapped in a hidden repeat of a
  call whose connection broke, which could be billed twice: worse, and left alone.
- `max_retries=0` and `num_retries=0` stop the retries of its own and of the openai client.
- At the end of a stream it invents `finish_reason: "stop"` if none came, so that a cut stream looks whole, and
  token counts if none came; it merges the choices of n > 1. Where the provider speaks OpenAI's protocol the
  chunks are therefore read below litellm's wrapper; elsewhere what the wrapper invents is recognised and dropped.
- Without usage in an answer it reports 0 tokens: dropped as well, so that nobody takes it for a figure.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any

import httpx

from router.errors import AuthenticationFailedError, ProviderTimeoutError, ProviderUnavailableError
from router.transports import background
from router.transports.answers import StreamWatch, whole_answer
from router.transports.provider_errors import translate
from router.types import Call, Reply

OPENAI_PARAMS = frozenset(
    "audio dimensions encoding_format extra_body extra_headers frequency_penalty function_call functions input "
    "logit_bias logprobs max_completion_tokens max_tokens modalities n parallel_tool_calls prediction "
    "presence_penalty prompt_cache_key reasoning_effort response_format safety_identifier seed service_tier stop "
    "store stream_options temperature thinking tool_choice tools top_logprobs top_p user verbosity "
    "web_search_options".split()
)
"""Parameters that mean to litellm what they mean to OpenAI."""

SDK_PARAMS = frozenset(("extra_body", "extra_headers", "input"))
CONTROL_PREFIXES = ("_", "api_", "aws_", "azure_", "litellm_", "vertex_", "watsonx_")
BORROWED: Mapping[str, Any] = {"suppress_debug_info": True, "num_retries": None}
"""litellm's globals while one of our calls runs."""

_END: Any = object()


class _Timeout(httpx.Timeout):
    """A timeout that looks like any other.

    litellm keeps one client, with its own connections, for every written form of a timeout. The timeouts of a
    router are what is left of a deadline, never twice the same, and would cost a connection each. Every request
    carries its own timeout, so that one client can serve them all.
    """

    def __repr__(self) -> str:
        return "per call"


class LiteLLMTransport:
    """Sends calls to any provider litellm knows. Threads and event loops may share one."""

    def send(self, call: Call) -> Reply:
        """Send one call and wait for its reply.

        `call.timeout_s` bounds the wait for a whole answer, or for each chunk of a stream; `call.deadline_s`
        bounds everything.

        Raises:
            ProviderError: see the table in `provider_errors`; a cut or unreadable answer has `is_billed` None.
        """
        payload, chunks = background.run(_sent(call))
        return Reply(payload=payload) if chunks is None else Reply(chunks=background.Chunks(chunks))

    async def asend(self, call: Call) -> Reply:
        """Send one call without blocking the caller's event loop; as `send`."""
        payload, chunks = await background.arun(_sent(call))
        return Reply(payload=payload) if chunks is None else Reply(chunks=background.AsyncChunks(chunks))

    def close(self) -> None:
        """Nothing to do: litellm keeps its connections in a pool of the process, which others may be using."""


async def _sent(call: Call) -> tuple[Mapping[str, Any] | None, AsyncIterator[Mapping[str, Any]] | None]:
    """A whole answer, or an open stream."""
    if "litellm" not in sys.modules:
        await asyncio.to_thread(_litellm)  # seconds
    library, arguments = _prepared(call)
    with _Guard(call):
        send = library.acompletion if call.kind == "chat" else library.aembedding
        async with asyncio.timeout(call.timeout_s):
            answer = await send(**arguments)
            if call.stream:
                chunks = _chunks(answer, call)
                await anext(chunks)
                return None, chunks
    return whole_answer(answer, call), None


def _prepared(call: Call) -> tuple[Any, dict[str, Any]]:
    key = _key(call)  # before the library, whose import takes seconds
    library = _litellm()
    return library, _arguments(call, key, library)


def _litellm() -> Any:
    """The library, imported on first use."""
    if "litellm" not in sys.modules:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        # In its default mode the import copies a `.env` file found here or above into the environment: keys
        # that nobody set would be used. The mode is read by nothing else in the library.
        mode = os.environ.get("LITELLM_MODE")
        os.environ["LITELLM_MODE"] = mode or "PRODUCTION"
        try:
            import litellm
        finally:
            if mode is None:
                os.environ.pop("LITELLM_MODE", None)
        return litellm
    import litellm

    return litellm


def _key(call: Call) -> str | None:
    name = call.deployment.api_key_env
    if name is None:
        # With an address of its own and no key, the key of the real OpenAI must not travel there.
        return "none" if call.deployment.api_base and call.deployment.call.startswith("openai/") else None
    if key := os.environ.get(name):
        return key
    raise AuthenticationFailedError(
        f"{call.model}: the environment variable {name} is not set; set it to the provider's key (export {name}=...)",
        model=call.model,
    )


def _arguments(call: Call, key: str | None, library: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"model": call.deployment.call, "timeout": _Timeout(call.timeout_s)}
    if call.kind == "chat":
        arguments["messages"] = [_plain(message) for message in call.messages]
    extra: dict[str, Any] = {}
    for name, value in call.params.items():
        # A parameter that litellm takes for an instruction to itself (`metadata`, `cache`, `fallbacks`, but also
        # `api_base`, which would send the key elsewhere) goes to the provider's body like any other.
        (arguments if _is_parameter(name, library) else extra)[name] = _plain(value)
    if arguments.get("tools"):
        # Otherwise litellm looks among the tools for servers of its own proxy, and needs a package it does not declare.
        arguments["_skip_mcp_handler"] = True
    is_users_own = call.deployment.api_base and _speaks_openai(call.deployment.call, library)
    if call.wants_logprobs and (is_users_own or _tells_logprobs(call.deployment.call, library)):
        arguments.setdefault("logprobs", True)
    if is_users_own:
        # litellm knows nothing of the model behind an address of the user's; without this it refuses or drops
        # parameters that its table of OpenAI's own models does not allow.
        arguments["allowed_openai_params"] = [name for name in arguments if name in OPENAI_PARAMS - SDK_PARAMS]
    if extra:
        arguments["extra_body"] = {**(arguments.get("extra_body") or {}), **extra}
    if call.stream:
        arguments["stream"] = True
        arguments.setdefault("stream_options", {"include_usage": True})
    if call.deployment.api_base:
        arguments["api_base"] = call.deployment.api_base
    if key is not None:
        arguments["api_key"] = key
    return {**arguments, "max_retries": 0, "num_retries": 0}


def _speaks_openai(name: str, library: Any) -> bool:
    provider = name.partition("/")[0]
    return provider in ("openai", "azure") or provider in library.openai_compatible_providers


def _tells_logprobs(name: str, library: Any) -> bool:
    """Whether a provider tells the probability of its tokens, as far as litellm knows."""
    return "logprobs" in (library.get_supported_openai_params(model=name) or ())


def _is_parameter(name: str, library: Any) -> bool:
    if name in OPENAI_PARAMS:
        return True
    return not name.startswith(CONTROL_PREFIXES) and name not in _control_names(library)


def _control_names(library: Any) -> frozenset[str]:
    """Every name that litellm reads as an instruction to itself, by its own account."""
    global _CONTROL_NAMES
    if _CONTROL_NAMES is None:
        import inspect

        from litellm.types.router import GenericLiteLLMParams
        from litellm.types.utils import all_litellm_params

        signatures = (inspect.signature(function).parameters for function in (library.completion, library.embedding))
        _CONTROL_NAMES = frozenset(
            {name for names in signatures for name in names}
            | {*all_litellm_params, *GenericLiteLLMParams.model_fields, *library.OPENAI_CHAT_COMPLETION_PARAMS}
            | {"organization", "default_headers", "callbacks", "stream"}
        )
    return _CONTROL_NAMES


_CONTROL_NAMES: frozenset[str] | None = None


def _plain(value: Any) -> Any:
    """A copy in dicts and lists: litellm changes what it is given, and cannot send other mappings."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


class _Guard:
    """Around every step inside litellm: its errors become ours, its globals are borrowed and given back."""

    _lock = threading.Lock()
    _depth = 0
    _found: dict[str, Any] = {}  # noqa: RUF012  # shared on purpose: litellm's globals exist once

    def __init__(self, call: Call, *, is_streaming: bool = False) -> None:
        self._call, self._is_streaming = call, is_streaming
        self._handled: BaseException | None = None

    def __enter__(self) -> None:
        self._handled = sys.exception()
        library, guard = _litellm(), _Guard
        with guard._lock:
            if guard._depth == 0:
                guard._found = {name: getattr(library, name) for name in BORROWED}
            guard._depth += 1
            for name, value in BORROWED.items():
                setattr(library, name, value)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        library, guard = _litellm(), _Guard
        with guard._lock:
            guard._depth -= 1
            if guard._depth == 0:
                for name, value in guard._found.items():
                    setattr(library, name, value)
        if isinstance(error, Exception):
            ours = translate(error, self._call, until=self._handled, is_streaming=self._is_streaming)
            if ours is not None:
                # From None: a printed traceback would show the provider's own words, key and prompt included.
                raise ours from None


def _after_fork() -> None:
    """In a forked child: forget the parent's calls, and its sockets, where the two would take each other's answers."""
    library, _Guard._lock = sys.modules.get("litellm"), threading.Lock()
    if library is None:
        return
    if _Guard._depth:
        _Guard._depth = 0
        for name, value in _Guard._found.items():
            setattr(library, name, value)
    library.in_memory_llm_clients_cache.flush_cache()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _patience_s(call: Call) -> float:
    """How long the next chunk may take."""
    left_s = call.timeout_s if call.deadline_s is None else call.deadline_s - time.monotonic()
    return min(call.timeout_s, left_s)


async def _chunks(answer: Any, call: Call) -> AsyncIterator[Mapping[str, Any]]:
    """The stream's chunks. The first item is a dummy: taking it fetches the first chunk."""
    watch = StreamWatch(answer, call)
    try:
        source, is_primed = aiter(watch.source), False
        while True:
            try:
                with _Guard(call, is_streaming=True):
                    async with asyncio.timeout(_patience_s(call)):
                        chunk = await anext(source, _END)
            except (ProviderUnavailableError, ProviderTimeoutError):
                if watch.is_complete:
                    return
                raise
            if chunk is _END:
                break
            payload = watch.payload(chunk)
            if payload is not None:
                if not is_primed:
                    is_primed = True
                    yield {}
                yield payload
        watch.require_complete()
    finally:
        for part in watch.inner():
            closing = getattr(part, "aclose", None) or getattr(part, "close", None)
            if callable(closing) and (result := closing()) is not None:
                await result
