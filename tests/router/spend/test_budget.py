"""Which accounts a call is booked on, and what follows from how they stand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from router.spend.budget import Balance, Budget, Budgets, Leg, Step, Worst, crossings, refusal, squeezed
from router.spend.windows import Window
from router.types import Tags

NOON = 1_795_348_800_000_000
"""2026-11-22, 12:00 UTC."""
DOLLAR = 10**12


def budget(**changes: Any) -> Budget:
    given: dict[str, Any] = {"name": "b", "scope": {}, "limit": 10 * DOLLAR, "window": Window(unit="day")}
    return Budget(**(given | changes))


def leg(amount: int, **changes: Any) -> Leg:
    return Leg(budget=budget(**changes), account="a", bucket=0, since=0, amount=amount, shown="team=x")


@pytest.mark.parametrize(
    ("scope", "tags", "is_about"),
    [
        ({}, Tags(), True),
        ({"team": ("x",)}, Tags(team="x"), True),
        ({"team": ("x",)}, Tags(team="y"), False),
        ({"team": ("x", "y")}, Tags(team="y"), True),
        ({"team": None}, Tags(team="y"), True),
        ({"team": None}, Tags(), False),
        ({"team": ("x",), "plan": ("gold",)}, Tags(team="x", extra={"plan": "gold"}), True),
        ({"team": ("x",), "plan": ("gold",)}, Tags(team="x"), False),
        ({"model": ("large",)}, Tags(), True),
        ({"model": ("small",)}, Tags(), False),
        ({"provider": ("openai",)}, Tags(), True),
    ],
    ids=str,
)
def test_a_scope_is_about_the_calls_that_carry_all_of_it(scope: Any, tags: Tags, is_about: bool) -> None:
    assert (budget(scope=scope).account(tags, "large", "openai") is not None) == is_about


def test_a_star_gives_each_value_an_account_and_a_list_shares_one() -> None:
    each, shared = budget(scope={"team": None}), budget(scope={"team": ("x", "y")})
    assert each.account(Tags(team="x")) != each.account(Tags(team="y"))
    assert shared.account(Tags(team="x")) == shared.account(Tags(team="y"))


def test_the_account_outlives_a_changed_limit_but_not_another_window_or_unit() -> None:
    accounts = {
        budget(**changes).account(Tags())
        for changes in (
            {},
            {"limit": 5},
            {"steps": ()},
            {"name": "c"},
            {"window": Window(unit="hour")},
            {"unit": "tokens"},
        )
    }
    assert len(accounts) == 3


def test_values_that_look_like_accounts_do_not_collide() -> None:
    one = budget(scope={"team": None, "feature": None})
    assert one.account(Tags(team='a", "feature": "b', feature="c")) != one.account(Tags(team="a", feature="b"))


def test_unallocated_is_whatever_lacks_a_required_tag() -> None:
    one = budget(lacking=("team", "workflow"))
    assert one.account(Tags(team="x")) is not None
    assert one.account(Tags(team="x", workflow="y")) is None


def test_a_bound_that_nobody_knows_stops_at_a_hard_limit_only() -> None:
    unknown = Worst(usd=None, tokens=5)
    for one, is_stopped in (
        (budget(), True),
        (budget(is_open=True), False),
        (budget(steps=(Step(share=1.0, action="notify"),)), False),
        (budget(unit="tokens"), False),
    ):
        assert isinstance(Budgets((one,)).legs(Tags(), "m", "p", unknown, NOON), tuple) == is_stopped


def test_what_fits_exactly_is_let_through_and_a_pico_dollar_more_is_not() -> None:
    balance = Balance(settled=4 * DOLLAR, held=3 * DOLLAR)
    assert refusal([leg(3 * DOLLAR)], [balance], NOON, "m") is None
    denial = refusal([leg(3 * DOLLAR + 1)], [balance], NOON, "m")
    assert denial is not None
    error = denial.error
    assert (error.limit, error.settled, error.held, error.fits_usd) == (10, 4, 3, 3)
    assert (error.scope, error.unit, error.resets_at) == ("team=x", "usd", "2026-11-23T00:00:00Z")
    assert "wait for the calls in flight ($3 held)" in str(error)
    assert error.retry_after == 1.0


def test_of_several_limits_the_tightest_is_told() -> None:
    legs = [leg(5 * DOLLAR), leg(5 * DOLLAR, limit=2 * DOLLAR, name="small")]
    denial = refusal(legs, [Balance(settled=6 * DOLLAR), Balance()], NOON, "m")
    assert denial is not None
    assert denial.error.limit == 2


@pytest.mark.parametrize(
    ("balance", "waits"),
    [(Balance(settled=0, held=8 * DOLLAR), True), (Balance(settled=8 * DOLLAR, held=DOLLAR), False)],
    ids=["only holds stand in the way", "the money is spent"],
)
def test_waiting_is_for_holds_alone(balance: Balance, waits: bool) -> None:
    patient = leg(5 * DOLLAR, steps=(Step(share=1.0, action="wait"),), wait_s=9.0)
    denial = refusal([patient], [balance], NOON, "m")
    assert denial is not None
    assert (denial.wait_s == 9.0) == waits


def test_a_call_that_one_limit_would_never_take_does_not_wait_for_another() -> None:
    patient = leg(5 * DOLLAR, steps=(Step(share=1.0, action="wait"),), wait_s=9.0)
    denial = refusal([patient, leg(5 * DOLLAR, limit=DOLLAR)], [Balance(held=8 * DOLLAR), Balance()], NOON, "m")
    assert denial is not None
    assert denial.wait_s == 0


def test_an_approval_makes_room_and_without_one_the_error_says_how_to_ask() -> None:
    asks = {"steps": (Step(share=1.0, action="approve"),), "name": "month"}
    spent = Balance(settled=10 * DOLLAR)
    denial = refusal([leg(DOLLAR, **asks)], [spent], NOON, "m")
    assert denial is not None
    assert "clearbar budget approve 'month'" in str(denial.error)
    assert refusal([leg(DOLLAR, **asks)], [Balance(settled=10 * DOLLAR, allowance=DOLLAR)], NOON, "m") is None


def test_without_a_step_that_blocks_a_budget_only_watches() -> None:
    watched = leg(50 * DOLLAR, steps=(Step(share=0.8, action="notify"),))
    assert refusal([watched], [Balance()], NOON, "m") is None
    assert [one.share for one in crossings([watched], [Balance()])] == [0.8]


def test_a_step_that_lies_behind_is_told_of_a_calendar_window_and_not_of_a_rolling_one() -> None:
    steps = (Step(share=0.5, action="notify"), Step(share=1.0, action="deny"))
    assert [one.share for one in crossings([leg(4 * DOLLAR, steps=steps)], [Balance(settled=DOLLAR)])] == [0.5]
    behind = [Balance(settled=5 * DOLLAR)]
    assert [one.share for one in crossings([leg(DOLLAR, steps=steps)], behind)] == [0.5]
    assert crossings([leg(DOLLAR, steps=steps, window=Window(rolling_s=3_600))], behind) == []


def test_a_budget_asks_for_cheaper_routes_from_its_step_on() -> None:
    steps = (Step(share=0.9, action="downgrade"), Step(share=1.0, action="deny"))
    assert squeezed([(budget(steps=steps), Balance(settled=8 * DOLLAR))]) is None
    assert squeezed([(budget(steps=steps), Balance(settled=8 * DOLLAR, held=DOLLAR))]) == "b at 90%"


def test_counts_are_told_as_counts() -> None:
    denial = refusal([leg(1, unit="requests", limit=3)], [Balance(settled=3)], NOON, "m")
    assert denial is not None
    assert "3 requests" in str(denial.error)
    assert (denial.error.limit, denial.error.fits_usd) == (Decimal(3), None)


def test_a_value_shares_no_account_with_a_list_nor_what_is_unallocated_with_a_tag_of_that_name() -> None:
    each, shared = budget(scope={"team": None}), budget(scope={"team": ("x", "y")})
    assert each.account(Tags(team="x|y")) != shared.account(Tags(team="x"))
    lacks, named = budget(lacking=("team",)), budget(scope={"unallocated": None})
    assert lacks.account(Tags()) != named.account(Tags(extra={"unallocated": "true"}))
    assert lacks.account(Tags()) != budget(lacking=("workflow",)).account(Tags())


def test_an_account_is_told_in_words_by_its_own_budget_alone() -> None:
    each, shared, lacks = budget(scope={"team": None}), budget(scope={"team": ("x", "y")}), budget(lacking=("team",))
    accounts = [one.account(Tags(team="x")) or one.account(Tags()) for one in (each, shared, lacks)]
    told = [[one.values_of(account or "") for account in accounts] for one in (each, shared, lacks)]
    assert told == [
        [{"team": "x"}, None, None],
        [None, {"team": "x|y"}, None],
        [None, None, {"unallocated": "without team"}],
    ]


def test_a_window_whose_name_begins_like_anothers_is_another() -> None:
    here = budget(window=Window(unit="month", tz="America/New_York")).account(Tags())
    assert here is not None
    assert budget(window=Window(unit="month")).values_of(here) is None


def test_a_denial_names_the_provider() -> None:
    one = budget(scope={"provider": ("openai",)})
    (booked,) = Budgets((one,)).legs(Tags(), "m", "openai", Worst(usd=1, tokens=1), NOON)
    assert isinstance(booked, Leg)
    assert booked.shown == "provider=openai"
