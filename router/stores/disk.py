"""A key-value store on disk that holds text and nothing but text: the only file that imports diskcache.

diskcache unpickles rows that are marked as pickles, whoever wrote them (CVE-2025-69872), also with its
`JSONDisk`. Ours stores text and refuses everything else.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.errors import StoreError
from router.stores.eviction import LEFT, Kept, victims
from router.stores.forks import ForkSafe
from router.stores.private import keep_folder_private

if TYPE_CHECKING:
    import diskcache

log = logging.getLogger(__name__)

SIZE_LIMIT_BYTES = 1 << 30
BUSY_TIMEOUT_S = 1.0
"""A request waits no longer than this for other processes that write to the store."""
WRITES_PER_CULL = 512
"""Looking for entries to evict at each write, as diskcache does by itself, doubles a write's cost."""
REMEMBERED = 50_000
"""Entries of which a process counts how often it was asked for them."""


class TextStore(ForkSafe):
    """Text by key, shared by threads and processes, bounded in size; what goes first: `router.stores.eviction`.

    A store that is damaged, locked or full counts as empty and says so in the log: no request fails for it.
    """

    def __init__(self, directory: Path, *, size_limit_bytes: int = SIZE_LIMIT_BYTES) -> None:
        self._directory, self._failures, self._limit_bytes = directory, _failures(), size_limit_bytes
        keep_folder_private(directory)
        self._cache = _open(directory, size_limit_bytes)
        self._writes = itertools.count(1)
        self._asked: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Key -> how often, and the clock then; of this process alone, because a write per hit would cost more."""
        self._clock = self._newest_clock()
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
        if text is not None:
            self._note(key)
        return text

    def set(self, key: str, text: str, *, expire_s: float, owner: str = "", usd: float = 0.0) -> None:
        """Keep a text for so many seconds.

        Args:
            key: its name.
            text: what is kept.
            expire_s: for how long.
            owner: whose it is, without spaces; who holds most loses first when the store is full.
            usd: what it cost to make.
        """
        try:
            with self._lock:
                self._cache.set(key, text, expire=expire_s, tag=f"{owner} {usd:.9g} {self._clock:.9g}")
                if next(self._writes) % WRITES_PER_CULL == 0:
                    self._cull()
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

    def _newest_clock(self) -> float:
        try:
            rows = self._cache._sql("SELECT tag FROM Cache ORDER BY store_time DESC LIMIT 1").fetchall()
        except self._failures as error:
            self._tell(error)
            return 0.0
        return _read_tag(rows[0][0])[2] if rows else 0.0

    def _note(self, key: str) -> None:
        hits, _ = self._asked.pop(key, (1, 0.0))
        self._asked[key] = (hits + 1, self._clock)
        while len(self._asked) > REMEMBERED:
            self._asked.popitem(last=False)

    def _cull(self) -> None:
        self._cache.expire()
        volume = self._cache.volume()
        if volume <= self._limit_bytes:
            return
        rows = self._cache._sql(
            "SELECT key, tag, MAX(size, LENGTH(CAST(value AS BLOB)), 1) FROM Cache WHERE raw = 1"
        ).fetchall()
        kept = [self._kept(key, tag, size) for key, tag, size in rows]
        self._clock = max([self._clock, *(one.clock for one in kept)])
        # The file holds more than the texts; what may stay of them shrinks in proportion.
        most = LEFT * self._limit_bytes / volume * sum(one.size for one in kept)
        gone, clock = victims(kept, most)
        for key in gone:
            self._cache.delete(key)
            self._asked.pop(key, None)
        self._clock = max(self._clock, clock)

    def _kept(self, key: str, tag: object, size: int | None) -> Kept[str]:
        owner, usd, clock = _read_tag(tag)
        hits, asked = self._asked.get(key, (1, 0.0))
        return Kept(key, owner, size or 1, usd, hits, max(clock, asked))

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


def _read_tag(tag: object) -> tuple[str, float, float]:
    """Owner, USD and clock of an entry; nothing of one that was written otherwise."""
    parts = tag.split(" ") if isinstance(tag, str) else []
    try:
        owner, usd, clock = parts
        return owner, max(0.0, float(usd)), max(0.0, float(clock))
    except ValueError:
        return "", 0.0, 0.0


def _is_own_file(name: str | None) -> bool:
    # A planted row could name any file of the machine, to be read or deleted as an entry.
    return name is not None and bool(re.fullmatch(r"[0-9a-f]{2}[/\\][0-9a-f]{2}[/\\][0-9a-f]{28}\.val", name))
