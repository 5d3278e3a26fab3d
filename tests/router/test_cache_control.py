"""What one request may ask of the cache: `cache="no-cache"`, `"no-store"`, `"max-age=60"`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alike import STREAM, Make, ask, learn, routers, rows

import router
from router.cache.control import read_control
from router.embedding import missing
from router.types import CacheControl

needs_embedder = pytest.mark.skipif(missing() is not None, reason="needs clearbar[embed]")
HELLO = ask("Hello?")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    yield from routers(tmp_path)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, CacheControl()),
        ("no-cache", CacheControl(no_cache=True)),
        ("No-Store , max-age=60", CacheControl(no_store=True, max_age_s=60)),
        ({"no-cache": True}, CacheControl(no_cache=True)),
        ({"max_age": 0.5}, CacheControl(max_age_s=0.5)),
        ({"no-store": False}, CacheControl()),
    ],
)
def test_the_words_are_those_of_http(given: Any, meant: CacheControl) -> None:
    assert read_control(given) == meant


@pytest.mark.parametrize(
    "given",
    ["", "nocache", "no-cache=1", "max-age", "max-age=", "max-age=-1", {"max-age": True}, {"max-age": float("nan")},
     {"ttl": 5}, True, 60],
)  # fmt: skip
def test_a_word_that_is_not_known_is_an_error(make: Make, given: Any) -> None:
    with pytest.raises(router.InvalidRequestError, match="cache"):
        make("exact").complete(HELLO, task="cheap", cache=given)


def kinds(one: router.Router, *asked: Any, task: str = "cheap") -> list[str]:
    return [one.complete(HELLO, task=task, cache=how).cache for how in asked]


def test_no_cache_asks_anew_and_replaces_what_was_stored(make: Make) -> None:
    told = iter(["old", "new"])
    one = make("exact", small=lambda _: next(told))
    assert kinds(one, None, "no-cache", None) == ["miss", "miss", "exact"]
    assert one.complete(HELLO, task="cheap").text == "new"


def test_no_store_is_served_but_leaves_nothing(make: Make) -> None:
    one = make("exact")
    assert kinds(one, "no-store", "no-store", None, "no-store") == ["miss", "miss", "miss", "exact"]


def test_max_age_takes_nothing_older(make: Make, tmp_path: Path) -> None:
    one = make("exact")
    assert kinds(one, None, "max-age=60", {"max-age": 1e8}) == ["miss", "exact", "exact"]
    with sqlite3.connect(tmp_path / "state/cache/cache.db") as connection:
        connection.execute("""UPDATE Cache SET value = REPLACE(value, '"at_s": 1', '"at_s": 0.1')""")
    assert kinds(one, "max-age=60", "max-age=60") == ["miss", "exact"]


def test_the_words_never_reach_the_provider(make: Make) -> None:
    one = make("exact")
    kinds(one, "no-cache", {"no-store": True})
    assert not any("cache" in call.params for call in one._transport.calls)  # type: ignore[attr-defined]


def test_who_asks_anew_does_not_wait_for_an_identical_request(make: Make) -> None:
    one = make("exact")
    one._transport = router.FakeTransport({"small": "hi"}, delay_s=0.05)
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(lambda _: one.complete(HELLO, task="cheap", cache="no-cache"), range(4))
    assert [completion.cache for completion in done] == ["miss"] * 4


@needs_embedder
def test_no_cache_replaces_the_answer_to_the_same_question_and_teaches_nothing(make: Make, tmp_path: Path) -> None:
    told = iter(["old", "new"])
    one = make("shadow", small=lambda _: next(told))
    for how in (None, "no-cache"):
        done = one.complete(HELLO, task="cheap", cache=how)
    assert done.decision.semantic is not None
    assert (done.decision.semantic.outcome, done.decision.semantic.reason) == ("refused", "asked for no-cache")
    assert rows(tmp_path, "SELECT answer, request_id FROM entries") == [("text:new", done.id)]
    assert rows(tmp_path, "SELECT COUNT(*) FROM labels") == [(0,)]


@needs_embedder
def test_no_store_leaves_no_question_and_no_label(make: Make, tmp_path: Path) -> None:
    one = make("shadow")
    one.complete(ask("How do I pay?"), task="cheap")
    one.complete(ask("How can I pay?"), task="cheap", cache="no-store")
    assert rows(tmp_path, "SELECT COUNT(*), (SELECT COUNT(*) FROM labels) FROM entries") == [(1, 0)]


@needs_embedder
def test_what_is_alike_must_be_young_enough_as_well(make: Make) -> None:
    one = make()
    learn(one, rounds=2)
    asked = [one.complete(ask(text + "!"), task="cheap", cache="max-age=0") for text, _ in STREAM[:60]]
    reasons = [done.decision.semantic.reason for done in asked if done.decision.semantic]
    assert "it is older than max-age 0 s" in reasons
    assert not [done for done in asked if done.cache == "semantic"]
    old = [one.complete(ask(text + "?!"), task="cheap", cache="max-age=600").cache for text, _ in STREAM[:60]]
    assert "semantic" in old
