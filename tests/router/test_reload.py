"""A policy changes while requests are under way: none is dropped, and each goes by one good version."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import router
from router import FakeTransport
from router.cache.flights import Flights
from router.errors import BudgetExceededError, ConfigurationError, PolicyError
from router.policy import load_policy

POLICY = """\
version: 1
models:
  - {id: one, call: fake/one, price: {input: 1, output: 1}, max_output_tokens: 10}
  - {id: two, call: fake/two, price: {input: 1, output: 1}, max_output_tokens: 10}
rules:
  - {name: all, candidates: [MODEL], strategy: fixed, cache: CACHE}
EXTRA
"""
BROKEN = ("models: [", "version: 1\nmodels: []\n", POLICY.replace("[MODEL]", "[three]"), "\x00")
HI = [{"role": "user", "content": "one two three"}]


class Place:
    """A policy file and routers that read it."""

    def __init__(self, folder: Path) -> None:
        self.path, self._folder = folder / "p.yaml", folder
        self.made: list[router.Router] = []

    def write(self, model: str = "one", *, cache: str = "false", extra: str = "") -> None:
        self.text(POLICY.replace("MODEL", model).replace("CACHE", cache).replace("EXTRA", extra))

    def text(self, text: str) -> None:
        """In one step, as a careful deployment does."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, self.path)

    def router(self, transport: Any = None, **options: Any) -> router.Router:
        self.made.append(router.Router(self.path, self._folder / "state", transport or FakeTransport(), **options))
        return self.made[-1]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    there = Place(tmp_path)
    there.write()
    yield there
    for one in there.made:
        one.close()


