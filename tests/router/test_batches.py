"""Requests that can wait: through a real batch API on this machine, and in every way in which that can fail."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from loopback import Provider, reply, status

import router
from router.canaries import Canaries
from router.cli import cli
from router.deferred.runner import Ran

POLICY = """
version: 1
models:
  - {id: cheap, call: openai/cheap, PLACE, price: {input: 100, output: 200, batch: 50}, max_output_tokens: 50}
  - {id: plain, call: openai/plain, PLACE, price: {input: 1, output: 2}, max_output_tokens: 50}
rules:
  - {name: plain, when: {task: plain}, candidates: [plain], strategy: fixed}
  - {name: secret, when: {task: secret}, candidates: [cheap], strategy: fixed, data: {log: none}}
  - {name: two, when: {task: two}, candidates: [cheap, plain], strategy: fixed}
  - {name: all, candidates: [cheap], strategy: fixed}
"""
HI = [{"role": "user", "content": "one two three"}]
Make = Callable[..., router.Router]


@pytest.fixture
def make(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A router over a real provider on this machine; a second one is another process's view of the same state."""
    monkeypatch.setenv("CLEARBAR_KEY", "k")
    made: list[router.Router] = []

    def build(more: str = "", state: str = "state") -> router.Router:
        path = tmp_path / "policy.yaml"
        place = f"api_base: {provider.url}, api_key_env: CLEARBAR_KEY"
        path.write_text(POLICY.replace("PLACE", place) + more, encoding="utf-8")
        made.append(router.Router(path, tmp_path / state))
        return made[-1]

    yield build
    for one in made:
        one.close()


def pass_time(tmp_path: Path) -> None:
    """Every deadline in the queue is near."""
    with sqlite3.connect(tmp_path / "state" / "batches.sqlite3") as connection:
        connection.execute("UPDATE requests SET live_us = 0")
    connection.close()


def attempts(one: router.Router, ticket_id: str) -> list[tuple[str, str, str | None, int | None]]:
    return [(a["model"], a["outcome"], a["service_tier"], a["cost_pusd"]) for a in one.ledger.attempts(ticket_id)]


def test_a_batch_answers_at_half_price_and_the_ledger_says_so(make: Make, provider: Provider) -> None:
    one = make()
    provider.always("cheap", reply("four five"))
    first = one.submit(HI, team="x", temperature=0)
    second = one.submit([{"role": "user", "content": "six"}], team="y")
    assert first.result() is None and first.told() == "waiting"
    assert one.run_batches() == Ran(sent=2, open=2)
    assert first.told() == "batched" and one.run_batches() == Ran(open=2)
    provider.batches.state = "completed"
    assert make().run_batches() == Ran(settled=2)  # another process may read it
    done = first.result()
    assert done is not None and done.text == "four five" and done.id == first.id
    assert done.cost_usd == Decimal("0.00035") and done.attempts[0].usage is not None  # half of 3 x 100 + 2 x 200
    assert (done.usage.prompt_tokens, done.decision.rule, done.model) == (3, "all", "cheap")
    assert attempts(one, first.id) == [("cheap", "ok", "batch", 350_000_000)]
    row = one.ledger.request(first.id)
    assert row is not None and (row["team"], row["outcome"], row["cost_pusd"]) == ("x", "ok", 350_000_000)
    assert (answer := second.result()) is not None and answer.text == "four five"
    (batch,) = provider.batches.made.values()
    line = json.loads(provider.batches.files[batch["input_file_id"]].splitlines()[0])
    assert line["body"] == {"model": "cheap", "messages": HI, "temperature": 0}
    assert one.result(first.id) == done and one.run_batches() == Ran()


def test_an_answer_of_a_batch_may_hold_any_character(make: Make, provider: Provider) -> None:
    one = make()
    provider.always("cheap", reply("four\u2028five\x85six"))
    provider.batches.state = "completed"
    ticket = one.submit(HI)
    assert [one.run_batches(), one.run_batches()] == [Ran(sent=1, open=1), Ran(settled=1)]
    assert (done := ticket.result()) is not None and done.text == "four\u2028five\x85six"


