"""`clearbar spend report`, for short `clearbar spend`: what was spent, by whom and when."""

from __future__ import annotations

import time
from pathlib import Path

import click

from router.cli.state import STATE, folder_of, open_ledger, say_what_is_archived
from router.cli.values import Ago, Moment, named_values
from router.types import to_json


@click.command()
@click.option("--by", default="model", show_default=True,
              help="Columns to group by, separated by commas; also hour, day, week or month (UTC).")  # fmt: skip
@click.option("--where", "conditions", multiple=True, metavar="COLUMN=VALUE", help="Only these; an empty VALUE: unset.")
@click.option("--since", "since_us", type=Moment(), help="From this moment on, UTC.")
@click.option("--until", "until_us", type=Moment(), help="Up to this moment, UTC, which is excluded.")
@click.option("--last", type=Ago(), help="Only the last 90m, 24h, 7d, 4w.")
@click.option("--latency", is_flag=True, help="Median and 95th percentile of answered calls; reads every row.")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write a self-contained page.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV on standard output.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list on standard output.")
@STATE
def report(
    by: str, conditions: tuple[str, ...], since_us: int | None, until_us: int | None, last: int | None,
    latency: bool, page: Path | None, as_csv: bool, as_json: bool, state: Path | None,
) -> None:  # fmt: skip
    """Show what was spent, by whom and when.

    Columns: team, feature, workflow, run_id, customer, agent, environment, cost_centre, task, model, call, and
    tags.NAME for a free-form tag.
    """
    from router.spend.report import Question, answer, split

    if last is not None and since_us is not None:
        raise click.UsageError("--last and --since both say when to begin; give one of them")
    try:
        names, step = split(by)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--by") from None
    question = Question(
        by=names,
        step=step,
        where=_conditions(conditions),
        since_us=time.time_ns() // 1000 - last if last is not None else since_us,
        until_us=until_us,
        latency=latency and step is None,
    )
    with open_ledger(folder_of(state)) as ledger:
        found = answer(ledger, question)
        if question.reads_rows or question.latency:
            say_what_is_archived(ledger, question.since_us, question.until_us)
    if page is not None:
        from router.cli.spend_page import render

        page.write_text(render(found), encoding="utf-8")
        click.echo(f"wrote {page}", err=True)
    if as_json:
        click.echo(to_json(found.rows))
    elif as_csv:
        from router.cli.spend_tables import as_csv as written

        click.echo(written(found), nl=False)
    elif page is None:
        from router.cli.spend_tables import show

        show(found)


def _conditions(texts: tuple[str, ...]) -> dict[str, str]:
    from router.spend.report import COLUMNS, is_column

    form = f"COLUMN=VALUE; columns are {', '.join(COLUMNS)} and tags.NAME"
    found = named_values(texts, "--where", form)
    for name, value in found.items():
        if not is_column(name):
            raise click.BadParameter(f"'{name}={value}' is no {form}", param_hint="--where")
    return found
