"""Budgets as a service meets them: real calls through a policy, at once and in every way that calls can end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from loopback import Provider, cut_stream, reply, slow_chunks, status

import router

POLICY = """
version: 1
models:
  - {id: dear, call: openai/dear, PLACE, price: {input: 100, output: 200}, max_output_tokens: 50}
  - {id: cheap, call: openai/cheap, PLACE, price: {input: 1, output: 2}, max_output_tokens: 50}
  - {id: unpriced, call: fake/unpriced}
rules:
  - {when: {task: two}, candidates: [dear, cheap], strategy: fixed}
  - {when: {task: unpriced}, candidates: [unpriced], strategy: fixed}
  - {candidates: [cheap], strategy: fixed}
BUDGETS
"""
HI = [{"role": "user", "content": "one two three"}]
Make = Callable[..., router.Router]


@pytest.fixture
def make(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A router with these budgets, over a real provider on this machine."""
    monkeypatch.setenv("CLEARBAR_KEY", "k")
    made: list[router.Router] = []

    def build(budgets: str, transport: Any = None) -> router.Router:
        path = tmp_path / f"policy{len(made)}.yaml"
        place = f"api_base: {provider.url}, api_key_env: CLEARBAR_KEY"
        path.write_text(POLICY.replace("PLACE", place).replace("BUDGETS", budgets), encoding="utf-8")
        made.append(router.Router(path, tmp_path / "state", transport))
        return made[-1]

    yield build
    for one in made:
        one.close()


def sums(one: router.Router, account: str = "usd%") -> tuple[Decimal, int]:
    """Settled dollars and what is still held, of one account."""
    (row,) = one.ledger.rows(
        "SELECT SUM(settled) AS settled, SUM(held) AS held FROM balances WHERE account LIKE ?", (account,)
    )
    return Decimal(row["settled"] or 0) / 10**12, row["held"]


def test_a_call_that_may_cost_too_much_is_not_sent_and_the_error_says_what_would_fit(
    make: Make, provider: Provider
) -> None:
    one = make("budgets: [{name: tiny, scope: {team: x}, limit_usd: 0.0001, window: month}]")
    with pytest.raises(router.BudgetExceededError, match=r"of the month limit \$0.0001 of team=x is left") as caught:
        one.complete(HI, team="x")
    error = caught.value
    assert (error.scope, error.limit, error.settled, error.held) == ("team=x", Decimal("0.0001"), 0, 0)
    assert error.fits_usd == Decimal("0.0001") and error.resets_at is not None and error.retry_after is not None
    assert provider.requests_for("cheap") == []
    assert one.complete(HI, team="x", max_tokens=20).cost_usd is not None
    assert one.complete(HI, team="y").cost_usd is not None


def test_the_output_cap_that_is_held_is_the_one_that_is_sent(make: Make, provider: Provider) -> None:
    one = make("budgets: [{limit_usd: 1, window: month}]")
    done = one.complete(HI)
    (received,) = provider.requests_for("cheap")
    assert received.body["max_tokens"] == 50
    held_usd = done.attempts[0].held_usd
    assert held_usd is not None and done.cost_usd is not None
    assert done.cost_usd < held_usd
    assert sums(one) == (done.cost_usd, 0)


def test_where_the_dear_model_does_not_fit_the_cheap_one_is_asked(make: Make) -> None:
    one = make("budgets: [{scope: {workflow: '*'}, limit_usd: 0.001, window: {rolling: 1h}}]")
    assert one.complete(HI, task="two", workflow="w").model == "cheap"
    assert one.complete(HI, task="two").model == "dear"


def test_a_model_has_a_budget_of_its_own(make: Make) -> None:
    one = make("budgets: [{scope: {model: dear}, limit_requests: 2, window: hour}]")
    assert [one.complete(HI, task="two").model for _ in range(4)] == ["dear", "dear", "cheap", "cheap"]


def test_from_its_step_on_a_budget_takes_a_fixed_rules_models_by_price(make: Make) -> None:
    one = make("budgets: [{name: b, limit_usd: 0.05, window: month, at: {20%: downgrade, 100%: deny}}]")
    models = []
    while "cheap" not in models:
        done = one.complete(HI, task="two")
        models.append(done.model)
    assert len(models) > 1
    assert done.decision.squeezed is not None and done.decision.squeezed.startswith("b at ")
    assert one.complete(HI, task="two", bar=0.9).model == "cheap"


