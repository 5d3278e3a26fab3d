"""Requests that are only alike: what the semantic cache of a router serves, and above all what it does not."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import pickle
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import router
from router._request import chat_request
from router.cache.partition import NotAlike, last_text, partition
from router.embedding import missing
from router.types import Call

pytestmark = pytest.mark.skipif(missing() is not None, reason="needs clearbar[embed]")

POLICY = """
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 4}}
  - {id: large, call: fake/large, price: {input: 10, output: 40}}
rules:
  - {when: {task: cheap}, candidates: [small], strategy: fixed, cache: CACHE}
  - {when: {task: dear}, candidates: [large], strategy: fixed, cache: CACHE}
  - {when: {task: any}, candidates: [small, large], bar: 0, cache: CACHE}
  - {when: {task: exact}, candidates: [small], strategy: fixed, cache: exact}
"""
ON = "{mode: on, max_error: 0.3, confidence: 0.8}"
TOPICS = {
    "return a pair of shoes": "Code 11", "change my delivery address": "Code 12", "cancel the subscription": "Code 13",
    "reset a forgotten password": "Code 14", "find the nearest shop": "Code 15", "order a replacement card": "Code 16",
    "talk to a human being": "Code 17", "pay by bank transfer": "Code 18",
}  # fmt: skip
WAYS = (
    "How do I {}?", "how can I {}", "I want to {}", "Please tell me how to {}", "What must I do to {}?",
    "I would like to {}, how does it work?", "Is there a way to {}?", "Could you help me {}?", "help me {} please",
    "what are the steps to {}", "Explain how to {}", "how to {}", "I need to {}", "Can I {} with you?",
    "I am trying to {}", "What is the way to {}?", "Hello, how do I {}?", "hey, can you tell me how to {}",
    "I wonder how to {}", "Hi! I'd like to {}.",
)  # fmt: skip
STREAM = [(way.format(topic), answer) for way in WAYS for topic, answer in TOPICS.items()]


def by_topic(call: Call) -> str:
    """A model that always knows."""
    text = str(call.messages[-1]["content"])
    return next((answer for topic, answer in TOPICS.items() if topic in text), "Code 99")


def ask(text: str, *before: Mapping[str, str]) -> list[Mapping[str, str]]:
    return [*before, {"role": "user", "content": text}]


Make = Callable[..., router.Router]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes routers over one state; closes them."""
    made: list[router.Router] = []

    def build(cache: str = ON, state: str = "state", **replies: Any) -> router.Router:
        path = tmp_path / f"policy{len(made)}.yaml"
        path.write_text(POLICY.replace("CACHE", cache), encoding="utf-8")
        transport = router.FakeTransport({"small": by_topic, "large": by_topic, **replies})
        made.append(router.Router(path, tmp_path / state, transport))
        return made[-1]

    yield build
    for one in made:
        one.close()


def learn(one: router.Router, task: str = "cheap", rounds: int = 1, **options: Any) -> list[router.Completion]:
    """Ask the whole stream; in later rounds with another full stop, so that nothing is the same request."""
    return [
        one.complete(ask(text + "." * round_), task=task, **options) for round_ in range(rounds) for text, _ in STREAM
    ]


def test_alike_requests_are_served_once_that_is_certified(make: Make) -> None:
    one = make()
    done = learn(one, rounds=2)
    hits = [completion for completion in done if completion.cache == "semantic"]
    assert not [completion for completion in done[:50] if completion.cache == "semantic"]
    assert len(hits) > 20
    right = dict(STREAM)
    for asked, completion in zip([text for text, _ in STREAM] * 2, done, strict=True):
        assert completion.text == right[asked]
    hit = hits[-1]
    said = hit.decision.semantic
    assert (hit.cost_usd, hit.attempts, hit.model) == (Decimal(0), (), "small")
    assert said is not None
    assert (said.mode, said.outcome, said.max_error) == ("on", "hit", 0.3)
    assert said.similarity is not None and said.similarity > 0.5
    assert said.wrong_upper is not None and said.wrong_upper <= 0.3
    assert said.saves_usd is not None and said.saves_usd > 0
    assert one.ledger.request(said.entry or "") is not None
    row = one.ledger.request(hit.id)
    assert row is not None
    assert (row["cache"], row["cost_pusd"], row["attempts"], row["model_served"]) == ("semantic", 0, 0, "small")
    assert "semantic cache (on): hit" in hit.decision.explain()


