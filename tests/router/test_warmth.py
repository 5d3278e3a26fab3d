"""Prompt caches that earlier steps of a run have warmed, and what they make of prices and plans."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

import router
from router.decide import decide
from router.decisions import Candidate, Warm
from router.policy import load_policy
from router.spend.expected import cache_saving, expected_dollars
from router.spend.prices import Price
from router.types import Attempt, Request, Tags, Usage
from router.warmth import LIFETIME_S, MOST_RUNS, Known, Memory

POLICY = """
version: 1
models:
  - {id: near, call: fake/near, price: {input: 1, output: 4, cached_input: 0.1}}
  - {id: far, call: fake/far, price: {input: 0.6, output: 4}}
tasks: {chat: {bar: 0}}
rules: [{candidates: [near, far], bar: 0}]
"""
LONG = {"role": "user", "content": "word " * 2_000}
NEXT = [LONG, {"role": "assistant", "content": "fine"}, {"role": "user", "content": "go on"}]
PRICE = Price(input=Decimal(1), output=Decimal(4), cached_input=Decimal("0.1"))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return path


@pytest.fixture
def serving(policy: Path, tmp_path: Path) -> Iterator[router.Router]:
    with router.Router(policy, tmp_path / "state", router.FakeTransport({})) as one:
        yield one


def step(messages: list[dict[str, str]], run_id: str | None = "r", **params: object) -> Request:
    return Request(id="cb-1", messages=tuple(messages), params=params, tags=Tags(run_id=run_id))


def answered(model: str = "near", *, cached: int = 0, thought: int = 0) -> Attempt:
    usage = Usage(input_tokens=2_000, output_tokens=100, cached_input_tokens=cached, reasoning_tokens=thought)
    return Attempt(model=model, call=f"fake/{model}", outcome="ok", usage=usage)


def warm_models(memory: Memory, request: Request, now_s: float = 1.0) -> list[str]:
    return [one.model for one in memory.known(request, now_s).warm]


def test_the_meters_add_up_to_the_total_and_what_a_switch_gives_up_stands_beside() -> None:
    dollars = expected_dollars(
        PRICE, 3_000, 500, cached_tokens=2_000, thinking_share=0.4, switch_usd=cache_saving(PRICE, 1_000)
    )
    assert dollars.input_usd == Decimal("0.001")
    assert dollars.cached_usd == Decimal("0.0002")
    assert (dollars.output_usd, dollars.thinking_usd) == (Decimal("0.0012"), Decimal("0.0008"))
    assert dollars.switch_usd == Decimal("0.0009")
    assert dollars.total_usd == Decimal("0.0032")


def test_without_a_price_for_cached_input_nothing_is_cheaper() -> None:
    plain = replace(PRICE, cached_input=None)
    assert expected_dollars(plain, 3_000, 0, cached_tokens=2_000).total_usd == Decimal("0.003")
    assert cache_saving(plain, 2_000) == cache_saving(None, 2_000) == 0


def test_the_next_step_of_a_run_finds_its_beginning_warm_until_the_cache_forgets() -> None:
    memory = Memory({"near"})
    memory.note(step([LONG]), [answered(), answered("far")], 0.0)
    assert warm_models(memory, step(NEXT), LIFETIME_S - 1) == ["near"]
    assert warm_models(memory, step(NEXT), LIFETIME_S) == []
    assert memory.known(step(NEXT), 7.0).warm[0] == Warm(model="near", tokens=2_000, age_s=7.0)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(step(NEXT, "another"), id="another run"),
        pytest.param(step(NEXT, None), id="no run"),
        pytest.param(step([{"role": "user", "content": "word"}, *NEXT]), id="another beginning"),
        pytest.param(step([]), id="shorter than what was read"),
        pytest.param(step(NEXT, tools=[{"type": "function"}]), id="other tools, which stand before the messages"),
    ],
)
def test_everything_else_is_cold(other: Request) -> None:
    memory = Memory({"near"})
    memory.note(step([LONG]), [answered()], 0.0)
    assert warm_models(memory, other) == []


def test_a_short_beginning_is_not_cached() -> None:
    memory = Memory({"near"})
    memory.note(step(NEXT[1:]), [answered()], 0.0)
    assert warm_models(memory, step(NEXT[1:])) == []


def test_a_provider_that_read_it_at_full_price_again_is_believed() -> None:
    memory = Memory({"near"})
    memory.note(step([LONG]), [answered()], 0.0)
    memory.note(step(NEXT), [answered(cached=0)], 1.0)
    assert warm_models(memory, step(NEXT)) == []
    memory.note(step(NEXT), [answered(cached=1_500)], 2.0)
    assert warm_models(memory, step(NEXT), 3.0) == ["near"]


def test_the_memory_is_bounded_and_loses_the_run_that_was_idle_longest() -> None:
    memory = Memory({"near"})
    for number in range(MOST_RUNS + 1):
        memory.note(step([LONG], f"r{number}"), [answered()], 0.0)
    assert warm_models(memory, step([LONG], "r0")) == []
    assert warm_models(memory, step([LONG], "r1")) == ["near"]


def test_thinking_is_split_off_where_a_model_was_seen_to_think() -> None:
    memory = Memory(())
    memory.note(step([LONG]), [answered(thought=80), answered("far")], 0.0)
    assert memory.known(step([LONG]), 0.0).thinking == {"near": 0.8}


def test_messages_without_a_json_form_are_no_error() -> None:
    memory = Memory({"near"})
    loop: dict[str, object] = {"role": "user", "content": "word " * 2_000}
    loop["self"] = loop
    memory.note(Request(id="x", messages=(loop,), tags=Tags(run_id="r")), [answered()], 0.0)
    assert warm_models(memory, step([LONG])) == []


def test_a_warm_model_is_cheaper_and_the_others_say_what_is_given_up(policy: Path) -> None:
    known = Known(warm=(Warm(model="near", tokens=2_000, age_s=3.0),))
    cold, warm = (
        decide(step(NEXT), load_policy(policy), None, datetime.now(UTC), None, one).decision for one in (Known(), known)
    )
    assert (cold.plan[0], warm.plan[0]) == ("far", "near")
    near, far = (by_model(warm.candidates)[name] for name in ("near", "far"))
    assert near.expected is not None
    assert far.expected is not None
    assert near.expected.cached_usd == Decimal("0.0002")
    assert (near.expected.switch_usd, far.expected.switch_usd) == (Decimal(0), Decimal("0.0018"))
    assert near.expected_cost_usd == near.expected.total_usd
    assert warm.facts is not None
    assert warm.facts.warm == known.warm


def test_a_run_stays_where_its_conversation_is_warm(serving: router.Router) -> None:
    assert serving.explain([LONG], run_id="r", task="chat").plan[0] == "far"
    serving.complete([LONG], run_id="r", model="near")
    assert serving.explain(NEXT, run_id="r", task="chat").plan[0] == "near"
    assert serving.explain(NEXT, run_id="other", task="chat").plan[0] == "far"
    for _ in serving.complete(NEXT, run_id="s", model="near", stream=True):
        pass
    assert serving.explain(NEXT, run_id="s", task="chat").plan[0] == "near"


def by_model(candidates: tuple[Candidate, ...]) -> dict[str, Candidate]:
    return {one.model: one for one in candidates}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_amid_many_threads_leaves_a_memory_that_works() -> None:
    memory, is_over = Memory({"near"}), threading.Event()

    def busy() -> None:
        while not is_over.is_set():
            memory.note(step([LONG]), [answered(cached=10)], 0.0)

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for one in threads:
        one.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                os._exit(0 if warm_models(memory, step([LONG])) in ([], ["near"]) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        is_over.set()
        for one in threads:
            one.join()
