"""The text of requests and their answers, beside the ledger: only where the policy asks for it, and not for ever.

The ledger's rows are never changed; text must be deletable. So it has a file of its own, `texts.sqlite3`, whose rows
carry their last day and which anybody may delete without losing a cent of the books.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.answers import response_text
from router.errors import StoreError
from router.redact import cleaned
from router.spend.windows import DAY_US
from router.stores.private import keep_private
from router.stores.sqlite import Database
from router.types import Request, to_json

log = logging.getLogger(__name__)

FILE = "texts.sqlite3"
MIGRATIONS = (
    """
CREATE TABLE texts (
  request_id TEXT PRIMARY KEY, at_us INTEGER NOT NULL, expires_us INTEGER NOT NULL,
  messages TEXT NOT NULL, response TEXT NOT NULL
);

CREATE INDEX texts_expire ON texts (expires_us);

CREATE INDEX texts_at ON texts (at_us);
""",
)
BUSY_TIMEOUT_S = 1.0
"""A request that is paid for waits no longer than this to have its text written."""
EXPIRED_PER_WRITE = 20
"""More than one, so that a backlog melts; few, so that no request pays for a large one."""


class Texts:
    """Texts of finished chat requests in one SQLite file; shared by threads and processes like the ledger.

    Args:
        folder: the state directory.
        is_redacted: run the built-in redaction over every text before it is written.
        keep_days: how long a text is kept; holds for what is written from now on.
        tasks: only requests of these tasks; None: all.

    Raises:
        StoreError: the file has a newer schema or is no database.
    """

    def __init__(
        self, folder: Path, *, is_redacted: bool = True, keep_days: int = 30, tasks: Collection[str] | None = None
    ) -> None:
        keep_private(folder / FILE)
        self._db = Database(folder / FILE, MIGRATIONS, busy_timeout_s=BUSY_TIMEOUT_S)
        self._is_redacted, self._keep_us = is_redacted, keep_days * DAY_US
        self._tasks = None if tasks is None else frozenset(tasks)

    def keep(self, request: Request, task: str | None, payload: Mapping[str, Any]) -> None:
        """Write a request and its answer. Never raises: the answer is paid for; a failure is logged without text."""
        if request.kind != "chat" or (self._tasks is not None and task not in self._tasks):
            return
        try:
            self._write(request, payload)
        except Exception as error:  # noqa: BLE001  no reason to lose an answer
            log.warning("the text of request %s is not kept (%s)", request.id, type(error).__name__)

    def _write(self, request: Request, payload: Mapping[str, Any]) -> None:
        messages, response = list(request.messages), response_text(payload)
        if self._is_redacted:
            messages, response = cleaned(messages), cleaned(response)
        now_us = time.time_ns() // 1000
        row = (request.id, now_us, now_us + self._keep_us, _plain(to_json(messages)), _plain(response))
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO texts VALUES (?, ?, ?, ?, ?)", row)
            connection.execute(
                "DELETE FROM texts WHERE request_id IN "
                "(SELECT request_id FROM texts WHERE expires_us <= ? ORDER BY expires_us LIMIT ?)",
                (now_us, EXPIRED_PER_WRITE),
            )

    def purge(self, older_than_days: float | None = None) -> int:
        """Delete the texts whose time is over, or all that are older than so many days; returns how many.

        The file is overwritten where they stood, and the log that SQLite keeps beside it is emptied.
        """
        now_us = time.time_ns() // 1000
        column, until_us = ("expires_us", now_us) if older_than_days is None else (
            "at_us", now_us - int(older_than_days * DAY_US)
        )  # fmt: skip
        with self._writing() as connection:
            cursor = connection.execute(f"DELETE FROM texts WHERE {column} <= ?", (until_us,))  # noqa: S608
        if cursor.rowcount:
            with self._db.connection() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return cursor.rowcount

    def count(self) -> int:
        """How many texts there are."""
        with self._db.connection() as connection:
            return int(connection.execute("SELECT COUNT(*) FROM texts").fetchone()[0])

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._db.connection() as connection:
            connection.execute("PRAGMA secure_delete = ON")  # else deleted text stays in the file's free pages
            with self._db.transaction():
                yield connection

    def close(self) -> None:
        """Close the file."""
        self._db.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One answered request with its text."""

    request_id: str
    task: str
    model: str
    messages: str
    """A JSON list of messages."""
    response: str
    """The answer's text; of an answer that called tools, `{"tool_calls": [...]}`."""


