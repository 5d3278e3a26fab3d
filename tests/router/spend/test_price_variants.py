"""Tiers, long contexts, terms: what a call costs, meter by meter, and at most."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.spend.prices import METERS, Price, bundled_models, bundled_price, price_in
from router.spend.prices.bundled import price_of
from router.spend.prices.entry import PriceEntry, entry_of
from router.types import Usage

D = Decimal


def price(**stated: Any) -> Price:
    return PriceEntry.model_validate({"input": "3", "output": "15", **stated}).price()


FULL = price(
    cached_input="0.3", cache_write="3.75", cache_write_1h="6", audio_input="9", image_input="4", reasoning="20",
    audio_output="30", image_output="40",
    above=[{"tokens": "200000", "input": "6", "output": "22.5", "cached_input": "0.6"}],
    batch="1.5", flex={"input": "2", "output": "9", "above": {"tokens": "100000", "input": "2.5"}},
    tiers={"fast": {"input": "30", "output": "150"}},
)  # fmt: skip
TOKENS = st.integers(0, 300_000)


@st.composite
def used(draw: st.DrawFn) -> Usage:
    into = {name: draw(TOKENS) for name in ("cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens",
                                            "audio_input_tokens", "image_input_tokens")}  # fmt: skip
    out = {name: draw(TOKENS) for name in ("reasoning_tokens", "audio_output_tokens", "image_output_tokens")}
    return Usage(
        input_tokens=sum(into.values()) + draw(TOKENS), output_tokens=sum(out.values()) + draw(TOKENS), **into, **out,
        service_tier=draw(st.sampled_from(["standard", "batch", "flex", "priority", "fast", "unheard of"])),
    )  # fmt: skip


RATE = st.decimals(0, 500, places=4)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    def some() -> dict[str, Decimal]:
        return draw(st.dictionaries(st.sampled_from(METERS), RATE, max_size=5))

    bands = [{"tokens": tokens, **some()} for tokens in draw(st.sets(st.integers(1, 900_000), max_size=2))]
    return PriceEntry.model_validate(
        {"input": draw(RATE), "output": draw(RATE), **some(), "above": bands, "batch": some() or None,
         "flex": {**some(), "above": bands[:1]}, "tiers": {"fast": some()},
         "discount": draw(st.decimals(0, "0.9", places=2)),
         "committed": draw(st.none() | st.decimals(0, "0.9", places=2))}
    ).price()  # fmt: skip


@given(prices(), used())
def test_the_costs_of_the_meters_add_up_to_the_cost_and_their_tokens_to_the_usage(held: Price, usage: Usage) -> None:
    lines = held.by_meter(usage)
    assert sum(line.cost_usd for line in lines.values()) == held.cost(usage)
    assert sum(line.quantity for line in lines.values()) == usage.input_tokens + usage.output_tokens
    assert all(line.quantity > 0 for line in lines.values())
    assert all(line.cost_usd == line.quantity * line.usd_per_million / 1_000_000 for line in lines.values())


@given(prices(), used(), TOKENS, TOKENS)
def test_no_usage_costs_more_than_its_worst_case(held: Price, usage: Usage, more: int, longer: int) -> None:
    bound = held.worst(
        usage.input_tokens + more, usage.output_tokens + longer, tiers=(usage.service_tier,), has_media=True
    )
    assert held.cost(usage) <= bound


@given(prices(), used())
def test_a_price_can_be_read_from_its_content(held: Price, usage: Usage) -> None:
    read = price_in(held.content)
    assert (read.id, read.content) == (held.id, held.content)
    assert read.cost(usage) == held.cost(usage)
    assert read.costs(read.cost(usage)) == held.costs(held.cost(usage))


@given(prices())
def test_a_price_says_the_same_after_it_was_written_down(held: Price) -> None:
    if held.terms == Price(input=D(1), output=D(1)).terms:
        assert PriceEntry.model_validate(entry_of(held)).price().id == held.id


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        pytest.param({"input_tokens": 1000}, "0.003", id="plain"),
        pytest.param({"input_tokens": 1000, "cache_write_tokens": 400, "cache_write_1h_tokens": 600}, "0.0051",
                     id="cache writes by how long they are kept"),
        pytest.param({"input_tokens": 1000, "audio_input_tokens": 1000}, "0.009", id="sound"),
        pytest.param({"output_tokens": 1000, "reasoning_tokens": 400}, "0.017", id="thinking at a rate of its own"),
        pytest.param({"input_tokens": 200_000}, "0.6", id="just not a long context"),
        pytest.param({"input_tokens": 200_001}, "1.200006", id="a long context, from its first token on"),
        pytest.param({"input_tokens": 200_001, "audio_input_tokens": 200_001}, "1.800009",
                     id="what a band does not state stays as it was"),
        pytest.param({"input_tokens": 1000, "service_tier": "batch"}, "0.0015", id="batch"),
        pytest.param({"input_tokens": 1000, "cached_input_tokens": 1000, "service_tier": "batch"}, "0.00015",
                     id="with only an input rate, batch is in proportion"),
        pytest.param({"input_tokens": 1000, "service_tier": "flex"}, "0.002", id="flex"),
        pytest.param({"input_tokens": 150_000, "service_tier": "flex"}, "0.375", id="a tier's own long context"),
        pytest.param({"input_tokens": 1000, "service_tier": "fast"}, "0.03", id="a tier by the provider's word"),
        pytest.param({"input_tokens": 1000, "service_tier": "priority"}, "0.003", id="a tier without rates"),
    ],
)  # fmt: skip
def test_each_token_costs_what_its_meter_tier_and_length_say(usage: Any, cost: str) -> None:
    assert FULL.cost(Usage(**{"input_tokens": 0, "output_tokens": 0, **usage})) == D(cost)


def test_a_bound_takes_only_what_can_apply() -> None:
    held = price(
        above={"tokens": "200000", "input": "6", "output": "20"}, tiers={"fast": {"input": "30", "output": "9"}}
    )
    assert held.worst(1_000, 0) == D("0.003")
    assert held.worst(200_001, 0) == D("1.200006")
    assert held.worst(1_000, 0, tiers=("fast",)) == D("0.03")
    sound = price(audio_input="9")
    assert sound.worst(1_000, 0) == D("0.003")
    assert sound.worst(1_000, 0, has_media=True) == D("0.009")


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        pytest.param({}, ("3", "3", "3", "3", "3"), id="as listed"),
        pytest.param({"discount": "0.1"}, ("3", "2.7", "2.7", "2.7", "2.7"), id="negotiated"),
        pytest.param({"committed": "0.25"}, ("3", "3", "2.25", "0", "3"), id="committed: billed before"),
        pytest.param({"discount": "0.1", "committed": "0.5"}, ("3", "2.7", "1.35", "0", "2.7"), id="both"),
        pytest.param({"credits": {"unit": "credits", "usd": "0.01"}}, ("0.03", "0.03", "0.03", "0.03", "3"),
                     id="credits"),
        pytest.param({"credits": {"unit": "credits", "usd": "0.01", "prepaid": "true"}},
                     ("0.03", "0.03", "0.03", "0", "3"), id="credits bought before"),
    ],
)  # fmt: skip
def test_terms_tell_list_contracted_effective_and_billed_cost_apart(terms: Any, told: tuple[str, ...]) -> None:
    held = price(**terms)
    costs = held.costs(held.cost(Usage(input_tokens=1_000_000, output_tokens=0)))
    amounts = (costs.list_usd, costs.contracted_usd, costs.effective_usd, costs.billed_usd, costs.units)
    assert amounts == tuple(map(D, told))


@given(prices(), used())
def test_the_amounts_of_a_call_are_the_sums_of_its_meters(held: Price, usage: Usage) -> None:
    whole = held.costs(held.cost(usage))
    parts = [held.costs(line.cost_usd) for line in held.by_meter(usage).values()]
    assert sum(part.list_usd for part in parts) == pytest.approx(whole.list_usd, rel=D("1e-20"))
    assert sum(part.billed_usd for part in parts) == whole.billed_usd
    assert whole.billed_usd <= whole.effective_usd <= whole.contracted_usd <= whole.list_usd * (1 + D("1e-20"))


def test_the_id_of_a_price_is_its_content() -> None:
    assert price().id == price(effective="2026-01-01").id == price(input="3.00").id
    different = [price(), price(input="3.1"), price(cached_input="1"), price(cache_write="1"), price(discount="0.1"),
                 price(batch="1"), price(flex="1"), price(above={"tokens": "9", "input": "3"}), price(committed="0"),
                 price(credits={"unit": "c", "usd": "1"})]  # fmt: skip
    assert len({one.id for one in different}) == len(different)


def test_an_entry_of_the_bundled_map_has_tiers_and_long_contexts() -> None:
    held = price_of({
        "input_cost_per_token": 1e-06, "output_cost_per_token": 4e-06, "output_cost_per_reasoning_token": 4e-06,
        "cache_read_input_token_cost": 1e-07, "cache_creation_input_token_cost": 1.25e-06,
        "cache_creation_input_token_cost_above_1hr": 2e-06, "input_cost_per_audio_token": 3e-06,
        "input_cost_per_token_above_200k_tokens": 2e-06, "output_cost_per_token_above_200k_tokens": 6e-06,
        "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 4e-06,
        "input_cost_per_token_batches": 5e-07, "output_cost_per_token_batches": 2e-06,
        "input_cost_per_token_above_200k_tokens_batches": 1e-06, "input_cost_per_token_cache_hit": 1e-07,
        "provider_specific_entry": {"us": 1.1, "fast": 2.0}, "supports_vision": True, "input_cost_per_image": 0.1,
    })  # fmt: skip
    assert held is not None
    assert (held.cached_input, held.cache_write, held.cache_write_1h) == (D("0.1"), D("1.25"), D(2))
    assert held.reasoning is None, "thinking at the price of any output follows it into every tier"
    long, batch = held.at("standard", 200_001), held.at("batch", 1_000)
    assert (long.input, long.output, long.cache_write_1h, long.audio_input) == (2, 6, 4, 3)
    assert (batch.input, batch.of("reasoning"), held.at("batch", 200_001).input) == (D("0.5"), 2, 1)
    assert held.at("batch", 200_001).output == 6, "a gap in the list counts as the dearer of what is known"
    assert (held.at("us", 1).input, held.at("fast", 200_001).output) == (D("1.1"), 12)
    assert held.at("fast us", 1).input == D("2.2")


def test_prices_in_steps_are_long_contexts() -> None:
    steps = [{"range": [0, 32e3], "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
             {"range": [32e3, 128e3], "input_cost_per_token": 3e-06, "output_cost_per_token": 4e-06}]  # fmt: skip
    held = price_of({"tiered_pricing": steps})
    assert held is not None
    assert (held.input, held.at("standard", 32_000).input, held.at("standard", 32_001).input) == (1, 1, 3)


def test_every_bundled_price_survives_being_written_down() -> None:
    held = [one for call in bundled_models() if (one := bundled_price(call)) is not None and one.input <= 10_000]
    kept = [one for one in held[::10] if all(rate <= 10_000 for at in (one, *(v.rates for v in one.variants))
                                             for rate in at.known().values())]  # fmt: skip
    assert len(kept) > 200
    for one in kept:
        assert PriceEntry.model_validate(entry_of(one)).price().id == one.id