def test_spend_savings_shows_what_the_batch_saved(make: Make, provider: Provider, tmp_path: Path) -> None:
    one = make()
    provider.batches.state = "completed"
    ticket = one.submit(HI)
    one.run_batches(), one.run_batches()
    one.record_feedback(ticket.id, 1.0)
    told = CliRunner().invoke(
        cli,
        ["spend", "savings", "--json", "--policy", str(tmp_path / "policy.yaml"), "--state", str(tmp_path / "state")],
    )
    lines = json.loads(told.output)["lines"]
    assert lines["batch"]["value"] == pytest.approx(0.00045) and lines["routing"]["value"] == 0


def test_a_batch_that_is_not_done_near_the_deadline_is_cancelled_and_asked_live(
    make: Make, provider: Provider, tmp_path: Path
) -> None:
    one = make("budgets: [{limit_usd: 1, window: month}]")
    ticket = one.submit(HI)
    one.run_batches()
    assert provider.requests_for("cheap") == []
    pass_time(tmp_path)
    assert one.run_batches() == Ran(live=1)
    done = ticket.result()
    assert done is not None and done.text == "one two three" and provider.batches.cancelled == ["batch-0"]
    assert ticket.told() == "answered: asked live: the batch is in_progress near its deadline"
    assert done.attempts[0].error == "ProviderUnavailableError: batch: the batch is in_progress near its deadline"
    assert done.cost_usd is None  # the provider may bill what it had done
    held = done.attempts[0].held_usd
    assert held is not None and attempts(one, ticket.id) == [
        ("cheap", "error", None, None), ("cheap", "ok", "standard", 900_000_000)
    ]  # fmt: skip
    assert sums(one) == (held + Decimal("0.0009"), 0)


def test_a_line_that_failed_is_asked_live_and_costs_nothing_in_the_batch(make: Make, provider: Provider) -> None:
    one = make("budgets: [{limit_usd: 1, window: month}]")
    provider.script("cheap", [reply("good"), status(400)])
    good, bad = one.submit(HI), one.submit(HI)
    one.run_batches()
    provider.batches.state = "completed"
    assert one.run_batches() == Ran(settled=1, live=1)
    assert (done := good.result()) is not None and done.text == "good"
    assert (done := bad.result()) is not None and done.text == "one two three" and done.cost_usd == Decimal("0.0009")
    assert "its line failed (HTTP 400)" in bad.told()
    assert attempts(one, bad.id) == [("cheap", "error", None, 0), ("cheap", "ok", "standard", 900_000_000)]
    assert sums(one) == (Decimal("0.0009") + Decimal("0.00025"), 0)


@pytest.mark.parametrize("state", ["failed", "expired", "cancelled"])
def test_a_batch_that_ended_without_an_answer_is_asked_live(make: Make, provider: Provider, state: str) -> None:
    one = make()
    ticket = one.submit(HI)
    one.run_batches()
    provider.batches.state = state
    assert one.run_batches() == Ran(live=1)
    assert ticket.told() == f"answered: asked live: the batch is {state} without it"


def test_what_is_held_for_a_batch_is_its_worst_case_and_outlives_the_process(make: Make, provider: Provider) -> None:
    budget = "budgets: [{limit_usd: 1, window: month}]"
    one = make(budget)
    ticket = one.submit(HI, max_tokens=10)
    one.run_batches()
    live = one.ledger.holds.live()
    worst = live[0]["amount_usd"]
    assert Decimal("0.001") < worst < Decimal("0.0035")  # 10 x $100 per million, and a bound of three words at $50
    one.close()
    other = make(budget)
    other.complete(HI, max_tokens=10)  # looks for holds of dead processes
    assert [one["request_id"] for one in other.ledger.holds.live()] == [ticket.id]
    provider.batches.state = "completed"
    assert other.run_batches() == Ran(settled=1)
    assert (done := ticket.result()) is not None and done.attempts[0].held_usd == worst
    assert sums(other)[1] == 0


