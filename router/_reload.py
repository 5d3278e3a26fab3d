"""Hot reload: the kit that holds now, exchanged whole for that of a changed policy; a bad file changes nothing.

A request keeps the kit that it began with. What kits share (the ledger, sessions, memories, caches whose meaning is
the same) goes from one to the next; other files are closed, and open again by themselves for requests under way.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from router._kit import Kit, make_kit, note
from router.errors import ConfigurationError
from router.policy import Policy
from router.spend.ledger import Ledger

log = logging.getLogger(__name__)

Signature = tuple[tuple[str, tuple[int, ...]], ...]
"""Of each file: its path, and what changes whenever it is written; nothing of one that is missing."""


class Kits:
    """The kit that holds now, and the one before. Threads may share it, and it is safe to fork.

    Args:
        path: of the policy file.
        folder: of the state.
        ledger: where requests are written down.

    Raises:
        ConfigurationError: the policy or its artifact is wrong, or a store cannot be opened.
    """

    def __init__(self, path: Path, folder: Path, ledger: Ledger) -> None:
        self._path, self._folder, self._ledger = path, folder, ledger
        self.now: Kit = make_kit(path, folder, ledger)
        note(self.now, ledger)
        self._before: Kit | None = None
        self._loaded = self.now.policy
        """What was read last, also after a rollback: its files are the ones to look at."""
        self._seen: Signature | None = None
        self._tried: Signature | None = None
        self._told: tuple[Signature, str] | None = None
        """The failure that the log knows of; None while all is well."""
        # By process: in a child made by fork, a thread of the parent might hold it for ever.
        self._locks: dict[int, threading.RLock] = {}

    def reload(self) -> str:
        """Read the policy again; see `Router.reload`."""
        with self._lock:
            new = make_kit(self._path, self._folder, self._ledger, self.now)
            self._loaded = new.policy
            if new is not self.now:
                self._exchange(new, before=self.now)
            return new.policy.version

    def rollback(self) -> str:
        """Go back to the kit before; see `Router.rollback`."""
        with self._lock:
            if self._before is None:
                raise ConfigurationError("no policy was loaded before this one; change the file and call reload()")
            self._ledger.holds.adopt(self._before.policy.budgets.each)
            self._exchange(self._before, before=None)
            self._seen = self._tried = _signature(self._loaded)  # until the files change, they are not loaded again
            self._told = None
            return self.now.policy.version

    def look(self) -> None:
        """Load the policy if its files have changed; what is wrong with them is told once in the log.

        Files are loaded once two looks in a row see them alike: at the first they may be half written.
        """
        with self._lock:
            seen = _signature(self._loaded)
            is_still, self._seen = seen == self._seen, seen
            # After a failure again and again: what is missing may be a file that no good policy has named yet.
            if not is_still or (seen == self._tried and self._told is None):
                return
            self._tried = seen
            try:
                self.reload()
                self._told = None
            except Exception as error:  # noqa: BLE001  whatever it is, the policy that holds goes on
                told = (seen, "; ".join(str(error).splitlines()) or type(error).__name__)
                if told != self._told:
                    log.warning("the policy is not loaded, version %s goes on: %s", self.now.policy.version, told[1])
                self._told = told

    def _exchange(self, new: Kit, *, before: Kit | None) -> None:
        old, self.now, self._before = self.now, new, before
        new.books.memory.serve(new.policy.cacheable)
        log.info("policy version %s holds, after %s", new.policy.version, old.policy.version)
        note(new, self._ledger)
        old.close(going_on=new)

    @property
    def _lock(self) -> threading.RLock:
        return self._locks.setdefault(os.getpid(), threading.RLock())


class Watch:
    """A thread that looks every so many seconds whether the policy has changed; a forked child gets its own.

    Args:
        kits: whose files; once nobody holds them any more, the thread ends.
        every_s: seconds between two looks.
    """

    def __init__(self, kits: Kits, every_s: float) -> None:
        self._kits, self._every_s, self._is_closed = weakref.ref(kits), every_s, False
        self._going: dict[int, tuple[threading.Thread, threading.Event]] = {}
        self.go_on()

    def go_on(self) -> None:
        """Start the thread where this process has none yet."""
        if self._is_closed or os.getpid() in self._going:
            return
        stop = threading.Event()
        arguments = (self._kits, self._every_s, stop)
        thread = threading.Thread(target=_look_often, args=arguments, name="clearbar-reload", daemon=True)
        if self._going.setdefault(os.getpid(), (thread, stop))[0] is thread:
            thread.start()

    def close(self) -> None:
        """End the thread, after the look that it may be at."""
        self._is_closed = True
        thread, stop = self._going.pop(os.getpid(), (None, None))
        if thread is not None and stop is not None:
            stop.set()
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join()


def seconds_between_looks(given: float | None) -> float | None:
    """Argument, else `CLEARBAR_RELOAD_S`, else None; 0 is None.

    Raises:
        ConfigurationError: it is no number of seconds.
    """
    found = os.environ.get("CLEARBAR_RELOAD_S") or 0 if given is None else given
    try:
        seconds = float(found)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        name = "CLEARBAR_RELOAD_S" if given is None else "reload_s"
        raise ConfigurationError(f"{name} must be seconds between two looks, such as 5, or 0 for none; got {found!r}")
    return seconds or None


def _look_often(kits: weakref.ref[Kits], every_s: float, stop: threading.Event) -> None:
    while not stop.wait(every_s):
        one = kits()
        if one is None:
            return
        one.look()
        del one


def _signature(policy: Policy) -> Signature:
    return tuple((str(path), _stamp(path)) for path in _files(policy))


def _files(policy: Policy) -> Iterator[Path]:
    yield from policy.files
    approvals = policy.path.parent / policy.approvals.folder if policy.approvals is not None else None
    for folder in (policy.evidence_folder, policy.price_books, policy.artifact, approvals):
        if folder is not None:
            yield from sorted(folder.glob("*"))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
