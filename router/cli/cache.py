"""`clearbar cache`: what a certified semantic cache would do, and does."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.types import to_json

if TYPE_CHECKING:
    import pyarrow as pa


@click.group()
def cache() -> None:
    """The cache: what it saves, what a stream of questions would get, and deleting it."""


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


@cache.command()
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def stats(state: Path | None, as_json: bool) -> None:
    """Show what the cache served, would have served in shadow, and holds."""
    from router.cache.shelf import Shelf

    folder = folder_of(state)
    with open_ledger(folder) as ledger:
        served = ledger.rows("SELECT cache, COUNT(*) AS requests FROM requests GROUP BY cache ORDER BY cache")
        said = ledger.rows(
            "SELECT json_extract(decision, '$.semantic.mode') AS mode, "
            "json_extract(decision, '$.semantic.outcome') AS outcome, "
            "json_extract(decision, '$.semantic.saves_usd') AS saves FROM requests WHERE mode IS NOT NULL"
        )
    counts: dict[str, int] = {}
    saved: dict[str, Decimal] = {}
    for row in said:
        name = f"{row['mode']}: {row['outcome']}"
        counts[name] = counts.get(name, 0) + 1
        if row["saves"] is not None:
            saved[row["mode"]] = saved.get(row["mode"], Decimal(0)) + Decimal(row["saves"])
    holds = {}
    if (folder / "semantic.sqlite3").is_file():
        with closing(Shelf(folder / "semantic.sqlite3")) as shelf:
            holds = shelf.counts()
    found = {"requests": {row["cache"]: row["requests"] for row in served}, "semantic": counts,
             "expected_saving_usd": saved, "holds": holds}  # fmt: skip
    if as_json:
        click.echo(to_json(found))
        return
    click.echo("requests: " + (", ".join(f"{row['cache']} {row['requests']:,}" for row in served) or "none"))
    for name, count in sorted(counts.items()):
        click.echo(f"semantic, {name} {count:,}")
    for mode, usd in saved.items():
        verb = "would have been saved" if mode == "shadow" else "was saved"
        click.echo(f"expected cost of calls that {verb} (mode {mode}): {usd:f} USD")
    for name, count in holds.items():
        click.echo(f"holds {count:,} {name}")


@cache.command()
@click.option("--task", help="Only answers to requests of this task.")
@click.option("--model", help="Only answers that this model wrote; `source:NAME` for those out of a file.")
@click.option("--team", help="Only answers to this team.")
@click.option("--customer", help="Only answers to this customer.")
@click.option("--document", help="Only answers to requests with this tag `document`.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Only answers to requests with this tag.")
@click.option("--before", type=click.DateTime(), help="Only answers stored before this moment, UTC.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(
    task: str | None, model: str | None, team: str | None, customer: str | None, document: str | None,
    tags: tuple[str, ...], before: datetime | None, state: Path | None, as_json: bool, yes: bool,
) -> None:  # fmt: skip
    """Delete stored answers, exact and semantic; routers that run serve none of them any more.

    Options together narrow the choice. Without any, everything goes, and the labels as well.
    """
    from router.cache.purge import Choice
    from router.cache.purge import purge as delete

    named = {"team": team, "customer": customer, "document": document}
    wanted = {name: value for name, value in named.items() if value is not None}
    for tag in tags:
        name, is_set, value = tag.partition("=")
        if not is_set or not name:
            raise click.BadParameter(f"{tag!r} is no NAME=VALUE", param_hint="--tag")
        wanted[name] = value
    before_s = None if before is None else before.replace(tzinfo=UTC).timestamp()
    choice = Choice(task=task, model=model, tags=wanted, before_s=before_s)
    what = "all stored answers, and what was learned of them" if choice.is_all else "these stored answers"
    if not yes:
        click.confirm(f"Delete {what}?", abort=True)
    folder = folder_of(state)
    if choice.asks_the_ledger:
        with open_ledger(folder) as ledger:
            gone = delete(folder, ledger.rows, choice)
    else:
        gone = delete(folder, lambda *_: [], choice)
    if as_json:
        click.echo(to_json(gone))
        return
    click.echo(
        f"deleted {gone.exact + gone.semantic:,} stored answers ({gone.exact:,} exact, {gone.semantic:,} semantic)"
    )
    if gone.unknown:
        click.echo(f"left {gone.unknown:,} whose request this ledger does not know; --model and --before find them")


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
