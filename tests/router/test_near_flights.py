"""Questions that are only alike and under way at the same time: one call, where the answer may be served."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alike import Make, ask, by_topic, routers

import router
from router.cache import flights
from router.cache.near_flights import NearFlights
from router.cache.vetoes import traits
from router.embedding import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason="needs clearbar[embed]")

ALIKE = [f"Hello, how do I renew my library card{mark}" for mark in ("?", "??", " ?", "!?", "?!", ".", "...", "")]


LIBRARY = {"role": "system", "content": "You work in a library."}


def say(text: str) -> list[Any]:
    return ask(text, LIBRARY)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    yield from routers(tmp_path)


def slowly(one: router.Router, reply: Any = by_topic, delay_s: float = 0.3) -> router.FakeTransport:
    transport = router.FakeTransport({"small": reply, "large": reply}, delay_s=delay_s)
    one._transport = transport
    return transport


def certified(make: Make, mode: str = "on") -> router.Router:
    """A router that serves whatever is likely to be right; what it holds stands under another system prompt."""
    one = make(f"{{mode: {mode}, max_error: 0.4}}", state=mode)
    for text in ("How do I pay?", "How can I pay?"):
        one.complete(ask(text), task="cheap")
    assert one._kit.caches.alike is not None
    (promise,) = one._kit.caches.alike._promises.values()
    for certifier in promise.tier._tasks["cheap"].strata.all:
        certifier.threshold = 0.5
    return one


async def together(one: router.Router, texts: list[str], **options: Any) -> list[Any]:
    async def later(number: int, text: str) -> Any:
        await asyncio.sleep(0.02 * number)
        return await one.acomplete(say(text), task="cheap", **options)

    return await asyncio.gather(*(later(*pair) for pair in enumerate(texts)), return_exceptions=True)


def test_those_that_are_alike_wait_for_the_first_ones_answer(make: Make) -> None:
    one = certified(make)
    transport = slowly(one)
    done = asyncio.run(together(one, ALIKE))
    served = Counter(completion.cache for completion in done)
    assert served["semantic"] > 0
    assert len(transport.calls) == served["miss"] < len(ALIKE)  # audits and what is not certain are called
    assert {completion.text for completion in done} == {"Code 99"}


def test_threads_wait_as_well(make: Make) -> None:
    one = certified(make)
    transport = slowly(one)

    def later(pair: tuple[int, str]) -> str:
        time.sleep(0.02 * pair[0])
        return str(one.complete(say(pair[1]), task="cheap").cache)

    with ThreadPoolExecutor(8) as pool:
        served = Counter(pool.map(later, enumerate(ALIKE)))
    assert served["semantic"] > 0
    assert len(transport.calls) == served["miss"]


def test_before_anything_is_certified_and_in_shadow_nobody_waits(make: Make) -> None:
    for one in (make("{mode: on, max_error: 0.01}"), certified(make, "shadow")):
        transport = slowly(one, delay_s=0.05)
        done = asyncio.run(together(one, ALIKE))
        assert {completion.cache for completion in done} == {"miss"}
        assert len(transport.calls) == len(ALIKE)


def test_a_leader_that_fails_lets_the_others_go(make: Make) -> None:
    one = certified(make)
    told: list[Any] = [router.BadRequestError("no")]
    slowly(one, lambda call: told.pop() if told else by_topic(call))
    first, *others = asyncio.run(together(one, ALIKE))
    assert isinstance(first, router.RouterError)
    assert {completion.text for completion in others} == {"Code 99"}
    one._kit.caches.aside.settle()
    assert one._kit.caches.alike is not None
    assert not one._kit.caches.alike._flights._under_way


def test_nobody_waits_beyond_its_own_deadline(make: Make) -> None:
    one = certified(make)
    slowly(one, delay_s=0.5)

    async def run(**options: Any) -> list[Any]:
        leader = asyncio.create_task(one.acomplete(say(ALIKE[0] + "#"), task="cheap"))
        await asyncio.sleep(0.1)
        others = await together(one, ALIKE[1:3], **options)
        return [await leader, *others]

    late = asyncio.run(run(timeout_s=0.2))
    assert [type(found) for found in late[1:]] == [router.DeadlineExceededError] * 2


def test_what_is_under_way_for_too_long_or_has_landed_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = NearFlights()
    vectors = np.array([[1, 1, 1], [1, 1, 0]], dtype=np.float32)
    first, second = (under_way.lead("p", vector, traits("x")) for vector in vectors)
    asked = np.ones(3, dtype=np.float32)
    assert under_way.nearest("p", asked) == (first, 3.0)
    assert under_way.nearest("other", asked) is None
    under_way.land(first)
    under_way.land(first)
    assert first.flight.landed.done()
    assert under_way.nearest("p", asked) == (second, 2.0)
    monkeypatch.setattr(flights, "LEASE_S", -1.0)
    assert under_way.nearest("p", asked) is None


def test_another_number_tenant_or_system_prompt_is_not_waited_for(make: Make) -> None:
    one = certified(make)
    transport = slowly(one)

    async def run() -> None:
        await asyncio.gather(
            one.acomplete(say("How do I renew 2 library cards?"), task="cheap"),
            one.acomplete(say("How do I renew 3 library cards?"), task="cheap"),
            one.acomplete(say("How do I renew 2 library cards??"), task="cheap", customer="other"),
            one.acomplete(ask("How do I renew 2 library cards??"), task="cheap"),
        )

    asyncio.run(run())
    assert len(transport.calls) == 4
