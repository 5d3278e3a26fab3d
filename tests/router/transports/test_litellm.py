"""The litellm transport against a real HTTP server."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from time import time
from typing import Any

import pytest
from loopback import (
    Provider,
    Step,
    cut_body,
    cut_stream,
    disconnect,
    embedding,
    malformed,
    no_usage,
    reply,
    slow_chunks,
    stall,
    status,
    tool_call,
    with_fields,
    wrong_usage,
)

from router.errors import (
    AuthenticationFailedError,
    BadRequestError,
    ContentFilteredError,
    ContextTooLongError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    UnsupportedParameterError,
)
from router.transports.litellm import LiteLLMTransport
from router.types import Call, Deployment, Payload

Answer = dict[str, Any]
Ask = Callable[[Call], Any]

KEY = "sk-loopback-0123456789"


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


def text_of(chunks: list[Any], index: int = 0) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["index"] == index
    )


def usage_of(chunks: list[Any]) -> Any:
    return next((chunk["usage"] for chunk in chunks if chunk.get("usage")), None)


OPENAI_LIKE = pytest.mark.parametrize("via", ["openai", "hosted_vllm"])
"""One provider that litellm reaches through the openai client, one that it reaches by itself."""


# -- whole answers ----------------------------------------------------------------------------------------------


@OPENAI_LIKE
def test_an_answer_comes_back_as_openais_plain_dict(via: str, ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [reply("good morning", system_fingerprint="fp_1", unheard_of={"a": [1]})])
    answer = ask(make(via=via))
    assert type(answer) is dict
    assert answer["choices"][0]["message"]["content"] == "good morning"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["system_fingerprint"] == "fp_1"
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (3, 2)
    assert Payload(answer).choices[0].message.tool_calls is None
    if via == "openai":
        assert answer["unheard_of"] == {"a": [1]}


def test_the_key_goes_to_the_provider_and_the_address_is_kept(ask: Ask, make: Any, provider: Provider) -> None:
    ask(make())
    (received,) = provider.requests
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert received.path == "/v1/chat/completions"


def test_all_turns_arrive_as_they_were_written(ask: Ask, make: Any, provider: Provider) -> None:
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one", "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        {"role": "user", "content": "two"},
    ]  # fmt: skip
    ask(make(messages=turns))
    # litellm leaves out `"content": null` beside tool calls, which means the same.
    assert provider.requests[0].body["messages"] == [
        {name: value for name, value in turn.items() if value is not None} for turn in turns
    ]


@OPENAI_LIKE
def test_an_image_arrives_byte_for_byte(via: str, ask: Ask, make: Any, provider: Provider) -> None:
    url = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 8).decode()
    content = [
        {"type": "text", "text": "what is it"},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
    ]
    ask(make(via=via, messages=[{"role": "user", "content": content}]))
    assert provider.requests[0].body["messages"][0]["content"] == content


def test_the_callers_values_are_never_changed(ask: Ask, make: Any) -> None:
    import copy

    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    call = make(
        messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}], tools=tools, metadata={"a": "b"}
    )
    before = copy.deepcopy((call.messages, call.params))
    ask(call)
    assert (call.messages, call.params) == before


def test_openai_parameters_arrive_untouched(ask: Ask, make: Any, provider: Provider) -> None:
    params = {
        "temperature": 0.3, "top_p": 0.9, "seed": 7, "logprobs": True, "top_logprobs": 2, "max_tokens": 50,
        "stop": ["END"], "presence_penalty": 0.1, "logit_bias": {"5": 1}, "user": "u", "n": 2,
        "parallel_tool_calls": False, "max_completion_tokens": 9,
    }  # fmt: skip
    ask(make(**params))
    body = provider.requests[0].body
    assert {name: body.get(name) for name in params} == params


@OPENAI_LIKE
def test_parameters_litellm_does_not_know_or_keeps_for_itself_reach_the_provider(
    via: str, ask: Ask, make: Any, provider: Provider
) -> None:
    params = {
        "min_p": 0.05, "repetition_penalty": 1.1, "metadata": {"order": "7"}, "fallbacks": ["x"], "tags": ["t"],
        "api_base": "http://192.0.2.1/v1", "base_url": "http://192.0.2.1", "mock_response": "no", "caching": True,
        "extra_body": {"top_k": 5},
    }  # fmt: skip
    answer = ask(replace(make(via=via), params=params))
    assert answer["choices"][0]["message"]["content"] == "hello big world"
    body = provider.requests[0].body
    expected = {**params, "top_k": 5}
    del expected["extra_body"]
    assert {name: body.get(name) for name in expected} == expected


def test_a_tool_call_comes_back_and_its_definition_goes_out(ask: Ask, make: Any, provider: Provider) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
    provider.script("small", [tool_call("weather", {"city": "Bern"})])
    answer = ask(make(tools=tools, tool_choice="auto"))
    (called,) = answer["choices"][0]["message"]["tool_calls"]
    assert called["function"] == {"name": "weather", "arguments": '{"city": "Bern"}'}
    assert called["id"] == "call_1"
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert provider.requests[0].body["tools"] == tools
    assert provider.requests[0].body["tool_choice"] == "auto"


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "e", "schema": {"type": "object"}, "strict": True}},
    ],
    ids=["object", "schema"],
)
def test_json_mode_is_passed_on(wanted: Answer, ask: Ask, make: Any, provider: Provider) -> None:
    answer = ask(make(response_format=wanted))
    assert answer["choices"][0]["message"]["content"] == '{"echo": "hello big world"}'
    assert provider.requests[0].body["response_format"] == wanted


def test_wrong_usage_is_reported_as_the_provider_gave_it(ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [wrong_usage(999_999, 0)])
    assert ask(make())["usage"]["prompt_tokens"] == 999_999


def test_missing_usage_is_missing_and_not_zero(ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [no_usage()])
    assert "usage" not in ask(make())


def test_texts_are_embedded(ask: Ask, make: Any, provider: Provider) -> None:
    answer = ask(make(kind="embedding", input=["one two", "three"], dimensions=4))
    assert [row["embedding"] for row in answer["data"]] == [embedding("one two", 4), embedding("three", 4)]
    assert answer["usage"]["prompt_tokens"] == 3
    assert provider.requests[0].path == "/v1/embeddings"
    assert provider.requests[0].body["input"] == ["one two", "three"]


# -- streams ----------------------------------------------------------------------------------------------------


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
    provider.script("small", [with_fields(cut_stream(after_chunks=7), chunk_delay_s=0.05)])
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


# -- errors -----------------------------------------------------------------------------------------------------

CONTEXT = {"message": "This model's maximum context length is 8 tokens.", "code": "context_length_exceeded"}
FILTERED = {"message": "rejected", "type": "invalid_request_error", "code": "content_policy_violation"}


@OPENAI_LIKE
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (status(400), BadRequestError),
        (status(401), AuthenticationFailedError),
        (status(402), AuthenticationFailedError),
        (status(403), AuthenticationFailedError),
        (status(404), ModelNotFoundError),
        (status(408), ProviderTimeoutError),
        (status(422), BadRequestError),
        (status(429), RateLimitedError),
        (status(500), ProviderUnavailableError),
        (status(502), ProviderUnavailableError),
        (status(503), ProviderUnavailableError),
        (status(504), ProviderTimeoutError),
        (status(529), ProviderUnavailableError),
        (status(400, error=CONTEXT), ContextTooLongError),
        (status(400, error=FILTERED), ContentFilteredError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value.status),
)
def test_each_status_has_its_error(
    via: str, step: Step, expected: type[ProviderError], transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    provider.always("small", step)
    with pytest.raises(ProviderError) as caught:
        transport.send(make(via=via))
    assert type(caught.value) is expected
    assert caught.value.status == step.status
    assert caught.value.model == "small"
    assert caught.value.is_billed is expected.is_billed
    assert len(provider.requests) == 1, "litellm must not retry by itself"


@pytest.mark.parametrize("step", [status(429), status(500), disconnect(), stall(9)], ids=["429", "500", "gone", "late"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_nothing_is_retried_behind_our_back(step: Step, stream: bool, ask: Ask, make: Any, provider: Provider) -> None:
    provider.always("small", step)
    with pytest.raises(ProviderError):
        ask(make(stream=stream, timeout_s=0.3))
    assert len(provider.requests) == 1


@pytest.mark.parametrize("code", [429, 503])
@OPENAI_LIKE
def test_retry_after_is_read_in_seconds(code: int, via: str, ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [status(code, retry_after=1.5)])
    with pytest.raises(ProviderError) as caught:
        ask(make(via=via))
    assert caught.value.retry_after_s == 1.5


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        (lambda: formatdate(time() + 90, usegmt=True), 60, 90),
        (lambda: formatdate(0, usegmt=True), 0, 0),
        (lambda: "soon", None, None),
    ],
    ids=["a date", "a date in the past", "no time at all"],
)
def test_retry_after_may_be_a_date(
    header: Callable[[], str], low: Any, high: Any, ask: Ask, make: Any, provider: Provider
) -> None:
    provider.script("small", [status(429, retry_after=header())])
    with pytest.raises(RateLimitedError) as caught:
        ask(make())
    found = caught.value.retry_after_s
    assert found is None if low is None else low <= found <= high


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "x", "choices": [',
        b"<html>502 Bad Gateway</html>",
        b'{"id": "x", "object": "chat.completion"}',
        b'{"id": "x", "choices": []}',
        b'{"id": "x", "choices": null}',
        b"[1]",
        b"",
    ],
    ids=["half", "html", "no choices", "empty choices", "null choices", "list", "nothing"],
)
@OPENAI_LIKE
def test_an_unreadable_answer_is_an_unavailable_provider(
    body: bytes, via: str, ask: Ask, make: Any, provider: Provider
) -> None:
    provider.script("small", [malformed(body)])
    with pytest.raises(ProviderUnavailableError, match="unreadable answer") as caught:
        ask(make(via=via))
    assert caught.value.is_billed is None


@OPENAI_LIKE
@pytest.mark.parametrize("step", [disconnect(), cut_body()], ids=["no answer", "half an answer"])
def test_a_broken_connection_may_have_been_billed(
    step: Step, via: str, ask: Ask, make: Any, provider: Provider
) -> None:
    provider.script("small", [step])
    with pytest.raises(ProviderUnavailableError, match="connection broke") as caught:
        ask(make(via=via))
    assert caught.value.is_billed is None


@OPENAI_LIKE
@pytest.mark.parametrize("base", ["http://127.0.0.1:9/v1", "http://no-such-host.invalid/v1"], ids=["refused", "DNS"])
def test_a_connection_that_never_was_is_not_billed(base: str, via: str, ask: Ask, make: Any) -> None:
    with pytest.raises(ProviderUnavailableError, match="cannot connect to http") as caught:
        ask(make(via=via, api_base=base))
    assert caught.value.is_billed is False


@OPENAI_LIKE
def test_a_stall_is_a_timeout_that_may_be_billed(via: str, ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [stall(30)])
    with pytest.raises(ProviderTimeoutError, match=r"no answer within 0\.3 s") as caught:
        ask(make(via=via, timeout_s=0.3))
    assert caught.value.is_billed is None


def test_an_error_inside_a_stream_that_began_well_is_raised(ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [Step(text="x", fields={"error": {"message": "overloaded", "code": 529}})])
    with pytest.raises(ProviderUnavailableError, match="overloaded") as caught:
        ask(make(stream=True))
    assert caught.value.is_billed is None


def test_a_missing_key_names_the_variable_and_the_remedy(make: Any, ask: Ask, provider: Provider) -> None:
    with pytest.raises(AuthenticationFailedError, match=r"ABSENT_API_KEY is not set.*export ABSENT_API_KEY="):
        ask(make(api_key_env="ABSENT_API_KEY"))
    assert provider.requests == []


def test_without_a_key_of_its_own_an_address_never_gets_openais_key(
    make: Any, ask: Ask, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-the-real-one")
    ask(make(api_key_env=None))
    assert "sk-the-real-one" not in provider.requests[0].headers["authorization"]


def test_a_wrong_key_that_the_provider_repeats_is_kept_out_of_the_message(
    make: Any, ask: Ask, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPBACK_API_KEY", "wrong-and-no-usual-prefix")
    provider.key = "sk-right"
    with pytest.raises(AuthenticationFailedError, match=r"Incorrect API key provided.*LOOPBACK_API_KEY") as caught:
        ask(make())
    assert "wrong-and" not in str(caught.value)
    assert caught.value.status == 401
    provider.script("small", [status(401, message="bad key sk-proj-AbC123**** given")])
    provider.key = None
    with pytest.raises(AuthenticationFailedError) as caught:
        ask(make())
    assert "AbC123" not in str(caught.value)


def test_the_prompt_stays_out_of_messages_and_they_are_short(make: Any, ask: Ask, provider: Provider) -> None:
    secret = "my diagnosis is a broken heart and nobody may know " * 3
    provider.script("small", [status(400, message=f"cannot handle '{secret[:80]}' " + "because " * 200)])
    with pytest.raises(BadRequestError) as caught:
        ask(make(secret))
    assert "diagnosis" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_a_printed_traceback_shows_neither_key_nor_prompt(
    make: Any, transport: LiteLLMTransport, provider: Provider
) -> None:
    import traceback

    prompt = " ".join(["tell", "nobody", "about", "this"])
    provider.script("small", [status(400, message=f"key {KEY}, prompt: {prompt}")])
    call = make(prompt)
    with pytest.raises(BadRequestError) as caught:
        transport.send(call)
    printed = "".join(traceback.format_exception(caught.value))
    assert KEY not in printed
    assert "tell nobody" not in printed


def test_a_parameter_the_provider_lacks_is_named(transport: LiteLLMTransport, make: Any, provider: Provider) -> None:
    with pytest.raises(UnsupportedParameterError, match="logit_bias"):
        transport.send(make(via="anthropic", logit_bias={"1": 2}))
    assert provider.requests == []


def test_a_call_without_a_provider_says_how_to_write_it(transport: LiteLLMTransport, make: Any) -> None:
    with pytest.raises(ModelNotFoundError, match=r"call 'nosuch' names no provider.*openai/nosuch"):
        transport.send(make(model="nosuch", via=""))


def test_the_error_of_an_earlier_call_does_not_colour_a_later_one(
    transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    import httpx

    provider.script("small", [malformed()])
    try:
        raise httpx.ConnectError("the caller was handling this one")
    except httpx.ConnectError:
        with pytest.raises(ProviderUnavailableError, match="unreadable answer"):
            transport.send(make())


# -- being a good guest -----------------------------------------------------------------------------------------


def test_nothing_is_ever_printed(make: Any, ask: Ask, provider: Provider, capfd: pytest.CaptureFixture[str]) -> None:
    provider.script("small", [reply("x"), status(500), malformed(), cut_stream(), stall(9), no_usage()])
    for stream in (False, False, False, True, False, True):
        with pytest.MonkeyPatch.context():
            try:
                ask(make(stream=stream, timeout_s=0.3))
            except ProviderError:
                pass
    try:
        ask(make(model="nosuch", via=""))
    except ProviderError:
        pass
    assert capfd.readouterr().out == ""


def test_many_threads_share_one_transport(transport: LiteLLMTransport, make: Any, provider: Provider) -> None:
    found: dict[int, str] = {}

    def work(number: int) -> None:
        for turn in range(3):
            answer = transport.send(make(f"thread {number} turn {turn}"))
            assert answer.payload is not None
            found[number * 10 + turn] = answer.payload["choices"][0]["message"]["content"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n * 10 + t: f"thread {n} turn {t}" for n in range(8) for t in range(3)}


@OPENAI_LIKE
@pytest.mark.parametrize("kind", ["chat", "embedding"])
def test_calls_with_different_timeouts_share_a_connection(
    via: str, kind: str, transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    calls = [
        make(via=via, kind=kind, timeout_s=5 + i / 10, **({"input": ["x"]} if kind == "embedding" else {}))
        for i in range(4)
    ]
    transport.send(calls[0])
    # The loops of the tests before this one have filled litellm's cache of clients, which then keeps no new one.
    sys.modules["litellm"].in_memory_llm_clients_cache.flush_cache()
    provider.reset()
    for call in calls:
        transport.send(call)
    # A busy machine may not have given a connection back before the next call; four for four calls would be ours.
    assert len({received.client for received in provider.requests}) < len(calls)
    provider.reset()

    async def run() -> None:
        for call in calls:
            await transport.asend(call)

    asyncio.run(run())
    assert len({received.client for received in provider.requests}) < len(calls)


def test_a_stream_that_stalls_after_its_finish_reason_is_whole(ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [stall(30, after_chunks=5)])
    chunks = ask(make(stream=True, timeout_s=0.3))
    assert text_of(chunks) == "hello big world"
    assert usage_of(chunks) is None


def test_parameters_outside_litellms_table_reach_a_server_of_ones_own(ask: Ask, make: Any, provider: Provider) -> None:
    ask(make(reasoning_effort="low", verbosity="low", user="u"))
    body = provider.requests[0].body
    assert (body["reasoning_effort"], body["verbosity"], body["user"]) == ("low", "low", "u")
    assert set(body) == {"model", "messages", "reasoning_effort", "verbosity", "user"}


def test_event_loops_come_and_go(transport: LiteLLMTransport, make: Any) -> None:
    async def run(number: int) -> list[str]:
        answers = await asyncio.gather(*(transport.asend(make(f"loop {number} call {i}")) for i in range(3)))
        return [answer.payload["choices"][0]["message"]["content"] for answer in answers]  # type: ignore[index]

    for number in range(4):
        assert asyncio.run(run(number)) == [f"loop {number} call {i}" for i in range(3)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_opens_connections_of_its_own(
    transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    transport.send(make("parent"))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = transport.send(make("child"))
            os.write(write, answer.payload["choices"][0]["message"]["content"].encode())  # type: ignore[index]
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"child"
    assert transport.send(make("parent again")).payload["choices"][0]["message"]["content"] == "parent again"  # type: ignore[index]
    parent, forked, again = (received.client for received in provider.requests)
    assert forked not in (parent, again)
    os.close(read)
    os.close(write)


def test_litellm_is_imported_on_first_use_without_prices_or_env_files(tmp_path: Any) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-from-a-file-nobody-asked-for\n")
    program = (
        "import sys, os, router.transports.litellm as t; assert 'litellm' not in sys.modules; t._litellm(); "
        "e = os.environ; "
        "print(e.get('OPENAI_API_KEY'), e['LITELLM_LOCAL_MODEL_COST_MAP'], 'LITELLM_MODE' in e)"
    )
    here = os.getcwd()
    environ = {**os.environ, "PYTHONPATH": here}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["None", "True", "False"], done.stderr
