"""`clearbar eval rescore`: recorded answers scored again."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from evals.types import EvalError


@click.command()
@click.option("--outcomes", "table", required=True, type=click.Path(dir_okay=False), help="Outcome table.")
@click.option("--scorer", "scorers", required=True, multiple=True, metavar="TASK=NAME", help="Scorer of a task.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="Parquet, .jsonl or .csv file.")
@click.option("--json", "as_json", is_flag=True, help="Agreement as JSON.")
def rescore(table: str, scorers: Sequence[str], out: str, as_json: bool) -> None:
    """Score recorded answers again: adds the column `rescored` (null: unscored)."""
    from evals.rescore import rescore as scored_again
    from evals.rescore import write_table

    named: dict[str, str] = {}
    for pair in scorers:
        task, equals, name = pair.partition("=")
        if not (task and equals and name):
            raise EvalError(f"--scorer {pair!r}: give TASK=NAME, such as --scorer arithmetic=numeric")
        if task in named:
            raise EvalError(f"--scorer names task {task!r} twice")
        named[task] = name
    fresh, agreements = scored_again(table, named)
    write_table(fresh, out)
    if as_json:
        rows = [{name: getattr(one, name) for name in type(one).__slots__} for one in agreements]
        click.echo(json.dumps(rows, indent=2))
        return
    for one in agreements:
        share = (
            "" if one.agreeing is None or not one.scored else f", {one.agreeing / one.scored:.4f} agree with quality"
        )
        click.echo(f"{one.task}: {one.scorer or 'no scorer'}, {one.scored:,} of {one.rows:,} scored{share}")
