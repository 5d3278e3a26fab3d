"""`clearbar cache`: what a certified semantic cache would do, and does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pyarrow as pa


@click.group()
def cache() -> None:
    """The cache: replay a stream of questions."""


@cache.command()
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
    table = _read(stream)
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


def _read(stream: Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(stream)
    except (OSError, pa.ArrowInvalid) as error:
        raise click.ClickException(f"{stream}: not a readable Parquet file ({error})") from None
    for name in ("prompt", "answer"):
        if name not in table.column_names:
            raise click.ClickException(f"{stream}: has no column `{name}`; it needs prompt and answer")
        if not pa.types.is_string(table[name].type) and not pa.types.is_large_string(table[name].type):
            raise click.ClickException(f"{stream}: column `{name}` is {table[name].type}; it must hold text")
        if table[name].null_count:
            raise click.ClickException(
                f"{stream}: column `{name}` has {table[name].null_count} empty cells; fill or drop them"
            )
    return table
