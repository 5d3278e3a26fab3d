"""Streams of the litellm transport against a real HTTP server: whole, cut, stalled, closed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from litellm_calls import OPENAI_LIKE, Answer, Ask, text_of, usage_of
from loopback import (
    Provider,
    cut_stream,
    malformed,
    no_usage,
    reply,
    slow_chunks,
    stall,
    status,
    tool_call,
)

from router.errors import (
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
)
from router.transports.litellm import LiteLLMTransport


@OPENAI_LIKE
def test_a_stream_arrives_chunk_by_chunk_with_its_usage(via: str, ask: Ask, make: Any, provider: Provider) -> None:
    chunks = ask(make(via=via, stream=True))
    assert all(type(chunk) is dict for chunk in chunks)
    assert text_of(chunks) == "hello big world"
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]] == ["stop"]
    usage = usage_of(chunks)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (3, 3)
    assert provider.requests[0].body["stream_options"] == {"include_usage": True}


def test_stream_options_of_the_caller_win(ask: Ask, make: Any, provider: Provider) -> None:
    chunks = ask(make(stream=True, stream_options={"include_usage": False}))
    assert provider.requests[0].body["stream_options"] == {"include_usage": False}
    assert usage_of(chunks) is None
    assert text_of(chunks) == "hello big world"


@OPENAI_LIKE
def test_a_stream_without_usage_has_none(via: str, ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [no_usage()])
    assert usage_of(ask(make(via=via, stream=True))) is None


def test_a_stream_of_two_choices_finishes_both(ask: Ask, make: Any) -> None:
    chunks = ask(make(stream=True, n=2))
    assert text_of(chunks, 0) == text_of(chunks, 1) == "hello big world"
    ends = [(c["index"], c["finish_reason"]) for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
    assert ends == [(0, "stop"), (1, "stop")]


def test_text_that_looks_like_a_control_token_is_kept_in_streams(ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [reply("a <s> b </s> <|im_end|> c")])
    assert text_of(ask(make(stream=True))) == "a <s> b </s> <|im_end|> c"


@OPENAI_LIKE
def test_a_tool_call_streams_both_ways(via: str, ask: Ask, make: Any, provider: Provider) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
    provider.script("small", [tool_call("weather", {"city": "Bern"})])
    chunks = ask(make(via=via, stream=True, tools=tools))
    calls = [part for c in chunks for choice in c["choices"] for part in choice["delta"].get("tool_calls") or ()]
    assert "".join(part["function"].get("arguments") or "" for part in calls) == '{"city": "Bern"}'
    assert [part["function"]["name"] for part in calls if part["function"].get("name")] == ["weather"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert provider.requests[0].body["tools"] == tools


@OPENAI_LIKE
@pytest.mark.parametrize("clean", [False, True], ids=["broken off", "ended politely"])
def test_a_cut_stream_raises_after_its_last_chunk(
    via: str, clean: bool, transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    provider.always("small", cut_stream(after_chunks=3, clean=clean))
    seen: list[Any] = []

    def sync() -> None:
        for chunk in transport.send(make(via=via, stream=True)).chunks or ():  # type: ignore[union-attr]
            seen.append(chunk)

    async def asynchronous() -> None:
        async for chunk in (await transport.asend(make(via=via, stream=True))).chunks:  # type: ignore[union-attr]
            seen.append(chunk)

    for run in (sync, lambda: asyncio.run(asynchronous())):
        seen.clear()
        with pytest.raises(ProviderUnavailableError) as caught:
            run()
        assert text_of(seen) == "one two "
        assert caught.value.is_billed is None
        assert not any(choice["finish_reason"] for chunk in seen for choice in chunk["choices"])


def test_a_stream_cut_after_its_finish_reason_is_whole(ask: Ask, make: Any, provider: Provider) -> None:
    # With a pause before the cut: a client may forget what lies unread when its connection breaks.
    provider.script("small", [replace(cut_stream(after_chunks=7), chunk_delay_s=0.05)])
    chunks = ask(make(stream=True))
    assert text_of(chunks) == "one two three four five"
    assert usage_of(chunks) is None


def test_a_stream_without_any_chunk_fails_before_it_is_handed_out(ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [cut_stream(after_chunks=0, clean=True)])
    with pytest.raises(ProviderUnavailableError, match="no choices") as caught:
        ask(make(stream=True))
    assert caught.value.is_billed is None


@OPENAI_LIKE
def test_a_stall_in_the_middle_of_a_stream_is_a_timeout(via: str, ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [stall(30, after_chunks=2)])
    with pytest.raises(ProviderTimeoutError, match=r"no answer within 0\.3 s") as caught:
        ask(make(via=via, stream=True, timeout_s=0.3))
    assert caught.value.is_billed is None


def test_an_error_before_the_first_chunk_is_raised_by_send(
    transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    provider.always("small", status(429, retry_after=4))
    with pytest.raises(RateLimitedError) as caught:
        transport.send(make(stream=True))
    assert caught.value.retry_after_s == 4
    with pytest.raises(RateLimitedError) as caught:
        asyncio.run(transport.asend(make(stream=True)))
    assert caught.value.retry_after_s == 4


def test_the_first_chunk_has_arrived_when_send_returns(
    transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    provider.script("small", [stall(30, after_chunks=1)])
    answer = transport.send(make(stream=True))
    assert next(iter(answer.chunks))["choices"][0]["delta"]["role"] == "assistant"  # type: ignore[arg-type, call-overload]
    answer.chunks.close()  # type: ignore[union-attr]


@OPENAI_LIKE
@pytest.mark.parametrize("taken", [0, 2], ids=["untouched", "after two chunks"])
def test_closing_a_stream_closes_the_connection(
    via: str, taken: int, transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    provider.script("small", [stall(30, after_chunks=3)])
    answer = transport.send(make(via=via, stream=True, timeout_s=60))
    for _ in range(taken):
        next(answer.chunks)  # type: ignore[arg-type]
    answer.chunks.close()  # type: ignore[union-attr]
    assert provider.requests[0].finished.wait(5)
    assert provider.requests[0].is_client_gone


@OPENAI_LIKE
@pytest.mark.parametrize("taken", [0, 2], ids=["untouched", "after two chunks"])
def test_closing_an_async_stream_closes_the_connection(
    via: str, taken: int, transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    provider.script("small", [stall(30, after_chunks=3)])

    async def run() -> bool:
        answer = await transport.asend(make(via=via, stream=True, timeout_s=60))
        for _ in range(taken):
            await anext(answer.chunks)  # type: ignore[arg-type]
        await answer.chunks.aclose()  # type: ignore[union-attr]
        return await asyncio.to_thread(provider.requests[0].finished.wait, 5)

    assert asyncio.run(run())
    assert provider.requests[0].is_client_gone


def test_cancelling_an_async_call_closes_the_connection(
    transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    provider.script("small", [stall(30)])

    async def run() -> bool:
        task = asyncio.create_task(transport.asend(make(timeout_s=60)))
        while not provider.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await asyncio.to_thread(provider.requests[0].finished.wait, 5)

    assert asyncio.run(run())
    assert provider.requests[0].is_client_gone


def anthropic_events(stop_reason: str | None) -> bytes:
    """Another protocol's stream: what litellm translates rather than hands on."""
    message = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "c", "stop_reason": None}
    events: list[Answer] = [
        {"type": "message_start", "message": {**message, "usage": {"input_tokens": 7, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "good "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "day"}},
    ]
    if stop_reason:
        events += [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def test_a_stream_in_another_protocol_is_whole_or_cut_too(ask: Ask, make: Any, provider: Provider) -> None:
    base = provider.url.removesuffix("/v1")
    provider.script("claude-x", [malformed(anthropic_events("max_tokens")), malformed(anthropic_events(None))])
    chunks = ask(make(via="anthropic", model="claude-x", api_base=base, stream=True))
    assert text_of(chunks) == "good day"
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]] == ["length"]
    usage = usage_of(chunks)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7, 5)
    with pytest.raises(ProviderUnavailableError, match="ended before the answer was complete") as caught:
        ask(make(via="anthropic", model="claude-x", api_base=base, stream=True))
    assert caught.value.is_billed is None


def test_slow_chunks_are_no_stall(ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [slow_chunks(0.08)])
    assert text_of(ask(make(stream=True, timeout_s=0.4))) == "one two three four five"


def test_a_stream_that_stalls_after_its_finish_reason_is_whole(ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [stall(30, after_chunks=5)])
    chunks = ask(make(stream=True, timeout_s=0.3))
    assert text_of(chunks) == "hello big world"
    assert usage_of(chunks) is None