def test_shadow_serves_nothing_and_says_what_it_would_have_saved(make: Make) -> None:
    one = make("{mode: shadow, max_error: 0.3, confidence: 0.8}")
    done = learn(one, rounds=2)
    assert {completion.cache for completion in done} == {"miss"}
    assert len(one._transport.calls) == len(done)  # type: ignore[attr-defined]
    saved = [completion.decision.semantic for completion in done if completion.decision.semantic]
    would = [said for said in saved if said.outcome == "hit"]
    assert len(would) > 20
    assert all(said.saves_usd for said in would)
    assert all(completion.cost_usd for completion in done)
    row = one.ledger.request(done[-1].id)
    assert row is not None
    assert json.loads(row["decision"])["semantic"]["mode"] == "shadow"


def test_what_shadow_has_learned_serves_when_it_is_turned_on(make: Make) -> None:
    learn(make("{mode: shadow, max_error: 0.3, confidence: 0.8}"), rounds=2)
    one = make(ON)
    done = [one.complete(ask(text + "!"), task="cheap") for text, _ in STREAM]
    assert [one.cache for one in done[120:]].count("semantic") > 10


def served(one: router.Router, clearing: set[str]) -> set[tuple[str, str]]:
    """Outcome and reason of the whole stream, asked again, where these models clear the bar."""
    cache, found = one._alike, []
    assert cache is not None
    for text, _ in STREAM:
        request = chat_request(ask(text + "!"), task="cheap")
        caching = one.policy.rules[0].cache
        found.append(cache.look_up(request, caching, task="cheap", clearing=clearing, saves_usd=None))
    return {
        (one.note.outcome, one.note.reason.split(" ")[0]) for one in found if one.stored or "wrote" in one.note.reason
    }


def test_a_weak_models_answer_never_serves_where_only_a_stronger_one_clears_the_bar(make: Make) -> None:
    one = make()
    learn(one, rounds=2)
    assert served(one, {"large"}) == {("miss", "small")}  # "small wrote it and does not clear the bar now"
    assert ("hit", "p") in served(one, {"small", "large"})


def test_who_clears_the_bar_is_the_policys_word(make: Make) -> None:
    one = make()
    clearing = {task: one._decide(chat_request(ask("hi"), task=task)).clearing for task in ("any", "dear", "exact")}
    assert clearing == {"any": {"small", "large"}, "dear": {"large"}, "exact": set()}
    # A bar for which nobody has evidence: nobody's answer serves.
    assert one._decide(chat_request(ask("hi"), task="any", bar=0.9)).clearing == set()


def test_a_pinned_model_is_always_asked(make: Make) -> None:
    one = make()
    learn(one, rounds=2)
    pinned = [one.complete(ask(text + "!"), task="cheap", model="large") for text, _ in STREAM[:40]]
    assert {(done.model, done.cache) for done in pinned} == {("large", "off")}


def test_two_tenants_never_share(make: Make) -> None:
    one = make()
    learn(one, rounds=2, customer="first")
    for text, _ in STREAM[:30]:
        done = one.complete(ask(text + "??"), task="cheap", customer="second")
        assert done.decision.semantic is not None
        if done.cache == "semantic":  # of its own earlier questions
            row = one.ledger.request(done.decision.semantic.entry or "")
            assert row is not None
            assert row["customer"] == "second"