def test_a_budget_without_room_makes_a_request_wait_and_denies_it_at_its_deadline(
    make: Make, provider: Provider, tmp_path: Path
) -> None:
    one = make("budgets: [{name: tiny, limit_usd: 0.0001, window: month}]")
    ticket = one.submit(HI)
    assert one.run_batches() == Ran(open=1) and provider.batches.made == {}
    assert "waits for room in a budget" in ticket.told() and ticket.result() is None
    pass_time(tmp_path)
    assert one.run_batches() == Ran(live=1, failed=1)
    with pytest.raises(router.RouterError, match=r"BudgetExceededError: .*month limit \$0.0001"):
        ticket.result()
    row = one.ledger.request(ticket.id)
    assert row is not None and row["outcome"] == "error" and provider.requests_for("cheap") == []


def test_waiting_for_room_in_a_budget_is_no_loop_of_its_run(make: Make, provider: Provider) -> None:
    one = make("breaker: on\nbudgets: [{name: tiny, limit_usd: 0.0001, window: month}]")
    one.submit(HI, workflow="w", run_id="r")
    assert [one.run_batches() for _ in range(10)] == [Ran(open=1)] * 10
    assert one.ledger.rows("SELECT calls FROM runs") == []


def test_what_a_batch_cost_counts_for_its_run(make: Make, provider: Provider) -> None:
    one = make("breaker: on")
    one.submit(HI, workflow="w", run_id="r")
    provider.batches.state = "completed"
    one.run_batches(), one.run_batches()
    assert one.ledger.rows("SELECT calls, cost_usd FROM runs") == [{"calls": 1, "cost_usd": pytest.approx(0.00045)}]


def test_a_model_without_a_batch_price_is_asked_live_at_once(make: Make) -> None:
    one = make()
    ticket = one.submit(HI, task="plain")
    assert one.run_batches() == Ran(live=1)
    assert (done := ticket.result()) is not None and done.model == "plain" and len(done.attempts) == 1
    assert ticket.told() == "answered: asked live: plain has no batch price"


def test_a_provider_that_refuses_batches_is_asked_live(make: Make, provider: Provider) -> None:
    one = make()
    provider.key = "k"
    ticket = one.submit(HI, task="two")
    provider.handler = lambda body: status(404) if "input_file_id" in body else None
    provider.batches.post = _only_files(provider)  # type: ignore[method-assign]
    assert one.run_batches() == Ran(live=1)
    assert "the provider takes no batch" in ticket.told()
    assert (done := ticket.result()) is not None and done.cost_usd == Decimal("0.0009")


def test_a_provider_that_has_no_room_for_a_batch_is_tried_again(make: Make, provider: Provider) -> None:
    one = make()
    ticket = one.submit(HI)
    provider.batches.post = _only_files(provider)  # type: ignore[method-assign]
    provider.handler = lambda body: status(429) if "input_file_id" in body else None
    assert one.run_batches() == Ran(open=1) and ticket.told() == "waiting"
    del provider.batches.post
    assert one.run_batches() == Ran(sent=1, open=1)


def test_a_rule_that_keeps_no_text_and_parameters_without_json_are_refused(make: Make, tmp_path: Path) -> None:
    one = make()
    with pytest.raises(router.InvalidRequestError, match="keeps no text"):
        one.submit(HI, task="secret")
    with pytest.raises(router.InvalidRequestError, match="JSON form"):
        one.submit(HI, response_format=Decimal)
    with pytest.raises(router.InvalidRequestError, match="deadline_s"):
        one.submit(HI, deadline_s=0)
    with pytest.raises(router.InvalidRequestError, match="30 days"):
        one.submit(HI, deadline_s=1e9)
    with pytest.raises(router.InvalidRequestError, match="cannot stream"):
        one.submit(HI, stream=True)
    with pytest.raises(router.InvalidRequestError, match="no request waits"):
        one.result("unknown")
    assert not (tmp_path / "state" / "batches.sqlite3").exists()


