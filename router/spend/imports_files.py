"""Rows of exported files: JSON, JSON lines, CSV and Parquet, and the values in them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from router.errors import InvalidRequestError

Row = Mapping[str, Any]
LISTS = ("data", "items", "rows", "results", "observations")
"""Keys under which exports wrap their rows."""


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a file, by its ending (`.json`, `.jsonl`, `.csv`, `.parquet`); numbers in JSON keep every digit.

    Raises:
        InvalidRequestError: with file and line, where it is not what its ending says.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix in (".csv", ".tsv"):
        yield from _csv(path)
    elif path.suffix in (".jsonl", ".ndjson"):
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _mapping(_json(line, f"{path}:{number}"), f"{path}:{number}")
    elif path.suffix == ".json":
        said = _json(path.read_text(encoding="utf-8-sig"), str(path))
        if isinstance(said, Mapping):
            said = next((said[name] for name in LISTS if isinstance(said.get(name), list)), [said])
        for number, one in enumerate(said if isinstance(said, list) else [said], 1):
            yield _mapping(one, f"{path}, row {number}")
    else:
        raise InvalidRequestError(f"{path}: ends in none of .json, .jsonl, .csv, .parquet")


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise InvalidRequestError(f"{place}: is no JSON ({error})") from None


def _mapping(value: Any, place: str) -> Row:
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"{place}: must be an object, got {str(value)[:60]!r}")
    return value


def _csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            for row in csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","):
                yield {name: value for name, value in row.items() if isinstance(name, str)}
        except (UnicodeDecodeError, csv.Error) as error:
            raise InvalidRequestError(f"{path}: is no CSV file in UTF-8 ({error})") from None


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(10_000):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise InvalidRequestError(f"{path}: is no Parquet file ({error})") from None


def text_of(value: Any) -> str | None:
    """A text, or None where there is none."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else str(value)


def decimal_of(value: Any) -> Decimal | None:
    """An amount, such as `12.5`, `"$1,234.50"` or `(3.20)`; None where there is none or it is no number."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, (int, Decimal)):
        return Decimal(value)
    text = str(value).strip().replace(",", "").lstrip("$€£").strip()
    if re.fullmatch(r"\(.+\)", text):
        text = f"-{text[1:-1].lstrip('$')}"
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def count_of(value: Any) -> int | None:
    """A whole number, or None."""
    found = decimal_of(value)
    return None if found is None or found != int(found) else int(found)


def moment_us(value: Any) -> int | None:
    """A moment in microseconds since 1970: ISO 8601 (UTC where it names no zone), a day, or seconds or milliseconds."""
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()) * 1_000_000
    number = decimal_of(value)
    if number is not None:
        return int(number * (1_000 if number > 10**11 else 1_000_000))
    try:
        moment = datetime.fromisoformat(str(value or "").strip().replace(" UTC", "+00:00"))
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(Decimal(str(moment.timestamp())) * 1_000_000)


def mapping_of(value: Any) -> Row:
    """An object, also where it stands as JSON in a cell; empty where there is none."""
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            value = json.loads(value, parse_float=Decimal)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}


def list_of(value: Any) -> list[Any]:
    """A list, also where it stands as JSON in a cell; empty where there is none."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    return list(value) if isinstance(value, (list, tuple)) else []
