"""Calls through litellm to the loopback provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from litellm_calls import KEY, Ask
from loopback import Provider

from router.transports.litellm import LiteLLMTransport
from router.types import Call, Deployment


@pytest.fixture
def transport() -> LiteLLMTransport:
    return LiteLLMTransport()


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, transport: LiteLLMTransport) -> Ask:
    """Send a call either way; gives the answer, or the list of chunks of a stream."""

    def sync(call: Call) -> Any:
        answer = transport.send(call)
        return answer.payload if answer.chunks is None else list(answer.chunks)  # type: ignore[arg-type]

    def asynchronous(call: Call) -> Any:
        async def run() -> Any:
            answer = await transport.asend(call)
            if answer.chunks is None:
                return answer.payload
            return [chunk async for chunk in answer.chunks]  # type: ignore[union-attr]

        return asyncio.run(run())

    return sync if request.param == "sync" else asynchronous


@pytest.fixture
def make(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Call]:
    monkeypatch.setenv("LOOPBACK_API_KEY", KEY)

    def make(
        text: str = "hello big world", *, model: str = "small", via: str = "openai", kind: Any = "chat",
        messages: Any = None, stream: bool = False, timeout_s: float = 5.0, api_base: str | None = None,
        api_key_env: str | None = "LOOPBACK_API_KEY", **params: Any,
    ) -> Call:  # fmt: skip
        deployment = Deployment(
            call=f"{via}/{model}" if via else model, api_base=api_base or provider.url, api_key_env=api_key_env
        )
        given = () if kind == "embedding" else tuple(messages or [{"role": "user", "content": text}])
        return Call(
            request_id="r1", model=model, deployment=deployment, kind=kind, messages=given, params=params,
            timeout_s=timeout_s, stream=stream,
        )  # fmt: skip

    return make
