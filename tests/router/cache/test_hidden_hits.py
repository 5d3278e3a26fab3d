"""Where the policy hides hits, they take as long as their answers took to make."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alike import Make, ask, by_topic, learn, routers

import router
from router.embedding import missing
from router.types import Call

pytestmark = pytest.mark.skipif(missing() is not None, reason="needs clearbar[embed]")
HIDDEN = "{mode: on, max_error: 0.3, confidence: 0.8, hide_hits: true}"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    yield from routers(tmp_path)


def slow(call: Call) -> str:
    """A model that thinks longer about one question than about all others."""
    time.sleep(0.3 if "slowly" in str(call.messages[-1]["content"]) else 0)
    return by_topic(call)


def took(one: router.Router, done: router.Completion) -> float:
    row = one.ledger.request(done.id)
    assert row is not None
    return float(row["latency_s"])


def test_the_same_request_takes_as_long_again_for_both_sides(make: Make) -> None:
    one = make(HIDDEN, small=slow)
    question = ask("How do I pay slowly?")
    first = one.complete(question, task="cheap")
    again = [one.complete(question, task="cheap"), asyncio.run(one.acomplete(question, task="cheap"))]
    assert [done.cache for done in again] == ["exact", "exact"]
    assert all(took(one, done) >= took(one, first) - 0.01 for done in again)


def test_it_is_the_rules_own_choice(make: Make) -> None:
    one = make(small=slow)
    question = ask("How do I pay slowly?")
    first, again = one.complete(question, task="cheap"), one.complete(question, task="cheap")
    assert again.cache == "exact"
    assert took(one, again) < took(one, first) - 0.2


def test_an_alike_request_takes_as_long_as_the_stored_one_did(make: Make) -> None:
    one = make(HIDDEN)
    hits = [completion for completion in learn(one, rounds=2) if completion.cache == "semantic"]
    assert len(hits) > 10
    for hit in hits:
        assert hit.decision.semantic is not None
        made = one.ledger.request(hit.decision.semantic.entry or "")
        assert made is not None
        assert took(one, hit) >= made["latency_s"]


def test_a_request_waits_no_longer_than_it_may_take(make: Make) -> None:
    one = make(HIDDEN, small=slow)
    question = ask("How do I pay slowly?")
    first = one.complete(question, task="cheap")
    again = one.complete(question, task="cheap", timeout_s=0.05)
    assert again.cache == "exact"
    assert took(one, again) < took(one, first)


def test_streams_are_always_called(make: Make) -> None:
    one = make(HIDDEN)
    for _ in range(2):
        with one.complete(ask("How do I pay?"), task="cheap", stream=True) as stream:
            list(stream)
        assert stream.completion.cache == "miss"
    assert one.complete(ask("How do I pay?"), task="cheap").cache == "exact"
