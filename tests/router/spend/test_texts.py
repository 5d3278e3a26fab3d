"""Text beside the ledger: kept where the policy asks, redacted before it is written, and gone when its time is over."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router import Router
from router._request import chat_request, embedding_request
from router.errors import StoreError
from router.spend.texts import DAY_US, FILE, TextReader, Texts
from router.transports.fake import FakeTransport

KEY = "sk-abcdef1234567890abcdef"
ASKED = f"MARKER: I am ada@example.org, my key is {KEY}"
ANSWER = {"choices": [{"message": {"role": "assistant", "content": "MARKER: hello ada@example.org"}}]}
MakeRouter = Callable[..., Router]


@pytest.fixture
def make(tmp_path: Path) -> MakeRouter:
    def made(data: str, *, default: Any = "MARKER: hello ada@example.org", cache: str = "false") -> Router:
        (tmp_path / "policy.yaml").write_text(
            f"version: 1\nmodels: [{{id: m, call: fake/m}}]\n{data}\n"
            f"rules: [{{candidates: [m], strategy: fixed, cache: {cache}}}]\n",
            encoding="utf-8",
        )
        return Router(tmp_path / "policy.yaml", tmp_path / "state", FakeTransport(default=default))

    return made


def ask(router: Router, text: str = ASKED, task: str = "chat", **options: Any) -> Any:
    return router.complete([{"role": "user", "content": text}], task=task, **options)


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def kept(folder: Path, task: str = "chat") -> list[Any]:
    with TextReader(folder) as reader:
        return [reader.text(request_id) for request_id, _ in reader.requests([task])]


@pytest.mark.parametrize("data", ["", "data: {store_text: none, keep_days: 7}"])
def test_without_being_asked_nothing_is_written(make: MakeRouter, tmp_path: Path, data: str) -> None:
    with make(data) as router:
        ask(router)
        list(ask(router, stream=True))
        assert b"MARKER" not in on_disk(tmp_path / "state")
    assert b"MARKER" not in on_disk(tmp_path / "state")
    assert not (tmp_path / "state" / FILE).exists()


def test_redacted_text_never_touches_the_disk_in_full(make: MakeRouter, tmp_path: Path) -> None:
    with make("data: {store_text: redacted}") as router:
        done = ask(router)
        written = on_disk(tmp_path / "state")
        assert b"MARKER" in written and b"ada@example" not in written and KEY.encode() not in written
    assert "ada@example.org" in done.text, "the caller gets the answer as it is"
    (one,) = kept(tmp_path / "state")
    assert one.messages == '[{"role": "user", "content": "MARKER: I am [email], my key is [key]"}]'
    assert (one.response, one.model, one.request_id) == ("MARKER: hello [email]", "m", done.id)


def test_full_text_is_kept_as_it_is(make: MakeRouter, tmp_path: Path) -> None:
    with make("data: {store_text: full}") as router:
        ask(router)
    (one,) = kept(tmp_path / "state")
    assert ASKED in one.messages and one.response == "MARKER: hello ada@example.org"


def test_streams_async_calls_cached_answers_and_tool_calls_are_kept_once_each(make: MakeRouter, tmp_path: Path) -> None:
    with make("data: {store_text: full}", cache="exact") as router:
        ask(router, "whole")
        list(ask(router, "streamed", stream=True))
        asyncio.run(router.acomplete([{"role": "user", "content": "awaited"}], task="chat"))
        assert ask(router, "whole").cache == "exact"
    assert sorted(one.messages.split('"content": ')[1] for one in kept(tmp_path / "state")) == [
        '"awaited"}]', '"streamed"}]', '"whole"}]', '"whole"}]',
    ]  # fmt: skip
    assert {one.response for one in kept(tmp_path / "state")} == {"MARKER: hello ada@example.org"}
    call = {"id": "c1", "type": "function", "function": {"name": "mail", "arguments": "{}"}}
    payload = {"choices": [{"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [call]}}]}
    with make("data: {store_text: full}", default=payload) as router:
        ask(router, task="tools")
    (one,) = kept(tmp_path / "state", "tools")
    assert one.response.startswith('{"tool_calls": [{"id": "c1"')


def test_what_has_no_good_end_is_not_kept(make: MakeRouter, tmp_path: Path) -> None:
    with make("data: {store_text: full}", default="one two three four") as router:
        with ask(router, "cut", stream=True) as stream:
            next(stream)
    with make("data: {store_text: full}", default=ValueError("broken")) as router, pytest.raises(ValueError, match="b"):
        ask(router, "broken")
    assert kept(tmp_path / "state") == []
    assert b"MARKER" not in on_disk(tmp_path / "state")


def test_only_the_tasks_that_are_named(make: MakeRouter, tmp_path: Path) -> None:
    with make("data: {store_text: full, tasks: [support]}") as router:
        ask(router, "MARKER one", task="support")
        ask(router, "MARKER two", task="legal")
        router.complete([{"role": "user", "content": "MARKER three"}])
    assert b"MARKER one" in on_disk(tmp_path / "state")
    assert b"MARKER two" not in on_disk(tmp_path / "state") and b"MARKER three" not in on_disk(tmp_path / "state")


def test_a_text_that_cannot_be_written_costs_no_answer(
    make: MakeRouter, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.spend.texts.BUSY_TIMEOUT_S", 0.02)
    with make("data: {store_text: full}") as router, caplog.at_level(logging.WARNING):
        ask(router, "first")
        other = sqlite3.connect(tmp_path / "state" / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        done = ask(router, "MARKER second")
        other.execute("DROP TABLE texts")
        other.execute("COMMIT")
        other.close()
        assert ask(router, "MARKER third").text and done.text
        router.complete([{"role": "user", "content": "MARKER", "extra": object()}], task="chat")
        assert router.ledger.rows("SELECT COUNT(*) AS n FROM requests WHERE outcome = 'ok'") == [{"n": 4}]
    assert caplog.text.count("is not kept") == 3 and "MARKER" not in caplog.text
    assert done.id in caplog.text


def test_lone_surrogates_are_kept_as_a_question_mark(tmp_path: Path) -> None:
    texts = Texts(tmp_path, is_redacted=False)
    texts.keep(chat_request([{"role": "user", "content": "a\ud800b"}]), None, ANSWER)
    assert texts.count() == 1
    texts.keep(embedding_request("x"), None, {"data": []})
    assert texts.count() == 1
    texts.close()


def test_text_goes_when_its_time_is_over_as_others_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, now_ns = Texts(tmp_path, is_redacted=False, keep_days=2), time.time_ns()
    for _ in range(3):
        texts.keep(chat_request([{"role": "user", "content": "OLD"}]), None, ANSWER)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns + 3 * DAY_US * 1000)
    texts.keep(chat_request([{"role": "user", "content": "NEW"}]), None, ANSWER)
    assert texts.count() == 1
    texts.close()
    assert b"NEW" in on_disk(tmp_path) and b"OLD" not in on_disk(tmp_path)


def test_text_goes_at_the_next_start_also_when_none_is_kept_any_more(
    make: MakeRouter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = time.time_ns()
    with make("data: {store_text: full, keep_days: 1}") as router:
        ask(router)
    make("data: {store_text: none}").close()
    assert len(kept(tmp_path / "state")) == 1
    monkeypatch.setattr(time, "time_ns", lambda: now_ns + 2 * DAY_US * 1000)
    assert kept(tmp_path / "state") == [], "over is over, also before it is deleted"
    make("data: {store_text: none}").close()
    assert b"MARKER" not in on_disk(tmp_path / "state")


def test_purging_leaves_no_byte_and_no_gap_in_the_books(make: MakeRouter, tmp_path: Path) -> None:
    with make("data: {store_text: full}") as router:
        for number in range(50):
            ask(router, f"MARKER {number} " + "long " * 2000)
        texts = Texts(tmp_path / "state")
        assert texts.purge(older_than_days=1) == 0
        assert texts.purge(older_than_days=0) == 50
        texts.close()
        assert b"MARKER" not in on_disk(tmp_path / "state")
        assert router.ledger.rows("SELECT COUNT(*) AS n FROM requests") == [{"n": 50}]
        ask(router)
    assert len(kept(tmp_path / "state")) == 1


def test_a_file_of_a_newer_version_is_refused_when_text_is_asked_for(make: MakeRouter, tmp_path: Path) -> None:
    make("data: {store_text: full}").close()
    connection = sqlite3.connect(tmp_path / "state" / FILE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    make("data: {store_text: none}").close()
    with pytest.raises(StoreError, match=r"texts\.sqlite3: has schema 99"):
        make("data: {store_text: full}")


def test_threads_write_each_text_once(tmp_path: Path) -> None:
    texts = Texts(tmp_path)

    def write() -> None:
        for _ in range(25):
            texts.keep(chat_request([{"role": "user", "content": ASKED}]), None, ANSWER)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts.count() == 200
    texts.close()


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="needs fork")
def test_a_router_that_was_forked_writes_in_both_processes(make: MakeRouter, tmp_path: Path) -> None:
    with make("data: {store_text: redacted}") as router:
        ask(router)
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                try:
                    for _ in range(10):
                        ask(router)
                finally:
                    os._exit(len(router.ledger.rows("SELECT id FROM requests")) < 11)
            children.append(child)
        for _ in range(10):
            ask(router)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert len(kept(tmp_path / "state")) == 41
