"""Scoring recorded answers again, to check a scorer against grades that exist or to move to a better one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from evals.scorers import scorer
from evals.types import EvalError, Scored
from router.outcomes import read_outcomes

if TYPE_CHECKING:
    import pyarrow as pa

AGREES_WITHIN = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How a task's new scores compare with its `quality` column."""

    task: str
    scorer: str | None
    """None: no scorer was named for the task, so its rows stay unscored."""
    rows: int
    scored: int
    agreeing: int | None
    """Scored rows whose new score equals `quality`; None when the table has no such column."""


def rescore(path: str | Path, scorers: Mapping[str, str]) -> tuple[pa.Table, list[Agreement]]:
    """Add the column `rescored` (0 to 1, or null where there is no score); every row and column stays.

    Args:
        path: an outcome table with the column `reference`.
        scorers: scorer name by task; other tasks get null.

    Raises:
        EvalError: the table lacks `reference`, or a task or a scorer is not known.
        OutcomesError: the table cannot be read.
    """
    import pyarrow as pa

    table = read_outcomes(path, needs_quality=False, hides_grades=False)
    if "reference" not in table.column_names:
        raise EvalError(
            f"{path}: needs the column 'reference' to score against; it has {', '.join(table.column_names)}"
        )
    tasks = table["task"].to_pylist()
    for task in scorers:
        if task not in set(tasks):
            raise EvalError(f"{path}: has no task {task!r}; it has {', '.join(sorted(set(tasks)))}")
    # Who names `code` here asks for it, as a suite does by `allow_code: true`; whether it may run is asked elsewhere.
    made = {task: scorer(name, **({"allow_code": True} if name == "code" else {})) for task, name in scorers.items()}
    values: list[float | None] = []
    agreements = {task: [0, 0, 0] for task in dict.fromkeys(tasks)}
    is_graded = "quality" in table.column_names
    qualities = table["quality"].to_pylist() if is_graded else [None] * len(tasks)
    columns = (table[name].to_pylist() for name in ("response", "reference"))
    for task, response, reference, quality in zip(tasks, *columns, qualities, strict=True):
        score = made[task](response, reference) if task in made else None
        value = score.value if isinstance(score, Scored) else None
        values.append(value)
        counts = agreements[task]
        counts[0] += 1
        counts[1] += value is not None
        counts[2] += None not in (value, quality) and abs(value - quality) <= AGREES_WITHIN
    if "rescored" in table.column_names:
        table = table.drop_columns(["rescored"])
    table = table.append_column("rescored", pa.array(values, type=pa.float64()))
    found = [
        Agreement(
            task=task, scorer=scorers.get(task), rows=rows, scored=scored, agreeing=agreeing if is_graded else None
        )
        for task, (rows, scored, agreeing) in agreements.items()
    ]
    return table, found


def disagreements(table: pa.Table, count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """At most so many rows of a rescored table whose new score is not the recorded quality, drawn by a seed."""
    if not count or "quality" not in table.column_names:
        return []
    names = ["query_id", "task", "model", "response", "reference", "quality", "rescored"]
    differing = [
        row
        for row in table.select(names).to_pylist()
        if None not in (row["quality"], row["rescored"]) and abs(row["quality"] - row["rescored"]) > AGREES_WITHIN
    ]
    return Random(seed).sample(differing, min(count, len(differing)))  # noqa: S311  a choice, no secret


def write_table(table: pa.Table, path: str | Path) -> None:
    """Write a table with all its columns; the file's ending (`.jsonl`, `.csv`, else Parquet) names the format."""
    import json

    from pyarrow import csv, parquet

    path = Path(path)
    try:
        if path.suffix == ".csv":
            csv.write_csv(table, path)
        elif path.suffix in (".jsonl", ".ndjson"):
            lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in table.to_pylist())
            path.write_text("".join(lines), encoding="utf-8")
        else:
            parquet.write_table(table, path, compression="zstd")
    except OSError as error:
        raise EvalError(f"{path}: cannot be written ({error.strerror}); give another --out") from error
