"""What this package relies on in litellm; a later version that changes it fails here first."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import threading
from typing import Any

import pytest
from loopback import Provider, cut_stream, malformed, reply, stall, status

from router.errors import ProviderError
from router.transports.litellm import BORROWED, OPENAI_PARAMS, SDK_PARAMS, LiteLLMTransport, _litellm
from router.transports.provider_errors import BY_NAME
from router.types import Call, Deployment


@pytest.fixture
def litellm() -> Any:
    return _litellm()


def exception_classes() -> list[type[BaseException]]:
    from litellm import exceptions

    return [
        value
        for value in list(vars(exceptions).values())
        if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == exceptions.__name__
    ]


def test_every_exception_of_litellm_is_in_the_table_by_its_own_name() -> None:
    names = {cls.__name__ for cls in exception_classes()}
    assert len(names) >= 32
    assert names - set(BY_NAME) == set()


def test_every_exception_that_openai_and_httpx_can_raise_is_in_the_table() -> None:
    import httpx
    import openai

    roots = (openai.OpenAIError, httpx.HTTPError, httpx.StreamError, httpx.InvalidURL)
    classes = [
        value
        for module in (openai, httpx)
        for value in list(vars(module).values())
        if isinstance(value, type) and issubclass(value, roots)
    ]
    missing = [cls for cls in classes if not any(base.__name__ in BY_NAME for base in cls.__mro__)]
    assert len(classes) > 40
    assert missing == []


def test_the_wrapper_of_streams_has_what_we_read_from_it() -> None:
    from litellm import CustomStreamWrapper

    source = inspect.getsource(CustomStreamWrapper.__init__)
    for name in ("completion_stream", "received_finish_reason", "intermittent_finish_reason", "chunks"):
        assert f"self.{name}" in source


def test_the_globals_we_borrow_exist_with_these_defaults(litellm: Any) -> None:
    assert {name: getattr(litellm, name) for name in BORROWED} == {"suppress_debug_info": False, "num_retries": None}


def test_litellm_still_takes_our_parameters_as_openais(litellm: Any) -> None:
    known = {*litellm.OPENAI_CHAT_COMPLETION_PARAMS, *inspect.signature(litellm.embedding).parameters}
    assert OPENAI_PARAMS - SDK_PARAMS <= known
    assert callable(litellm.in_memory_llm_clients_cache.flush_cache)
    assert "hosted_vllm" in litellm.openai_compatible_providers


def snapshot(litellm: Any) -> dict[str, Any]:
    """litellm's module attributes that hold settings: identity and content of everything that is no code."""
    kept = {}
    for name, value in vars(litellm).items():
        if name.startswith("__") or inspect.ismodule(value) or inspect.isroutine(value) or inspect.isclass(value):
            continue
        if isinstance(value, (str, int, float, bool, type(None), list, tuple, set, frozenset)):
            kept[name] = repr(value)
        elif isinstance(value, dict):
            kept[name] = f"{id(value)} with {len(value)} entries"
    return kept


def ask_every_way(transport: LiteLLMTransport, provider: Provider) -> None:
    """Eight calls: two kinds of provider, whole and streamed, sync and async; errors are fine."""
    for via, stream in itertools.product(("openai", "hosted_vllm"), (False, True)):
        call = Call(
            request_id="r", model="small", deployment=Deployment(call=f"{via}/small", api_base=provider.url),
            kind="chat", messages=({"role": "user", "content": "hi"},), params={"metadata": {"a": "b"}, "seed": 1},
            timeout_s=1.0, stream=stream,
        )  # fmt: skip
        with contextlib.suppress(ProviderError):
            list(transport.send(call).chunks or ())  # type: ignore[arg-type]
        with contextlib.suppress(ProviderError):
            asyncio.run(exhaust(transport, call))


async def exhaust(transport: LiteLLMTransport, call: Call) -> None:
    answer = await transport.asend(call)
    if answer.chunks is not None:
        async for _ in answer.chunks:  # type: ignore[union-attr]
            pass


def test_calls_leave_litellms_globals_as_they_found_them(
    litellm: Any, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A setting of whoever else uses litellm in the process, which litellm clears on every error, and obeys.
    monkeypatch.setattr(litellm, "num_retries", 2)
    transport = LiteLLMTransport()
    ask_every_way(transport, provider)  # what litellm builds once and keeps is there from here on
    before = snapshot(litellm)
    assert {"callbacks", "success_callback", "failure_callback", "drop_params", "model_cost", "api_key"} <= set(before)
    steps = (reply("x"), status(429), status(500), malformed(), cut_stream(), stall(2))
    for step in steps:
        provider.always("small", step)
        ask_every_way(transport, provider)
    assert snapshot(litellm) == before
    assert litellm.num_retries == 2
    assert len(provider.requests) <= 8 * (1 + len(steps)), "litellm retried by itself"  # a busy machine may send fewer


def test_calls_at_the_same_time_give_the_globals_back_too(
    litellm: Any, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "num_retries", 2)
    transport = LiteLLMTransport()
    provider.always("small", status(500))
    threads = [threading.Thread(target=ask_every_way, args=(transport, provider)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (litellm.num_retries, litellm.suppress_debug_info) == (2, False)
    assert len(provider.requests) == 8 * 4, "litellm retried by itself"
