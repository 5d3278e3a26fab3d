"""What a request may spend, and what a provider's figures are worth."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from router.errors import ProviderTimeoutError, RateLimitedError
from router.spend.meter import Meter, output_cap, version_of
from router.spend.prices import Price
from router.spend.usage import answer_text, usage_of
from router.types import Call, Deployment, Reply, Usage

PRICES = {"m": [Price(input=Decimal(1), output=Decimal(10))], "unknown": []}


def call(model: str = "m", **params: Any) -> Call:
    return Call(
        request_id="r", model=model, deployment=Deployment(call=f"fake/{model}"), kind="chat",
        messages=({"role": "user", "content": "four words are here"},), params=params, timeout_s=1.0,
    )  # fmt: skip


def answer(text: str = "fine", **usage: Any) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}


USED = {"prompt_tokens": 100, "completion_tokens": 20}


@pytest.mark.parametrize(
    ("given", "usage"),
    [
        pytest.param(USED, Usage(input_tokens=100, output_tokens=20), id="plain"),
        pytest.param({**USED, "total_tokens": 7, "cost": "x"}, Usage(input_tokens=100, output_tokens=20),
                     id="other fields do not matter"),
        pytest.param({**USED, "prompt_tokens_details": {"cached_tokens": 100}},
                     Usage(input_tokens=100, output_tokens=20, cached_input_tokens=100), id="all input cached"),
        pytest.param({**USED, "prompt_tokens_details": None, "completion_tokens_details": {"reasoning_tokens": None}},
                     Usage(input_tokens=100, output_tokens=20), id="empty details"),
        pytest.param({**USED, "completion_tokens_details": {"reasoning_tokens": 15}},
                     Usage(input_tokens=100, output_tokens=20, reasoning_tokens=15), id="reasoning inside the output"),
        pytest.param({**USED, "completion_tokens_details": {"reasoning_tokens": 50}},
                     Usage(input_tokens=100, output_tokens=70, reasoning_tokens=50), id="reasoning beside the output"),
    ],
)  # fmt: skip
def test_possible_usage_is_taken_as_the_provider_gives_it(given: dict[str, Any], usage: Usage) -> None:
    assert usage_of(given, call(), "fine") == usage


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(None, id="none"),
        pytest.param({}, id="empty"),
        pytest.param("100", id="a text"),
        pytest.param({"prompt_tokens": 100}, id="no output"),
        pytest.param({"completion_tokens": 20}, id="no input"),
        pytest.param({**USED, "prompt_tokens": 0}, id="input of nothing"),
        pytest.param({**USED, "completion_tokens": 0}, id="a text made of nothing"),
        pytest.param({**USED, "prompt_tokens": -5}, id="negative"),
        pytest.param({**USED, "prompt_tokens": 100.0}, id="a float"),
        pytest.param({**USED, "prompt_tokens": "100"}, id="a number as text"),
        pytest.param({**USED, "prompt_tokens": True}, id="a boolean"),
        pytest.param({**USED, "prompt_tokens": 10**30}, id="absurdly many"),
        pytest.param({**USED, "prompt_tokens_details": {"cached_tokens": 101}}, id="more cached than read"),
        pytest.param({**USED, "prompt_tokens_details": {"cached_tokens": -1}}, id="negative cached"),
    ],
)
def test_impossible_usage_is_counted_by_ourselves(given: Any) -> None:
    usage = usage_of(given, call(), "fine")
    assert usage.source == "counted"
    assert 4 <= usage.input_tokens <= 20
    assert usage.output_tokens == 1


def test_no_output_for_no_text_is_possible() -> None:
    assert usage_of({**USED, "completion_tokens": 0}, call(), "").source == "provider"


@pytest.mark.parametrize(
    ("params", "cap"),
    [
        ({}, None), ({"max_tokens": None}, None), ({"max_tokens": 10}, 10), ({"max_completion_tokens": 10}, 10),
        ({"max_tokens": 10, "n": 3}, 30), ({"max_tokens": 1000, "max_completion_tokens": 10}, 1000), ({"n": 5}, None),
    ],
    ids=str,
)  # fmt: skip
def test_the_output_cap_bounds_all_choices_together(params: dict[str, Any], cap: int | None) -> None:
    assert output_cap(params) == cap


def test_without_a_limit_everything_may_be_sent() -> None:
    assert Meter(PRICES).refusal(call("unknown")) is None


def test_a_call_is_refused_when_its_worst_case_does_not_fit() -> None:
    meter = Meter(PRICES, Decimal("0.001"), input_tokens=500)
    assert meter.refusal(call(max_tokens=50)) is None  # 500 + 50 * 10 = 1,000 millionths
    refusal = meter.refusal(call(max_tokens=51))
    assert refusal is not None
    assert (refusal.limit, refusal.settled, refusal.fits_usd) == (Decimal("0.001"), 0, Decimal("0.001"))
    assert "m may cost up to $0.00101; $0.001 of the request's max_cost_usd $0.001 is left" in str(refusal)


def test_an_unknown_price_is_refused_under_a_limit() -> None:
    refusal = Meter(PRICES, Decimal(1)).refusal(call("unknown", max_tokens=1))
    assert "unknown has an unknown price" in str(refusal)


def test_what_was_billed_leaves_less() -> None:
    meter = Meter(PRICES, Decimal("0.001"), input_tokens=500)
    attempt = meter.settle(call(max_tokens=50), Reply(payload=answer(prompt_tokens=400, completion_tokens=10)), 0.5)
    assert (attempt.cost_usd, attempt.latency_s, attempt.model_version) == (Decimal("0.0005"), 0.5, "m-1")
    assert meter.refusal(call(max_tokens=1)) is not None
    assert meter.cost_usd == Decimal("0.0005")


def test_a_refused_call_costs_nothing_and_a_timeout_counts_with_its_worst_case() -> None:
    meter = Meter(PRICES, Decimal("0.0015"), input_tokens=500)
    assert meter.settle(call(max_tokens=50), RateLimitedError("429"), 0.1).cost_usd == 0
    assert meter.refusal(call(max_tokens=100)) is None
    assert meter.settle(call(max_tokens=50), ProviderTimeoutError("slow"), 0.1).cost_usd is None
    assert meter.refusal(call(max_tokens=51)) is not None
    assert meter.cost_usd is None
    assert [attempt.outcome for attempt in meter.attempts] == ["error", "error"]


def test_an_unknown_price_makes_the_sum_unknown_and_not_zero() -> None:
    meter = Meter(PRICES)
    assert meter.cost_usd == 0
    meter.settle(call("unknown"), Reply(payload=answer(**USED)), 0.0)
    assert meter.attempts[0].usage == Usage(input_tokens=100, output_tokens=20)
    assert meter.cost_usd is None


@pytest.mark.parametrize("end", ["ok", "cut", "error"])
def test_a_stream_is_booked_by_what_was_received(end: Any) -> None:
    meter = Meter(PRICES)
    attempt = meter.settle_stream(call(), answer("a few words"), end, 1.0, "why" if end == "error" else None)
    assert attempt.outcome == end
    assert attempt.usage is not None
    assert (attempt.usage.source, attempt.usage.output_tokens) == ("counted", 3)
    assert attempt.cost_usd == (attempt.usage.input_tokens + 30) / Decimal(10**6)


def test_a_stream_that_was_cut_before_any_text_still_bills_the_input() -> None:
    attempt = Meter(PRICES).settle_stream(call(), {"choices": []}, "cut", 1.0)
    assert attempt.usage is not None
    assert attempt.usage.input_tokens > 0
    assert attempt.usage.output_tokens == 0


def test_an_error_text_is_kept_short() -> None:
    attempt = Meter(PRICES).settle(call(), RateLimitedError("x" * 10_000), 0.0)
    assert attempt.error is not None
    assert len(attempt.error) == 500


@pytest.mark.parametrize(
    ("payload", "version"),
    [({"model": "m-1", "system_fingerprint": "fp_1"}, "m-1"),
     ({"model": "m", "system_fingerprint": "sha256:ab"}, "sha256:ab"), ({"model": 3}, None), ({}, None)],
    ids=str,
)  # fmt: skip
def test_the_version_is_what_the_provider_says_it_served(payload: dict[str, Any], version: str | None) -> None:
    assert version_of(payload) == version


def test_tool_calls_and_thoughts_are_text_that_was_made() -> None:
    function = {"name": "find", "arguments": '{"q": 1}'}
    messages = [{"content": "a", "reasoning_content": "why"}, {"content": None, "tool_calls": [{"function": function}]}]
    assert answer_text({"choices": [{"message": one} for one in messages]}) == 'a\nfind {"q": 1}\nwhy'
    assert answer_text({"choices": None}) == answer_text({}) == ""
