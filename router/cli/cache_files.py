"""`clearbar cache replay|warm|calibrate`: what works on files of questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from router.cli.state import STATE
from router.cli.values import named_values
from router.types import to_json

if TYPE_CHECKING:
    import pyarrow as pa

FILE = click.Path(path_type=Path)


@click.command()
@click.option(
    "--stream", required=True, type=click.Path(path_type=Path), help="Parquet with columns prompt and answer."
)
@click.option(
    "--max-error", required=True, type=click.FloatRange(0, 0.5, min_open=True), help="Most wrong hits per hit."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Parquet file for hit and served.")
@click.option("--seed", default=0, show_default=True, help="Of the audit's draws.")
def replay(stream: Path, max_error: float, out: Path, seed: int) -> None:
    """Ask a cold cache every row in order; on a miss the row's answer is learned and stored."""
    import pyarrow as pa
    from pyarrow import parquet

    from router.cache.replay import Step, Summary, replay_stream
    from router.embedding import missing

    if reason := missing():
        raise click.ClickException(reason)
    table = read_texts(stream, "prompt", "answer")
    summary = Summary()
    steps: list[Step] = []
    answers = table["answer"].to_pylist()
    for step, answer in zip(
        replay_stream(table["prompt"].to_pylist(), answers, max_error=max_error, seed=seed, summary=summary),
        answers,
        strict=True,
    ):
        steps.append(step)
        summary.count(step, answer)
    written = pa.table(
        {
            "hit": pa.array([step.hit for step in steps], pa.bool_()),
            "served": pa.array([step.served for step in steps], pa.string()),
        }
    )
    try:
        parquet.write_table(written, out, compression="zstd")
    except OSError as error:
        raise click.ClickException(f"{out}: cannot be written ({error.strerror})") from None
    click.echo(summary.text(), err=True)


@click.command()
@click.argument("file", type=FILE)
@click.option("--source", help="Name under which the rule lists it (`cache: {sources: [NAME]}`); default: the file's.")
@click.option("--task", help="Of the requests that ask these questions.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Their tags, such as customer=acme.")
@click.option("--system", help="Their system prompt.")
@click.option("--params", default="{}", help="Their other parameters as JSON, such as '{\"temperature\": 0}'.")
@click.option("--ttl", help="How long the answers serve, such as 90d; default: the rule's.")
@click.option("--policy", type=FILE, help="Policy file; default as for the library.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def warm(
    file: Path, source: str | None, task: str | None, tags: tuple[str, ...], system: str | None, params: str,
    ttl: str | None, policy: Path | None, state: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Store the answers of FILE (columns `question` and `answer`) as if they had been asked for.

    They serve requests that are equal in all but the question: same task, tags, system prompt and parameters.
    """
    from router import Router
    from router._warm_up import warm_up
    from router.policy.sections import seconds

    table = read_texts(file, "question", "answer")
    try:
        given = json.loads(params)
        lasts_s = None if ttl is None else cast(float, seconds(ttl))
    except ValueError as error:
        raise click.UsageError(f"--params or --ttl cannot be read: {error}") from None
    if not isinstance(given, dict):
        raise click.BadParameter("must be a JSON object", param_hint="--params")
    pairs = zip(table["question"].to_pylist(), table["answer"].to_pylist(), strict=True)
    before = [] if system is None else [{"role": "system", "content": system}]
    with Router(policy, state) as router:
        done = warm_up(
            router, pairs, source=source or file.stem, before=before, ttl_s=lasts_s, task=task,
            tags=named_values(tags, "--tag"), **given,
        )  # fmt: skip
    click.echo(
        to_json(done)
        if as_json
        else f"stored {done.stored:,} answers of {source or file.stem}; {done.alike:,} may serve questions like theirs"
    )


@click.command()
@click.option("--pairs", required=True, type=FILE, help="Table with the columns a, b (texts) and same (true, false).")
@click.option("--max-error", default=0.02, show_default=True, type=click.FloatRange(0, 0.5, min_open=True))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def calibrate(pairs: Path, max_error: float, as_json: bool) -> None:
    """Measure on labelled pairs what vetoes and score would let pass; it changes nothing.

    A certificate counts labels of the stream alone: pairs that somebody chose are not what a cache is asked.
    """
    from router.cache.pairs import measure
    from router.embedding import missing

    if reason := missing():
        raise click.ClickException(reason)
    table = read_texts(pairs, "a", "b", flag="same")
    found = measure(table["a"].to_pylist(), table["b"].to_pylist(), table["same"].to_pylist(), max_error=max_error)
    click.echo(to_json(found) if as_json else found.text())


def read_texts(path: Path, *columns: str, flag: str | None = None) -> pa.Table:
    """A Parquet, JSONL or CSV table with these columns of text, and one of true and false.

    Raises:
        ClickException: it cannot be read, or lacks a column or a value.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet
    from pyarrow import json as jsonl

    types: dict[str, Any] = dict.fromkeys(columns, pa.string())
    try:
        if path.suffix in (".jsonl", ".ndjson"):
            options = jsonl.ParseOptions(explicit_schema=pa.schema(types), unexpected_field_behavior="infer")
            table = jsonl.read_json(path, parse_options=options)
        elif path.suffix == ".csv":
            table = csv.read_csv(
                path,
                parse_options=csv.ParseOptions(newlines_in_values=True),
                convert_options=csv.ConvertOptions(column_types=types),
            )
        else:
            table = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        kind = {".jsonl": "JSONL", ".ndjson": "JSONL", ".csv": "CSV"}.get(path.suffix, "Parquet")
        raise click.ClickException(f"{path}: not a readable {kind} file ({str(error)[:200]})") from None
    needed = (*columns, *((flag,) if flag else ()))
    for name in needed:
        if name not in table.column_names:
            raise click.ClickException(f"{path}: has no column `{name}`; it needs {' and '.join(needed)}")
        kind = table[name].type
        if name == flag and not pa.types.is_boolean(kind):
            raise click.ClickException(f"{path}: column `{name}` is {kind}; it must hold true and false")
        if name != flag and not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
            raise click.ClickException(f"{path}: column `{name}` is {kind}; it must hold text")
        if table[name].null_count:
            raise click.ClickException(
                f"{path}: column `{name}` has {table[name].null_count} empty cells; fill or drop them"
            )
    return table
