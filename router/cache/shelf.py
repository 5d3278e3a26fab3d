"""Questions and answers of the semantic cache on disk, and what was learned of them: JSON and bytes, no pickle.

Several processes may share the file. What is deleted here is served by nobody any more, because an answer is read from
here each time it is served.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import numpy as np

from router.cache.exact import is_storable
from router.cache.neighbours import Floats
from router.cache.shelf_file import MIGRATIONS, MOST_LABELS, cull
from router.stores.private import keep_private
from router.stores.sqlite import Database

MOST_BYTES = 256_000
"""Of one answer."""
WRITES_PER_CULL = 128
BUSY_TIMEOUT_S = 1.0
"""A request that is paid for waits no longer than this for other processes that write."""
WIDTH_BYTES = 384 * 4


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A stored question, without its answer's text."""

    id: int
    text: str
    vector: Floats
    answer: str
    """Identity of its answer."""
    expires_s: float


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored answer."""

    model: str
    """Policy id of the model that wrote it."""
    payload: Mapping[str, Any]
    request_id: str
    created_s: float
    question: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """Whether a proposed answer was wrong, as the certifier takes it in."""

    task: str
    p_wrong: float
    wrong: bool
    audit: float | None
    features: np.ndarray[Any, np.dtype[np.float64]]
    request_id: str | None = None
    """Whose answer told."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A label for people to read."""

    max_error: str
    """The promise under which it was learned."""
    task: str
    p_wrong: float
    wrong: bool
    audit: float | None
    """Chance by which a would-be hit was drawn to be called all the same; None for any other."""
    at_s: float
    request_id: str | None


