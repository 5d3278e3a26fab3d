"""A key-value store on disk that holds text and nothing but text: the only file that imports diskcache.

diskcache unpickles rows that are marked as pickles, whoever wrote them (CVE-2025-69872), also with its
`JSONDisk`. Ours stores text and refuses everything else.
"""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.errors import StoreError

if TYPE_CHECKING:
    import diskcache

log = logging.getLogger(__name__)

SIZE_LIMIT_BYTES = 1 << 30
WRITES_PER_CULL = 512
"""Looking for entries to evict at each write, as diskcache does by itself, doubles a write's cost."""


class TextStore:
    """Text by key, shared by threads and processes, bounded in size (the oldest entries go first)."""

    def __init__(self, directory: Path, *, size_limit_bytes: int = SIZE_LIMIT_BYTES) -> None:
        self._cache = _open(directory, size_limit_bytes)
        self._writes = itertools.count(1)

    def get(self, key: str) -> str | None:
        """The text behind a key, or None. A row that is no text is dropped and logged, never decoded."""
        try:
            text: str | None = self._cache.get(key)
        except StoreError as error:
            log.warning("dropped an entry of the cache: %s", error)
            self._cache.delete(key)
            return None
        return text

    def set(self, key: str, text: str, *, expire_s: float) -> None:
        """Keep a text for so many seconds."""
        self._cache.set(key, text, expire=expire_s)
        if next(self._writes) % WRITES_PER_CULL == 0:
            self._cache.cull()

    def delete(self, key: str) -> bool:
        """Drop a key; True when it was there."""
        return bool(self._cache.delete(key))

    def close(self) -> None:
        """Close the store's files."""
        self._cache.close()


def _open(directory: Path, size_limit_bytes: int) -> diskcache.Cache:
    import sqlite3

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
            if mode not in (MODE_RAW, MODE_TEXT) or read or not (filename or isinstance(value, str)):
                raise StoreError("it is marked as something other than text; a stranger may have planted it")
            return super().fetch(mode, filename, value, read)

    try:
        return diskcache.Cache(
            str(directory), disk=TextDisk, size_limit=size_limit_bytes, cull_limit=0, eviction_policy="least-recently-stored"
        )
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{directory}: the cache cannot be opened ({error}); delete the folder") from error