names = st.text(max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=st.tuples(names, names, names), other=st.tuples(names, names, names))
def test_scopes_meet_only_when_they_are_equal(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    def where(scope: tuple[str, ...]) -> str:
        team, customer, extra = scope
        request = chat_request(ask("hello"), team=team, customer=customer, tags={"region": extra})
        return partition(request, b"k" * 32, task=None, routes_version="1", artifact_version=None, tags=())

    assert (where(one) == where(other)) == (one == other)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"messages": ask("hello", {"role": "system", "content": "Be rude."})}, id="system prompt"),
        pytest.param({"messages": ask("hello", *ask("hi"), {"role": "assistant", "content": "yes"})}, id="history"),
        pytest.param({"messages": [{"role": "user", "content": "hello", "name": "x"}]}, id="name"),
        pytest.param({"max_tokens": 5}, id="parameter"),
        pytest.param({"a_new_one": 5}, id="unknown parameter"),
        pytest.param({"extra_body": {"top_k": 5}}, id="provider's parameter"),
        pytest.param({"user": "x"}, id="user"),
        pytest.param({"workflow": "x"}, id="workflow"),
        pytest.param({"environment": "x"}, id="environment"),
    ],
)
def test_whatever_may_change_the_answer_parts(changed: dict[str, Any]) -> None:
    def where(**options: Any) -> str:
        request = chat_request(**({"messages": ask("hello")} | options))
        assert last_text(request) == "hello"
        return partition(request, b"k" * 32, task=None, routes_version="1", artifact_version=None, tags=())

    assert where() == where(messages=ask("hello")) == where(run_id="another run")
    assert where() != where(**changed)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"tools": [{"type": "function"}]}, id="tools"),
        pytest.param({"n": 2}, id="several answers"),
        pytest.param({"extra_body": {"n": 2}}, id="several answers, hidden"),
        pytest.param({"temperature": 0.7}, id="variety"),
        pytest.param({"logprobs": True}, id="logprobs"),
        pytest.param({"messages": ask("what is the price of gold today")}, id="freshness"),
        pytest.param({"messages": [{"role": "assistant", "content": "hi"}]}, id="no user text"),
        pytest.param({"messages": ask("x" * 5_000)}, id="long text"),
        pytest.param({"messages": ask("hi", {"role": "tool", "content": "4"})}, id="tool answers"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, id="image"
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {}}]}]},
            id="part with more in it",
        ),
    ],
)
def test_requests_that_are_never_alike(options: dict[str, Any]) -> None:
    with pytest.raises(NotAlike):
        last_text(chat_request(**({"messages": ask("hello")} | options)))


def test_a_refused_request_is_served_without_the_cache(make: Make) -> None:
    done = make().complete(ask("what is the price today"), task="cheap")
    assert done.decision.semantic is not None
    assert (done.cache, done.decision.semantic.outcome) == ("miss", "refused")
    assert "price, today" in done.decision.semantic.reason


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"content": "half an ans", "finish": "length"}, id="cut"),
        pytest.param({"content": "no", "finish": "content_filter"}, id="filtered"),
        pytest.param({"content": "", "finish": "stop"}, id="empty"),
        pytest.param({"content": None, "finish": "stop", "refusal": "I must not."}, id="refusal"),
        pytest.param({"content": "x", "finish": "stop", "tool_calls": [{"id": "1"}]}, id="tool call"),
    ],
)
def test_only_whole_answers_of_text_are_kept(make: Make, tmp_path: Path, answer: dict[str, Any]) -> None:
    finish = answer.pop("finish")
    payload = {"choices": [{"index": 0, "message": {"role": "assistant", **answer}, "finish_reason": finish}]}
    make(small=payload).complete(ask("How do I pay?"), task="cheap")
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries") == [(0,)]


def rows(folder: Path, query: str, *values: Any) -> list[Any]:
    with sqlite3.connect(folder / "state/semantic.sqlite3") as connection:
        return connection.execute(query, values).fetchall()


def test_a_planted_pickle_is_never_decoded(make: Make, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "exploded"),)

    one = make()
    learn(one, rounds=2)
    rows(tmp_path, "UPDATE entries SET payload = ?", pickle.dumps(Bomb()))
    rows(tmp_path, "UPDATE labels SET features = ?", pickle.dumps(Bomb()))
    again = [*learn(one), *learn(make())]
    assert not (tmp_path / "exploded").exists()
    assert all(done.text.startswith("Code") for done in again)


