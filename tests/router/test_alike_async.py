"""The semantic cache behind `acomplete()`: the event loop goes on while it works."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alike import STREAM, Make, ask, learn, routers, rows

import router
from router.embedding import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason="needs clearbar[embed]")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    yield from routers(tmp_path)


@contextmanager
def held(one: router.Router) -> Iterator[threading.Event]:
    """The cache's file in another thread's hands, until the event is set or 20 s are over."""
    assert one._kit.caches.alike is not None
    shelf, is_held, let_go = one._kit.caches.alike._shelf, threading.Event(), threading.Event()

    def hold() -> None:
        with shelf.turn():
            is_held.set()
            let_go.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()
    try:
        yield let_go
    finally:
        let_go.set()
        thread.join()


def test_the_loop_goes_on_while_the_cache_looks_up_and_learns(make: Make) -> None:
    one = make()

    async def run(let_go: threading.Event) -> None:
        task = asyncio.create_task(one.acomplete(ask("How do I pay?"), task="cheap"))
        for _ in range(1_000):
            await asyncio.sleep(0)
        # Here with the look-up under way: on the loop, it would have waited for the lock and so for this line.
        assert not let_go.is_set()
        assert not task.done()
        let_go.set()
        assert (await task).cache == "miss"

    with held(one) as let_go:
        asyncio.run(run(let_go))


def test_what_one_answer_taught_is_known_to_the_next_request(make: Make, tmp_path: Path) -> None:
    one = make()

    async def run() -> list[router.Completion]:
        return [await one.acomplete(ask(text), task="cheap") for text, _ in STREAM[:12]]

    said = [done.decision.semantic for done in asyncio.run(run())]
    assert next(one.reason for one in said if one) == "nothing stored"
    assert all(one.similarity is not None for one in said[1:] if one)
    one.close()
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries") == [(12,)]


def test_a_rejected_answer_is_gone_however_soon_it_is_rejected(make: Make, tmp_path: Path) -> None:
    one = make()

    async def run() -> None:
        for text, _ in STREAM[:5]:
            one.reject((await one.acomplete(ask(text), task="cheap")).id)

    asyncio.run(run())
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries") == [(0,)]


def test_a_cancelled_look_up_counts_no_hit_and_leaves_a_row(make: Make) -> None:
    one = make()
    learn(one, rounds=2)
    assert one._kit.caches.alike is not None
    (promise,) = one._kit.caches.alike._promises.values()
    before = promise.tier.standing("cheap").hits

    async def run(let_go: threading.Event) -> None:
        tasks = [asyncio.create_task(one.acomplete(ask(text + "!"), task="cheap")) for text, _ in STREAM[:40]]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        assert {type(found) for found in await asyncio.gather(*tasks, return_exceptions=True)} == {
            asyncio.CancelledError
        }
        let_go.set()

    with held(one) as let_go:
        asyncio.run(run(let_go))
    one._kit.caches.aside.settle()
    assert promise.tier.standing("cheap").hits == before
    assert len(one.ledger.rows("SELECT id FROM requests WHERE outcome = 'cut'")) == 40


def test_a_request_waits_no_longer_for_the_cache_than_it_may_take(make: Make) -> None:
    one = make()

    async def run() -> None:
        with pytest.raises(router.DeadlineExceededError):
            await one.acomplete(ask("How do I pay?"), task="cheap", timeout_s=0.1)

    with held(one):
        asyncio.run(run())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_child_has_a_thread_of_its_own(make: Make) -> None:
    one = make()
    asyncio.run(one.acomplete(ask("How do I pay?"), task="cheap"))
    child = os.fork()
    if not child:
        try:
            done = asyncio.run(one.acomplete(ask("How do I pay, then?"), task="cheap"))
            os._exit(done.decision.semantic.similarity is None)
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
