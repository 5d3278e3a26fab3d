"""The litellm transport against a real HTTP server: whole answers and embeddings."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from litellm_calls import KEY, OPENAI_LIKE, Answer, Ask
from loopback import (
    Provider,
    no_usage,
    reply,
    tool_call,
    wrong_usage,
)
from loopback_answers import embedding

from router.types import Payload


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


def test_parameters_outside_litellms_table_reach_a_server_of_ones_own(ask: Ask, make: Any, provider: Provider) -> None:
    ask(make(reasoning_effort="low", verbosity="low", user="u"))
    body = provider.requests[0].body
    assert (body["reasoning_effort"], body["verbosity"], body["user"]) == ("low", "low", "u")
    assert set(body) == {"model", "messages", "reasoning_effort", "verbosity", "user"}
