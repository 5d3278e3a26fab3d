"""SQLite files that several threads and processes share, each with a schema number and migrations."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from router.errors import StoreError
from router.stores.forks import ForkSafe

BUSY_TIMEOUT_S = 30.0


class Database(ForkSafe):
    """One SQLite file in WAL mode: one connection per process, which threads take in turn; safe to fork.

    SQLite lets one writer in at a time and makes the others poll; taking turns wakes them.

    Args:
        path: the file; its folder is made when missing.
        migrations: SQL scripts; script n brings a file from schema number n to n + 1.
        busy_timeout_s: how long a write waits for other processes that write.

    Raises:
        StoreError: the file has a newer schema than this version knows, or is no database.
    """

    def __init__(self, path: Path, migrations: Sequence[str], *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.path = path
        self._migrations, self._busy_timeout_s = migrations, busy_timeout_s
        self._connection: sqlite3.Connection | None = None
        super().__init__()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path.parent}: cannot be made ({error.strerror}); give another state folder") from error
        self._migrate()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """The connection, in autocommit mode, for this thread alone while the block runs."""
        with self._lock:
            if self._connection is None:
                self._connection = self._open()
            yield self._connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of it is kept, or none. One inside another becomes part of it."""
        with self.connection() as connection:
            if connection.in_transaction:
                yield connection
                return
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.OperationalError as error:
                raise StoreError(f"{self.path}: cannot be written ({error}); free space or mend the folder") from error

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file, while writers go on; it writes to nothing that lasts."""
        connection = self._open()
        try:
            # Where the machine can, pages are read where they lie in memory: a scan takes a tenth less time.
            for setting in (f"mmap_size={1 << 36}", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {setting}")
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """Close the file; it opens again by itself if a call that is still running has to be booked."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self.path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
            )
            _use_wal(connection)
            # NORMAL: a commit outlives the process, also under kill -9; only a power cut may lose the last ones.
            connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be opened ({error}); move it away to start afresh") from error
        return connection

    def _migrate(self) -> None:
        with self.connection() as connection:
            if self._schema_number(connection) == len(self._migrations):
                return
            with self.transaction():
                # Read again under the lock: another process may have migrated meanwhile.
                for number in range(self._schema_number(connection), len(self._migrations)):
                    for statement in self._migrations[number].split(";\n\n"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {number + 1}")

    def _schema_number(self, connection: sqlite3.Connection) -> int:
        try:
            number = int(connection.execute("PRAGMA user_version").fetchone()[0])
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path}: is no SQLite database ({error}); move it away to start afresh") from error
        if number > len(self._migrations):
            raise StoreError(
                f"{self.path}: has schema {number}, this version knows {len(self._migrations)}; upgrade clearbar"
            )
        return number


def _use_wal(connection: sqlite3.Connection) -> None:
    # SQLite waits for other locks by itself, but not for this switch, which processes that start together race for.
    until_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until_s:
                raise
            time.sleep(0.01)
