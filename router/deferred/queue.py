"""The queue: requests that wait, the batches they went into, and their answers, in `batches.sqlite3`.

It holds the text of requests until they are answered, and answers until their days are over; so the file is its
owner's alone, and what is deleted is overwritten.

States of a request: `waiting` -> `batched` -> `answered`; from the first two also `live` -> `answered` or `failed`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from router.stores.private import keep_private
from router.stores.sqlite import Database

FILE = "batches.sqlite3"
LOCK = "batches.lock"
MIGRATIONS = (
    """
CREATE TABLE requests (
  id TEXT PRIMARY KEY, state TEXT NOT NULL, at_us INTEGER NOT NULL, live_us INTEGER NOT NULL,
  deadline_us INTEGER NOT NULL, request TEXT NOT NULL, params TEXT, decision TEXT, held TEXT, batch TEXT,
  billed INTEGER, asked INTEGER NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '', answer TEXT, done_us INTEGER
);

CREATE INDEX requests_state ON requests (state, batch);

CREATE TABLE batches (
  id TEXT PRIMARY KEY, at_us INTEGER NOT NULL, model TEXT NOT NULL, deployment TEXT NOT NULL, provider_id TEXT,
  is_open INTEGER NOT NULL DEFAULT 1
);
""",
)
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One request in the queue."""

    id: str
    state: str
    at_us: int
    live_us: int
    """When it is asked live at the latest."""
    deadline_us: int
    request: str
    """As JSON; empty once it is answered or has failed."""
    params: str | None
    """What its line of the batch asks for, as JSON."""
    decision: str | None
    held: str | None
    """USD that budgets hold for its line."""
    batch: str | None
    billed: int | None
    """Whether its line was billed; 0: no, None: nobody knows."""
    asked: int
    """How often it was asked live."""
    note: str
    """Why it is where it is."""
    answer: str | None
    done_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch that is under way."""

    id: str
    """Ours; the provider has it in the batch's metadata."""
    at_us: int
    model: str
    deployment: str
    """As JSON."""
    provider_id: str | None
    """None: nobody knows whether the provider has it."""


class Queue:
    """Requests that wait, in a state folder; shared by threads and processes.

    Raises:
        StoreError: the file cannot be made, is no database, or has a newer schema.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        keep_private(folder / FILE)
        self._db = Database(folder / FILE, MIGRATIONS)

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Whether it is this caller's turn to work on the queue: one at a time; a killed process's turn is over."""
        try:
            import fcntl
        except ImportError:  # no such locks on this system: at most one process may run
            yield True
            return
        with (self._folder / LOCK).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True  # closing the file ends it

    def add(self, request_id: str, request: str, *, live_us: int, deadline_us: int) -> None:
        """Put a request at the end."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO requests (id, state, at_us, live_us, deadline_us, request) "
                "VALUES (?, 'waiting', ?, ?, ?, ?)",
                (request_id, _now_us(), live_us, deadline_us, request),
            )

    def get(self, request_id: str) -> Row | None:
        """One request, or None."""
        return next(iter(self._rows("id = ?", (request_id,))), None)

    def in_state(self, state: str, batch: str | None = None) -> list[Row]:
        """Requests in a state, oldest first; of one batch, or of all."""
        if batch is None:
            return self._rows("state = ?", (state,))
        return self._rows("state = ? AND batch = ?", (state, batch))

    def open_batches(self) -> list[Batch]:
        """Batches that are not settled yet, oldest first."""
        return self._batches("is_open = 1", ())

    def batch(self, batch_id: str) -> Batch:
        """One batch, which must be there."""
        return self._batches("id = ?", (batch_id,))[0]

    def send(
        self, batch_id: str, model: str, deployment: str, rows: Sequence[tuple[str, str, str, str | None]]
    ) -> None:
        """Note a batch before it is sent; `rows` are its requests: id, params, decision, held."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO batches (id, at_us, model, deployment) VALUES (?, ?, ?, ?)",
                (batch_id, _now_us(), model, deployment),
            )
            connection.executemany(
                "UPDATE requests SET state = 'batched', params = ?, decision = ?, held = ?, batch = ?, note = '' "
                "WHERE id = ?",
                [(params, decision, held, batch_id, one) for one, params, decision, held in rows],
            )

    def sent(self, batch_id: str, provider_id: str) -> None:
        """Note what the provider calls a batch."""
        with self._writing() as connection:
            connection.execute("UPDATE batches SET provider_id = ? WHERE id = ?", (provider_id, batch_id))

    def close_batch(self, batch_id: str) -> None:
        """Note that nothing more is expected of a batch."""
        with self._writing() as connection:
            connection.execute("UPDATE batches SET is_open = 0 WHERE id = ?", (batch_id,))

    def note(self, request_id: str, note: str) -> None:
        """Note why a request still waits."""
        with self._writing() as connection:
            connection.execute("UPDATE requests SET note = ? WHERE id = ?", (note[:500], request_id))

    def wait_again(self, batch_id: str) -> None:
        """A batch that the provider never got: its requests wait for another."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE requests SET state = 'waiting', batch = NULL WHERE batch = ? AND state = 'batched'", (batch_id,)
            )
            connection.execute("UPDATE batches SET is_open = 0 WHERE id = ?", (batch_id,))

    def to_live(self, request_id: str, note: str, *, is_billed: bool | None = False) -> None:
        """A request is to be asked live, and why; `is_billed`: whether its line in a batch was, None: nobody knows."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE requests SET state = 'live', note = ?, billed = ? WHERE id = ?",
                (note[:500], None if is_billed is None else int(is_billed), request_id),
            )

    def asking(self, request_id: str) -> None:
        """Note that a request is being asked live, before it is."""
        with self._writing() as connection:
            connection.execute("UPDATE requests SET asked = asked + 1 WHERE id = ?", (request_id,))

    def end(self, request_id: str, *, answer: str | None = None, note: str | None = None) -> None:
        """A request has its answer, or (without one) has failed for the reason of the note; its text is deleted."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE requests SET state = ?, answer = ?, note = COALESCE(?, note), request = '', params = NULL, "
                "decision = NULL, done_us = ? WHERE id = ?",
                ("failed" if answer is None else "answered", answer, note, _now_us(), request_id),
            )

    def forget(self, days: int) -> None:
        """Delete requests that ended more than so many days ago."""
        with self._writing() as connection:
            until_us = _now_us() - days * DAY_US
            gone = connection.execute("DELETE FROM requests WHERE done_us < ?", (until_us,)).rowcount
            connection.execute("DELETE FROM batches WHERE is_open = 0 AND at_us < ?", (until_us,))
        if gone:
            with self._db.connection() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _rows(self, where: str, values: tuple[str, ...]) -> list[Row]:
        names = ", ".join(Row.__slots__)
        with self._db.connection() as connection:
            found = connection.execute(f"SELECT {names} FROM requests WHERE {where} ORDER BY at_us, id", values)  # noqa: S608
            return [Row(**dict(zip(Row.__slots__, row, strict=True))) for row in found]

    def _batches(self, where: str, values: tuple[str, ...]) -> list[Batch]:
        names = ", ".join(Batch.__slots__)
        with self._db.connection() as connection:
            found = connection.execute(f"SELECT {names} FROM batches WHERE {where} ORDER BY at_us, id", values)  # noqa: S608
            return [Batch(**dict(zip(Batch.__slots__, row, strict=True))) for row in found]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._db.connection() as connection:
            connection.execute("PRAGMA secure_delete = ON")  # else deleted text stays in the file's free pages
            with self._db.transaction():
                yield connection


def _now_us() -> int:
    return time.time_ns() // 1000
