"""A store on disk that holds text, and never decodes what it did not write."""

from __future__ import annotations

import logging
import os
import pickle
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.errors import StoreError
from router.stores.disk import TextStore

KEY = "k" * 64


class Bomb:
    """Sets off when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TextStore]:
    made = TextStore(tmp_path / "cache")
    yield made
    made.close()


def plant(
    folder: Path, *, key: Any = KEY, raw: int = 1, mode: int = 1, filename: str | None = None, value: Any
) -> None:
    """Write a row as a stranger with access to the folder could."""
    connection = sqlite3.connect(folder / "cache.db")
    with connection:
        connection.execute(
            "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, access_count, tag, size, mode,"
            " filename, value) VALUES (?, ?, 0, NULL, 0, 0, NULL, 0, ?, ?, ?)",
            (key, raw, mode, filename, value),
        )
    connection.close()


@pytest.mark.parametrize(
    "text", ["", "short", "é€😀\x00\n", "long " * 50_000], ids=["empty", "short", "odd", "in a file"]
)
def test_a_text_comes_back_as_it_was(store: TextStore, text: str) -> None:
    store.set(KEY, text, expire_s=60)
    assert store.get(KEY) == text


def test_an_unknown_expired_or_deleted_key_has_no_text(store: TextStore) -> None:
    assert store.get("nosuch") is None
    store.set(KEY, "x", expire_s=-1)
    assert store.get(KEY) is None
    store.set(KEY, "x", expire_s=60)
    assert (store.delete(KEY), store.delete(KEY), store.get(KEY)) == (True, False, None)


@pytest.mark.parametrize("value", [b"bytes", 3, None, ["a"]], ids=str)
def test_only_text_is_taken(store: TextStore, value: Any) -> None:
    with pytest.raises(TypeError, match="cache values are text"):
        store.set(KEY, value, expire_s=60)
    with pytest.raises(TypeError, match="cache keys are text"):
        store.set(value, "x", expire_s=60)


@pytest.mark.parametrize("mode", [1, 2, 3, 4, 5], ids=["raw", "binary", "text", "pickle", "unknown"])
def test_a_planted_pickle_is_dropped_and_never_unpickled(
    store: TextStore, tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    plant(tmp_path / "cache", mode=mode, value=pickle.dumps(Bomb(tmp_path / "boom")))
    with caplog.at_level(logging.WARNING):
        assert store.get(KEY) is None
    assert "a stranger may have planted it" in caplog.text
    assert not (tmp_path / "boom").exists()
    caplog.clear()
    assert store.get(KEY) is None
    assert caplog.text == ""  # the row is gone


@pytest.mark.parametrize("mode", [2, 4], ids=["binary", "pickle"])
def test_a_planted_pickle_in_a_file_is_dropped_as_well(store: TextStore, tmp_path: Path, mode: int) -> None:
    name = f"ab/cd/{'0' * 28}.val"
    (tmp_path / "cache" / name).parent.mkdir(parents=True)
    (tmp_path / "cache" / name).write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    plant(tmp_path / "cache", mode=mode, filename=name, value=None)
    assert store.get(KEY) is None
    assert not (tmp_path / "boom").exists()


def test_a_planted_key_is_never_unpickled(store: TextStore, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "boom"))
    plant(tmp_path / "cache", key=bomb, raw=0, value="x")
    plant(tmp_path / "cache", key=KEY, raw=0, value="x")
    assert store.get(KEY) is None
    with pytest.raises(StoreError, match="its key is marked as a pickle"):
        list(store._cache)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("name", ["../secret.txt", "{}/secret.txt", "ab/cd/../../../secret.txt"])
def test_a_planted_row_can_neither_read_nor_delete_a_file_outside(store: TextStore, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("token")
    plant(tmp_path / "cache", mode=3, filename=name.format(tmp_path), value=None)
    assert store.get(KEY) is None
    assert secret.read_text() == "token"


def test_a_damaged_store_counts_as_empty_and_says_so(
    store: TextStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.set(KEY, "x", expire_s=60)
    connection = sqlite3.connect(tmp_path / "cache" / "cache.db")
    connection.execute("DROP TABLE Cache")
    connection.close()
    with caplog.at_level(logging.WARNING):
        assert store.get(KEY) is None
        store.set(KEY, "y", expire_s=60)
        assert store.delete(KEY) is False
    assert caplog.text.count("delete the folder to start afresh") == 3


def test_a_store_whose_pages_are_damaged_opens_and_says_so(
    store: TextStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.set(KEY, "x", expire_s=60)
    store.close()
    path = tmp_path / "cache" / "cache.db"
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'Cache_store_time'").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    with caplog.at_level(logging.WARNING):
        TextStore(tmp_path / "cache").close()
    assert "malformed" in caplog.text


def test_what_is_no_store_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "cache.db").write_bytes(b"no database " * 100)
    with pytest.raises(StoreError, match=r"cache: the cache cannot be opened \(.*\); delete the folder"):
        TextStore(tmp_path / "cache")


def test_a_store_survives_its_process(store: TextStore, tmp_path: Path) -> None:
    store.set(KEY, "x", expire_s=60)
    again = TextStore(tmp_path / "cache")
    assert again.get(KEY) == "x"
    again.close()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TextStore]:
    monkeypatch.setattr("router.stores.disk.WRITES_PER_CULL", 10)
    made = TextStore(tmp_path / "small", size_limit_bytes=1 << 20)
    yield made
    made.close()


@pytest.mark.parametrize("size", [40_000, 4_000], ids=["in files", "in rows"])
def test_the_oldest_entries_go_first_when_all_are_worth_the_same(small: TextStore, size: int) -> None:
    for number in range(4_000_000 // size):
        small.set(str(number), "x" * size, expire_s=60)
    left = [int(key) for key in small.keys()]
    assert 500_000 < len(left) * size < 1.6 * (1 << 20)
    assert min(left) > 4_000_000 // size - len(left) - 20


def test_what_is_dear_or_asked_often_stays_and_who_floods_loses_only_his_own(small: TextStore, tmp_path: Path) -> None:
    small.set("dear", "x" * 40_000, expire_s=60, owner="flood", usd=0.01)
    small.set("often", "x" * 40_000, expire_s=60, owner="flood")
    small.set("seldom", "x" * 40_000, expire_s=60, owner="flood")
    small.set("quiet", "x" * 40_000, expire_s=60, owner="quiet")
    for _ in range(20):
        small.get("often")
    for number in range(60):
        small.set(str(number), "x" * 40_000, expire_s=60, owner="flood")
    assert {name for name in ("dear", "often", "seldom", "quiet") if small.get(name)} == {"dear", "often", "quiet"}
    again = TextStore(tmp_path / "small")
    assert again._clock == small._clock > 0
    again.close()


def test_threads_share_a_store(store: TextStore) -> None:
    def write(name: str) -> None:
        for number in range(20):
            store.set(f"{name}{number}", name, expire_s=60)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(store.get(f"{name}{number}") == name for name in "abcd" for number in range(20))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_can_write_although_threads_were_writing_when_it_was_born(store: TextStore) -> None:
    is_over = threading.Event()

    def write() -> None:
        while not is_over.is_set():
            store.set(KEY, "thread", expire_s=60)

    thread = threading.Thread(target=write)
    thread.start()
    for number in range(10):
        pid = os.fork()
        if not pid:
            for _ in range(20):  # a write that finds the file busy for too long is given up, as caches may
                store.set(str(number), "child", expire_s=60)
                if store.get(str(number)):
                    break
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    is_over.set()
    thread.join()
    assert [store.get(str(number)) for number in range(10)] == ["child"] * 10
