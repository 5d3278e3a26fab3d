"""A provider that fails, stalls or lies, over real HTTP; and a process that dies in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from loopback import Provider, cut_stream, malformed, no_usage, reply, slow_chunks, stall, status, wrong_usage

import router
from router.spend.ledger import Ledger

POLICY = """
version: 1
models:
  - {{id: first, call: openai/first, api_base: "{url}", api_key_env: TEST_KEY, price: {{input: 1, output: 2}}}}
  - {{id: second, call: openai/second, api_base: "{url}", api_key_env: TEST_KEY, price: {{input: 10, output: 20}}}}
  - {{id: dead, call: openai/dead, api_base: "http://127.0.0.1:9/v1", price: {{input: 1, output: 1}}}}
rules:
  - {{when: {{task: dead}}, candidates: [dead, second], strategy: fixed}}
  - {{candidates: [first, second], strategy: fixed}}
"""
HELLO = [{"role": "user", "content": "one two three"}]


@pytest.fixture
def one(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[router.Router]:
    monkeypatch.setenv("TEST_KEY", "sk-test-0123456789abcdef")
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(url=provider.url), encoding="utf-8")
    with router.Router(path, tmp_path / "state") as made:
        yield made


def outcomes(done: router.Completion) -> list[tuple[str, str]]:
    return [(attempt.model, attempt.outcome) for attempt in done.attempts]


def test_a_provider_that_is_down_is_passed_over_within_the_deadline(one: router.Router) -> None:
    started = time.monotonic()
    done = one.complete(HELLO, task="dead", timeout_s=10)
    assert done.model == "second"
    assert time.monotonic() - started < 10
    assert {attempt.model for attempt in done.attempts} == {"dead", "second"}
    assert len(one.ledger.attempts(done.id)) == len(done.attempts)
    assert done.cost_usd == Decimal("0.00009")  # a refused connection costs nothing


def test_a_stalled_provider_leaves_time_for_the_next(one: router.Router, provider: Provider) -> None:
    provider.script("first", [stall(30), stall(30)])
    started = time.monotonic()
    done = one.complete(HELLO, timeout_s=2)
    assert (done.model, done.cost_usd) == ("second", None)  # the stalled call may be billed: unknown, never 0
    assert time.monotonic() - started < 2.5
    assert "ProviderTimeoutError" in (done.attempts[0].error or "")


def test_when_time_runs_out_the_error_says_so_and_lists_the_attempts(one: router.Router, provider: Provider) -> None:
    provider.always("first", stall(30))
    provider.always("second", stall(30))
    with pytest.raises(router.DeadlineExceededError) as caught:
        one.complete(HELLO, timeout_s=1)
    assert [attempt.model for attempt in caught.value.attempts] == ["first", "second"]


def test_a_rate_limit_is_waited_out_when_the_wait_is_short(one: router.Router, provider: Provider) -> None:
    provider.script("first", [status(429, retry_after=0.2), reply("later")])
    done = one.complete(HELLO)
    assert (done.text, outcomes(done)) == ("later", [("first", "error"), ("first", "ok")])
    assert done.cost_usd == Decimal("0.000005")


def test_a_long_rate_limit_is_not_waited_out_while_another_model_stands_by(
    one: router.Router, provider: Provider
) -> None:
    provider.script("first", [status(429, retry_after=60)])
    assert outcomes(one.complete(HELLO)) == [("first", "error"), ("second", "ok")]


@pytest.mark.parametrize("step", [status(500), malformed()], ids=["500", "malformed"])
def test_a_broken_answer_is_tried_again(one: router.Router, provider: Provider, step: object) -> None:
    provider.script("first", [step, reply("fine")])
    assert outcomes(one.complete(HELLO)) == [("first", "error"), ("first", "ok")]


@pytest.mark.parametrize(
    "step",
    [
        no_usage("four words for you"),
        wrong_usage(-5, 3, text="four words for you"),
        wrong_usage(3, 0, text="four words for you"),
    ],
    ids=["missing", "negative", "no output for a text"],
)  # fmt: skip
def test_usage_that_cannot_be_true_is_counted_by_us(one: router.Router, provider: Provider, step: object) -> None:
    provider.script("first", [step])
    done = one.complete(HELLO)
    usage = done.attempts[-1].usage
    assert usage is not None
    assert (usage.source, usage.output_tokens) == ("counted", 4)
    assert done.usage.completion_tokens == 4
    assert done.cost_usd is not None and done.cost_usd > 0


def test_a_stream_brings_chunks_and_then_the_whole_completion(one: router.Router, provider: Provider) -> None:
    provider.script("first", [reply("one two three four")])
    with one.complete(HELLO, stream=True) as stream:
        text = "".join(part.delta.get("content") or "" for chunk in stream for part in chunk.choices)
    assert text == stream.completion.text == "one two three four"
    assert stream.completion.cost_usd == Decimal("0.000011")
    assert one.ledger.request(stream.completion.id)["outcome"] == "ok"  # type: ignore[index]


def test_a_cut_stream_is_billed_for_what_was_received(one: router.Router, provider: Provider) -> None:
    provider.script("first", [cut_stream(after_chunks=3)])
    stream = one.complete(HELLO, stream=True)
    with pytest.raises(router.ProviderUnavailableError) as caught:
        for _ in stream:
            pass
    (attempt,) = caught.value.attempts
    assert attempt.usage is not None
    assert (attempt.outcome, attempt.usage.source) == ("error", "counted")
    assert attempt.cost_usd is not None and attempt.cost_usd > 0
    (row,) = one.ledger.attempts(stream.completion.id)
    assert row["cost_pusd"] == attempt.cost_usd * 10**12


def test_a_stream_closed_halfway_is_billed_and_disconnects(one: router.Router, provider: Provider) -> None:
    provider.script("first", [slow_chunks(0.2)])
    stream = one.complete(HELLO, stream=True)
    next(stream)
    stream.close()
    assert stream.completion.attempts[0].outcome == "cut"
    assert stream.completion.cost_usd is not None and stream.completion.cost_usd > 0
    assert list(stream) == []


def test_a_stream_dropped_halfway_is_billed_when_it_is_forgotten(one: router.Router, provider: Provider) -> None:
    provider.script("first", [slow_chunks(0.05)])
    stream = one.complete(HELLO, stream=True)
    next(stream)
    del stream
    assert one.ledger.rows("SELECT outcome FROM requests") == [{"outcome": "cut"}]


def test_a_cancelled_async_stream_is_billed(one: router.Router, provider: Provider) -> None:
    provider.script("first", [slow_chunks(0.2)])

    async def read() -> router.AsyncStream:
        stream = await one.acomplete(HELLO, stream=True)

        async def consume() -> None:
            async for _ in stream:
                pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return stream

    done = asyncio.run(read()).completion
    assert done.attempts[0].outcome == "cut"
    assert done.cost_usd is not None and done.cost_usd > 0


def test_a_stream_that_fails_before_its_first_chunk_falls_back(one: router.Router, provider: Provider) -> None:
    provider.always("first", status(500))
    with one.complete(HELLO, stream=True) as stream:
        list(stream)
    assert stream.completion.model == "second"


def test_a_slow_stream_ends_at_the_deadline(one: router.Router, provider: Provider) -> None:
    provider.script("first", [slow_chunks(0.4, text="a b c d e f g h i j k l")])
    stream = one.complete(HELLO, stream=True, timeout_s=2)
    with pytest.raises(router.DeadlineExceededError):
        list(stream)
    assert stream.completion.cost_usd is not None


def trickling_provider() -> tuple[socket.socket, str]:
    """A provider that sends a keep-alive now and then, and never an answer."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                is_stream = b'"stream"' in connection.recv(65536)
                kind, byte = (b"text/event-stream", b": wait\n\n") if is_stream else (b"application/json", b" ")
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nContent-Length: 1000\r\n\r\n")
                for _ in range(50):
                    connection.sendall(byte)
                    time.sleep(0.1)

    threading.Thread(target=serve, daemon=True).start()
    return server, f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_a_provider_that_trickles_cannot_stretch_the_deadline(tmp_path: Path, is_stream: bool) -> None:
    server, url = trickling_provider()
    (tmp_path / "trickle.yaml").write_text(
        f"version: 1\nmodels: {{slow: {{call: openai/slow, api_base: '{url}'}}}}\n"
        "rules: [{candidates: slow, strategy: fixed}]",
        encoding="utf-8",
    )
    with server, router.Router(tmp_path / "trickle.yaml", tmp_path / "trickle") as one:
        started = time.monotonic()
        with pytest.raises(router.DeadlineExceededError):
            one.complete(HELLO, timeout_s=1, stream=is_stream)
        assert time.monotonic() - started < 3


VICTIM = """
import sys, router
with router.Router(sys.argv[1], sys.argv[2]) as one:
    for number in range(10_000):
        print(one.complete([{"role": "user", "content": f"word {number}"}]).id, flush=True)
"""


def test_kill_9_loses_nothing_that_was_settled(one: router.Router, tmp_path: Path, provider: Provider) -> None:
    state = tmp_path / "killed"
    environ = {**os.environ, "TEST_KEY": "sk-test-0123456789abcdef"}
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(one.policy.path), str(state)], stdout=subprocess.PIPE, text=True, env=environ
    )
    assert victim.stdout is not None
    handed_over = [victim.stdout.readline().strip() for _ in range(5)]
    victim.send_signal(signal.SIGKILL)
    handed_over += victim.stdout.read().split()
    victim.wait()
    victim.stdout.close()
    ledger = Ledger(state / "ledger.sqlite3")
    rows = {row["id"]: row for row in ledger.rows("SELECT * FROM requests")}
    # The last line may be torn; every answer whose id was handed over whole is in the ledger, with its attempt.
    whole = [name for name in handed_over if len(name) == len(handed_over[0])]
    assert set(whole) <= set(rows)
    assert all(ledger.attempts(name) for name in rows)
    assert ledger.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    ledger.close()
