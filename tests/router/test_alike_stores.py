"""The semantic cache over time: on disk, under faults, threads, forks and restarts."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alike import STREAM, Make, ask, learn, routers, rows

import router
from router.embedding import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason="needs clearbar[embed]")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    yield from routers(tmp_path)


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
    (task,) = told["tasks"]
    assert (task["semantic"], task["exact"]) == (told["requests"]["semantic"], 1)
    assert Decimal(task["saved_usd"]) > 0
    assert task["saved_output_tokens"] > 0
    assert told["holds"]["entries"] == told["requests"]["miss"]
    assert "task cheap: 321 requests, exact hits 1 (0.3%), semantic hits" in run("stats")
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
    monkeypatch.setattr("router.cache.promises.IN_MEMORY", 2)
    one = make()
    for round_ in range(3):
        for system in ("first", "second", "third"):
            text = ask(f"How do I pay?{'!' * round_}", {"role": "system", "content": system})
            said = one.complete(text, task="cheap").decision.semantic
            assert said is not None
            assert (said.reason == "nothing stored") == (round_ == 0)
    assert one._kit.caches.alike is not None
    (promise,) = one._kit.caches.alike._promises.values()
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
