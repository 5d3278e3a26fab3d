"""For which requests a model is asked in the shadow, and for which never."""

from __future__ import annotations

from typing import Any

import pytest
from loopback import Provider, reply
from shaded import HI, LONG, SHADOW, Make, missed, rows

from router.policy.canary import Canary
from router.policy.shadow import Shadow


def test_a_customer_is_always_in_the_share_or_never_and_a_larger_share_keeps_who_was_in() -> None:
    names = [f"c{number}" for number in range(400)]
    shares = [Shadow.model_validate({"model": "new", "percent": share, "by": "customer"}) for share in ("5%", "20%")]
    few, more = ({name for name in names if one.draws("chat", name)} for one in shares)
    assert few < more
    assert (5 <= len(few) <= 40, 50 <= len(more) <= 110) == (True, True)


def test_who_meets_a_model_as_a_canary_is_not_who_has_it_in_the_shadow() -> None:
    told = {"model": "new", "percent": "30%", "by": "customer"}
    shadow, canary = Shadow.model_validate(told), Canary.model_validate(told)
    names = [f"c{number}" for number in range(400)]
    both = [name for name in names if shadow.draws("chat", name) and canary.draws("chat", name)]
    assert 15 <= len(both) <= 60  # 36, as chance has it


def test_only_the_drawn_customers_are_shadowed(make: Make) -> None:
    trial = Shadow.model_validate({"model": "new", "percent": "30%", "by": "customer"})
    names = [f"c{number}" for number in range(20)]
    one = make((SHADOW, "    shadow: {model: new, percent: 30%, by: customer}\n"))
    for name in [*names, *names]:
        one.complete(HI, customer=name)
    one.complete(HI)  # without the tag
    drawn = [name for name in names if trial.draws("chat", name)]
    assert 0 < len(drawn) < 20
    assert sorted(row["customer"] for row in rows(one)) == sorted(drawn * 2)


BUDGET = "budgets: [{limit_usd: 1, at: {0.0000001%: downgrade, 100%: deny}}]\ndata:"
FIRST = ("candidates: old", "candidates: [old, new]\n    strategy: fixed")
UNSHADOWED = {
    "a pinned model": ((), {"model": "old"}),
    "a request in a tool loop": ((), {"messages": [*HI, {"role": "tool", "tool_call_id": "x", "content": "4"}]}),
    "a tight budget": ((("data:", BUDGET),), {}),
    "a canary's request": ((("    shadow", "    canary: {model: new, percent: 100%}\n    shadow"),), {}),
    "a plan that begins with it": ((FIRST, ("shadow: {model: new", "shadow: {model: old")), {}),
}


@pytest.mark.parametrize(("changes", "options"), UNSHADOWED.values(), ids=UNSHADOWED)
def test_nobody_is_drawn_for(make: Make, changes: Any, options: Any) -> None:
    one = make(*changes)
    for _ in range(2):  # the second request meets the budget that the first one has begun
        done = one.complete(**{"messages": HI, "max_tokens": 5, **options})
    assert done.decision.shadow is None
    assert rows(one) == []
    if "budgets" in str(changes):  # which the first request began itself
        assert missed(one) == {"the budget everything usd month asks for cheaper routes": 1}


def test_an_answer_out_of_the_cache_has_no_shadow_and_a_shadow_leaves_nothing_there(
    make: Make, provider: Provider
) -> None:
    provider.always("new", reply("theirs"))
    one = make((SHADOW, f"{SHADOW}    cache: exact\n"))
    assert [one.complete(HI).cache for _ in range(3)] == ["miss", "exact", "exact"]
    assert len(rows(one)) == 1
    assert one.complete(HI).text == "one two three"


EUROPE = (("    shadow", "    data: {regions: [eu]}\n    shadow"), ("{id: old,", "{id: old, region: eu,"))
TOOLS = [{"type": "function", "function": {"name": "x"}}]
BARRED = {
    "text that is too long": ((), {"messages": LONG}, "do not fit its context of N"),
    "data that may not go there": (EUROPE, {}, "may have the request's data"),
    "a model that is banned": ((("context: 5000", "status: banned"),), {}, "banned"),
    "a capability that it lacks": (
        (("context: 5000", "capabilities: [json]"),), {"tools": TOOLS}, "lacks the capability 'tools'"
    ),
    "a price above the caller's limit": ((), {"max_cost_usd": "0.00002", "max_tokens": 5}, "above max_cost_usd N"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "options", "why"), BARRED.values(), ids=BARRED)
def test_a_request_that_it_may_not_have_is_passed_over_and_counted(
    make: Make, provider: Provider, changes: Any, options: Any, why: str
) -> None:
    one = make(*changes)
    done = one.complete(**{"messages": HI, **options})
    assert done.decision.shadow is not None
    assert f"shadow: new cannot be asked: {done.decision.shadow.barred}" in done.decision.explain()
    ((told, n),) = missed(one).items()
    assert (why in told, n, provider.requests_for("new")) == (True, 1, [])


def test_a_model_on_trial_may_be_asked_in_the_shadow(make: Make) -> None:
    one = make(("context: 5000", "status: trial"))
    one.complete(HI)
    assert [row["model_served"] for row in rows(one)] == ["new"]