def test_the_queue_is_its_owners_alone_and_the_text_goes_with_the_answer(
    make: Make, provider: Provider, tmp_path: Path
) -> None:
    one = make()
    one.submit([{"role": "user", "content": "a rather remarkable question"}])
    path = tmp_path / "state" / "batches.sqlite3"
    assert path.stat().st_mode & 0o777 == 0o600
    provider.always("cheap", reply("yes"))
    provider.batches.state = "completed"
    one.run_batches(), one.run_batches()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT request, params, decision FROM requests").fetchall() == [("", None, None)]
        connection.execute("UPDATE requests SET done_us = 1")
    connection.close()
    one.run_batches()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM requests").fetchone() == (0,)
    connection.close()
    assert b"remarkable" not in path.read_bytes()


KILLED = """
import os, sys
import router
from router.deferred import queue, runner
{patch}
with router.Router({policy!r}, {state!r}) as one:
    one.run_batches()
"""
SENT = "queue.Queue.sent = lambda *_: os._exit(9)"
UNSENT = "from router.transports.litellm_batches import LiteLLMBatches as L; L.create = lambda *_: os._exit(9)"
SETTLED = "queue.Queue.end = lambda *_, **__: os._exit(9)"


def killed(tmp_path: Path, patch: str) -> None:
    """A process that runs the queue and is gone at a bad moment."""
    code = KILLED.format(patch=patch, policy=str(tmp_path / "policy.yaml"), state=str(tmp_path / "state"))
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ}, timeout=120, check=False)
    assert done.returncode == 9


def test_a_batch_that_was_sent_but_not_noted_is_found_again_and_not_sent_twice(
    make: Make, provider: Provider, tmp_path: Path
) -> None:
    one = make("budgets: [{limit_usd: 1, window: month}]")
    ticket = one.submit(HI)
    killed(tmp_path, SENT)
    assert len(provider.batches.made) == 1 and ticket.told() == "batched"
    provider.batches.state = "completed"
    assert one.run_batches() == Ran(settled=1)
    assert len(provider.batches.made) == 1 and len(one.ledger.attempts(ticket.id)) == 1
    assert sums(one) == (Decimal("0.00045"), 0)


def test_a_batch_that_was_noted_but_not_sent_is_sent_by_the_next_run(
    make: Make, provider: Provider, tmp_path: Path
) -> None:
    one = make("budgets: [{limit_usd: 1, window: month}]")
    ticket = one.submit(HI)
    killed(tmp_path, UNSENT)
    assert provider.batches.made == {}
    provider.batches.state = "completed"
    assert one.run_batches() == Ran(sent=1, open=1) and one.run_batches() == Ran(settled=1)
    assert ticket.result() is not None and sums(one) == (Decimal("0.00045"), 0)


def test_a_line_that_was_booked_but_not_handed_over_is_booked_once(
    make: Make, provider: Provider, tmp_path: Path
) -> None:
    one = make("budgets: [{limit_usd: 1, window: month}]")
    ticket = one.submit(HI)
    one.run_batches()
    provider.batches.state = "completed"
    killed(tmp_path, SETTLED)
    assert one.ledger.request(ticket.id) is not None and ticket.result() is None
    assert one.run_batches() == Ran(settled=1)
    assert (done := ticket.result()) is not None and done.cost_usd == Decimal("0.00045")
    assert len(one.ledger.attempts(ticket.id)) == 1 and sums(one) == (Decimal("0.00045"), 0)


