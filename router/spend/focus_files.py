"""FOCUS rows as CSV and Parquet files, and back as text."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from router.errors import InvalidRequestError
from router.spend.csv_cells import as_text
from router.spend.focus_columns import Column, columns

if TYPE_CHECKING:
    from router.spend.focus_frame import Row

SCALE = 18
"""Decimals of a Parquet column: 6 of a million tokens and 12 of a pico-dollar, out of 38 digits."""
BATCH = 10_000


def write_csv(path: Path, names: Sequence[str], rows: Iterable[Row]) -> int:
    """Write rows; null is an empty cell. Returns how many."""
    with path.open("w", encoding="utf-8", newline="") as file:
        return write_csv_to(file, names, rows)


def write_csv_to(file: TextIO, names: Sequence[str], rows: Iterable[Row]) -> int:
    """The same into an open file."""
    writer, count = csv.writer(file, lineterminator="\n"), 0
    writer.writerow(names)
    for row in rows:
        writer.writerow([as_text(row[name]) for name in names])
        count += 1
    return count


def write_parquet(path: Path, names: Sequence[str], rows: Iterable[Row]) -> int:
    """Write rows, numbers as decimals of 38 digits. Returns how many.

    Raises:
        InvalidRequestError: a number has more decimals than the column; nothing is rounded.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {column.name: column for column in columns()}
    types = {
        "decimal": pa.decimal128(38, SCALE), "count": pa.int64(), "time": pa.timestamp("us", tz="UTC"),
        "text": pa.string(), "json": pa.string(),
    }  # fmt: skip
    schema = pa.schema([(name, types[kinds.get(name, Column(name=name)).kind]) for name in names])
    left, count = iter(rows), 0
    with pq.ParquetWriter(path, schema) as writer:
        while True:
            page = list(islice(left, BATCH))
            if not page:
                return count
            try:
                arrays = [pa.array([row[name] for row in page], schema.field(name).type) for name in names]
            except pa.ArrowInvalid as error:
                raise InvalidRequestError(
                    f"{path}: {error}; Parquet's decimals end at {SCALE} places: write --format csv, which is exact"
                ) from None
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(page)


@contextmanager
def read_rows(path: Path) -> Iterator[tuple[list[str], Iterator[dict[str, str]]]]:
    """Header and rows of a CSV or Parquet file, every value as text, null as an empty one.

    Raises:
        InvalidRequestError: the file is neither.
    """
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(path)
        except pa.ArrowInvalid as error:
            raise InvalidRequestError(f"{path}: is no Parquet file ({error})") from None
        with file:
            names = list(file.schema_arrow.names)
            yield (
                names,
                (
                    {name: as_text(value) for name, value in row.items()}
                    for batch in file.iter_batches(BATCH)
                    for row in batch.to_pylist()
                ),
            )
        return
    with path.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text)
        try:
            names = next(reader, [])
            yield names, _cells(path, reader, names)
        except (UnicodeDecodeError, csv.Error) as error:
            raise InvalidRequestError(f"{path}: is no CSV file in UTF-8 ({error})") from None


def _cells(path: Path, reader: Iterable[list[str]], names: Sequence[str]) -> Iterator[dict[str, str]]:
    for number, cells in enumerate(reader, 2):
        if len(cells) != len(names):
            raise InvalidRequestError(f"{path}:{number}: has {len(cells)} cells, the header {len(names)}")
        yield dict(zip(names, cells, strict=True))
