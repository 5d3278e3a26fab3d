"""What a caller may say; everything else stops before any cost."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from router._request import chat_request, embedding_request
from router.errors import InvalidRequestError

HI = [{"role": "user", "content": "hi"}]


def test_a_request_is_frozen_and_has_an_id_of_its_own() -> None:
    one, two = chat_request(HI), chat_request(HI)
    assert one.id != two.id
    assert re.fullmatch(r"cb-[0-9a-f]{20,32}", one.id)
    with pytest.raises(AttributeError):
        one.model = "x"  # type: ignore[misc]


def test_ids_sort_by_time() -> None:
    ids = [chat_request(HI).id for _ in range(50)]
    assert [one[:17] for one in ids] == sorted(one[:17] for one in ids)


@pytest.mark.parametrize("model", [None, "auto"])
def test_no_model_and_auto_route(model: str | None) -> None:
    assert chat_request(HI, model=model).model is None


def test_tags_are_taken_out_of_the_parameters() -> None:
    request = chat_request(HI, team="search", run_id="r1", tags={"plan": "gold", "customer": "acme"}, temperature=0.5)
    assert (request.tags.team, request.tags.run_id, request.tags.customer) == ("search", "r1", "acme")
    assert request.tags.extra == {"plan": "gold"}
    assert request.params == {"temperature": 0.5}


def test_a_tag_that_is_none_is_no_tag_and_no_parameter() -> None:
    request = chat_request(HI, team=None, tags={"team": "search"})
    assert request.tags.team == "search"
    assert request.params == {}


def test_the_same_tag_twice_is_fine_when_it_agrees() -> None:
    assert chat_request(HI, team="a", tags={"team": "a"}).tags.team == "a"


@pytest.mark.parametrize(
    ("given", "amount"),
    [(0, "0"), ("0.01", "0.01"), (0.1, "0.1"), (Decimal("1e-9"), "1e-9"), ("1e3", "1000"), (None, None)],
    ids=str,
)
def test_amounts_are_exact(given: Any, amount: str | None) -> None:
    assert chat_request(HI, max_cost_usd=given).max_cost_usd == (None if amount is None else Decimal(amount))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param({"messages": "hi"}, "messages must be a non-empty list", id="text as messages"),
        pytest.param({"messages": b"hi"}, "got bytes", id="bytes as messages"),
        pytest.param({"messages": []}, "got list (empty)", id="no messages"),
        pytest.param({"messages": None}, "got NoneType", id="None as messages"),
        pytest.param({"messages": {"role": "user"}}, "got dict", id="one message outside a list"),
        pytest.param({"messages": (m for m in HI)}, "got generator", id="a generator"),
        pytest.param({"messages": ["hi"]}, "messages[0] must be a dict with a 'role', got 'hi'", id="a word"),
        pytest.param({"messages": [*HI, {"content": "x"}]}, "messages[1] must be a dict with a 'role'", id="no role"),
        pytest.param({"model": 3}, "model must be text, got 3", id="model"),
        pytest.param({"task": ["a"]}, "task must be text, got ['a']", id="task"),
        pytest.param({"bar": 1.1}, "bar must be a number from 0 to 1, got 1.1", id="bar above 1"),
        pytest.param({"bar": float("nan")}, "bar must be a number from 0 to 1, got nan", id="bar nan"),
        pytest.param({"bar": True}, "bar must be a number from 0 to 1, got True", id="bar true"),
        pytest.param({"bar": "0.9"}, "bar must be a number from 0 to 1, got '0.9'", id="bar as text"),
        pytest.param({"patience_s": -1}, "patience_s must be a number of seconds from 0 on, got -1", id="no patience"),
        pytest.param({"timeout_s": 0}, "timeout_s must be a number of seconds above 0, got 0", id="no time"),
        pytest.param({"timeout_s": float("inf")}, "timeout_s must be", id="endless time"),
        pytest.param({"max_cost_usd": -1}, "max_cost_usd must be an amount in USD from 0", id="negative amount"),
        pytest.param({"max_cost_usd": "nan"}, "got 'nan'", id="amount nan"),
        pytest.param({"max_cost_usd": "Infinity"}, "got 'Infinity'", id="endless amount"),
        pytest.param({"max_cost_usd": "$1"}, "got '$1'", id="amount with a sign"),
        pytest.param({"max_cost_usd": True}, "got True", id="amount true"),
        pytest.param({"max_cost_usd": "1e999999999"}, "got '1e999999999'", id="amount that fills the memory"),
        pytest.param({"tags": "a=b"}, "tags must be a dict of texts, got 'a=b'", id="tags as text"),
        pytest.param({"tags": {"a": 1}}, "tag 'a' must be text, got 1", id="tag that is a number"),
        pytest.param({"tags": {1: "a"}}, "tag 1 must be text", id="tag name that is a number"),
        pytest.param({"team": 7}, "tag 'team' must be text, got 7", id="team that is a number"),
        pytest.param({"team": "a", "tags": {"team": "b"}}, "team is given twice: 'a' and, in tags, 'b'", id="twice"),
        pytest.param({"max_tokens": 10**18}, "max_tokens must be a whole number from 1", id="more than integers hold"),
        pytest.param({"max_tokens": -1}, "max_tokens must be a whole number from 1 to 100000000", id="no end"),
        pytest.param({"max_tokens": "100"}, "max_tokens must be a whole number", id="cap as text"),
        pytest.param({"max_completion_tokens": 0}, "max_completion_tokens must be", id="a cap of nothing"),
        pytest.param({"n": 1.5}, "n must be a whole number", id="one and a half answers"),
        pytest.param({"n": True}, "n must be a whole number", id="n true"),
        pytest.param({"api_key": "sk-secret"}, "api_key belongs in the policy (models: ... api_key)", id="key"),
        pytest.param({"api_base": "http://x"}, "api_base belongs in the policy", id="address"),
        pytest.param({"custom_llm_provider": "x"}, "custom_llm_provider belongs in the policy", id="provider"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chat_request(**{"messages": HI, **arguments})
    assert told in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_a_whole_prompt_never_stands_in_an_error() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chat_request([{"content": "secret " * 1000}])
    assert len(str(caught.value)) < 150


def test_parameters_pass_untouched() -> None:
    tools = [{"type": "function"}]
    request = chat_request(HI, tools=tools, max_tokens=None, n=2, made_up=1)
    assert request.params == {"tools": tools, "max_tokens": None, "n": 2, "made_up": 1}
    assert request.params["tools"] is tools


@pytest.mark.parametrize(("texts", "listed"), [("a", ["a"]), (["a", "b"], ["a", "b"]), (("a",), ["a"])])
def test_an_embedding_request_takes_one_text_or_several(texts: Any, listed: list[str]) -> None:
    request = embedding_request(texts, dimensions=8)
    assert (request.kind, request.params) == ("embedding", {"input": listed, "dimensions": 8})


@pytest.mark.parametrize("texts", [[], [1], [["a"]], [None]], ids=str)
def test_an_embedding_request_takes_nothing_else(texts: Any) -> None:
    with pytest.raises(InvalidRequestError, match="input must be a text or a non-empty list of texts"):
        embedding_request(texts)


@pytest.mark.parametrize(
    "body",
    [{"model": "gpt-9"}, {"messages": []}, {"stream": True}, {"api_key": "x"}, {"max_tokens": -1}, {"n": "50"}, [1]],
)
def test_the_extra_body_cannot_replace_what_is_routed_and_billed(body: Any) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(body)) if isinstance(body, dict) else "extra_body"):
        chat_request([{"role": "user", "content": "hello"}], extra_body=body)
