"""`clearbar spend focus`: the ledger as FOCUS rows, and whether a file of rows keeps FOCUS's rules."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import named_values

if TYPE_CHECKING:
    from router.spend.focus_frame import Options
    from router.spend.ledger import Ledger

SHOWN = 20
FAILED = 1


@click.command()
@click.option("--from", "start", metavar="DAY", help="First day (UTC), such as 2026-11-01; default: of this month.")
@click.option("--to", "end", metavar="DAY", help="Last day, included; default: today.")
@click.option("--profile", type=click.Choice(["1.2", "1.3"]), default="1.3", show_default=True)
@click.option("--draft", is_flag=True, help="Name models and callers as the draft of FOCUS 1.5 does.")
@click.option(
    "--format", "form", type=click.Choice(["csv", "parquet"]), help="Default: by the name of --out, else csv."
)
@click.option("--out", type=click.Path(path_type=Path), help="Default: CSV on standard output.")
@click.option("--account", "accounts", multiple=True, metavar="PROVIDER=ID", help="The account that a provider bills.")
@click.option(
    "--check", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Write nothing: say which MUST rules a CSV or Parquet file breaks; exit code 1: some.",
)  # fmt: skip
@STATE
def focus(
    start: str | None, end: str | None, profile: str, draft: bool, form: str | None, out: Path | None,
    accounts: tuple[str, ...], check: Path | None, state: Path | None,
) -> int:  # fmt: skip
    """Write the ledger as FOCUS rows: one an hour, model, set of tags, tier, price and token meter."""
    from router.spend.focus_frame import Options

    if check is not None:
        return _check(check, profile)
    first = day_us(start, "--from") if start else _month_us()
    after = day_us(end, "--to", plus=1) if end else day_us(f"{datetime.now(UTC):%Y-%m-%d}", "--to", plus=1)
    if form == "parquet" and out is None:
        raise click.UsageError("--format parquet needs --out FILE")
    form = form or ("parquet" if out is not None and out.suffix == ".parquet" else "csv")
    options = Options(profile=profile, is_draft=draft, accounts=_accounts(accounts))
    with open_ledger(folder_of(state)) as ledger:
        count = _write(ledger, options, first, after, form, out)
    if out is not None:
        click.echo(f"{out}: {count} rows", err=True)
    return 0


def _write(ledger: Ledger, options: Options, first_us: int, after_us: int, form: str, out: Path | None) -> int:
    from router.spend import focus_files
    from router.spend.focus import focus_rows

    rows = focus_rows(ledger, options, first_us, after_us)
    if out is None:
        return focus_files.write_csv_to(sys.stdout, options.names, rows)
    write = focus_files.write_parquet if form == "parquet" else focus_files.write_csv
    return write(out, options.names, rows)


def _check(path: Path, profile: str) -> int:
    from router.spend.focus_check import breaches
    from router.spend.focus_files import read_rows

    with read_rows(path) as (header, rows):
        found = list(islice(breaches(rows, header, profile), SHOWN + 1))
    for breach in found[:SHOWN]:
        click.echo(str(breach))
    if len(found) > SHOWN:
        click.echo(f"and more; the first {SHOWN} are shown")
    if found:
        return FAILED
    click.echo(f"{path}: keeps the MUST rules of FOCUS {profile} that are checked")
    return 0


def _accounts(given: tuple[str, ...]) -> dict[str, str]:
    found = named_values(given, "--account", "PROVIDER=ID")
    if "" in found.values():
        raise click.BadParameter("an account's ID is empty", param_hint="--account")
    return found


def day_us(text: str, option: str, plus: int = 0) -> int:
    """The beginning (UTC) of a day, or of one so many days later, in microseconds since 1970."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no day such as 2026-11-01", param_hint=option) from None
    moment = datetime.combine(day + timedelta(days=plus), datetime.min.time(), UTC)
    return int(moment.timestamp()) * 1_000_000


def _month_us() -> int:
    return day_us(f"{datetime.now(UTC):%Y-%m}-01", "--from")
