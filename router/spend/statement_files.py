"""A statement as a table (CSV, Parquet) and as JSON."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

from router.spend.csv_cells import as_name, as_text
from router.spend.statement import COUNTS, Statement
from router.types import to_json

SCALE = 12


def table(one: Statement) -> tuple[list[str], list[list[Any]]]:
    """Names of columns and a row a scope: counts, then USD. Empty: the tag is not set."""
    names = [*one.by, *COUNTS, "calls_usd", "charges_usd", *(f"shared:{pool.name}" for pool in one.pools), "cache_usd",
             "total_usd"]  # fmt: skip
    rows = [
        [*line.scope, *(getattr(line, name) for name in COUNTS), line.calls_usd, line.charges_usd,
         *(line.shared_usd.get(pool.name, Decimal(0)) for pool in one.pools), line.cache_usd, line.total_usd]
        for line in one.lines
    ]  # fmt: skip
    return names, rows


def as_csv(one: Statement) -> str:
    """As CSV; the columns `shared:...`, `calls_usd`, `charges_usd` and `cache_usd` of a row add up to `total_usd`."""
    names, rows = table(one)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    tags = len(one.by)
    writer.writerows([*map(as_name, row[:tags]), *map(as_text, row[tags:])] for row in rows)
    return file.getvalue()


def as_json(one: Statement) -> str:
    """As JSON: everything, with the methods by name; amounts as text to keep every digit."""
    return to_json(one)


def write_parquet(path: Path, one: Statement) -> None:
    """As Parquet, amounts as decimals with 12 places."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names, rows = table(one)
    first = len(one.by)
    kinds = [pa.string()] * first + [pa.int64()] * len(COUNTS)
    kinds += [pa.decimal128(38, SCALE)] * (len(names) - len(kinds))
    arrays = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(kinds)]
    pq.write_table(pa.table(arrays, names=names), path)