def test_a_request_whose_process_was_killed_while_it_asked_live_is_asked_once_more(
    make: Make, provider: Provider, tmp_path: Path
) -> None:
    one = make()
    ticket = one.submit(HI, task="plain")
    killed(tmp_path, SETTLED)
    assert one.run_batches() == Ran(live=1)
    assert (done := ticket.result()) is not None and done.id == f"{ticket.id}-2"
    assert len(provider.requests_for("plain")) == 2
    other = one.submit(HI, task="plain")
    killed(tmp_path, SETTLED), killed(tmp_path, SETTLED)
    assert one.run_batches() == Ran(live=1, failed=1)
    with pytest.raises(router.RouterError, match="2 processes ended"):
        other.result()


def test_two_runs_at_once_are_one(make: Make, tmp_path: Path) -> None:
    from router.deferred.queue import Queue

    one = make()
    one.submit(HI)
    queue = Queue(tmp_path / "state")
    with queue.turn() as is_mine:
        assert is_mine and one.run_batches() == Ran(is_busy=True)
    queue.close()
    assert one.run_batches().sent == 1


def test_the_command_runs_the_queue_until_nothing_is_open(make: Make, provider: Provider, tmp_path: Path) -> None:
    ticket = make().submit(HI)
    options = ["--policy", str(tmp_path / "policy.yaml"), "--state", str(tmp_path / "state")]
    told = CliRunner().invoke(cli, ["batch", "run", "--once", *options])
    assert told.output == "1 sent, 0 answered by a batch, 0 asked live (0 failed), 1 open\n"
    provider.batches.state = "completed"
    told = CliRunner().invoke(cli, ["batch", "run", "--every", "0", "--json", *options])
    assert json.loads(told.output)["settled"] == 1 and ticket.result() is not None


def _only_files(provider: Provider) -> Callable[[str, bytes], bytes | None]:
    upload = type(provider.batches).post
    return lambda path, raw: upload(provider.batches, path, raw) if path.endswith("/files") else None


def sums(one: router.Router) -> tuple[Decimal, int]:
    """Settled dollars and what is still held."""
    (row,) = one.ledger.rows("SELECT SUM(settled) AS settled, SUM(held) AS held FROM balances")
    return Decimal(row["settled"] or 0) / 10**12, row["held"]


def test_what_a_canary_says_in_a_batch_is_kept_for_nobody_even_if_it_was_rolled_back_meanwhile(
    make: Make, provider: Provider
) -> None:
    one = make()
    path = one.policy.path
    text = path.read_text(encoding="utf-8").replace(
        "{name: all, candidates: [cheap], strategy: fixed}",
        "{name: all, candidates: [plain], strategy: fixed, cache: exact, canary: {model: cheap, percent: 100%}}",
    )
    path.write_text(text, encoding="utf-8")
    one.reload()
    provider.always("cheap", reply("of the canary"))
    provider.batches.state = "completed"
    ticket = one.submit(HI)
    assert one.run_batches() == Ran(sent=1, open=1)
    canaries = Canaries(one.ledger)
    while canaries.stopped("all/cheap") is None:
        canaries.heard("all/cheap", "errors", 0.0, 0.95)
    assert one.run_batches() == Ran(settled=1)
    assert (done := ticket.result()) is not None
    assert (done.text, done.decision.canary) == ("of the canary", "all/cheap")
    assert one.complete(HI).model == "plain"


@pytest.mark.parametrize("is_late", [False, True], ids=["by a batch", "live"])
def test_a_request_that_can_wait_has_no_shadow(make: Make, provider: Provider, tmp_path: Path, is_late: bool) -> None:
    one = make()
    path = one.policy.path
    text = path.read_text(encoding="utf-8").replace(
        "{name: all, candidates: [cheap], strategy: fixed}",
        "{name: all, candidates: [cheap], strategy: fixed, shadow: {model: plain, percent: 100%}}",
    )
    path.write_text(text, encoding="utf-8")
    one.reload()
    provider.batches.state = "completed"
    ticket = one.submit(HI)
    if is_late:
        pass_time(tmp_path)
    one.run_batches()
    one.run_batches()
    assert ticket.result() is not None
    assert one._shadows.settle(10)
    assert provider.requests_for("plain") == []
