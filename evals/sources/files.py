"""Samples out of JSONL, CSV and Parquet files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evals.types import EvalError

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet")


def read_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each row with its line number (the last line of a CSV row with line breaks inside; the row, in Parquet).

    Raises:
        EvalError: the file is missing, of another kind, empty, or a row cannot be read; names file and line.
    """
    if path.suffix not in SUFFIXES:
        raise EvalError(f"{path}: cannot read {path.suffix or 'this kind of file'}; give one of {', '.join(SUFFIXES)}")
    count = 0
    try:
        if path.suffix == ".parquet":
            for count, row in enumerate(_parquet(path), start=1):
                yield count, row
            if not count:
                raise EvalError(f"{path}: has no rows")
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in _csv(file, path) if path.suffix == ".csv" else _jsonl(file, path):
                count += 1
                yield line, row
    except OSError as error:
        raise EvalError(f"{path}: cannot be read ({error.strerror}); paths are relative to the suite file") from error
    except UnicodeDecodeError as error:
        raise EvalError(f"{path}: not UTF-8 text; save the file as UTF-8") from error
    if not count:
        raise EvalError(f"{path}: has no rows")


def _jsonl(lines: Iterator[str], path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise EvalError(f"{path}:{number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise EvalError(f'{path}:{number}: expected an object such as {{"prompt": ..., "reference": ...}}')
        yield number, row


def _csv(lines: Iterator[str], path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(lines, strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                wanted = len(reader.fieldnames or ())
                raise EvalError(f"{path}:{reader.line_num}: not {wanted} columns as in the first line")
            yield reader.line_num, row
    except csv.Error as error:
        raise EvalError(f"{path}:{reader.line_num}: not CSV ({error})") from error


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise EvalError(f"{path}: not Parquet ({str(error).splitlines()[0][:200]})") from error
