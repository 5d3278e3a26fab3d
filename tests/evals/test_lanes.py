"""How many calls may be under way."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from evals.lanes import FIRST_LIMIT, LONGEST_PAUSE_S, Lane, Purse, lanes_of
from evals.plan import Job
from evals.types import CALLS_AT_ONCE, Cell, make_sample


def job(number: int, candidate: str = "small") -> Job:
    sample = make_sample("qa", ({"role": "user", "content": str(number)},), "x")
    cell = Cell(suite_sha256="ab", sample=sample.id, candidate=candidate)
    return Job(cell=cell, sample=sample, params={}, worst_usd=None)


def started(lane: Lane, now_s: float = 0.0) -> int:
    count = 0
    while lane.next(now_s) is not None:
        lane.in_flight += 1
        count += 1
    return count


def test_a_lane_starts_small_and_doubles_until_the_first_complaint() -> None:
    lane = Lane(cap=50)
    lane.jobs.extend(job(i) for i in range(200))
    assert started(lane) == FIRST_LIMIT
    for _ in range(FIRST_LIMIT):
        lane.in_flight -= 1
        lane.note_answer()
    assert started(lane) == 2 * FIRST_LIMIT
    for _ in range(100):
        lane.note_answer()
    assert lane.limit == 50


def test_a_complaint_halves_once_for_all_calls_under_way_and_then_growth_is_slow() -> None:
    lane = Lane(cap=64)
    lane.limit = 32.0
    for _ in range(5):
        lane.note_complaint(started_s=1.0, now_s=2.0)
    assert lane.limit == 16
    lane.note_complaint(started_s=3.0, now_s=4.0)
    assert lane.limit == 8
    for _ in range(8):
        lane.note_answer()
    assert lane.limit == pytest.approx(9, abs=0.1)


def test_a_lane_never_closes_altogether() -> None:
    lane = Lane(cap=4)
    for second in range(10):
        lane.note_complaint(started_s=second + 0.5, now_s=second + 1.0)
    lane.jobs.append(job(1))
    assert lane.limit == 1 and started(lane, now_s=100.0) == 1


def test_a_pause_that_one_call_was_asked_for_holds_for_the_whole_lane() -> None:
    lane = Lane(cap=8)
    lane.jobs.extend(job(i) for i in range(4))
    lane.note_complaint(started_s=0.0, now_s=1.0, retry_after_s=5.0)
    assert started(lane, now_s=5.9) == 0 and lane.pause_s(5.9) == pytest.approx(0.1)
    assert started(lane, now_s=6.0) == 4 and lane.pause_s(6.0) is None


def test_no_pause_is_endless() -> None:
    lane = Lane(cap=8)
    lane.jobs.append(job(1))
    lane.note_complaint(started_s=0.0, now_s=0.0, retry_after_s=1e9)
    assert lane.pause_s(0.0) == LONGEST_PAUSE_S


def test_candidates_of_one_provider_share_a_lane_and_local_models_have_their_own() -> None:
    places = {
        "a": "openai/a", "b": "openai/b", "c": "mistral/c", "d": "local/d", "e": "local/e",
    }  # fmt: skip
    deployments = {name: [SimpleNamespace(call=call, api_base=None)] for name, call in places.items()}
    deployments["elsewhere"] = [SimpleNamespace(call="openai/a", api_base="http://127.0.0.1:1/v1")]
    router: Any = SimpleNamespace(policy=SimpleNamespace(deployments=deployments))
    lanes = lanes_of([job(i, name) for i, name in enumerate(deployments)], router)
    assert lanes["a"] is lanes["b"]
    assert len({id(lane) for lane in lanes.values()}) == 5
    assert lanes["d"].limit == 1 and lanes["c"].limit == FIRST_LIMIT
    for _ in range(1000):
        lanes["c"].note_answer(), lanes["d"].note_answer()
    assert (lanes["c"].limit, lanes["d"].limit) == (CALLS_AT_ONCE, 1)


def test_a_purse_holds_the_worst_case_and_gets_back_what_was_not_spent() -> None:
    purse = Purse(Decimal("0.5"), Decimal(1))
    assert purse.hold(Decimal("0.4")) and not purse.hold(Decimal("0.2"))
    purse.settle(Decimal("0.4"), Decimal("0.1"))
    assert purse.spent == Decimal("0.6") and purse.hold(Decimal("0.4"))
    purse.settle(Decimal("0.4"), None)  # a lost call may be billed in full
    assert purse.spent == 1
