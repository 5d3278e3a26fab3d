"""The same request in the same scope, and nothing else, gets the same answer."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router._request import chat_request, embedding_request
from router.cache.exact import Entry, ExactCache, exact_key, is_storable
from router.types import Request

HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
ANSWER: dict[str, Any] = {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}


def key(request: Request, policy: str = "p1", artifact: str | None = None, tags: tuple[str, ...] = ()) -> str | None:
    return exact_key(request, policy_version=policy, artifact_version=artifact, tags=tags)


class Memory:
    """A store for tests."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        return self.texts.get(key)

    def set(self, key: str, text: str, *, expire_s: float, owner: str = "", usd: float = 0.0) -> None:
        self.texts[key] = text
        self.owner = owner

    def delete(self, key: str) -> bool:
        return self.texts.pop(key, None) is not None

    def close(self) -> None:
        pass


def test_the_same_request_has_the_same_key() -> None:
    one = chat_request(HI, team="a", temperature=0, tools=[{"b": 1, "a": 2}])
    two = chat_request([{"content": "hi", "role": "user"}], temperature=0, tools=[{"a": 2, "b": 1}], tags={"team": "a"})
    assert one.id != two.id
    assert key(one) == key(two)
    assert len(key(one) or "") == 64


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"messages": [{"role": "user", "content": "ho"}]}, id="text"),
        pytest.param({"messages": [{"role": "system", "content": "hi"}]}, id="role"),
        pytest.param({"messages": HI * 2}, id="number of messages"),
        pytest.param({"messages": [{"role": "user", "content": "hi", "name": "x"}]}, id="name"),
        pytest.param({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}, id="parts"),
        pytest.param({"model": "large"}, id="pinned model"),
        pytest.param({"task": "qa"}, id="task"),
        pytest.param({"bar": 0.9}, id="bar"),
        pytest.param({"max_cost_usd": "0.01"}, id="limit on the cost, which may change the model"),
        pytest.param({"team": "b"}, id="team"),
        pytest.param({"customer": "b"}, id="customer"),
        pytest.param({"environment": "staging"}, id="a tag that rules look at"),
        pytest.param({"temperature": 0.1}, id="temperature"),
        pytest.param({"seed": 1}, id="seed"),
        pytest.param({"n": 2}, id="n"),
        pytest.param({"stop": ["x"]}, id="stop"),
        pytest.param({"max_tokens": 5}, id="max_tokens"),
        pytest.param({"tools": [{"type": "function"}]}, id="tools"),
        pytest.param({"tool_choice": "none"}, id="tool_choice"),
        pytest.param({"response_format": {"type": "json_object"}}, id="response_format"),
        pytest.param({"logprobs": True}, id="logprobs"),
        pytest.param({"never_heard_of": 1}, id="a parameter of the future"),
    ],
)
def test_whatever_may_change_the_answer_changes_the_key(changed: dict[str, Any]) -> None:
    plain = key(chat_request(HI), tags=("environment",))
    assert key(chat_request(**{"messages": HI, **changed}), tags=("environment",)) != plain


@pytest.mark.parametrize("versions", [("p2", None), ("p1", "a1")])
def test_another_policy_or_artifact_has_other_keys(versions: tuple[str, str | None]) -> None:
    assert key(chat_request(HI), *versions) != key(chat_request(HI))


@pytest.mark.parametrize(
    "same",
    [
        pytest.param({"timeout_s": 5.0}, id="time"),
        pytest.param({"stream": True}, id="stream"),
        pytest.param({"stream_options": {"include_usage": True}}, id="stream_options"),
        pytest.param({"workflow": "w", "run_id": "r", "feature": "f", "agent": "a"}, id="tags that no rule looks at"),
    ],
)
def test_what_cannot_change_the_answer_does_not_change_the_key(same: dict[str, Any]) -> None:
    assert key(chat_request(HI, **same)) == key(chat_request(HI))


def test_the_same_limit_written_another_way_is_the_same_limit() -> None:
    assert key(chat_request(HI, max_cost_usd="0.10")) == key(chat_request(HI, max_cost_usd=Decimal("0.1")))


def test_an_embedding_is_no_chat() -> None:
    assert key(embedding_request("hi")) != key(chat_request(HI))
    assert key(embedding_request(["a", "b"])) != key(embedding_request(["ab"]))


