"""Rows of a month in the order in which they were written, and the hash over them that an auditor can make again.

A row's cells are texts as a CSV file holds them: whole numbers in digits, other numbers as Python's `repr` writes them,
nothing for null. The digest is SHA-256 over one JSON list of cells a line, in the order of `seq`. An empty text and
null look the same in a CSV file, so they hash the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from router.errors import InvalidRequestError
from router.spend.money import PICO

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

TABLES = ("requests", "attempts", "entries", "charges")
"""What a close covers."""
PAGE = 5_000
Cells = Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What rows add up to."""

    columns: tuple[str, ...]
    rows: int
    last_seq: int
    """0: there are no rows."""
    cost_usd: str
    """Sum of what is known, as plain digits."""
    unpriced: int
    """Rows without a known cost."""
    sha256: str


@dataclass(slots=True)
class Adder:
    """Adds rows up as they come."""

    columns: tuple[str, ...]
    rows: int = 0
    last_seq: int = 0
    pusd: int = 0
    unpriced: int = 0
    _sha: Any = field(default_factory=hashlib.sha256)
    _seq: int = field(init=False)
    _cost: int | None = field(init=False)

    def __post_init__(self) -> None:
        # Entries move amounts between columns that sum to zero; the settled one is what was spent.
        name = next((one for one in ("cost_pusd", "settled_pusd") if one in self.columns), None)
        self._seq, self._cost = self.columns.index("seq"), None if name is None else self.columns.index(name)

    def add(self, cells: Cells) -> None:
        """Take one row.

        Raises:
            ValueError: rows are not in the order of `seq`, or a number is none.
        """
        seq = int(cells[self._seq])
        if seq <= self.last_seq:
            raise ValueError(f"row {seq} stands behind row {self.last_seq}")
        self.rows, self.last_seq = self.rows + 1, seq
        if self._cost is not None and cells[self._cost]:
            self.pusd += int(cells[self._cost])
        elif self._cost is not None:
            self.unpriced += 1
        self._sha.update(json.dumps(list(cells), ensure_ascii=False, separators=(",", ":")).encode() + b"\n")

    def digest(self) -> Digest:
        """What they add up to so far."""
        return Digest(
            columns=self.columns, rows=self.rows, last_seq=self.last_seq, cost_usd=f"{Decimal(self.pusd) / PICO:f}",
            unpriced=self.unpriced, sha256=self._sha.hexdigest(),
        )  # fmt: skip


def cell(value: Any) -> str:
    """A value of SQLite as a cell.

    >>> [cell(value) for value in (None, 12, 0.1, "a")]
    ['', '12', '0.1', 'a']
    """
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def added(columns: Sequence[str], rows: Iterable[Cells]) -> Digest:
    """Rows, added up."""
    adder = Adder(tuple(columns))
    for cells in rows:
        adder.add(cells)
    return adder.digest()


def month_us(month: str) -> tuple[int, int]:
    """First microsecond since 1970 of a month (UTC) such as `2026-11`, and of the next one.

    Raises:
        InvalidRequestError: it is no month.
    """
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidRequestError(f"{month!r} is no month such as 2026-11") from None
    after = (first + timedelta(days=32)).replace(day=1)
    return int(first.timestamp()) * 1_000_000, int(after.timestamp()) * 1_000_000


def columns_of(ledger: Ledger, table: str) -> tuple[str, ...]:
    """The columns of a table as they are now."""
    return tuple(row["name"] for row in ledger.rows("SELECT name FROM pragma_table_info(?)", (table,)))


def raw_rows(
    ledger: Ledger, table: str, month: str, columns: Sequence[str], *, after_seq: int = 0, last_seq: int = 1 << 62
) -> Iterator[Mapping[str, Any]]:
    """Rows of a month, page by page, in the order of `seq`."""
    period = month_us(month)
    (ends,) = ledger.rows(
        f"SELECT MIN(seq) AS first, MAX(seq) AS last FROM {table} WHERE at_us >= ? AND at_us < ?", period
    )
    if ends["first"] is None:
        return
    after_seq, last_seq = max(after_seq, ends["first"] - 1), min(last_seq, ends["last"])
    while True:
        # The plus keeps SQLite from the index of moments, after which it would sort the month for every page.
        page = ledger.rows(
            f"SELECT {', '.join(columns)} FROM {table} WHERE seq > ? AND seq <= ? AND +at_us >= ? AND +at_us < ? "
            "ORDER BY seq LIMIT ?",
            (after_seq, last_seq, *period, PAGE),
        )
        yield from page
        if len(page) < PAGE:
            return
        after_seq = page[-1]["seq"]


def month_digest(ledger: Ledger, table: str, month: str, digest: Digest | None = None) -> Digest:
    """What a month's rows add up to; of an earlier digest, the columns and rows it covered."""
    columns = columns_of(ledger, table) if digest is None else digest.columns
    last_seq = 1 << 62 if digest is None else digest.last_seq
    rows = raw_rows(ledger, table, month, columns, last_seq=last_seq)
    return added(columns, ([cell(row[name]) for name in columns] for row in rows))
