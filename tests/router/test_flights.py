"""Identical requests at the same time cost one call."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import router
from router.cache import flights
from router.cache.flights import Flights
from router.types import Call

POLICY = """
version: 1
models: [{id: small, call: fake/small, price: {input: 1, output: 4}}]
rules:
  - {when: {task: kept}, candidates: small, strategy: fixed, cache: exact}
  - {candidates: small, strategy: fixed}
"""
HELLO = [{"role": "user", "content": "hello"}]


def make(folder: Path, reply: Any = "hi", delay_s: float = 0.2) -> tuple[router.Router, router.FakeTransport]:
    (folder / "p.yaml").write_text(POLICY, encoding="utf-8")
    transport = router.FakeTransport({"small": reply}, delay_s=delay_s)
    return router.Router(folder / "p.yaml", folder / "state", transport), transport


def test_identical_requests_of_many_threads_make_one_call(tmp_path: Path) -> None:
    one, transport = make(tmp_path)
    with one, ThreadPoolExecutor(32) as pool:
        done = list(pool.map(lambda _: one.complete(HELLO, task="kept"), range(64)))
    assert len(transport.calls) == 1
    assert Counter(completion.cache for completion in done) == {"miss": 1, "exact": 63}
    assert {completion.text for completion in done} == {"hi"}


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
def test_identical_requests_on_an_event_loop_make_one_call(tmp_path: Path, count: int) -> None:
    one, transport = make(tmp_path)

    async def run() -> list[Any]:
        return await asyncio.gather(*(one.acomplete(HELLO, task="kept") for _ in range(count)))

    with one:
        done = asyncio.run(run())
    assert len(transport.calls) == 1
    assert Counter(completion.cache for completion in done) == {"miss": 1, "exact": count - 1}


def test_requests_that_differ_or_may_not_be_kept_do_not_wait(tmp_path: Path) -> None:
    one, transport = make(tmp_path, delay_s=0.05)
    with one, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: one.complete(HELLO, task="kept", customer=str(n)), range(4)))
        list(pool.map(lambda _: one.complete(HELLO), range(4)))
    assert len(transport.calls) == 8


def test_a_leader_that_fails_lets_the_others_go(tmp_path: Path) -> None:
    first = threading.Event()

    def reply(_: Call) -> Any:
        if not first.is_set():
            first.set()
            return router.BadRequestError("broken")
        return "hi"

    one, _ = make(tmp_path, reply)

    def ask(_: int) -> str:
        try:
            return str(one.complete(HELLO, task="kept").text)
        except router.RouterError:
            return "failed"

    with one, ThreadPoolExecutor(6) as pool:
        assert Counter(pool.map(ask, range(6))) == {"failed": 1, "hi": 5}


def test_a_cancelled_leader_lets_the_others_go(tmp_path: Path) -> None:
    one, _ = make(tmp_path)

    async def run() -> Any:
        leader = asyncio.create_task(one.acomplete(HELLO, task="kept"))
        await asyncio.sleep(0.05)
        follower = asyncio.create_task(one.acomplete(HELLO, task="kept"))
        await asyncio.sleep(0.05)
        leader.cancel()
        return await follower

    with one:
        done = asyncio.run(run())
    assert (done.text, done.cache) == ("hi", "miss")


def test_nobody_waits_longer_than_its_own_deadline(tmp_path: Path) -> None:
    one, _ = make(tmp_path, delay_s=1.0)

    async def run() -> None:
        leader = asyncio.create_task(one.acomplete(HELLO, task="kept"))
        await asyncio.sleep(0.05)
        with pytest.raises(router.DeadlineExceededError):
            await one.acomplete(HELLO, task="kept", timeout_s=0.1)
        assert not leader.done()
        await leader

    with one:
        asyncio.run(run())


def test_a_blocking_call_on_an_event_loop_does_not_wait_for_that_loop(tmp_path: Path) -> None:
    one, transport = make(tmp_path)

    async def run() -> None:
        leader = asyncio.create_task(one.acomplete(HELLO, task="kept"))
        await asyncio.sleep(0.05)
        assert one.complete(HELLO, task="kept").cache == "miss"
        await leader

    with one:
        asyncio.run(run())
    assert len(transport.calls) == 2


def test_a_leader_whose_lease_is_over_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = Flights()
    with under_way.boarded("k") as first:
        with under_way.boarded("k") as second:
            assert (first, second is None) == (None, False)
        monkeypatch.setattr(flights, "LEASE_S", -1.0)
        with under_way.boarded("k") as third:
            assert third is None
    with under_way.boarded("k") as fourth:
        assert fourth is None


def test_after_a_fork_nobody_waits_for_the_parents_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = Flights()
    with under_way.boarded("k"):
        monkeypatch.setattr("os.getpid", lambda: -1)
        with under_way.boarded("k") as mine:
            assert mine is None
