"""`clearbar anchors`: the few queries to ask a new model, as a suite that `clearbar eval run` can use."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.errors import OutcomesError
from router.types import to_json

if TYPE_CHECKING:
    from router.predict.new_model import ErrorToExpect

SUITE = "suite.yaml"


@click.command()
@click.option(
    "--outcomes", required=True, multiple=True, metavar="FILE", type=click.Path(path_type=Path), help="May repeat."
)
@click.option("--count", default=50, show_default=True, type=click.IntRange(10, 10_000), help="How many queries.")
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where the suite goes.")
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    metavar="TASK=NAME",
    help="Scorer that graded a task in FILE (as in a suite); default `exact`. May repeat.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
def anchors(outcomes: tuple[Path, ...], count: int, out: Path, scorers: tuple[str, ...], as_json: bool) -> None:
    """Pick the queries of an outcome table whose answers tell most about a model that is not in it.

    Writes them as a suite, and prints the error to expect: each known model is treated as if it were new.
    """
    from router.outcomes import read_outcomes
    from router.predict.matrix import read_matrix
    from router.predict.new_model import MIN_KNOWN, ErrorToExpect, Known, study

    chosen = _scorers(scorers)
    table = read_outcomes(*outcomes, merges_repeats=True)
    matrix = read_matrix(table)
    known = Known.of(matrix)
    if unknown := sorted(set(chosen) - set(matrix.tasks)):
        raise click.UsageError(f"--scorer names {unknown[0]!r}; the table has {', '.join(sorted(set(matrix.tasks)))}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise click.UsageError(f"{out} holds something already; give an empty or new --out")
    if count > len(known.rows):
        raise OutcomesError(f"--count {count}: only {len(known.rows)} queries have been answered by every model")
    picked = known.scale().pick(count, known.first_of([matrix.texts[row] for row in known.rows]))
    ids = [matrix.query_ids[known.rows[place]] for place in picked]
    rows = _rows(table, ids)
    tasks = write_suite(out, rows, chosen)
    error = ErrorToExpect.of(study(known, count)) if len(known.models) > MIN_KNOWN else None
    if as_json:
        facts = {"suite": str(out / SUITE), "count": len(ids), "tasks": tasks, "query_ids": ids, "error": error}
        click.echo(to_json(facts))
        return
    click.echo(f"{out / SUITE}: {len(ids)} queries, " + ", ".join(f"{name} {n}" for name, n in tasks.items()))
    if missing := [name for name in tasks if name not in chosen]:
        click.echo(f"check the scorer of {', '.join(missing)}: `exact`, unless it was another that graded the table")
    if bare := sum(not row.get("reference") for row in rows):
        click.echo(f"{bare} of them have no reference in the table; a scorer that compares needs one: fill it in")
    click.echo(in_words(error))


def write_suite(directory: Path, rows: list[Mapping[str, Any]], scorers: Mapping[str, str]) -> dict[str, int]:
    """Write one JSONL file a task and the suite that names them; returns how many queries each task has."""
    by_task: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_task.setdefault(row["task"], []).append(row)
    directory.mkdir(parents=True, exist_ok=True)
    lines = ["version: 1", "name: anchors", "tasks:"]
    for number, (task, own) in enumerate(sorted(by_task.items()), start=1):
        file = f"{number}-{re.sub(r'[^A-Za-z0-9_-]+', '-', task)[:60]}.jsonl"
        names = ("query_id", "prompt", "reference", "subtask")
        texts = [json.dumps({name: row.get(name) or "" for name in names}, ensure_ascii=False) for row in own]
        (directory / file).write_text("".join(text + "\n" for text in texts), encoding="utf-8")
        # JSON strings are YAML strings, whatever a task is called.
        lines += [f"  {json.dumps(task)}:", f"    source: {file}", f"    scorer: {scorers.get(task, 'exact')}"]
        if any(row.get("subtask") for row in own):
            lines.append("    subtask: subtask")
    (directory / SUITE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {task: len(own) for task, own in sorted(by_task.items())}


def in_words(error: ErrorToExpect | None) -> str:
    """What the study of known models found, for people."""
    if error is None:
        return "error to expect: unknown, with 3 known models; it is measured by taking one of more out"

    def told(value: tuple[float, float, float]) -> str:
        return f"{value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})"

    return (
        f"error to expect (each of {error.models} known models treated as new; 95 % interval over models):\n"
        f"  mean quality of a task or subtask: off by {told(error.group_error)}; "
        f"with the mean of all other models {told(error.group_error_all_models)}\n"
        f"  mean quality of the whole table: off by {told(error.overall_error)}\n"
        f"  single queries: Brier {told(error.brier)}; "
        f"with the mean of all other models {told(error.brier_all_models)}\n"
        f"  90 % intervals held the truth {error.coverage:.0%} of the time"
    )


def _rows(table: Any, ids: list[str]) -> list[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [name for name in ("query_id", "task", "subtask", "prompt", "reference") if name in table.column_names]
    first: dict[str, Mapping[str, Any]] = {}
    for row in table.filter(pc.is_in(table["query_id"], pa.array(ids))).select(names).to_pylist():
        first.setdefault(row["query_id"], row)
    return [first[name] for name in ids]


def _scorers(given: tuple[str, ...]) -> dict[str, str]:
    wrong = next((text for text in given if not re.fullmatch(r"[^=]+=[a-z_]+", text)), None)
    if wrong is not None:
        raise click.UsageError(f"--scorer {wrong!r}: write TASK=NAME, such as math=numeric")
    return dict(text.split("=", 1) for text in given)
