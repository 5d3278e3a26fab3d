"""Closed months as files: written, read back, and only then taken out of the database."""

from __future__ import annotations

import csv
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from router.errors import InvalidRequestError
from router.spend.closing import Closing, broken_links, closings, differences
from router.spend.closing_rows import TABLES, Cells, Digest, added, cell, month_digest, month_us, raw_rows

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

BATCH = 10_000
Form = Literal["csv", "parquet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """A file of a closed month's rows."""

    month: str
    table: str
    path: Path
    rows: int
    file_sha256: str
    """Of the file's bytes, as `sha256sum` prints it."""
    is_removed: bool
    """Whether the rows have left the database."""


def archive(ledger: Ledger, before: str, folder: Path, form: Form = "parquet", *, keep: bool = False) -> list[Archived]:
    """Write the rows of closed months to files, and take them out of the database. Sums and closes stay.

    Args:
        ledger: whose rows.
        before: the first month that stays, such as `2026-10`.
        folder: for files `MONTH.TABLE.csv` or `.parquet`; none is overwritten.
        form: of the files.
        keep: only write them.

    Raises:
        InvalidRequestError: rows have changed since their close, a file exists, or the newest row of a table would go.
    """
    month_us(before)
    gone = {(row["month"], row["part"]) for row in ledger.rows("SELECT month, part FROM archives")}
    made: list[Archived] = []
    folder.mkdir(parents=True, exist_ok=True)
    for closing in closings(ledger):
        if closing.month >= before or (closing.month, TABLES[0]) in gone:
            continue
        written = [_write(ledger, closing, table, folder, form, keep) for table in TABLES]
        if not keep:
            _remove(ledger, closing, written)
        made += written
    return made


def verify(ledger: Ledger) -> Iterator[str]:
    """What does not hold of the closed months: links, rows in the database, archived files, sums by the hour."""
    held = closings(ledger)
    yield from broken_links(held)
    files = {(row["month"], row["part"]): row for row in ledger.rows("SELECT * FROM archives")}
    for closing in held:
        for table, said in closing.tables.items():
            kept = files.get((closing.month, table))
            if kept is None:
                yield from differences(closing.month, table, said, month_digest(ledger, table, closing.month, said))
            elif Path(kept["file"]).is_file():
                yield from verify_file(Path(kept["file"]), closing, table)
            else:
                yield f"{closing.month} {table}: was archived to {kept['file']}, which is not there"


def verify_file(path: Path, closing: Closing, table: str) -> Iterator[str]:
    """What a file of a month's rows holds otherwise than its close says."""
    with read_cells(path) as (columns, rows):
        if columns != closing.tables[table].columns:
            yield f"{path}: has columns {', '.join(columns)}; the close has {', '.join(closing.tables[table].columns)}"
            return
        try:
            found = added(columns, rows)
        except ValueError as error:
            yield f"{path}: {error}"
            return
    yield from (f"{path}: {one}" for one in differences(closing.month, table, closing.tables[table], found))


def named(path: Path) -> tuple[str, str]:
    """Month and table that a file is about, by its name.

    Raises:
        InvalidRequestError: the name is not `MONTH.TABLE.csv` or `.parquet`.
    """
    month, _, rest = path.name.partition(".")
    table, _, form = rest.partition(".")
    if table not in TABLES or form not in ("csv", "parquet"):
        raise InvalidRequestError(
            f"{path}: is not named MONTH.TABLE.csv or .parquet, with a table of {', '.join(TABLES)}"
        )
    month_us(month)
    return month, table


@contextmanager
def read_cells(path: Path) -> Iterator[tuple[tuple[str, ...], Iterator[Cells]]]:
    """Columns and rows of a file, as cells."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            names = tuple(file.schema_arrow.names)
            batches = (batch.to_pylist() for batch in file.iter_batches(BATCH))
            yield names, ([cell(row[name]) for name in names] for rows in batches for row in rows)
        return
    with path.open(encoding="utf-8", newline="") as text:
        reader = csv.reader(text)
        yield tuple(next(reader, ())), reader


def _write(ledger: Ledger, closing: Closing, table: str, folder: Path, form: Form, keep: bool) -> Archived:
    said, path = closing.tables[table], folder / f"{closing.month}.{table}.{form}"
    rows = raw_rows(ledger, table, closing.month, said.columns, last_seq=said.last_seq)
    if path.exists():
        raise InvalidRequestError(f"{path}: exists already; give another folder, or remove it")
    part = path.with_name(f".{path.name}.part")
    if form == "csv":
        _write_csv(part, said, rows)
    else:
        _write_parquet(part, said, rows, _types(ledger, table))
    with part.open("rb+") as file:
        os.fsync(file.fileno())
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    part.rename(path)
    if wrong := list(verify_file(path, closing, table)):
        raise InvalidRequestError(f"{wrong[0]}; nothing was removed")
    return Archived(month=closing.month, table=table, path=path.resolve(), rows=said.rows, file_sha256=sha256,
                    is_removed=not keep)  # fmt: skip


def _write_csv(path: Path, said: Digest, rows: Iterator[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(said.columns)
        writer.writerows([cell(row[name]) for name in said.columns] for row in rows)


def _write_parquet(path: Path, said: Digest, rows: Iterator[Mapping[str, Any]], types: Mapping[str, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"INTEGER": pa.int64(), "REAL": pa.float64()}
    schema = pa.schema([(name, kinds.get(types[name], pa.string())) for name in said.columns])
    with pq.ParquetWriter(path, schema) as writer:
        while page := list(islice(rows, BATCH)):
            writer.write_table(pa.Table.from_pylist(page, schema))


def _types(ledger: Ledger, table: str) -> dict[str, str]:
    return {row["name"]: row["type"] for row in ledger.rows("SELECT name, type FROM pragma_table_info(?)", (table,))}


def _remove(ledger: Ledger, closing: Closing, written: list[Archived]) -> None:
    """Take a closed month's rows out, all of them in one transaction."""
    first_us, after_us = month_us(closing.month)
    now_us = time.time_ns() // 1000
    with ledger.batch() as connection:
        ledger.rollups.catch_up()  # what goes is in the sums, which could not be made again
        for one in written:
            table, said = one.table, closing.tables[one.table]
            (count,) = ledger.rows(
                f"SELECT COUNT(*) AS n FROM {table} WHERE seq <= ? AND at_us >= ? AND at_us < ?",
                (said.last_seq, first_us, after_us),
            )
            if count["n"] != said.rows:  # the file was read back against the close; rows never change
                raise InvalidRequestError(
                    f"{closing.month} {table}: {count['n']} rows, the close says {said.rows}; nothing was removed"
                )
            (newest,) = ledger.rows(f"SELECT COALESCE(MAX(seq), 0) AS seq FROM {table}")
            if said.rows and newest["seq"] == said.last_seq:
                # SQLite would give its number to the next row, which sums would then take for one they have.
                raise InvalidRequestError(
                    f"{closing.month} {table}: holds the newest row of all; archive when there is a newer one. "
                    "Nothing was removed"
                )
            (guard,) = ledger.rows("SELECT sql FROM sqlite_master WHERE name = ?", (f"{table}_keep_delete",))
            connection.execute(f"DROP TRIGGER {table}_keep_delete")
            connection.execute(
                f"DELETE FROM {table} WHERE seq <= ? AND at_us >= ? AND at_us < ?", (said.last_seq, first_us, after_us)
            )
            connection.execute(guard["sql"])
            connection.execute(
                "INSERT INTO archives VALUES (?, ?, ?, ?, ?, ?)",
                (closing.month, table, str(one.path), one.rows, one.file_sha256, now_us),
            )
