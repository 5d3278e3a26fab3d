"""SQLite files that threads and processes share."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from router.errors import StoreError
from router.stores.sqlite import Database

NOTES = ("CREATE TABLE notes (text TEXT NOT NULL);",)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")


def add(database: Database, text: str) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES (?)", (text,))


def stored(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY rowid")]
    finally:
        connection.close()


def in_child(work: Callable[[], None]) -> int:
    """Start a forked process that does the work; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_a_child_writes_outlives_the_closing_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite3"
    database = Database(path, NOTES)
    add(database, "parent")
    is_closed, parent_done = os.pipe()

    def work() -> None:
        add(database, "child, before")
        os.read(is_closed, 1)
        add(database, "child, after")

    pid = in_child(work)
    while "child, before" not in stored(path):
        pass
    database.close()
    os.write(parent_done, b"!")
    assert os.waitpid(pid, 0)[1] == 0
    assert stored(path) == ["parent", "child, before", "child, after"]


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_can_write_although_another_thread_was_writing_when_it_was_born(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite3"
    database = Database(path, NOTES)
    is_writing = threading.Event()

    def write() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO notes VALUES ('thread')")
            is_writing.set()
            threading.Event().wait(0.05)  # long enough for the fork to fall into it

    thread = threading.Thread(target=write)
    thread.start()
    is_writing.wait()
    pid = in_child(lambda: add(database, "child"))
    thread.join()
    assert os.waitpid(pid, 0)[1] == 0
    add(database, "parent")
    database.close()
    assert sorted(stored(path)) == ["child", "parent", "thread"]


def test_a_transaction_inside_another_becomes_part_of_it(tmp_path: Path) -> None:
    """The garbage collector may end a dropped stream, and so write its row, in the middle of another write."""
    database = Database(tmp_path / "notes.sqlite3", NOTES)
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES ('outer')")
        add(database, "inner")
    database.close()
    assert stored(tmp_path / "notes.sqlite3") == ["outer", "inner"]


def test_a_closed_file_opens_again_for_a_call_that_was_still_running(tmp_path: Path) -> None:
    database = Database(tmp_path / "notes.sqlite3", NOTES)
    database.close()
    add(database, "late")
    database.close()
    assert stored(tmp_path / "notes.sqlite3") == ["late"]


def test_a_file_that_others_keep_locked_is_named_when_it_cannot_be_made_ready(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite3"
    Database(path, NOTES).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"notes.sqlite3: cannot be written \(database is locked\)"):
        Database(path, (*NOTES, "CREATE TABLE more (text TEXT);"), busy_timeout_s=0.02)
    other.close()
