"""Files that a process may have open when it forks.

SQLite keeps its locks in the process's memory, beside those of the operating system. A child that inherits an open
file believes to hold what only its parent holds: it waits in vain for a transaction that another thread had open,
or writes into a log that its parent deletes on closing. So every file is closed, and in no thread's hands, at a fork.
"""

from __future__ import annotations

import os
import threading
import weakref


class ForkSafe:
    """A file that threads use in turn, under its lock, and that opens again by itself after `close()`.

    A subclass calls `__init__` once it can be closed: from then on another thread may fork.
    """

    def __init__(self) -> None:
        # Re-entrant: the garbage collector may end a dropped stream, and so write its row, in the middle of any use.
        self._lock = threading.RLock()
        with _registry:
            _files.add(self)

    def close(self) -> None:
        """Close the file, as far as this thread can."""
        raise NotImplementedError


_files: weakref.WeakSet[ForkSafe] = weakref.WeakSet()
_registry = threading.Lock()
_held: list[ForkSafe] = []


def _before_fork() -> None:
    _registry.acquire()
    for file in list(_files):
        file._lock.acquire()
        _held.append(file)
        file.close()


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop()._lock.release()
    _registry.release()


def _after_fork_in_child() -> None:
    global _registry
    _registry = threading.Lock()
    _held.clear()
    for file in _files:
        file._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
