"""Offers in, plan and reasons out."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.select import Offer, best_trade, plan


def offer(model: str, quality: float | None = None, cost: str | None = "1", barred: str | None = None) -> Offer:
    cost_usd = None if cost is None else Decimal(cost)
    return Offer(model=model, quality=quality, expected_cost_usd=cost_usd, barred=barred)


CHEAP, MID, DEAR = offer("cheap", 0.6, "1"), offer("mid", 0.85, "2"), offer("dear", 0.95, "3")


@pytest.mark.parametrize(
    ("offers", "bar", "order"),
    [
        pytest.param([DEAR, MID, CHEAP], 0.8, ("mid", "dear"), id="the cheapest that clears, then the dearer ones"),
        pytest.param([DEAR, MID, CHEAP], 0.0, ("cheap", "mid", "dear"), id="bar 0 takes the cheapest"),
        pytest.param([CHEAP, MID, DEAR], 0.85, ("mid", "dear"), id="reaching the bar is enough"),
        pytest.param([CHEAP, MID, DEAR], 0.99, ("dear", "mid", "cheap"), id="none clears: best first"),
        pytest.param([offer("x", 0.9, None), DEAR], 0.8, ("dear", "x"), id="an unknown price goes last"),
        pytest.param([offer("b", 0.9), offer("a", 0.9)], 0.8, ("a", "b"), id="a tie goes by name"),
        pytest.param([offer("x", None, "1"), MID], 0.8, ("x", "mid"), id="nothing predicted: evidence alone decides"),
        pytest.param([offer("x", 0.9, "1", "no evidence"), DEAR], 0.8, ("dear",), id="a barred model is out"),
        pytest.param([offer("x", 0.9, "1", "no evidence")], 0.8, (), id="nobody is left"),
        pytest.param([], 0.8, (), id="no offers"),
    ],
)
def test_single_takes_the_cheapest_that_clears(offers: list[Offer], bar: float, order: tuple[str, ...]) -> None:
    assert plan(offers, strategy="single", bar=bar)[0] == order


def test_fixed_keeps_the_authors_order_and_asks_no_quality() -> None:
    order, candidates = plan([DEAR, CHEAP, offer("x", barred="too small")], strategy="fixed", bar=0.99)
    assert order == ("dear", "cheap")
    assert [c.reason for c in candidates] == ["fixed by the rule", "fixed by the rule, stands by", "too small"]


def test_fallbacks_follow_in_their_order_and_once() -> None:
    order, candidates = plan([MID], strategy="single", bar=0.8, fallback=[DEAR, MID, CHEAP])
    assert order == ("mid", "dear", "cheap")
    assert [c.reason for c in candidates] == ["cheapest that clears bar 0.8", *["stands by as fallback"] * 2]


def test_a_candidate_without_evidence_may_still_be_the_fallback() -> None:
    order, (candidate,) = plan([offer("x", barred="no evidence")], strategy="single", bar=0.8, fallback=[offer("x")])
    assert order == ("x",)
    assert candidate.reason == "fallback: no candidate stands (no evidence)"


def test_a_fallback_that_cannot_serve_says_why() -> None:
    order, candidates = plan([MID], strategy="single", bar=0.8, fallback=[offer("tiny", barred="context too small")])
    assert order == ("mid",)
    assert [(c.model, c.is_in, c.reason) for c in candidates][1:] == [
        ("tiny", False, "fallback, but context too small")
    ]


def test_every_candidate_has_a_reason() -> None:
    _, candidates = plan([CHEAP, MID, DEAR], strategy="single", bar=0.8)
    assert [(c.model, c.is_in, c.reason) for c in candidates] == [
        ("mid", True, "cheapest that clears bar 0.8"),
        ("dear", True, "dearer, also clears bar 0.8"),
        ("cheap", False, "predicted 0.60, below bar 0.8 on this request"),
    ]
    _, candidates = plan([CHEAP, MID], strategy="single", bar=0.99)
    assert [c.reason for c in candidates] == [
        "none clears bar 0.99 on this request; best expected quality",
        "none clears bar 0.99 on this request; stands by",
    ]


offers = st.lists(
    st.builds(
        Offer,
        model=st.sampled_from("abcdef"),
        barred=st.none() | st.just("barred"),
        quality=st.none() | st.floats(0, 1),
        expected_cost_usd=st.none() | st.decimals(0, 10, places=3),
    ),
    max_size=6,
    unique_by=lambda one: one.model,
)


@given(offers, st.sampled_from(["single", "fixed"]), st.floats(0, 1), offers)
def test_a_plan_names_each_model_once_and_no_barred_one(
    given_offers: list[Offer], strategy: str, bar: float, fallback: list[Offer]
) -> None:
    order, candidates = plan(given_offers, strategy=strategy, bar=bar, fallback=fallback)
    may = {o.model for o in [*given_offers, *fallback] if o.barred is None}
    assert len(set(order)) == len(order)
    assert set(order) <= may
    assert {o.model for o in fallback if o.barred is None} <= set(order)
    assert sorted(c.model for c in candidates) == sorted({o.model for o in [*given_offers, *fallback]})
    assert all(c.reason and c.is_in == (c.model in order) for c in candidates)
    assert [c.model for c in candidates][: len(order)] == list(order)


@pytest.mark.parametrize(
    ("quality_per_usd", "best"), [(0.0, 2), (0.2, 1), (10.0, 0)], ids=["best", "between", "cheapest"]
)
def test_the_exchange_rate_traces_from_best_to_cheapest(quality_per_usd: float, best: int) -> None:
    assert best_trade([0.6, 0.85, 0.95], [1.0, 2.0, 3.0], quality_per_usd) == best


def test_a_tie_goes_to_the_cheaper_and_then_to_the_first() -> None:
    assert best_trade([0.5, 0.5, 0.5], [2.0, 1.0, 1.0], 0.0) == 1
