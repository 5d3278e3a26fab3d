"""`clearbar eval outcomes`: a run as an outcome table."""

from __future__ import annotations

import click


@click.command()
@click.argument("rundir", type=click.Path(file_okay=False))
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="Parquet, .jsonl or .csv file.")
def outcomes(rundir: str, out: str) -> None:
    """Write a run as an outcome table, for `clearbar train` and `clearbar replay`."""
    from evals.outcomes import write_run_outcomes
    from evals.store import Run

    rows = write_run_outcomes(Run(rundir), out)
    click.echo(f"{out}: {rows:,} rows", err=True)