class Shelf:
    """One SQLite file in the state folder, readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        """Open or make it.

        Raises:
            StoreError: it is no database, or of a newer version.
        """
        keep_private(path)
        self._db = Database(path, MIGRATIONS, busy_timeout_s=BUSY_TIMEOUT_S)
        self._writes = 0
        self._asked: dict[int, int] = {}

    def turn(self) -> AbstractContextManager[Connection]:
        """For this thread alone while the block runs; no other thread forks meanwhile."""
        return self._db.connection()

    def add(
        self, partition: str, text: str, vector: Floats, answer: str, model: str, payload: Mapping[str, Any],
        request_id: str, *, ttl_s: float, owner: str = "", usd: float = 0.0,
    ) -> int | None:  # fmt: skip
        """Keep a question and its answer, which cost so much.

        Returns:
            Its number, or None when it cannot be kept (too long, no JSON form).
        """
        try:
            body = json.dumps(payload, ensure_ascii=True)
        except (TypeError, ValueError, RecursionError):
            return None
        if len(body) > MOST_BYTES:
            return None
        now_s = time.time()
        size = len(body) + len(text) + WIDTH_BYTES
        row = (partition, _plain(text), vector.astype("<f4").tobytes(), answer, model, body, request_id, now_s,
               now_s + ttl_s, owner, usd, size)  # fmt: skip
        with self._db.transaction() as connection:
            number = connection.execute(
                "INSERT INTO entries (partition, text, vector, answer, model, payload, request_id, created_s, "
                "expires_s, owner, usd, bytes, clock) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT value FROM clock))",
                row,
            ).lastrowid
            self._write_asked(connection)
            self._writes += 1
            if self._writes % WRITES_PER_CULL == 0:
                cull(connection, partition, now_s)
        return number

    def questions(self, partition: str, after: int) -> list[Question]:
        """Those of a partition that came after a number and still live, in their order."""
        with self._db.connection() as connection:
            rows = connection.execute(
                "SELECT id, text, vector, answer, expires_s FROM entries WHERE partition = ? AND id > ? AND "
                "expires_s > ? ORDER BY id",
                (partition, after, time.time()),
            ).fetchall()
        # A row of another shape was not written by this version.
        return [
            Question(number, text, np.frombuffer(vector, dtype="<f4"), answer, expires_s)
            for number, text, vector, answer, expires_s in rows
            if isinstance(text, str) and isinstance(answer, str) and _is_unit(vector)
        ]

    def deletions(self) -> int:
        """How many entries were ever deleted: a change says that some of those in memory may be gone."""
        with self._db.connection() as connection:
            (count,) = connection.execute("SELECT deletions FROM clock").fetchone()
            return int(count)

    def numbers(self, partition: str) -> set[int]:
        """Of all entries of a partition."""
        with self._db.connection() as connection:
            return {
                number for (number,) in connection.execute("SELECT id FROM entries WHERE partition = ?", (partition,))
            }

    def answer(self, number: int) -> Stored | None:
        """A living answer, or None: deleted, expired, or nothing that may be served."""
        with self._db.connection() as connection:
            row = connection.execute(
                "SELECT model, payload, request_id, created_s, text FROM entries WHERE id = ? AND expires_s > ?",
                (number, time.time()),
            ).fetchone()
        if row is None:
            return None
        try:
            payload = json.loads(row[1])
        except (TypeError, ValueError, RecursionError):
            return None  # also bytes, such as a planted pickle: never decoded
        return Stored(row[0], payload, row[2], row[3], str(row[4])) if _is_text_answer(payload) else None

    def held(self) -> list[tuple[int, str, str, float]]:
        """Number, model, request and moment (seconds since 1970) of every entry."""
        with self._db.connection() as connection:
            return connection.execute("SELECT id, model, request_id, created_s FROM entries").fetchall()

    def ask_for(self, number: int) -> None:
        """Count that an entry was asked for; written with the next entry or label: a hit waits for no writer."""
        with self._db.connection():
            self._asked[number] = self._asked.get(number, 0) + 1

    def drop(self, number: int | None = None, *, request_id: str | None = None) -> int:
        """Delete an entry by its number, or what a request left; how many there were."""
        with self._db.transaction() as connection:
            return connection.execute(
                "DELETE FROM entries WHERE id = ? OR request_id = ?", (number, request_id)
            ).rowcount

    def drop_same(self, partition: str, text: str) -> int:
        """Delete what was stored for the very same question; how many there were."""
        with self._db.transaction() as connection:
            return connection.execute(
                "DELETE FROM entries WHERE partition = ? AND text = ?", (partition, _plain(text))
            ).rowcount

    def purge(self) -> int:
        """Delete everything, labels included; how many entries there were."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM labels")
            return connection.execute("DELETE FROM entries").rowcount

    def add_label(self, promise: str, label: Label) -> None:
        """Keep what was learned, for the next start."""
        row = (promise, label.task, label.p_wrong, int(label.wrong), label.audit,
               label.features.astype("<f8").tobytes(), time.time(), label.request_id)  # fmt: skip
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT INTO labels (promise, task, p_wrong, wrong, audit, features, at_s, request_id) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            self._write_asked(connection)

    def labels(self, promise: str, width: int) -> list[Label]:
        """The latest ones, in their order.

        Args:
            promise: under which they were learned.
            width: how many features a label has.
        """
        with self._db.connection() as connection:
            rows: Sequence[Any] = connection.execute(
                "SELECT task, p_wrong, wrong, audit, features FROM labels WHERE promise = ? ORDER BY id DESC LIMIT ?",
                (promise, MOST_LABELS),
            ).fetchall()
        return [
            Label(task, p_wrong, bool(wrong), audit, np.frombuffer(features, dtype="<f8"))
            for task, p_wrong, wrong, audit, features in reversed(rows)
            if isinstance(features, bytes) and len(features) == width * 8
        ]

    def judged(self) -> list[Judged]:
        """All labels, without their features, in their order."""
        with self._db.connection() as connection:
            rows = connection.execute(
                "SELECT promise, task, p_wrong, wrong, audit, at_s, request_id FROM labels ORDER BY id"
            )
            return [Judged(row[0].split(" ", 1)[0], row[1], row[2], bool(row[3]), *row[4:]) for row in rows]

    def counts(self) -> dict[str, int]:
        """Entries, partitions and labels."""
        with self._db.connection() as connection:
            row = connection.execute(
                "SELECT (SELECT COUNT(*) FROM entries WHERE expires_s > ?), "
                "(SELECT COUNT(DISTINCT partition) FROM entries WHERE expires_s > ?), (SELECT COUNT(*) FROM labels)",
                (time.time(), time.time()),
            ).fetchone()
        return dict(zip(("entries", "partitions", "labels"), row, strict=True))

    def _write_asked(self, connection: Connection) -> None:
        connection.executemany(
            "UPDATE entries SET hits = hits + ?, clock = (SELECT value FROM clock) WHERE id = ?",
            [(count, number) for number, count in self._asked.items()],
        )
        self._asked.clear()

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # half a character has no form in the file


def _is_unit(vector: object) -> bool:
    """Whether a row's bytes are a vector of length 1: a longer one would be the nearest to every question."""
    if not isinstance(vector, bytes) or len(vector) != WIDTH_BYTES:
        return False
    numbers = np.frombuffer(vector, dtype="<f4").astype(np.float64)
    return bool(abs(numbers @ numbers - 1) < 1e-3)  # also False for what is no number


def _is_text_answer(payload: object) -> bool:
    if not isinstance(payload, dict) or not isinstance(payload.get("choices"), list) or len(payload["choices"]) != 1:
        return False
    choice = payload["choices"][0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict) or not isinstance(message.get("content"), str) or not message["content"].strip():
        return False
    return is_storable(payload) and not message.get("refusal") and not message.get("function_call")


def may_be_kept(payload: Mapping[str, Any]) -> bool:
    """Whether an answer is whole, one, text, and no refusal or call of a tool."""
    return _is_text_answer(dict(payload))
