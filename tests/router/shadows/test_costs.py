"""What a model in the shadow costs, whom that may touch, and what reports tell of it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from loopback import Provider, stall, status
from shaded import HI, Make, missed, rows

from router.errors import BudgetExceededError
from router.net_savings import net_savings
from router.shadows import SUFFIX
from router.spend.statement_rows import calls, requests
from router.spend.units import units


def test_a_budget_denies_the_shadow_alone(make: Make, provider: Provider) -> None:
    one = make(("data:", "budgets: [{scope: {model: new}, limit_usd: 0.00001}]\ndata:"))
    assert one.complete(HI, max_tokens=5).text == "one two three"
    assert (missed(one), provider.requests_for("new")) == ({"a budget has too little room": 1}, [])
    assert rows(one) == []


def test_no_shadow_waits_for_room_in_a_budget(make: Make, provider: Provider) -> None:
    one = make(("data:", "budgets: [{limit_concurrent: 10, at: {100%: wait}, wait: 60s}]\ndata:"))
    provider.script("old", [stall(5.0)])
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(one.complete, HI)
        until_s = time.monotonic() + 30
        while not provider.requests_for("old") and time.monotonic() < until_s:
            time.sleep(0.01)
        one.complete(HI)
        assert missed(one) == {"a budget has too little room": 1}
        assert not slow.done()
    assert [row["id"] for row in rows(one)] == [slow.result().id + SUFFIX]


def test_a_budget_that_is_nearly_used_up_is_left_to_requests(make: Make, provider: Provider) -> None:
    one = make(("data:", "budgets: [{limit_requests: 20, window: month}]\ndata:"))
    served = 0
    while served < 30:
        try:
            one.complete(HI, max_tokens=5)
        except BudgetExceededError:
            break
        assert one._shadows.settle(30)
        served += 1
    asked = len(provider.requests_for("new"))
    assert (served, asked) == (15, 5)  # asked while there is room for ten more
    assert missed(one) == {"a budget has too little room": 10}


def test_what_a_shadow_costs_is_booked_on_its_budget(make: Make) -> None:
    one = make(("data:", "budgets: [{scope: {team: '*'}, limit_usd: 1}]\ndata:"))
    one.complete(HI, team="a", max_tokens=5)
    assert one._shadows.settle(30)
    ((_, balance),) = one.ledger.holds.accounts(one.policy.budgets.each)[0]
    assert (balance.settled, balance.held) == (30_000_000, 0)


def test_a_run_is_not_stopped_for_its_shadows(make: Make) -> None:
    one = make(("data:", "breaker: {mode: on, limits: {calls: 6, cost_usd: 0.00004}}\ndata:"))
    for number in range(5):
        one.complete([{"role": "user", "content": f"step {number}"}], workflow="w", run_id="r")
        assert one._shadows.settle(30)
    assert len(rows(one)) == 5


def test_what_a_shadow_costs_counts_and_its_request_counts_as_none(make: Make, tmp_path: Path) -> None:
    one = make()
    for _ in range(3):
        one.complete(HI, team="a", task="chat")
    assert one._shadows.settle(30)
    (all_,) = one.ledger.rollups.sums([])
    assert (all_["requests"], all_["errors"], all_["calls"], all_["cost_usd"]) == (3, 0, 6, Decimal("0.00009"))
    one.ledger.rollups.catch_up()
    assert one.ledger.rollups.sums([]) == one.ledger.scan([]) == [all_]
    assert set(one.ledger.latencies(["model"])) == {("old",)}
    assert {row["model"] for row in one.ledger.recent_calls(0)} == {"old"}
    (unit,) = units(one.ledger.rows, "action")
    assert (unit.units, unit.cost_usd, unit.runs) == (3, Decimal("0.00009"), 3)
    found = net_savings(one.ledger, one.policy)
    assert (found.requests, found.overhead_usd) == (3, {"models in the shadow": pytest.approx(0.000072)})
    month = f"{datetime.now(UTC):%Y-%m}"
    (asked,), (called,) = requests(one.ledger.rows, month, ["team"]), calls(one.ledger.rows, month, ["team"])
    assert (asked["requests"], called["calls"]) == (3, 6)


def test_a_shadow_that_fails_is_no_failed_request(make: Make, provider: Provider) -> None:
    provider.always("new", status(500))
    one = make()
    one.complete(HI)
    assert one._shadows.settle(30)
    for (all_,) in (one.ledger.rollups.sums([]), one.ledger.scan([])):
        assert (all_["requests"], all_["errors"], all_["failed"]) == (1, 0, 1)
