"""Reads months wherever their rows are: in the ledger, or in the files they were archived to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.errors import InvalidRequestError
from router.spend.closing_files import read_cells
from router.spend.closing_rows import month_us
from router.spend.prices.rerate import attempts_between

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

Rows = Callable[..., list[dict[str, Any]]]
"""Query and values to rows."""


@contextmanager
def month_rows(ledger: Ledger, month: str) -> Iterator[Rows]:
    """Reads a month's rows: the ledger's, or those of its archived files.

    Raises:
        InvalidRequestError: the month was archived, and a file is not there.
    """
    files = ledger.rows("SELECT part, file FROM archives WHERE month = ?", (month,))
    if not files:
        yield ledger.rows
        return
    connection = sqlite3.connect(":memory:")
    try:
        for row in files:
            if not Path(row["file"]).is_file():
                raise InvalidRequestError(f"{month} was archived to {row['file']}, which is not there; bring it back")
            _load(connection, row["part"], Path(row["file"]))
            late = ledger.rows(f"SELECT * FROM {row['part']} WHERE at_us >= ? AND at_us < ?", month_us(month))
            if late:
                # Columns that are younger than the archive are left out.
                kept = {one[1] for one in connection.execute(f"PRAGMA table_info({row['part']})")} & set(late[0])
                marks = ", ".join("?" * len(kept))
                connection.executemany(
                    f"INSERT INTO {row['part']} ({', '.join(kept)}) VALUES ({marks})",
                    [tuple(one[name] for name in kept) for one in late],
                )

        def rows(query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
            cursor = connection.execute(query, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

        yield rows
    finally:
        connection.close()


def _load(connection: sqlite3.Connection, table: str, path: Path) -> None:
    with read_cells(path) as (columns, rows):
        # Numbers become numbers by the columns' affinity; nothing is null as in the ledger, where it is no number.
        numeric = ("seq", "at_us", "end_us", "number", "cost_pusd", "attempts")
        kinds = [f"{name} {'NUMERIC' if name in numeric or name.endswith('_tokens') else 'TEXT'}" for name in columns]
        connection.execute(f"CREATE TABLE {table} ({', '.join(kinds)})")
        marks = ", ".join("?" * len(columns))
        connection.executemany(
            f"INSERT INTO {table} VALUES ({marks})", ([cell or None for cell in row] for row in rows)
        )


def spans(ledger: Ledger, first_us: int, after_us: int) -> Iterator[tuple[Rows, int, int]]:
    """A period in pieces, in the order of time: who reads a piece's rows, its first moment and the one after its last.

    Of archived months one is in memory at a time, and only until the next piece is asked for.

    Raises:
        InvalidRequestError: a month was archived, and a file is not there.
    """
    for row in ledger.rows("SELECT DISTINCT month FROM archives ORDER BY month"):
        start_us, end_us = month_us(row["month"])
        if end_us <= first_us or start_us >= after_us:
            continue
        if first_us < start_us:
            yield ledger.rows, first_us, start_us
        with month_rows(ledger, row["month"]) as rows:
            yield rows, max(first_us, start_us), min(end_us, after_us)
        first_us = end_us
    if first_us < after_us:
        yield ledger.rows, first_us, after_us


def attempts_of(ledger: Ledger, first_us: int, after_us: int) -> Iterator[Mapping[str, Any]]:
    """Calls of a period in the order of time, archived ones among them; raises as `spans`."""
    for rows, start_us, end_us in spans(ledger, first_us, after_us):
        yield from attempts_between(rows, start_us, end_us)
