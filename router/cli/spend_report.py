"""`clearbar spend report`, for short `clearbar spend`: what was spent, by whom and when."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.types import to_json

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Ago(click.ParamType[int]):
    """A length of time such as 90m, 24h, 7d, 4w; in microseconds."""

    name = "LENGTH"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,6})([mhdw])", value)
        if found is None:
            self.fail(f"{value!r} is no length of time; write 90m, 24h, 7d or 4w", param, ctx)
        return int(found[1]) * _SECONDS[found[2]] * 1_000_000


@click.command()
@click.option("--by", default="model", show_default=True,
              help="Columns to group by, separated by commas; also hour, day, week or month (UTC).")  # fmt: skip
@click.option("--where", "conditions", multiple=True, metavar="COLUMN=VALUE", help="Only these; an empty VALUE: unset.")
@click.option("--since", type=click.DateTime(), help="From this moment on, UTC.")
@click.option("--until", type=click.DateTime(), help="Up to this moment, UTC, which is excluded.")
@click.option("--last", type=Ago(), help="Only the last 90m, 24h, 7d, 4w.")
@click.option("--latency", is_flag=True, help="Median and 95th percentile of answered calls; reads every row.")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write a self-contained page.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV on standard output.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list on standard output.")
@STATE
def report(
    by: str, conditions: tuple[str, ...], since: datetime | None, until: datetime | None, last: int | None,
    latency: bool, page: Path | None, as_csv: bool, as_json: bool, state: Path | None,
) -> None:  # fmt: skip
    """Show what was spent, by whom and when.

    Columns: team, feature, workflow, run_id, customer, agent, environment, cost_centre, task, model, call, and
    tags.NAME for a free-form tag.
    """
    from router.spend.report import Question, answer, split

    if last is not None and since is not None:
        raise click.UsageError("--last and --since both say when to begin; give one of them")
    try:
        names, step = split(by)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--by") from None
    question = Question(
        by=names,
        step=step,
        where=dict(map(_condition, conditions)),
        since_us=time.time_ns() // 1000 - last if last is not None else _us(since),
        until_us=_us(until),
        latency=latency and step is None,
    )
    with open_ledger(folder_of(state)) as ledger:
        found = answer(ledger, question)
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


def _condition(text: str) -> tuple[str, str]:
    from router.spend.report import COLUMNS, is_column

    name, sign, value = text.partition("=")
    if not sign or not is_column(name):
        known = f"{', '.join(COLUMNS)} and tags.NAME"
        raise click.BadParameter(f"{text!r} is no COLUMN=VALUE; columns are {known}", param_hint="--where")
    return name, value


def _us(at: datetime | None) -> int | None:
    return None if at is None else int(at.replace(tzinfo=UTC).timestamp() * 1_000_000)
