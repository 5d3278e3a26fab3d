"""`clearbar eval rescore`: recorded answers scored again."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from evals.cli.shared import allow_code_option, allowing_code
from evals.types import EvalError


@click.command()
@click.option("--outcomes", "table", required=True, type=click.Path(dir_okay=False), help="Outcome table.")
@click.option("--scorer", "scorers", required=True, multiple=True, metavar="TASK=NAME...", help="Scorers of tasks.")
@click.argument("more", nargs=-1, metavar="")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="Parquet, .jsonl or .csv file.")
@click.option(
    "--show", type=click.IntRange(min=0), default=0, help="So many answers on which score and quality differ."
)
@allow_code_option
@click.option("--json", "as_json", is_flag=True, help="Agreement as JSON.")
def rescore(
    table: str,
    scorers: Sequence[str],
    more: Sequence[str],
    out: str,
    show: int,
    allow_code: bool,
    as_json: bool,
) -> None:
    """Score recorded answers again: adds the column `rescored` (null: unscored)."""
    from evals.rescore import disagreements, write_table
    from evals.rescore import rescore as scored_again

    named: dict[str, str] = {}
    for pair in (*scorers, *more):
        task, equals, name = pair.partition("=")
        if not (task and equals and name):
            raise EvalError(f"--scorer {pair!r}: give TASK=NAME, such as --scorer arithmetic=numeric")
        if task in named:
            raise EvalError(f"--scorer names task {task!r} twice")
        named[task] = name
    with allowing_code(allow_code):
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
    for row in disagreements(fresh, show):
        click.echo(
            f"\n{row['task']} {row['query_id']}, {row['model']}: "
            f"recorded {row['quality']:g}, scored {row['rescored']:g}\n"
            f"  reference: {row['reference'][:200]!r}\n  answer ends: {row['response'][-300:]!r}"
        )