names = st.none() | st.text(max_size=5)


@given(st.tuples(names, names), st.tuples(names, names))
def test_two_tenants_never_share(one: tuple[str | None, str | None], two: tuple[str | None, str | None]) -> None:
    keys = [key(chat_request(HI, team=team, customer=customer)) for team, customer in (one, two)]
    assert (keys[0] == keys[1]) == (one == two)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def same(one: Any, two: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)


@given(json_values, json_values)
def test_two_parameters_share_a_key_only_when_they_are_the_same_json(one: Any, two: Any) -> None:
    keys = [key(chat_request(HI, extra=value)) for value in (one, two)]
    assert (keys[0] == keys[1]) == same(one, two)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", Decimal(1), {("a",): 1}, {1: "a", "b": 2}], ids=repr)
def test_a_parameter_without_a_json_form_has_no_key(value: Any) -> None:
    assert key(chat_request(HI, extra=value)) is None


def test_a_circle_has_no_key() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert key(chat_request(HI, extra=circle)) is None


def test_text_without_a_utf8_form_has_a_key() -> None:
    assert key(chat_request([{"role": "user", "content": "\ud800"}])) is not None


def test_an_answer_is_kept_and_dropped() -> None:
    cache = ExactCache(Memory())
    assert cache.get("k") is None
    entry = Entry("small", ANSWER, "r")
    cache.put("k", entry)
    assert cache.get("k") == entry
    assert (cache.drop("k"), cache.drop("k"), cache.get("k")) == (True, False, None)


def choice(reason: str | None = "stop", **message: Any) -> dict[str, Any]:
    return {"message": message or {"content": "x"}, "finish_reason": reason}


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        pytest.param({"choices": [choice()]}, True, id="a whole answer"),
        pytest.param({"data": [{"embedding": [0.1]}]}, True, id="an embedding"),
        pytest.param({"choices": [choice("length")]}, False, id="cut at the cap"),
        pytest.param({"choices": [choice("content_filter")]}, False, id="filtered"),
        pytest.param({"choices": [choice(None)]}, False, id="no end"),
        pytest.param({"choices": [choice("tool_calls", tool_calls=[{}])]}, False, id="a tool call"),
        pytest.param({"choices": [choice("stop", tool_calls=[{}])]}, False, id="a tool call that says stop"),
        pytest.param({"choices": [choice(), choice("length")]}, False, id="one of two was cut"),
        pytest.param({"choices": []}, False, id="no choices"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_only_an_answer_that_came_to_its_end_is_kept(payload: dict[str, Any], kept: bool) -> None:
    assert is_storable(payload) is kept
    cache = ExactCache(Memory())
    cache.put("k", Entry("small", payload, "r"))
    assert (cache.get("k") is not None) is kept


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '{"model": "m"}', '{"model": "m", "payload": 3}',
     '{"model": "m", "payload": {}, "request_id": "r", "x": 1}', "[" * 100_000],
    ids=lambda text: text[:20] or "empty",
)  # fmt: skip
def test_an_entry_that_this_version_did_not_write_is_a_miss(text: str) -> None:
    memory = Memory()
    memory.texts["k"] = text
    assert ExactCache(memory).get("k") is None


@pytest.mark.parametrize(
    "kept",
    [
        {"model": 5, "payload": ANSWER},
        {"model": "small", "payload": ANSWER, "request_id": 5},
        {"model": "small", "payload": {}},
        {"model": "small", "payload": {"choices": "text"}},
        {"model": "small", "payload": {"choices": []}},
        {"model": "small", "payload": {"choices": [{"message": None}]}},
        {"model": "small", "payload": {"choices": [{"message": {"content": 5}}]}},
    ],
)
def test_a_row_that_has_not_the_shape_of_an_answer_counts_as_none(kept: dict[str, Any]) -> None:
    memory = Memory()
    memory.set("k", json.dumps({"request_id": "r", "at_s": 1.0} | kept), expire_s=1)
    assert ExactCache(memory).get("k") is None


def test_an_answer_without_a_json_form_is_not_kept() -> None:
    memory = Memory()
    ExactCache(memory).put("k", Entry("small", {**ANSWER, "odd": object()}, "r"))
    assert memory.texts == {}
