"""Deletes stored answers, all or those that a choice names. What is deleted is served by no process any more.

Entries do not say who asked: the ledger does, by the id of the request that left them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.cache.exact import ExactCache
from router.cache.shelf import Shelf
from router.stores.disk import TextStore
from router.types import TAG_NAMES

Rows = Callable[[str, Sequence[Any]], list[dict[str, Any]]]
"""The ledger's `rows`."""
AT_ONCE = 500
"""Requests that are looked up in one query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which answers to delete: those for which everything that is given holds; nothing given means all."""

    task: str | None = None
    model: str | None = None
    """Policy id of the model that wrote it, or `source:NAME` for one out of a file."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Named or free-form tags of the request."""
    before_s: float | None = None
    """Stored before this moment, seconds since 1970."""

    @property
    def is_all(self) -> bool:
        """Whether nothing is named."""
        return self == Choice()

    @property
    def asks_the_ledger(self) -> bool:
        """Whether the entry alone cannot tell."""
        return self.task is not None or bool(self.tags)


@dataclass(frozen=True, slots=True)
class Purged:
    """What was deleted."""

    exact: int = 0
    semantic: int = 0
    unknown: int = 0
    """Entries left alone because the ledger does not know their request."""


@dataclass(frozen=True, slots=True)
class _Held:
    """An entry of either tier."""

    key: Any
    model: str
    request_id: str
    at_s: float


def purge(folder: Path, rows: Rows, choice: Choice) -> Purged:
    """Delete stored answers of both tiers.

    Args:
        folder: the state folder.
        rows: asks its ledger.
        choice: which; all of them takes the labels as well, which hold no text and belong to nobody alone.
    """
    exact = semantic = 0
    unknown: set[str] = set()
    if (folder / "semantic.sqlite3").is_file():
        with closing(Shelf(folder / "semantic.sqlite3")) as shelf:
            if choice.is_all:
                semantic = shelf.purge()
            else:
                held = [_Held(*row) for row in shelf.held()]
                semantic = sum(shelf.drop(one.key) for one in _chosen(held, rows, choice, unknown))
    if (folder / "cache").is_dir():
        with closing(TextStore(folder / "cache")) as store:
            if choice.is_all:
                exact = store.clear()
            else:
                exact = sum(store.delete(one.key) for one in _chosen(_exactly(store), rows, choice, unknown))
    return Purged(exact, semantic, len(unknown))


def _exactly(store: TextStore) -> Iterable[_Held]:
    cache = ExactCache(store)
    for key in store.keys():
        if entry := cache.get(key):
            yield _Held(key, entry.model, entry.request_id, entry.at_s)


def _chosen(held: Iterable[_Held], rows: Rows, choice: Choice, unknown: set[str]) -> list[_Held]:
    likely = [
        one
        for one in held
        if choice.model in (None, one.model) and (choice.before_s is None or one.at_s < choice.before_s)
    ]
    if not choice.asks_the_ledger:
        return likely
    chosen = []
    for start in range(0, len(likely), AT_ONCE):
        part = likely[start : start + AT_ONCE]
        marks = ", ".join("?" * len(part))
        query = f"SELECT id, task, {', '.join(TAG_NAMES)}, tags FROM requests WHERE id IN ({marks})"  # noqa: S608
        asked = {row["id"]: row for row in rows(query, [one.request_id for one in part])}
        unknown.update(one.request_id for one in part if one.request_id not in asked)
        chosen += [one for one in part if (row := asked.get(one.request_id)) and _fits(row, choice)]
    return chosen


def _fits(row: Mapping[str, Any], choice: Choice) -> bool:
    free = json.loads(row["tags"])
    told = (row[name] if name in TAG_NAMES else free.get(name) for name in choice.tags)
    return choice.task in (None, row["task"]) and all(a == b for a, b in zip(told, choice.tags.values(), strict=True))
