"""Leases: which processes own holds, and which of them are gone.

Every process that holds something is an owner, a row that it renews while it lives.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from router.errors import StoreError
from router.spend.windows import SECOND_US
from router.stores.processes import is_alive, this_process
from router.stores.sqlite import Database

LEASE_S = 30.0
"""How long holds outlive a process that died out of sight: long enough to survive a stall of the whole machine."""
HEARTBEAT_S = LEASE_S / 3

log = logging.getLogger(__name__)


class Lease:
    """This process as an owner; moments are microseconds since 1970."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.owner = ""
        """Its name; empty before `start`."""
        self._pid, self._renewed_us = 0, 0
        self._stop: threading.Event | None = None

    def start(self) -> None:
        """Become an owner, once in every process; a forked child is one of its own."""
        if self._pid == os.getpid():
            return
        self.owner, self._pid, self._renewed_us = f"{os.getpid()}-{os.urandom(6).hex()}", os.getpid(), 0
        self._stop = threading.Event()
        threading.Thread(target=_beat, args=(weakref.ref(self), self._stop), name="clearbar-holds", daemon=True).start()

    def keep(self, connection: sqlite3.Connection, now_us: int) -> None:
        """Renew it where that is due, within a transaction."""
        if now_us - self._renewed_us > HEARTBEAT_S * SECOND_US:
            self._write(connection, now_us)

    def renew(self, now_us: int) -> None:
        """Renew it, due or not."""
        with self._db.transaction() as connection:
            self._write(connection, now_us)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """A lease that was renewed in a transaction which fails is due again; without it a hold would never end."""
        try:
            yield
        except BaseException:
            self._renewed_us = 0
            raise

    def close(self) -> None:
        """Renew it no more; from when it has run out the owner counts as gone, though the process lives on."""
        if self._stop is not None and self._pid == os.getpid():  # a forked child has only copied it
            self._stop.set()
            with self._db.transaction() as connection:
                connection.execute("UPDATE owners SET process = NULL WHERE id = ?", (self.owner,))
            self._stop, self._pid = None, 0

    def ended(self, connection: sqlite3.Connection, now_us: int) -> list[str]:
        """The other owners that are gone: dead, or out of sight with a lease that has run out."""
        owners = connection.execute("SELECT id, expires_us, process FROM owners WHERE id <> ?", (self.owner,))
        gone = []
        for owner, expires_us, process in owners:
            lives = is_alive(process)
            if lives is False or (lives is None and expires_us < now_us):
                gone.append(owner)
        return gone

    def _write(self, connection: sqlite3.Connection, now_us: int) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO owners VALUES (?, ?, ?)",
            (self.owner, now_us + int(LEASE_S * SECOND_US), this_process()),
        )
        self._renewed_us = now_us


def _beat(of: weakref.ref[Lease], stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        lease = of()
        if lease is None:
            return
        try:
            lease.renew(time.time_ns() // 1000)
        except StoreError as error:  # tried again at the next beat
            log.warning("the lease of this process's holds was not renewed: %s", error)
        del lease