class TextReader:
    """Reads ledger and texts together, changing neither; use it as a context manager.

    Raises:
        StoreError: one of the files is missing or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        for name in ("ledger.sqlite3", FILE):
            if not (folder / name).is_file():
                raise StoreError(f"{folder / name}: no such file")
        try:
            self._connection = sqlite3.connect(f"{(folder / 'ledger.sqlite3').resolve().as_uri()}?mode=ro", uri=True)
            self._connection.execute("ATTACH ? AS kept", (f"{(folder / FILE).resolve().as_uri()}?mode=ro",))
        except sqlite3.Error as error:
            raise StoreError(f"{folder}: cannot be read as a ledger with text ({error})") from error

    def requests(
        self, tasks: Sequence[str], *, since_us: int = 0, without: Sequence[str] = ()
    ) -> list[tuple[str, str]]:
        """Id and task of every request that was answered well, with text whose time is not over; shadows are none.

        Args:
            tasks: of these tasks.
            since_us: not before; microseconds since 1970.
            without: workflows to leave out.
        """
        marks, others = (", ".join("?" * len(names)) for names in (tasks, without))
        return self._rows(
            "SELECT r.id, r.task FROM kept.texts AS t JOIN requests AS r ON r.id = t.request_id "  # noqa: S608  marks
            f"WHERE r.outcome = 'ok' AND r.strategy IS NOT 'shadow' AND t.at_us >= ? AND t.expires_us > ? "
            f"AND r.task IN ({marks}) AND (r.workflow IS NULL OR r.workflow NOT IN ({others}))",
            (since_us, time.time_ns() // 1000, *tasks, *without),
        )

    def text(self, request_id: str) -> Kept | None:
        """One request with its text; None when it has been deleted meanwhile."""
        rows = self._rows(
            "SELECT r.id, r.task, r.model_served, t.messages, t.response "
            "FROM kept.texts AS t JOIN requests AS r ON r.id = t.request_id WHERE r.id = ?",
            (request_id,),
        )
        names = ("request_id", "task", "model", "messages", "response")
        return Kept(**dict(zip(names, rows[0], strict=True))) if rows else None

    def _rows(self, query: str, values: Sequence[Any]) -> list[Any]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"cannot be read as a ledger with text ({error})") from error

    def __enter__(self) -> TextReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()


def open_texts(folder: Path, store_text: str, *, keep_days: int, tasks: Collection[str] | None = None) -> Texts | None:
    """The texts as a policy's `data` asks for them; None for `none`. What is over is deleted, also under `none`.

    Raises:
        StoreError: text is to be kept and its file cannot be opened.
    """
    is_asked = store_text != "none"
    if not is_asked and not (folder / FILE).is_file():
        return None
    try:
        texts = Texts(folder, is_redacted=store_text != "full", keep_days=keep_days, tasks=tasks)
    except StoreError as error:
        if is_asked:
            raise
        log.warning("texts whose time is over could not be deleted: %s", error)
        return None
    try:
        texts.purge()
    except (StoreError, sqlite3.Error) as error:  # another process is at it
        log.warning("texts whose time is over could not be deleted: %s", error)
    if is_asked:
        return texts
    texts.close()
    return None


def _plain(text: str) -> str:
    """Lone surrogates have no UTF-8 form."""
    return text.encode("utf-8", "replace").decode()
