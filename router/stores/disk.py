"""A key-value store on disk that holds text and nothing but text: the only file that imports diskcache.

diskcache unpickles rows that are marked as pickles, whoever wrote them (CVE-2025-69872), also with its
`JSONDisk`. Ours stores text and refuses everything else.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.errors import StoreError
from router.stores.forks import ForkSafe

if TYPE_CHECKING:
    import diskcache

log = logging.getLogger(__name__)

SIZE_LIMIT_BYTES = 1 << 30
BUSY_TIMEOUT_S = 1.0
"""A request waits no longer than this for other processes that write to the store."""
WRITES_PER_CULL = 512
"""Looking for entries to evict at each write, as diskcache does by itself, doubles a write's cost."""


class TextStore(ForkSafe):
    """Text by key, shared by threads and processes, bounded in size (the oldest entries go first).

    A store that is damaged, locked or full counts as empty and says so in the log: no request fails for it.
    """

    def __init__(self, directory: Path, *, size_limit_bytes: int = SIZE_LIMIT_BYTES) -> None:
        self._directory, self._failures = directory, _failures()
        self._cache = _open(directory, size_limit_bytes)
        self._writes = itertools.count(1)
        super().__init__()

    def get(self, key: str) -> str | None:
        """The text behind a key, or None. A row that is no text is dropped and logged, never decoded."""
        try:
            with self._lock:
                text: str | None = self._cache.get(key)
        except StoreError as error:
            log.warning("dropped an entry of the cache: %s", error)
            self.delete(key)
            return None
        except self._failures as error:
            self._tell(error)
            return None
        return text

    def set(self, key: str, text: str, *, expire_s: float) -> None:
        """Keep a text for so many seconds."""
        try:
            with self._lock:
                self._cache.set(key, text, expire=expire_s)
                if next(self._writes) % WRITES_PER_CULL == 0:
                    self._cache.cull()
        except self._failures as error:
            self._tell(error)

    def delete(self, key: str) -> bool:
        """Drop a key; True when it was there."""
        try:
            with self._lock:
                return bool(self._cache.delete(key))
        except self._failures as error:
            self._tell(error)
            return False

    def keys(self) -> Iterator[str]:
        """All keys, also of entries whose time is over."""
        with self._lock:  # diskcache's own list of keys stops at the first planted one
            rows = self._cache._sql("SELECT key FROM Cache WHERE raw = 1").fetchall()
        yield from (key for (key,) in rows if isinstance(key, str))

    def clear(self) -> int:
        """Drop everything; how many entries there were."""
        with self._lock:
            return int(self._cache.clear())

    def _tell(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        log.warning("the cache in %s does not work (%s); delete the folder to start afresh", self._directory, reason)

    def close(self) -> None:
        """Close this thread's file; the others' close when their threads end."""
        self._cache.close()


def _failures() -> tuple[type[Exception], ...]:
    import sqlite3

    import diskcache

    return sqlite3.Error, OSError, StoreError, diskcache.Timeout


def _text_disk() -> type[diskcache.Disk]:
    import diskcache
    from diskcache.core import MODE_RAW, MODE_TEXT

    class TextDisk(diskcache.Disk):  # type: ignore[misc,unused-ignore]
        """Stores text, refuses everything else."""

        def put(self, key: Any) -> tuple[str, bool]:
            if not isinstance(key, str):
                raise TypeError(f"cache keys are text, not {type(key).__name__}")
            return key, True

        def get(self, key: Any, raw: bool) -> str:
            if not raw or not isinstance(key, str):
                raise StoreError("its key is marked as a pickle; a stranger may have planted it")
            return key

        def store(self, value: Any, read: bool, key: Any = None) -> Any:
            if read or not isinstance(value, str):
                raise TypeError(f"cache values are text, not {type(value).__name__}")
            return super().store(value, read, key)

        def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
            in_row = mode == MODE_RAW and isinstance(value, str)
            if read or not (in_row or (mode == MODE_TEXT and filename)):
                raise StoreError("it is marked as something other than text; a stranger may have planted it")
            if not in_row and not _is_own_file(filename):
                raise StoreError("its file lies outside the store; a stranger may have planted it")
            return super().fetch(mode, filename, value, read)

        def remove(self, file_path: str) -> None:
            if _is_own_file(file_path):
                super().remove(file_path)

    return TextDisk


def _open(directory: Path, size_limit_bytes: int) -> diskcache.Cache:
    import sqlite3

    import diskcache

    try:
        return diskcache.Cache(
            str(directory),
            timeout=BUSY_TIMEOUT_S,
            disk=_text_disk(),
            size_limit=size_limit_bytes,
            cull_limit=0,
            eviction_policy="least-recently-stored",
        )
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{directory}: the cache cannot be opened ({error}); delete the folder") from error


def _is_own_file(name: str | None) -> bool:
    # A planted row could name any file of the machine, to be read or deleted as an entry.
    return name is not None and bool(re.fullmatch(r"[0-9a-f]{2}[/\\][0-9a-f]{2}[/\\][0-9a-f]{28}\.val", name))
