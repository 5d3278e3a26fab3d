"""Which requests may be looked up by likeness, and which of them may ever meet."""

from __future__ import annotations

from typing import Any

import pytest
from alike import ask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router._request import chat_request
from router.cache.partition import NotAlike, last_text, partition

names = st.text(max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=st.tuples(names, names, names), other=st.tuples(names, names, names))
def test_scopes_meet_only_when_they_are_equal(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    def where(scope: tuple[str, ...]) -> str:
        team, customer, extra = scope
        request = chat_request(ask("hello"), team=team, customer=customer, tags={"region": extra})
        return partition(request, b"k" * 32, task=None, routes_version="1", artifact_version=None, tags=())

    assert (where(one) == where(other)) == (one == other)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"messages": ask("hello", {"role": "system", "content": "Be rude."})}, id="system prompt"),
        pytest.param({"messages": ask("hello", *ask("hi"), {"role": "assistant", "content": "yes"})}, id="history"),
        pytest.param({"messages": [{"role": "user", "content": "hello", "name": "x"}]}, id="name"),
        pytest.param({"max_tokens": 5}, id="parameter"),
        pytest.param({"a_new_one": 5}, id="unknown parameter"),
        pytest.param({"extra_body": {"top_k": 5}}, id="provider's parameter"),
        pytest.param({"user": "x"}, id="user"),
        pytest.param({"workflow": "x"}, id="workflow"),
        pytest.param({"environment": "x"}, id="environment"),
    ],
)
def test_whatever_may_change_the_answer_parts(changed: dict[str, Any]) -> None:
    def where(**options: Any) -> str:
        request = chat_request(**({"messages": ask("hello")} | options))
        assert last_text(request) == "hello"
        return partition(request, b"k" * 32, task=None, routes_version="1", artifact_version=None, tags=())

    assert where() == where(messages=ask("hello")) == where(run_id="another run")
    assert where() != where(**changed)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"tools": [{"type": "function"}]}, id="tools"),
        pytest.param({"n": 2}, id="several answers"),
        pytest.param({"extra_body": {"n": 2}}, id="several answers, hidden"),
        pytest.param({"temperature": 0.7}, id="variety"),
        pytest.param({"logprobs": True}, id="logprobs"),
        pytest.param({"messages": ask("what is the price of gold today")}, id="freshness"),
        pytest.param({"messages": [{"role": "assistant", "content": "hi"}]}, id="no user text"),
        pytest.param({"messages": ask("x" * 5_000)}, id="long text"),
        pytest.param({"messages": ask("hi", {"role": "tool", "content": "4"})}, id="tool answers"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, id="image"
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {}}]}]},
            id="part with more in it",
        ),
    ],
)
def test_requests_that_are_never_alike(options: dict[str, Any]) -> None:
    with pytest.raises(NotAlike):
        last_text(chat_request(**({"messages": ask("hello")} | options)))
