"""SQLite files that several threads and processes share, each with a schema number and migrations."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from router.errors import StoreError

BUSY_TIMEOUT_S = 30.0


class Database:
    """One SQLite file in WAL mode: a connection per thread, safe after fork.

    Args:
        path: the file; its folder is made when missing.
        migrations: SQL scripts; script n brings a file from schema number n to n + 1.

    Raises:
        StoreError: the file has a newer schema than this version knows, or is no database.
    """

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        self.path = path
        self._migrations = migrations
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[tuple[int, threading.Thread, sqlite3.Connection]] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path.parent}: cannot be made ({error.strerror}); give another state folder") from error
        self._migrate()

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit mode."""
        pid = os.getpid()
        # After a fork the parent's connection must be neither used nor closed (SQLite, "How To Corrupt",
        # section 2.6); it stays in the list, untouched, until the child ends.
        if getattr(self._local, "pid", None) != pid:
            self._local.connection, self._local.pid = self._open(), pid
        connection: sqlite3.Connection = self._local.connection
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of it is kept, or none."""
        connection = self.connection()
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

    def close(self) -> None:
        """Close this process's connections."""
        pid = os.getpid()
        with self._lock:
            for owner, _, connection in self._connections:
                if owner == pid:
                    connection.close()
            self._connections = [entry for entry in self._connections if entry[0] != pid]
        self._local = threading.local()

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            _use_wal(connection)
            # NORMAL: a commit outlives the process, also under kill -9; only a power cut may lose the last ones.
            connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be opened ({error}); move it away to start afresh") from error
        self._keep(connection)
        return connection

    def _keep(self, connection: sqlite3.Connection) -> None:
        """Remember a connection for `close()`, and close those whose thread has ended."""
        pid = os.getpid()
        with self._lock:
            ended = [entry for entry in self._connections if entry[0] == pid and not entry[1].is_alive()]
            for entry in ended:
                entry[2].close()
                self._connections.remove(entry)
            self._connections.append((pid, threading.current_thread(), connection))

    def _migrate(self) -> None:
        connection = self.connection()
        if self._schema_number(connection) == len(self._migrations):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Read again under the lock: another process may have migrated meanwhile.
            for number in range(self._schema_number(connection), len(self._migrations)):
                for statement in self._migrations[number].split(";\n\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number + 1}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

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
