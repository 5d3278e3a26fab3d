"""The caches in a crowd: thousands at once, several processes, one of them killed while it writes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from loopback import Provider, Step, disconnect, reply

import router

POLICY = """
version: 1
models:
  - {id: small, call: openai/small, api_base: "URL", api_key_env: TEST_KEY, price: {input: 1, output: 2}}
rules: [{candidates: small, strategy: fixed, cache: exact}]
"""
HELLO = [{"role": "user", "content": "hello"}]
COUNTS = pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.long)])


@pytest.fixture
def one(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TEST_KEY", "sk-test-0123456789abcdef")
    (tmp_path / "p.yaml").write_text(POLICY.replace("URL", provider.url), encoding="utf-8")
    with router.Router(tmp_path / "p.yaml", tmp_path / "state") as made:
        yield made


@COUNTS
def test_identical_requests_of_many_threads_make_one_call_to_the_provider(
    one: router.Router, provider: Provider, count: int
) -> None:
    """Every request has a thread of its own and all are let go at once; the provider answers when all are under way."""
    arrived, is_asked = threading.Barrier(count + 1), threading.Event()

    def answer(_: dict[str, Any]) -> Step:
        is_asked.set()
        return Step(text="hi", delay_s=0.5)

    provider.handler = answer
    kinds: list[str] = []

    def run() -> None:
        arrived.wait()
        kinds.append(one.complete(HELLO).cache)

    before = threading.stack_size(512 * 1024)
    try:
        threads = [threading.Thread(target=run) for _ in range(count)]
        for thread in threads:
            thread.start()
    finally:
        threading.stack_size(before)
    arrived.wait()
    for thread in threads:
        thread.join()
    assert is_asked.is_set()
    assert len(provider.requests) == 1
    assert Counter(kinds) == {"miss": 1, "exact": count - 1}


@COUNTS
def test_identical_requests_on_an_event_loop_make_one_call_to_the_provider(
    one: router.Router, provider: Provider, count: int
) -> None:
    provider.script("small", [Step(text="hi", delay_s=0.5)])

    async def run() -> list[router.Completion]:
        return await asyncio.gather(*(one.acomplete(HELLO) for _ in range(count)))

    done = asyncio.run(run())
    assert len(provider.requests) == 1
    assert Counter(completion.cache for completion in done) == {"miss": 1, "exact": count - 1}


def test_where_the_leader_gets_no_answer_the_next_one_is_sent(one: router.Router, provider: Provider) -> None:
    """A leader whose provider hangs up fails alone: the others go on, and one of them brings the answer."""
    provider.script("small", [disconnect()] * 3 + [reply("hi")])

    async def run() -> list[Any]:
        return await asyncio.gather(*(one.acomplete(HELLO, timeout_s=20) for _ in range(50)), return_exceptions=True)

    kinds = Counter(getattr(one, "cache", type(one).__name__) for one in asyncio.run(run()))
    assert kinds["exact"] + kinds["miss"] >= 49
    assert kinds["miss"] >= 1


WRITER = """
import hashlib, sys
import router

def signed(call):
    body = str(call.messages[-1]["content"]) * SIZE
    return hashlib.sha256(body.encode()).hexdigest() + body

SIZE = int(sys.argv[3])
one = router.Router(sys.argv[1], sys.argv[2], router.FakeTransport({"small": signed}))
print("ready", flush=True)
for number in range(1_000_000):
    one.complete([{"role": "user", "content": f"Tell me about {sys.argv[4]} {number}"}])
    print(number, flush=True)
"""
FAKE = """
version: 1
models: [{id: small, call: fake/small, price: {input: 1, output: 2}}]
rules: [{candidates: small, strategy: fixed, cache: MODE}]
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
@pytest.mark.parametrize("mode", ["exact", "shadow"])
@pytest.mark.parametrize("size", [1, 4_000], ids=["in a row", "in a file"])
@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.long)])
def test_of_processes_that_are_killed_while_they_write_no_half_entry_is_served(
    tmp_path: Path, mode: str, size: int, rounds: int
) -> None:
    (tmp_path / "p.yaml").write_text(FAKE.replace("MODE", mode), encoding="utf-8")
    told: dict[str, int] = {}
    for round_ in range(rounds):
        writers = [start(tmp_path, size, f"{name}{round_}") for name in "ab"]
        for writer in writers:
            for _ in range(10 + 3 * round_):
                assert writer.stdout is not None
                assert writer.stdout.readline()
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        for writer, name in zip(writers, "ab", strict=True):
            told[f"{name}{round_}"] = 10 + 3 * round_ - 2
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()
    with router.Router(tmp_path / "p.yaml", tmp_path / "state", router.FakeTransport({"small": "new"})) as one:
        for name, last in told.items():
            for number in range(last + 30):
                done = one.complete([{"role": "user", "content": f"Tell me about {name} {number}"}])
                if done.cache == "exact":
                    digest, body = str(done.text)[:64], str(done.text)[64:]
                    assert hashlib.sha256(body.encode()).hexdigest() == digest
                else:
                    assert done.text == "new"
                # What a process has said is done outlives it.
                assert done.cache == "exact" or number > last
        rows = one.ledger.rows("SELECT decision FROM requests WHERE cache = 'miss'")
        assert all(json.loads(row["decision"]) for row in rows)


def start(folder: Path, size: int, name: str) -> subprocess.Popen[str]:
    """A process that asks and stores as fast as it can, and says the number of each request that is done."""
    words = [sys.executable, "-c", WRITER, str(folder / "p.yaml"), str(folder / "state"), str(size), name]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
