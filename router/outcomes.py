"""Outcome tables: what each model answered to each query, how good it was and what it cost.

Evals write them, training and replay read them. One row per query and model, in Parquet, JSONL or CSV.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.errors import OutcomesError

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS: Mapping[str, str] = {
    "query_id": "string",
    "task": "string",
    "prompt": "string",
    "model": "string",
    "quality": "double",
    "response": "string",
    "input_tokens": "int64",
    "output_tokens": "int64",
    "cost_usd": "double",
}
"""Needed columns and their types. `quality` lies in [0, 1]; `cost_usd` is USD for this one answer."""

OPTIONAL_COLUMNS: Mapping[str, str] = {
    "subtask": "string",
    "reference": "string",
    "latency_s": "double",
    "logprob": "double",
    "verified": "double",
    "verifier": "string",
    "verified_usd": "double",
}
"""`logprob`: mean natural log-probability of the response's tokens, at most 0; no value where it is not known.
`verified`: what a verifier said of the response, 0 (wrong) to 1 (right); `verifier`: its model and its prompt's
version; `verified_usd`: what that cost. `clearbar eval verify` writes the three."""


def read_outcomes(
    *paths: str | Path, needs_quality: bool = True, hides_grades: bool | None = None, merges_repeats: bool = False
) -> pa.Table:
    """Read one or more outcome tables as one; extra columns are kept where every file has them.

    Args:
        paths: Parquet, JSONL (`.jsonl`, `.ndjson`, `.json`) or CSV files.
        needs_quality: False for tables that may come without the column `quality`.
        hides_grades: whether to drop the columns `quality` and `reference`; default: when quality is not needed,
            since replay must not look at them.
        merges_repeats: whether several rows of one query and model are taken for repeated answers and become one row
            (`merge_repeats`); else they are an error.

    Raises:
        OutcomesError: a file cannot be read, lacks a column, is empty, repeats a query and model, or holds
            a value that is missing or out of range.
    """
    import pyarrow as pa

    hidden = ("quality", "reference") if (not needs_quality if hides_grades is None else hides_grades) else ()
    optional = () if needs_quality else ("quality",)
    tables = [_checked(_read(Path(path)), Path(path), hidden, optional) for path in paths]
    shared = [name for name in tables[0].column_names if all(name in table.column_names for table in tables)]
    try:
        table = pa.concat_tables([table.select(shared) for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        named = ", ".join(map(str, paths))
        raise OutcomesError(f"{named}: the tables do not fit together ({str(error)[:200]})") from error
    pairs = table.select(["query_id", "model"]).group_by(["query_id", "model"]).aggregate([([], "count_all")])
    if pairs.num_rows < table.num_rows and merges_repeats and needs_quality:
        return merge_repeats(table)
    if pairs.num_rows < table.num_rows:
        twice = next(row for row in pairs.to_pylist() if row["count_all"] > 1)
        raise OutcomesError(
            f"{', '.join(map(str, paths))}: query_id {twice['query_id']!r} has {twice['count_all']} rows for model "
            f"{twice['model']!r}; keep one row per query and model"
        )
    return table


def merge_repeats(table: pa.Table) -> pa.Table:
    """One row per query and model: `quality` is the mean over its repeats, all else is one of them.

    Which one depends on neither order nor quality. It stays whole (answer, tokens, cost and time belong together), and
    its own quality is kept in the column `response_quality`.
    """
    import pyarrow as pa

    repeats: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        repeats.setdefault((row["query_id"], row["model"]), []).append(row)
    merged = []
    for rows in repeats.values():
        shown = min(rows, key=lambda row: (_draw(row), row["quality"]))
        mean = math.fsum(row["quality"] for row in rows) / len(rows)
        merged.append({**shown, "quality": mean, "response_quality": shown["quality"]})
    schema = table.schema
    if "response_quality" not in schema.names:
        schema = schema.append(pa.field("response_quality", pa.float64()))
    return pa.Table.from_pylist(merged, schema=schema)


def _draw(row: Mapping[str, Any]) -> str:
    """A number that looks random, of everything but the quality."""
    told = repr((row["response"], row["input_tokens"], row["output_tokens"], row["cost_usd"]))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv, json, parquet

    if not path.is_file():
        raise OutcomesError(f"{path}: no such file; give a Parquet, JSONL or CSV outcome table")
    # Texts stay texts: left to guess, pyarrow would read "007" as 7, "NA" as nothing and "2026-01-31" as a moment.
    texts = [(name, pa.string()) for name, kind in {**COLUMNS, **OPTIONAL_COLUMNS}.items() if kind == "string"]
    try:
        if path.suffix in (".jsonl", ".ndjson", ".json"):
            options = json.ParseOptions(explicit_schema=pa.schema(texts), unexpected_field_behavior="infer")
            return _given_columns(json.read_json(path, json.ReadOptions(block_size=64 << 20), options))
        if path.suffix == ".csv":
            return csv.read_csv(
                path,
                parse_options=csv.ParseOptions(newlines_in_values=True),
                convert_options=csv.ConvertOptions(column_types=dict(texts)),
            )
        return parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise OutcomesError(f"{path}: cannot be read as {path.suffix or 'Parquet'} ({str(error)[:200]})") from error


def _given_columns(table: pa.Table) -> pa.Table:
    """Without the columns that only the schema named."""
    return table.select([name for name in table.column_names if table[name].null_count < table.num_rows])


def _checked(table: pa.Table, path: Path, hidden: Sequence[str], optional: Sequence[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    table = table.drop_columns([name for name in hidden if name in table.column_names])
    needed = {name: kind for name, kind in COLUMNS.items() if name not in optional}
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise OutcomesError(f"{path}: needs the column {missing[0]!r}; it has {', '.join(table.column_names)}")
    if not table.num_rows:
        raise OutcomesError(f"{path}: has no rows")
    for name, kind in {**needed, **OPTIONAL_COLUMNS}.items():
        if name not in table.column_names:
            continue
        column = table[name]
        try:
            column = column.cast(pa.type_for_alias(kind))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise OutcomesError(f"{path}: column {name!r} cannot be read as {kind} ({str(error)[:120]})") from error
        if kind == "string" and name in ("response", "prompt", *OPTIONAL_COLUMNS):
            column = pc.fill_null(column, "")  # CSV cannot tell an empty text from a missing one
        if name in needed and column.null_count:
            raise OutcomesError(f"{path}: column {name!r} has no value in {column.null_count} of {len(column)} rows")
        table = table.set_column(table.column_names.index(name), name, column)
    for name, low, high in (
        ("quality", 0.0, 1.0),
        ("cost_usd", 0.0, None),
        ("input_tokens", 0, None),
        ("output_tokens", 0, None),
        ("latency_s", 0.0, None),
        ("logprob", -math.inf, 0.0),
        ("verified", 0.0, 1.0),
        ("verified_usd", 0.0, None),
    ):
        if name in table.column_names:
            _check_range(table[name], name, low, high, path)
    return table


def _check_range(column: Any, name: str, low: float, high: float | None, path: Path) -> None:
    import pyarrow.compute as pc

    bad = pc.invert(pc.and_kleene(pc.is_finite(column), pc.greater_equal(column, low)))
    if high is not None:
        bad = pc.or_kleene(bad, pc.greater(column, high))
    rows = pc.indices_nonzero(bad)
    if len(rows):
        allowed = f"{low:g} to {high:g}" if high is not None else f"{low:g} or more"
        value = column[rows[0].as_py()].as_py()
        raise OutcomesError(f"{path}: row {rows[0].as_py() + 1}: {name} is {value}; it must be {allowed}")


def write_outcomes(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows with the columns above; the file's ending (`.jsonl`, `.csv`, else Parquet) names the format."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    path, listed = Path(path), list(rows)
    optional = [name for name in OPTIONAL_COLUMNS if any(row.get(name) is not None for row in listed)]
    kinds = {**COLUMNS, **{name: OPTIONAL_COLUMNS[name] for name in optional}}
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds.items()])
    table = pa.Table.from_pylist([{name: row.get(name) for name in kinds} for row in listed], schema=schema)
    if path.suffix == ".csv":
        csv.write_csv(table, path)
    elif path.suffix in (".jsonl", ".ndjson"):
        _write_jsonl(path, table.to_pylist())
    else:
        parquet.write_table(table, path, compression="zstd")


def _write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import json

    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
