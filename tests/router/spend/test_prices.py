"""Dated prices in exact dollars; an unknown price stays unknown."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.spend.prices import Price, bundled_models, bundled_price, price_on
from router.types import Usage


def price(input: str = "3", output: str = "15", cached: str | None = None, effective: date | None = None) -> Price:
    held = None if cached is None else Decimal(cached)
    return Price(input=Decimal(input), output=Decimal(output), cached_input=held, effective=effective)


@pytest.mark.parametrize(
    ("held", "usage", "cost"),
    [
        pytest.param(price(), Usage(input_tokens=1000, output_tokens=200), "0.006", id="plain"),
        pytest.param(price(), Usage(input_tokens=1, output_tokens=0), "0.000003", id="one token"),
        pytest.param(price("0.1"), Usage(input_tokens=3, output_tokens=0), "0.0000003", id="no binary dust"),
        pytest.param(price(cached="0.3"), Usage(input_tokens=1000, output_tokens=0, cached_input_tokens=900), "0.00057",
                     id="cached input has a price of its own"),
        pytest.param(price(), Usage(input_tokens=1000, output_tokens=0, cached_input_tokens=900), "0.003",
                     id="cached input without one costs as any other"),
        pytest.param(price(cached="0"), Usage(input_tokens=10, output_tokens=0, cached_input_tokens=99), "0",
                     id="more cached than read counts as read"),
        pytest.param(price(), Usage(input_tokens=0, output_tokens=10, reasoning_tokens=9), "0.00015",
                     id="reasoning is part of the output"),
    ],
)  # fmt: skip
def test_cost_is_exact(held: Price, usage: Usage, cost: str) -> None:
    assert held.cost(usage) == Decimal(cost)


@given(
    st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6),
    st.decimals(0, 100, places=4), st.decimals(0, 100, places=4), st.none() | st.decimals(0, 100, places=4),
)  # fmt: skip
def test_no_attempt_costs_more_than_its_worst_case(
    read: int, made: int, cached: int, input: Decimal, output: Decimal, cached_input: Decimal | None
) -> None:
    held = Price(input=input, output=output, cached_input=cached_input)
    usage = Usage(input_tokens=read, output_tokens=made, cached_input_tokens=min(cached, read))
    assert held.cost(usage) <= held.worst(read, made)


def test_the_worst_case_takes_the_dearest_price_that_can_apply() -> None:
    held = Price(input=Decimal(1), output=Decimal(2), cached_input=Decimal(3), reasoning=Decimal(7))
    assert held.worst(1_000_000, 1_000_000) == 10
    assert Price(input=Decimal(1), output=Decimal(2), cache_write=Decimal("2.5")).worst(1_000_000, 0) == Decimal("2.5")


OLD, NEW = price("1"), price("2", effective=date(2026, 2, 1))
LATER = price("3", effective=date(2026, 3, 1))


@pytest.mark.parametrize(
    ("prices", "day", "held"),
    [
        pytest.param([OLD, NEW, LATER], date(2026, 1, 31), OLD, id="before the first day"),
        pytest.param([LATER, NEW, OLD], date(2026, 2, 1), NEW, id="on its first day"),
        pytest.param([OLD, NEW, LATER], date(2030, 1, 1), LATER, id="the latest"),
        pytest.param([NEW], date(2026, 1, 31), None, id="not yet"),
        pytest.param([], date(2026, 1, 31), None, id="none"),
    ],
)
def test_the_price_of_a_day(prices: list[Price], day: date, held: Price | None) -> None:
    assert price_on(prices, day) == held


def test_bundled_prices_have_no_binary_dust() -> None:
    held = bundled_price("openai/gpt-4o-mini")
    assert held is not None
    assert (held.input, held.output, held.cached_input) == (Decimal("0.15"), Decimal("0.6"), Decimal("0.075"))


def test_a_model_is_found_with_and_without_its_provider() -> None:
    assert bundled_price("gpt-4o-mini") == bundled_price("openai/gpt-4o-mini")


@pytest.mark.parametrize(
    "call", ["nosuch/model", "local/gpt-4o", "fake/gpt-4o", "groq/gpt-4o", "openai/nosuch", "", "/"]
)
def test_another_providers_price_is_no_price(call: str) -> None:
    assert bundled_price(call) is None


def test_every_bundled_price_can_be_read_and_bounds_itself() -> None:
    priced = 0
    for call in bundled_models():
        held = bundled_price(call)
        if held is None:
            continue
        priced += 1
        assert held.input >= 0
        assert held.output >= 0
        assert held.worst(1, 1) >= held.cost(Usage(input_tokens=1, output_tokens=1))
    assert priced > 1000