def test_another_embedder_starts_afresh(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(make(), rounds=2)
    monkeypatch.setattr("router.cache.partition.EMBEDDER", "another/1")
    monkeypatch.setattr("router.cache.tier.EMBEDDER", "another/1")
    done = make().complete(ask("How do I return a pair of shoes, then?"), task="cheap")
    assert done.decision.semantic is not None
    assert done.decision.semantic.reason == "nothing stored"


def test_a_restart_remembers_entries_and_labels(make: Make) -> None:
    learn(make(), rounds=2)
    one = make()
    done = [one.complete(ask(text + "!"), task="cheap") for text, _ in STREAM]
    assert done[0].decision.semantic is not None
    assert done[0].decision.semantic.similarity is not None
    # A fresh process has certified nothing before it has seen a hundred proposals, then the old labels count.
    assert [one.cache for one in done[120:]].count("semantic") > 10


def test_a_rejected_hit_is_gone(make: Make, tmp_path: Path) -> None:
    one = make()
    hit = [done for done in learn(one, rounds=2) if done.cache == "semantic"][-1]
    entry = hit.decision.semantic.entry if hit.decision.semantic else None
    (labels,) = rows(tmp_path, "SELECT COUNT(*), SUM(wrong) FROM labels")
    one.reject(hit.id)
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries WHERE request_id = ?", entry) == [(0,)]
    assert rows(tmp_path, "SELECT COUNT(*), SUM(wrong) FROM labels") == [(labels[0] + 1, labels[1] + 1)]
    for text, _ in STREAM:
        done = one.complete(ask(text + "!!"), task="cheap")
        assert done.decision.semantic is None or done.decision.semantic.entry != entry


def test_a_rejected_answer_out_of_the_exact_cache_is_gone_from_both(make: Make, tmp_path: Path) -> None:
    one = make()
    done = [one.complete(ask("How do I pay?"), task="cheap") for _ in range(2)]
    assert [completion.cache for completion in done] == ["miss", "exact"]
    one.reject(done[1].id)
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries") == [(0,)]
    assert one.complete(ask("How do I pay?"), task="cheap").cache == "miss"


def test_a_hit_streams_as_chunks(make: Make) -> None:
    one = make()
    learn(one, rounds=2)
    for text, answer in STREAM:
        with one.complete(ask(text + "!"), task="cheap", stream=True) as stream:
            told = "".join(chunk.choices[0].delta.get("content") or "" for chunk in stream if chunk.choices)
            assert told == answer
            if stream.completion.cache == "semantic":
                return
    pytest.fail("no hit among the streams")


def test_the_async_side_is_served_as_well(make: Make) -> None:
    one = make()
    learn(one, rounds=2)

    async def run() -> list[str]:
        return [(await one.acomplete(ask(text + "!"), task="cheap")).cache for text, _ in STREAM[:60]]

    assert "semantic" in asyncio.run(run())


def test_a_failed_call_teaches_nothing(make: Make, tmp_path: Path) -> None:
    one = make(small=router.BadRequestError("no"))
    with pytest.raises(router.RouterError):
        one.complete(ask("How do I pay?"), task="cheap")
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries") == [(0,)]


def test_the_file_and_the_key_are_their_owners_alone(make: Make, tmp_path: Path) -> None:
    make().complete(ask("How do I pay?"), task="cheap")
    for name in ("semantic.sqlite3", "semantic.key"):
        assert stat.S_IMODE((tmp_path / "state" / name).stat().st_mode) == 0o600


def test_a_broken_file_costs_no_answer(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = make()
    one.complete(ask("How do I pay?"), task="cheap")
    rows(tmp_path, "DROP TABLE entries")
    done = one.complete(ask("How can I pay?"), task="cheap")
    assert done.decision.semantic is not None
    assert (done.text, done.decision.semantic.outcome) == ("Code 99", "refused")
    assert "requests are served without" in caplog.text


@pytest.mark.parametrize("answer", ["No \ud800", "No \ud800" * 50], ids=["short", "long"])
def test_an_answer_with_half_a_character_is_handed_over(make: Make, answer: str) -> None:
    one = make(small=answer)
    assert [one.complete(ask(text), task="cheap").text for text in ("How do I pay?", "How can I pay?")] == [answer] * 2


def test_a_file_that_another_process_keeps_locked_costs_no_answer(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("router.cache.shelf.BUSY_TIMEOUT_S", 0.02)
    one = make()
    other = sqlite3.connect(tmp_path / "state/semantic.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert one.complete(ask("How do I pay?"), task="cheap").cost_usd
    other.close()
    assert "database is locked" in caplog.text
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries") == [(0,)]


def test_an_embedder_that_fails_costs_no_answer(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("MARKER: what an engine says may quote the text")

    one = make(small="A text of its own, " * 5)
    one.complete(ask("How do I pay?"), task="cheap")
    monkeypatch.setattr("router.cache.identity.shared", fail)  # of the judge, after the call
    assert one.complete(ask("How can I pay?"), task="cheap").cost_usd
    monkeypatch.setattr("router.cache.tier.shared", fail)  # of the look-up, before it
    assert one.complete(ask("Tell me how to pay"), task="cheap").cost_usd
    assert "the semantic cache does not work (RuntimeError)" in caplog.text
    assert "MARKER" not in caplog.text


def test_without_the_embedder_the_same_request_is_still_served(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("router.embedding.missing", lambda: "not installed")
    one = make()
    assert "only the same request is served from the cache" in caplog.text
    kinds = [one.complete(ask(text), task="cheap").cache for text in ("Hello.", "Hello.", "Hello!")]
    assert kinds == ["miss", "exact", "miss"]


def test_stats_and_purge_of_the_command(make: Make, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from router.cli import cli

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, ["cache", *words, "--state", str(tmp_path / "state")])
        assert done.exit_code == 0, done.output
        return done.stdout

    one = make()
    done = learn(one, rounds=2)
    again = one.complete(ask(STREAM[0][0]), task="cheap")
    assert again.cache == "exact"
    told = json.loads(run("stats", "--json"))
    assert told["requests"]["semantic"] == [one.cache for one in done].count("semantic")
    assert told["requests"]["exact"] == 1
    assert told["semantic"]["on: hit"] == told["requests"]["semantic"]
    assert Decimal(told["expected_saving_usd"]["on"]) > 0
    assert told["holds"]["entries"] == told["requests"]["miss"]
    assert "semantic, on: hit" in run("stats")
    assert "deleted" in run("purge", "--yes")
    # The router that runs has them in memory, and serves none of them.
    assert one.complete(ask(STREAM[0][0]), task="cheap").cache == "miss"
    later = [one.complete(ask(text + "?!"), task="cheap") for text, _ in STREAM]
    old = {done.id for done in done}
    assert not [one for one in later if one.decision.semantic and one.decision.semantic.entry in old]


def test_threads_and_a_second_router_share_one_state(make: Make) -> None:
    one, two = make(), make()
    options = {"task": "cheap"}

    def half(router_: router.Router, mark: str) -> list[router.Completion]:
        return [router_.complete(ask(text + mark), **options) for text, _ in STREAM]

    jobs = [(one, "."), (two, ".."), (one, "!"), (two, "?!")]
    with ThreadPoolExecutor(4) as pool:
        done = [completion for part in pool.map(lambda job: half(*job), jobs) for completion in part]
    right = dict(STREAM)
    assert [completion.text for completion in done] == [right[text] for text, _ in STREAM] * 4
    entry = next(done.decision.semantic.entry for done in half(two, "!!!") if done.cache == "semantic")  # type: ignore[union-attr]
    assert one.ledger.request(entry or "") is not None


def test_a_fork_in_the_middle_of_look_ups_goes_on(make: Make) -> None:
    one = make()
    learn(one)
    stop = threading.Event()

    def busy() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            one.complete(ask(f"How do I pay bill {number}?"), task="cheap")

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(3):
            child = os.fork()
            if not child:
                try:
                    os._exit(one.complete(ask("How do I return a pair of shoes, hm?"), task="cheap").text != "Code 11")
                finally:
                    os._exit(9)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()


def test_only_partitions_with_entries_stay_in_memory_and_only_so_many(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.cache.tier.IN_MEMORY", 2)
    one = make()
    for round_ in range(3):
        for system in ("first", "second", "third"):
            text = ask(f"How do I pay?{'!' * round_}", {"role": "system", "content": system})
            said = one.complete(text, task="cheap").decision.semantic
            assert said is not None
            assert (said.reason == "nothing stored") == (round_ == 0)
    assert one._alike is not None
    (promise,) = one._alike._promises.values()
    assert (len(promise.known), len(promise.tier._partitions), len(promise.rows)) == (2, 2, 4)
    one.complete(ask("Hello?"), task="cheap")
    assert len(promise.known) == 2


def test_an_expired_answer_is_not_served(make: Make, tmp_path: Path) -> None:
    one = make()
    old = {done.id for done in learn(one, rounds=2)}
    rows(tmp_path, "UPDATE entries SET expires_s = 1")
    later = [one.complete(ask(text + "!"), task="cheap") for text, _ in STREAM]
    assert not [one for one in later if one.decision.semantic and one.decision.semantic.entry in old]


def test_the_time_to_live_is_the_policys(make: Make, tmp_path: Path) -> None:
    make("{mode: shadow, ttl: 30m}").complete(ask("How do I pay?"), task="cheap")
    assert rows(tmp_path, "SELECT ROUND(expires_s - created_s) FROM entries") == [(1_800.0,)]