def until(is_so: Any) -> None:
    """Wait for what must come; a test that waits in vain fails."""
    for _ in range(3_000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it has not happened")


def test_two_hundred_requests_meet_a_hundred_reloads_and_each_goes_by_one_good_version(place: Place) -> None:
    models = {}
    for model in ("two", "one"):
        place.write(model, cache="exact")
        models[load_policy(place.path).version] = model
    serving = place.router(FakeTransport(delay_s=0.005))
    ends: list[router.Completion] = []
    refused = 0

    def ask(number: int) -> None:
        ends.append(serving.complete([{"role": "user", "content": f"question {number % 50}"}], team="a"))

    async def ask_all() -> None:
        for start in range(0, 100, 10):
            asked = [serving.acomplete([{"role": "user", "content": f"{start} {i}"}]) for i in range(10)]
            ends.extend(await asyncio.gather(*asked))

    with ThreadPoolExecutor(6) as pool:
        under_way = [pool.submit(ask, number) for number in range(100)] + [pool.submit(asyncio.run, ask_all())]
        for number in range(100):
            if number % 2:
                place.text(BROKEN[number // 2 % len(BROKEN)])
                with pytest.raises(ConfigurationError):
                    serving.reload()
                refused += 1
            else:
                place.write(("two", "one")[number // 2 % 2], cache="exact")
                assert serving.reload() in models
        for one in under_way:
            one.result()
    assert (len(ends), refused) == (200, 50)
    assert {end.model for end in ends} == {"one", "two"}
    assert all(models[end.decision.policy_version] == end.model for end in ends)
    assert serving.ledger.rows("SELECT COUNT(*) AS n FROM requests WHERE outcome = 'ok'")[0]["n"] == 200


def test_a_request_under_way_ends_by_the_policy_that_it_began_with(place: Place) -> None:
    is_asked, go_on = threading.Event(), threading.Event()

    def slow(_: Any) -> str:
        is_asked.set()
        assert go_on.wait(30)
        return "late"

    place.write(cache="exact", extra="data: {store_text: full}")
    serving = place.router(FakeTransport({"one": slow}))
    old = serving.policy.version
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(serving.complete, HI)
        assert is_asked.wait(30)
        place.write("two")  # its files are closed meanwhile
        assert serving.reload() == serving.policy.version != old
        assert serving.complete(HI).model == "two"
        go_on.set()
        done = under_way.result()
    assert (done.model, done.decision.policy_version) == ("one", old)
    assert serving.rollback() == old
    assert serving.complete(HI).cache == "exact"


def test_a_reload_without_a_change_changes_nothing(place: Place) -> None:
    serving = place.router()
    kit = serving._kit
    place.write()
    assert serving.reload() == kit.policy.version
    assert serving._kit is kit


def test_what_processes_remember_outlives_a_reload(place: Place) -> None:
    place.write(cache="exact")
    serving = place.router()
    before = serving._kit
    place.write("two", cache="exact")
    serving.reload()
    after = serving._kit
    assert after.books.memory is before.books.memory and after.books.sessions is before.books.sessions
    assert after.caches.exact is before.caches.exact and isinstance(after.caches.flights, Flights)
    assert after.caches.flights is before.caches.flights and after.caches.aside is before.caches.aside


@pytest.mark.parametrize("text", BROKEN)
def test_a_bad_file_is_refused_and_the_policy_before_goes_on(place: Place, text: str) -> None:
    serving = place.router()
    place.text(text)
    with pytest.raises(PolicyError, match=r"p\.yaml"):
        serving.reload()
    assert serving.complete(HI).model == "one"


def test_a_file_of_evidence_that_breaks_is_refused_too(place: Place) -> None:
    serving = place.router()
    (place.path.parent / "evidence").mkdir()
    (place.path.parent / "evidence" / "x.json").write_text("{", encoding="utf-8")
    with pytest.raises(PolicyError, match=r"x\.json: not readable"):
        serving.reload()


def test_budgets_hold_over_reloads(place: Place) -> None:
    budgets = "budgets: [{limit_requests: 5, window: month}]"
    place.write(extra=budgets)
    serving = place.router()
    for number in range(5):
        serving.complete(HI)
        place.write(("two", "one")[number % 2], extra=budgets)
        serving.reload()
    with pytest.raises(BudgetExceededError):
        serving.complete(HI)
    place.write(extra=budgets.replace("5", "6"))
    serving.reload()
    serving.complete(HI)
    with pytest.raises(BudgetExceededError):
        serving.complete(HI)


def test_a_call_that_is_held_when_the_policy_changes_is_settled_on_the_same_account(place: Place) -> None:
    is_asked, go_on = threading.Event(), threading.Event()

    def slow(_: Any) -> str:
        is_asked.set()
        assert go_on.wait(30)
        return "late"

    budgets = "budgets: [{limit_requests: 1, window: month}]"
    place.write(extra=budgets)
    serving = place.router(FakeTransport({"one": slow}))
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(serving.complete, HI)
        assert is_asked.wait(30)
        place.write("two", extra=budgets)
        serving.reload()
        with pytest.raises(BudgetExceededError):
            serving.complete(HI)
        go_on.set()
        under_way.result()
    (row,) = serving.ledger.rows("SELECT SUM(settled) AS settled, SUM(held) AS held FROM balances")
    assert (row["settled"], row["held"]) == (1, 0)


def test_a_rollback_holds_until_the_files_change(place: Place) -> None:
    serving = place.router()
    first = serving.policy.version
    with pytest.raises(ConfigurationError, match="no policy was loaded before"):
        serving.rollback()
    place.write("two")
    second = serving.reload()
    assert serving.rollback() == first
    assert serving.complete(HI).model == "one"
    for _ in range(3):
        serving._kits.look()
    assert serving.policy.version == first
    assert serving.reload() == second


def test_looks_load_what_has_changed_and_tell_of_a_bad_file_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    serving = place.router()
    looks = serving._kits.look

    def versions(text: str, count: int) -> list[bool]:
        before = serving.policy.version
        place.text(text)
        changed = []
        for _ in range(count):
            looks()
            changed.append(serving.policy.version != before)
        return changed

    good = POLICY.replace("MODEL", "two").replace("CACHE", "false").replace("EXTRA", "")
    assert versions(good, 3) == [False, True, True]  # it might have been half written at the first
    with caplog.at_level(logging.WARNING, "router._reload"):
        versions("models: [", 4)
        assert [len(one.getMessage().splitlines()) for one in caplog.records] == [1]
        assert f"version {serving.policy.version} goes on" in caplog.text and "p.yaml:" in caplog.text
        versions("models: [[", 4)
        assert len(caplog.records) == 2
    assert serving.complete(HI).model == "two"


def test_a_missing_include_is_waited_for(place: Place) -> None:
    serving = place.router()
    place.write("two", extra="include: [shared.yaml]")
    for _ in range(3):
        serving._kits.look()
    assert serving.complete(HI).model == "one"
    (place.path.parent / "shared.yaml").write_text(
        "rules: [{name: first, candidates: [two], strategy: fixed}]", encoding="utf-8"
    )
    serving._kits.look()
    assert serving.complete(HI).decision.rule == "first"


def test_the_watch_loads_a_changed_policy_and_ends_with_the_router(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARBAR_RELOAD_S", "0.01")
    serving = place.router()
    place.write("two")
    until(lambda: serving.complete(HI).model == "two")
    assert serving._watch is not None
    ((thread, _),) = serving._watch._going.values()
    serving.close()
    assert not thread.is_alive()


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_forked_child_watches_for_itself(place: Place) -> None:
    serving = place.router(reload_s=0.01)
    serving.complete(HI)
    child = os.fork()
    if child == 0:  # pragma: no cover  another process
        try:
            place.write("two")
            until(lambda: serving.complete(HI).model == "two")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    until(lambda: serving.complete(HI).model == "two")


@pytest.mark.parametrize("seconds", [-1, float("nan"), "often"])
def test_seconds_that_are_none_are_refused(place: Place, seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match="reload_s must be seconds"):
        place.router(reload_s=seconds)
