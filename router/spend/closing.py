"""Month close: what a month came to, fixed by hashes that hang on each other.

Nothing is moved or locked: rows are append-only anyway. A close says which rows made up the month and what they add up
to; what is written of that month later is an adjustment and is shown as one.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from router.errors import InvalidRequestError
from router.spend.closing_rows import TABLES, Digest, month_digest, month_us
from router.spend.focus_frame import month_of
from router.spend.money import PICO

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

BEGINNING = "0" * 64
"""What the first close hangs on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """A closed month."""

    month: str
    closed_us: int
    previous: str
    """Hash of the close before."""
    tables: dict[str, Digest]
    sha256: str
    """Of `content`."""

    @property
    def content(self) -> str:
        """What is hashed: canonical JSON of all the rest."""
        said = {
            "month": self.month, "closed_us": self.closed_us, "previous": self.previous,
            "tables": {name: asdict(digest) for name, digest in self.tables.items()},
        }  # fmt: skip
        return json.dumps(said, sort_keys=True, separators=(",", ":"))

    @property
    def cost_usd(self) -> Decimal:
        """Calls and other charges of the month, as far as their cost is known."""
        return Decimal(self.tables["attempts"].cost_usd) + Decimal(self.tables["charges"].cost_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """What was written of a closed month after its close."""

    month: str
    table: str
    rows: int
    cost_usd: Decimal
    unpriced: int


def closings(ledger: Ledger) -> list[Closing]:
    """All closed months, in order."""
    return [_read(row) for row in ledger.rows("SELECT content, sha256 FROM closings ORDER BY number")]


def close_month(ledger: Ledger, month: str, now_us: int | None = None) -> Closing:
    """Close a month.

    Raises:
        InvalidRequestError: it is not over, is closed already, or one before it is open.
    """
    now_us = time.time_ns() // 1000 if now_us is None else now_us
    first_us, after_us = month_us(month)
    if after_us > now_us:
        raise InvalidRequestError(f"{month} is not over yet; it can be closed from its end (UTC) on")
    held = closings(ledger)
    if held and held[-1].month >= month:
        raise InvalidRequestError(
            f"{month} is closed, or lies before {held[-1].month}, which is; what is written of it now is an adjustment"
        )
    start_us = month_us(held[-1].month)[1] if held else 0
    if (open_us := _first_open(ledger, start_us, first_us)) is not None:
        raise InvalidRequestError(f"{month} cannot be closed before {month_of(open_us)}, which has rows, too")
    # Read without a lock, so that calls go on: what is written of the month meanwhile has a later number.
    made = Closing(
        month=month, closed_us=now_us, previous=held[-1].sha256 if held else BEGINNING,
        tables={table: month_digest(ledger, table, month) for table in TABLES}, sha256="",
    )  # fmt: skip
    sha256 = hashlib.sha256(made.content.encode()).hexdigest()
    with ledger.batch() as connection:
        if closings(ledger) != held:
            raise InvalidRequestError("another process closed a month meanwhile; look at `clearbar spend close`")
        connection.execute(
            "INSERT INTO closings (month, closed_us, content, sha256) VALUES (?, ?, ?, ?)",
            (month, now_us, made.content, sha256),
        )
    return closings(ledger)[-1]


def adjustments(ledger: Ledger, month: str | None = None) -> list[Adjustment]:
    """What was written of closed months (or of one) after their close; months without any are left out."""
    found = []
    for closing in closings(ledger):
        if month is not None and closing.month != month:
            continue
        first_us, after_us = month_us(closing.month)
        for table in ("attempts", "charges"):
            (row,) = ledger.rows(
                "SELECT COUNT(*) AS n, COALESCE(SUM(cost_pusd / 1000000), 0) AS whole, "
                "COALESCE(SUM(cost_pusd % 1000000), 0) AS rest, COALESCE(SUM(cost_pusd IS NULL), 0) AS unpriced "
                f"FROM {table} WHERE at_us >= ? AND at_us < ? AND seq > ?",
                (first_us, after_us, closing.tables[table].last_seq),
            )
            if row["n"]:
                cost_usd = Decimal(row["whole"] * 1_000_000 + row["rest"]) / PICO
                found.append(Adjustment(month=closing.month, table=table, rows=row["n"], cost_usd=cost_usd,
                                        unpriced=row["unpriced"]))  # fmt: skip
    return found


def broken_links(held: list[Closing]) -> Iterator[str]:
    """Where the chain of closes does not hold by itself."""
    previous = BEGINNING
    for closing in held:
        if hashlib.sha256(closing.content.encode()).hexdigest() != closing.sha256:
            yield f"{closing.month}: the close was changed; its hash is not that of its content"
        if closing.previous != previous:
            yield f"{closing.month}: hangs on {closing.previous[:12]}..., the close before it is {previous[:12]}..."
        previous = closing.sha256


def differences(month: str, table: str, said: Digest, found: Digest) -> Iterator[str]:
    """What rows add up to otherwise than their close says."""
    for name in ("rows", "cost_usd", "unpriced", "last_seq", "sha256"):
        if getattr(said, name) != getattr(found, name):
            yield f"{month} {table}: {name} is {getattr(found, name)}, the close says {getattr(said, name)}"


def _first_open(ledger: Ledger, start_us: int, end_us: int) -> int | None:
    found = [
        row["at_us"]
        for table in TABLES
        for row in ledger.rows(
            f"SELECT MIN(at_us) AS at_us FROM {table} WHERE at_us >= ? AND at_us < ?", (start_us, end_us)
        )
        if row["at_us"] is not None
    ]
    return min(found, default=None)


def _read(row: dict[str, Any]) -> Closing:
    said = json.loads(row["content"])
    tables = {name: Digest(**{**one, "columns": tuple(one["columns"])}) for name, one in said.pop("tables").items()}
    return Closing(**said, tables=tables, sha256=row["sha256"])