def test_untagged_calls_meet_the_cap_of_the_unallocated(make: Make) -> None:
    one = make("required_tags: [team]\nbudgets: [{scope: unallocated, limit_usd: 0, window: month}]")
    with pytest.raises(router.BudgetExceededError, match="unallocated"):
        one.complete(HI)
    assert one.complete(HI, team="x").text


def test_a_price_that_nobody_knows_is_refused_under_a_hard_limit(make: Make) -> None:
    strict = make("budgets: [{limit_usd: 5, window: month}]", router.FakeTransport({"unpriced": "hi"}))
    with pytest.raises(router.BudgetExceededError, match="nobody knows what unpriced may cost"):
        strict.complete(HI, task="unpriced")
    lax = make("budgets: [{limit_usd: 5, window: month, unknown: allow}]", router.FakeTransport({"unpriced": "hi"}))
    assert lax.complete(HI, task="unpriced").cost_usd is None


def test_pictures_have_no_known_bound_and_are_refused(make: Make) -> None:
    one = make("budgets: [{limit_usd: 5, window: month}]")
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}]}]
    with pytest.raises(router.BudgetExceededError, match="leave out pictures"):
        one.complete(picture)


@pytest.mark.parametrize(
    ("steps", "costs"),
    [([status(400)], 0), ([status(500)] * 3, 0), ([reply("a b c")], 1)],
    ids=["refused", "failing", "answered"],
)
def test_however_a_call_ends_its_hold_ends(make: Make, provider: Provider, steps: list[Any], costs: int) -> None:
    one = make("budgets: [{limit_usd: 1, window: month}]")
    provider.script("cheap", steps)
    if costs:
        one.complete(HI)
    else:
        with pytest.raises(router.RouterError):
            one.complete(HI)
    settled, held = sums(one)
    assert (settled > 0, held) == (bool(costs), 0)
    assert one.ledger.holds.live() == []


def test_streams_settle_when_they_end_also_in_the_middle(make: Make, provider: Provider) -> None:
    one = make("budgets: [{limit_usd: 1, window: month}]")
    for _ in one.complete(HI, stream=True):
        pass
    provider.script("cheap", [slow_chunks(0.01), cut_stream(2)])
    stream = one.complete(HI, stream=True)
    next(stream)
    assert len(one.ledger.holds.live()) == 1
    stream.close()
    with pytest.raises(router.RouterError):
        list(one.complete(HI, stream=True))
    rows = one.ledger.rows("SELECT SUM(cost_pusd) AS cost FROM attempts")
    assert sums(one) == (Decimal(rows[0]["cost"]) / 10**12, 0)
    assert one.ledger.holds.live() == []


CALLS, FITTING = 200, 80


BOUND_USD = Decimal("0.000013")
"""Of a call with `HI` and one token of output: 11 tokens in, 1 out."""


def limit_for(calls: int) -> str:
    """Dollars into which so many calls fit at their upper bound."""
    return f"{calls * BOUND_USD:f}"


