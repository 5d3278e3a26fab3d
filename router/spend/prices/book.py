"""Price books: what was known of prices, and since when.

A book is one file in a folder; its name is the moment its content became known (`2026-11-22T09-00-00Z.json`, or
`2026-11-22.yaml` for the beginning of that day, UTC). Each book is complete: the newest one counts, the older ones
stay as they are and say what was known before. Inside, `effective` says from which day on a price holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from router.config import read_yaml
from router.errors import PolicyError
from router.spend.prices.entry import PriceEntry
from router.spend.prices.price import Price, price_on
from router.validation import validated

_STEM = re.compile(r"(\d{4}-\d{2}-\d{2})(?:T(\d{2})-(\d{2})-(\d{2})Z)?")
SUFFIXES = (".json", ".yaml", ".yml")

Entries = tuple[PriceEntry, ...]
Find = Callable[[str], tuple[Entries, str] | None]
"""litellm model string -> its prices and who says so, or None: unknown."""


class BookFile(BaseModel):
    """The content of a book."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal["1"]
    source: str = ""
    prices: dict[
        Annotated[str, Field(min_length=1, max_length=200)],
        Annotated[
            list[PriceEntry],
            BeforeValidator(lambda value: value if isinstance(value, list) else [value]),
            Field(min_length=1),
        ],
    ]
    """By litellm model string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Prices by litellm model string."""

    entries: Mapping[str, Entries]
    known_at: datetime | None = None
    """UTC; None: not kept in a folder yet."""
    source: str = ""
    path: Path | None = None

    def prices(self, call: str) -> tuple[Price, ...]:
        """A model's dated prices; empty when the book does not know it."""
        return tuple(entry.price() for entry in self.entries.get(call, ()))

    def price(self, call: str, day: date) -> Price | None:
        """The price that holds on a day, or None: unknown."""
        return price_on(self.prices(call), day)


def book_files(folder: Path) -> list[tuple[datetime, Path]]:
    """The books of a folder with the moments they were known, oldest first.

    Raises:
        PolicyError: a book's name is no moment.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES) if folder.is_dir() else []
    return sorted((_known_at(path), path) for path in paths)


def _known_at(path: Path) -> datetime:
    found = _STEM.fullmatch(path.stem)
    try:
        if found:
            return datetime.fromisoformat(f"{found[1]}T{':'.join(part or '00' for part in found.groups()[1:])}+00:00")
    except ValueError:
        pass
    raise PolicyError(
        f"{path}: a price book is named by the moment it was known, such as 2026-11-22.yaml or "
        "2026-11-22T09-00-00Z.json; rename it, or keep it elsewhere"
    )


def read_book(path: Path) -> Book:
    """One book.

    Raises:
        PolicyError: with one line per mistake: file, line, column, value and remedy.
    """
    file = validated(BookFile, document := read_yaml(path))
    twice = [
        document.problem(("prices", call), f"{call}: two prices are effective from the same day; give each its own")
        for call, entries in file.prices.items()
        if len({entry.effective for entry in entries}) < len(entries)
    ]
    if twice:
        raise PolicyError(*twice)
    known = _known_at(path) if _STEM.fullmatch(path.stem) else None
    entries = {call: tuple(held) for call, held in file.prices.items()}
    return Book(entries=entries, known_at=known, source=file.source, path=path)


def book_as_of(folder: Path, moment: datetime | None = None) -> Book | None:
    """The book that was the newest at a moment (default: now), or None when none was known yet."""
    known = [path for known_at, path in book_files(folder) if moment is None or known_at <= moment]
    return read_book(known[-1]) if known else None


def write_book(folder: Path, entries: Mapping[str, Entries], source: str, now: datetime) -> Path:
    """Keep a book as known since now; the older ones stay.

    Raises:
        OSError: the folder cannot be written, or holds a book of this second.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now.astimezone(UTC):%Y-%m-%dT%H-%M-%SZ}.json"
    plain = {call: [plain_entry(entry) for entry in held] for call, held in sorted(entries.items())}
    with path.open("x", encoding="utf-8") as file:
        json.dump({"version": 1, "source": source, "prices": plain}, file, indent=1)
        file.write("\n")
    return path


def plain_entry(entry: PriceEntry) -> dict[str, object]:
    """An entry as it stands in a book: only what is given, amounts as text to keep every digit."""
    return entry.model_dump(mode="json", exclude_defaults=True)


def with_news(old: Mapping[str, Entries], calls: Iterable[str], find: Find, today: date) -> dict[str, Entries]:
    """A book's next edition: what is found is added to what was known, which stays.

    A price that differs from the one that held until now and carries no day of its own holds from today on.
    """
    return {**old, **{call: _joined(old.get(call, ()), found[0], today) for call in calls if (found := find(call))}}


def _joined(old: Entries, new: Entries, today: date) -> Entries:
    by_day = {entry.effective: entry for entry in old}
    by_day |= {entry.effective: entry for entry in new if entry.effective is not None or entry.effective not in by_day}
    held, told = _on(tuple(by_day.values()), today), _on(new, today)
    if told is not None and (held is None or held.price().id != told.price().id):
        by_day[today] = told.model_copy(update={"effective": today})
    return tuple(sorted(by_day.values(), key=lambda entry: entry.effective or date.min))


def _on(entries: Sequence[PriceEntry], day: date) -> PriceEntry | None:
    held = [entry for entry in entries if (entry.effective or date.min) <= day]
    return max(held, key=lambda entry: entry.effective or date.min, default=None)
