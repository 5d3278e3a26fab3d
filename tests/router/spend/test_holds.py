"""Holds come all at once or not at all, end with their attempts, and survive no dead process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from router._request import chat_request
from router.spend import holds as holds_module
from router.spend.budget import Budget, Budgets, Denial, Leg, Step, Worst
from router.spend.leases import LEASE_S
from router.spend.ledger import Ledger
from router.spend.money import from_pico
from router.spend.windows import HOUR_US, Window
from router.stores.processes import this_process
from router.types import Attempt, Request, Tags, Usage

DOLLAR = 10**12
HI = [{"role": "user", "content": "hi"}]
TEAM = Budget(name="team", scope={"team": None}, limit=10 * DOLLAR, window=Window(unit="month"))
ALL = Budget(name="all", scope={}, limit=15 * DOLLAR, window=Window(unit="month"))
AT_ONCE = Budget(name="at once", scope={}, unit="concurrent", limit=4, window=Window(rolling_s=86_400))
BUDGETS = Budgets((TEAM, ALL, AT_ONCE))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.sqlite3")
    yield made
    made.close()


def legs(team: str, dollars: Any, budgets: Budgets = BUDGETS) -> list[Leg]:
    worst = Worst(usd=int(dollars * DOLLAR), tokens=100)
    found = budgets.legs(Tags(team=team), "m", "fake", worst, holds_module._now_us())
    assert isinstance(found, list)
    return found


def take(ledger: Ledger, request: Request, dollars: Any, number: int = 0) -> Denial | None:
    team = request.tags.team or "none"
    return ledger.holds.take(request.id, number, legs(team, dollars), int(dollars * DOLLAR), "m")


def attempt(cost: Any, outcome: Any = "ok") -> Attempt:
    usage = Usage(input_tokens=3, output_tokens=4) if outcome == "ok" else None
    return Attempt(model="m", call="fake/m", outcome=outcome, usage=usage,
                   cost_usd=None if cost is None else Decimal(str(cost)), latency_s=0.0)  # fmt: skip


def balances(ledger: Ledger) -> dict[str, tuple[Decimal, Decimal]]:
    return {
        row["account"]: (from_pico(row["settled"]), from_pico(row["held"]))
        for row in ledger.rows("SELECT * FROM balances WHERE account LIKE 'usd%'")
    }


def test_a_hold_becomes_what_the_call_cost(ledger: Ledger) -> None:
    request = chat_request(HI, team="x")
    assert take(ledger, request, 3) is None
    assert set(balances(ledger).values()) == {(0, 3)}
    assert [row["amount_usd"] for row in ledger.holds.live()] == [3]
    ledger.append_attempt(request, 0, attempt(1.25))
    assert set(balances(ledger).values()) == {(Decimal("1.25"), 0)}
    assert ledger.holds.live() == []


def test_what_does_not_fit_one_account_is_held_on_none(ledger: Ledger) -> None:
    assert take(ledger, chat_request(HI, team="x"), 8) is None
    before = ledger.rows("SELECT * FROM balances")
    denial = take(ledger, chat_request(HI, team="y"), 8)
    assert denial is not None
    assert denial.error.scope == "everything"
    assert ledger.rows("SELECT * FROM balances") == before


def test_a_failed_call_gives_its_hold_back_and_an_unknown_cost_counts_in_full(ledger: Ledger) -> None:
    failed, lost = chat_request(HI, team="x"), chat_request(HI, team="x")
    assert take(ledger, failed, 3) is None and take(ledger, lost, 4) is None
    ledger.append_attempt(failed, 0, attempt(0, "error"))
    ledger.append_attempt(lost, 0, attempt(None, "error"))
    assert set(balances(ledger).values()) == {(4, 0)}
    assert [row["kind"] for row in ledger.rows("SELECT kind FROM entries ORDER BY seq")] == [
        "hold", "hold", "settle", "assume",
    ]  # fmt: skip


def test_a_call_that_was_never_sent_leaves_nothing(ledger: Ledger) -> None:
    request = chat_request(HI, team="x")
    assert take(ledger, request, 3) is None
    ledger.holds.release(request.id, 0)
    assert set(balances(ledger).values()) == {(0, 0)}
    ledger.holds.release(request.id, 0)  # twice is once
    assert set(balances(ledger).values()) == {(0, 0)}


def test_entries_of_every_kind_sum_to_zero_and_to_the_balances(ledger: Ledger) -> None:
    chance = random.Random(1)
    under_way: list[tuple[Request, int]] = []
    for _ in range(300):
        if under_way and chance.random() < 0.5:
            request, number = under_way.pop(chance.randrange(len(under_way)))
            end = chance.randrange(4)
            if end == 0:
                ledger.holds.release(request.id, number)
            else:
                cost = (0.0, None, round(chance.random() * 0.01, 6))[end - 1]
                ledger.append_attempt(request, number, attempt(cost, "ok" if end == 3 else "error"))
        else:
            request = chat_request(HI, team=chance.choice("xyz"))
            if take(ledger, request, round(0.01 + chance.random(), 6)) is None:
                under_way.append((request, 0))
        for row in ledger.rows("SELECT settled, held FROM balances WHERE account LIKE 'usd%'"):
            assert row["settled"] + row["held"] <= 15 * DOLLAR
    (sums,) = ledger.rows(
        "SELECT SUM(held_pusd) AS held, SUM(settled_pusd) AS settled, SUM(free_pusd) AS free FROM entries"
    )
    (everything,) = ledger.rows("SELECT held, settled FROM balances WHERE account = 'usd month {}'")
    assert (sums["held"], sums["settled"]) == (everything["held"], everything["settled"])
    assert sums["free"] + sums["held"] + sums["settled"] == 0


def test_a_dead_process_gives_its_holds_back_when_its_lease_has_run_out(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = chat_request(HI, team="x")
    assert take(ledger, request, 9) is None
    ledger.close()  # no heart beats for it any more
    other = Ledger(ledger._db.path)
    assert take(other, chat_request(HI, team="x"), 2) is not None
    monkeypatch.setattr(holds_module, "_now_us", after(LEASE_S + 1))
    assert take(other, chat_request(HI, team="x"), 2) is None
    assert [row["kind"] for row in other.rows("SELECT kind FROM entries ORDER BY seq")] == ["hold", "expire", "hold"]
    # It had only stalled: what it cost counts, though the limit did not wait for it.
    other.append_attempt(request, 0, attempt(7))
    assert balances(other)['usd month {"team": "x"}'] == (7, 2)
    other.close()


def after(seconds: float) -> Any:
    return lambda: time.time_ns() // 1000 + int(seconds * 1e6)


def test_a_lease_is_renewed_for_calls_that_take_long(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    assert take(ledger, chat_request(HI, team="x"), 9) is None
    monkeypatch.setattr(holds_module, "_now_us", after(LEASE_S - 1))
    ledger.holds.renew()
    monkeypatch.setattr(holds_module, "_now_us", after(LEASE_S * 1.5))
    assert take(ledger, chat_request(HI, team="x"), 2) is not None


def test_threads_never_pass_a_limit_together(ledger: Ledger) -> None:
    taken: list[Request] = []

    def work() -> None:
        for _ in range(20):
            request = chat_request(HI, team="x")
            if take(ledger, request, 1) is None:
                taken.append(request)
                ledger.append_attempt(request, 0, attempt(0.5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert balances(ledger)['usd month {"team": "x"}'] == (len(taken) * Decimal("0.5"), 0)
    assert len(taken) >= 18  # the last of them may not fit with a whole dollar held


TAKER = """
import sys, time
sys.path.insert(0, {here!r})
from test_holds import HI, Ledger, Path, chat_request, take
ledger = Ledger(Path({path!r}))
print(take(ledger, chat_request(HI, team="x"), 9) is None, flush=True)
time.sleep(60)
"""


def test_a_process_killed_in_the_middle_leaves_no_phantom_behind(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = TAKER.format(here=str(Path(__file__).parent), path=str(ledger._db.path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        process.send_signal(signal.SIGKILL)
    if this_process() is None:  # nobody can look for it here, so its lease has to run out
        assert take(ledger, chat_request(HI, team="x"), 9) is not None
        monkeypatch.setattr(holds_module, "_now_us", after(LEASE_S + 1))
    assert take(ledger, chat_request(HI, team="x"), 9) is None


def test_a_process_that_only_stalls_keeps_its_holds(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    if this_process() is None:
        pytest.skip("processes cannot be looked for on this system")
    script = TAKER.format(here=str(Path(__file__).parent), path=str(ledger._db.path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(holds_module, "_now_us", after(LEASE_S * 5))
        assert take(ledger, chat_request(HI, team="x"), 9) is not None
        process.kill()


def test_a_new_budget_knows_what_was_spent_before_it(ledger: Ledger) -> None:
    for team, cost in (("x", 4), ("x", 5), ("y", 1)):
        ledger.append_attempt(chat_request(HI, team=team, tags={"plan": 'go"ld'}), 0, attempt(cost))
    plan = Budget(
        name="plan", scope={"plan": None, "provider": ("fake",)}, limit=DOLLAR, window=Window(rolling_s=86_400)
    )
    ledger.holds.adopt([*BUDGETS.each, plan])
    assert take(ledger, chat_request(HI, team="x"), 2) is not None
    assert take(ledger, chat_request(HI, team="y"), 2) is None
    assert sum(settled for account, (settled, _) in balances(ledger).items() if "plan" in account) == 10
    before = balances(ledger)
    ledger.holds.adopt(BUDGETS.each)  # known by now
    assert balances(ledger) == before


def test_a_step_is_noted_once_in_a_window(ledger: Ledger) -> None:
    watched = Budgets((Budget(name="w", scope={}, limit=10 * DOLLAR, window=Window(unit="month"),
                              steps=(Step(share=0.5, action="notify"),)),))  # fmt: skip
    for _ in range(3):
        request = chat_request(HI, team="x")
        assert ledger.holds.take(request.id, 0, legs("x", 6, watched), 6 * DOLLAR, "m") is None
        ledger.append_attempt(request, 0, attempt(0, "error"))
    (row,) = ledger.rows("SELECT * FROM crossings")
    assert (row["share"], row["action"], row["scope"]) == (0.5, "notify", "everything")


def test_steps_that_a_late_bill_passed_are_noted_though_the_next_call_is_denied(ledger: Ledger) -> None:
    watched = Budgets((Budget(name="w", scope={}, limit=10 * DOLLAR, window=Window(unit="month"),
                              steps=(Step(share=0.5, action="notify"), Step(share=1.0, action="deny"))),))  # fmt: skip
    first, second = chat_request(HI), chat_request(HI)
    assert ledger.holds.take(first.id, 0, legs("x", 1, watched), DOLLAR, "m") is None
    ledger.append_attempt(first, 0, attempt(12))
    assert ledger.holds.take(second.id, 0, legs("x", 1, watched), DOLLAR, "m") is not None
    rows = ledger.rows("SELECT action, used FROM crossings ORDER BY share")
    assert [(row["action"], row["used"]) for row in rows] == [("notify", 12 * DOLLAR), ("deny", 12 * DOLLAR)]


def test_an_account_forgets_its_past_windows_but_not_what_is_held_in_them(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    hourly = Budgets((Budget(name="h", scope={}, limit=10 * DOLLAR, window=Window(unit="hour")),))
    first_hour = 500_000

    def hours_after_a_call_in(hour: int) -> tuple[list[int], Request]:
        monkeypatch.setattr(holds_module, "_now_us", lambda: (first_hour + hour) * HOUR_US)
        request = chat_request(HI)
        assert ledger.holds.take(request.id, 0, legs("x", 1, hourly), DOLLAR, "m") is None
        rows = ledger.rows("SELECT bucket FROM balances ORDER BY bucket")
        return [row["bucket"] // HOUR_US - first_hour for row in rows], request

    _, lasting = hours_after_a_call_in(0)
    _, settled = hours_after_a_call_in(1)
    ledger.append_attempt(settled, 0, attempt(1))
    assert hours_after_a_call_in(2)[0] == [0, 1, 2]
    assert hours_after_a_call_in(3)[0] == [0, 2, 3]
    ledger.holds.release(lasting.id, 0)
    assert hours_after_a_call_in(4)[0] == [2, 3, 4]


def test_an_approval_holds_until_its_moment(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = Budgets((Budget(name="s", scope={}, limit=DOLLAR, window=Window(unit="month"),
                             steps=(Step(share=1.0, action="approve"),)),))  # fmt: skip
    booked = legs("x", 3, strict)
    assert ledger.holds.take("one", 0, booked, 3 * DOLLAR, "m") is not None
    until_us = holds_module._now_us() + 10_000_000
    ledger.holds.approve("s", booked[0].account, 2 * DOLLAR, until_us, by="cfo", note="launch")
    assert ledger.holds.take("two", 0, booked, 3 * DOLLAR, "m") is None
    ledger.holds.release("two", 0)
    monkeypatch.setattr(holds_module, "_now_us", after(11))
    assert ledger.holds.take("three", 0, booked, 3 * DOLLAR, "m") is not None


def test_two_limits_of_one_scope_count_a_call_once(ledger: Ledger) -> None:
    window = Window(unit="month")
    both = Budgets((Budget(name="soft", scope={}, limit=8 * DOLLAR, window=window,
                           steps=(Step(share=1.0, action="notify"),)),
                    Budget(name="hard", scope={}, limit=10 * DOLLAR, window=window)))  # fmt: skip
    request = chat_request(HI)
    assert ledger.holds.take(request.id, 0, legs("x", 6, both), 6 * DOLLAR, "m") is None
    assert balances(ledger) == {"usd month {}": (0, 6)}
    ledger.append_attempt(request, 0, attempt(5))
    assert balances(ledger) == {"usd month {}": (5, 0)}
    ledger.holds.adopt(both.each)
    assert balances(ledger) == {"usd month {}": (5, 0)}


def test_a_budget_that_returns_has_seen_what_was_spent_without_it(ledger: Ledger) -> None:
    ledger.holds.adopt(BUDGETS.each)
    request = chat_request(HI, team="x")
    assert take(ledger, request, 5) is None
    ledger.append_attempt(request, 0, attempt(3))
    ledger.holds.adopt(())
    ledger.append_attempt(chat_request(HI, team="x"), 0, attempt(4))
    ledger.holds.adopt(BUDGETS.each)
    assert set(balances(ledger).values()) == {(7, 0)}


@pytest.mark.parametrize("name", ['a"b', "a'b", "a.b", "a\\b", "größe", "model'; --", "$", "unallocated"])
def test_a_new_budget_finds_past_calls_by_a_tag_of_any_name(ledger: Ledger, name: str) -> None:
    ledger.append_attempt(chat_request(HI, tags={name: "v"}), 0, attempt(2))
    ledger.holds.adopt([Budget(name="b", scope={name: None}, limit=DOLLAR, window=Window(unit="month"))])
    assert list(balances(ledger).values()) == [(2, 0)]


def test_a_lease_whose_transaction_failed_is_written_with_the_next_hold(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = chat_request(HI, team="x")
    monkeypatch.setattr(holds_module, "_enter", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        take(ledger, request, 1)
    monkeypatch.undo()
    assert take(ledger, request, 1) is None
    owned = ledger.rows("SELECT 1 FROM holds JOIN owners ON owners.id = holds.owner")
    assert len(owned) == 1