def test_many_threads_spend_to_the_limit_and_not_beyond(make: Make) -> None:
    one = make(f"budgets: [{{scope: {{team: x}}, limit_usd: {limit_for(FITTING)}, window: month}}]",
               router.FakeTransport({"cheap": "x"}))  # fmt: skip
    outcomes: list[str] = []

    def work() -> None:
        for _ in range(CALLS // 20):
            try:
                one.complete(HI, team="x", max_tokens=1)
                outcomes.append("ok")
            except router.BudgetExceededError as error:
                assert error.settled + error.held + BOUND_USD > error.limit
                outcomes.append("denied")

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settled, held = sums(one)
    assert len(outcomes) == CALLS
    assert outcomes.count("ok") >= FITTING
    assert settled <= Decimal(limit_for(FITTING)) and held == 0


def test_many_tasks_of_a_loop_spend_to_the_limit_and_wait_for_each_other(make: Make, provider: Provider) -> None:
    one = make(f"budgets: [{{limit_usd: {limit_for(40)}, window: month, at: {{100%: wait}}, wait: 20s}}]")
    provider.always("cheap", reply("x"))

    async def all_at_once() -> list[Any]:
        calls = [one.acomplete(HI, max_tokens=1) for _ in range(60)]
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = asyncio.run(all_at_once())
    answered = [outcome for outcome in outcomes if isinstance(outcome, router.Completion)]
    denied = [outcome for outcome in outcomes if isinstance(outcome, router.BudgetExceededError)]
    assert len(answered) + len(denied) == 60
    settled, held = sums(one)
    assert settled <= Decimal(limit_for(40)) and held == 0
    # Each call costs less than its bound, and the last ones wait until only spent money stands in their way.
    assert len(answered) > 40
    assert all("in flight" not in str(error) for error in denied)


def test_cancelled_tasks_give_back_what_they_did_not_spend(make: Make, provider: Provider) -> None:
    one = make("budgets: [{limit_usd: 1, window: month}]")
    provider.always("cheap", slow_chunks(0.05))

    async def cancel_half() -> None:
        async def read() -> None:
            async for _ in await one.acomplete(HI, stream=True):
                pass

        tasks = [asyncio.create_task(read()) for _ in range(10)]
        await asyncio.sleep(0.1)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(cancel_half())
    assert one.ledger.holds.live() == []
    assert sums(one)[1] == 0


def test_at_most_so_many_calls_run_at_once(make: Make, provider: Provider) -> None:
    one = make("budgets: [{limit_concurrent: 3, at: {100%: wait}, wait: 30s}]")
    provider.always("cheap", reply("x"))
    most = 0

    async def call() -> None:
        nonlocal most
        await one.acomplete(HI)
        most = max(most, len(one.ledger.holds.live()))

    async def all_at_once() -> None:
        await asyncio.gather(*(call() for _ in range(12)))

    asyncio.run(all_at_once())
    assert most <= 3
    assert len(provider.requests_for("cheap")) == 12


def test_pictures_have_no_known_bound_in_tokens_either(make: Make) -> None:
    one = make("budgets: [{limit_tokens: 1000, window: month}]")
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}]}]
    with pytest.raises(router.BudgetExceededError, match="leave out pictures"):
        one.complete(picture)


def test_a_call_of_any_size_is_counted_where_only_requests_are_limited(make: Make) -> None:
    one = make("budgets: [{limit_requests: 1, window: month}]")
    assert one.complete(HI, max_tokens=100_000_000, n=100_000).text
    assert one.ledger.holds.live() == []


@pytest.mark.parametrize(
    "value",
    ["a\ud800", "x\x00y", "v" * 10_000, "'; DROP TABLE holds; --", '"}', "a|b\n"],
    ids=lambda value: ascii(value[:9]),
)
def test_a_tag_of_any_text_is_booked_on_an_account_of_its_own(make: Make, value: str) -> None:
    one = make("budgets: [{scope: {team: '*'}, limit_usd: 1}, {scope: {plan: '*'}, limit_usd: 1}]")
    done = one.complete(HI, team=value, tags={"plan": value})
    rows = one.ledger.rows("SELECT settled, held FROM balances")
    assert [(Decimal(row["settled"]) / 10**12, row["held"]) for row in rows] == [(done.cost_usd, 0)] * 2


def test_what_is_unallocated_needs_to_know_the_tags(make: Make) -> None:
    with pytest.raises(router.ConfigurationError, match="give `required_tags`"):
        make("budgets: [{scope: unallocated, limit_usd: 1}]")


def test_a_policy_without_budgets_leaves_no_gap_when_they_return(make: Make) -> None:
    limited = "budgets: [{scope: {team: '*'}, limit_usd: 1}]"
    costs = [make(policy).complete(HI, team="x", max_tokens=3).cost_usd for policy in (limited, "", limited)]
    assert sums(make(limited)) == (sum(cost for cost in costs if cost is not None), 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_does_not_end_the_stream_that_its_parent_reads(make: Make, provider: Provider) -> None:
    one = make("budgets: [{limit_usd: 1, window: month}]")
    provider.script("cheap", [reply("a b c")])
    streams = [one.complete(HI, stream=True)]
    next(streams[0])
    child = os.fork()
    if child == 0:
        streams.clear()
        os._exit(0)
    os.waitpid(child, 0)
    assert len(one.ledger.holds.live()) == 1
    list(streams[0])
    assert sums(one) == (streams[0].completion.cost_usd, 0)
