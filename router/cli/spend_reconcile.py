"""`clearbar spend reconcile`: the ledger against a provider's usage and bill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import named_values, on_screen
from router.types import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from router.spend.imports_files import Row
    from router.spend.reconcile import Cell, Reconciled
    from router.spend.reconcile_shapes import Line

MISSED = 1


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--shape", required=True, type=click.Choice(["openai", "anthropic", "azure", "bedrock", "gemini", "generic"])
)
@click.option("--mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Of --shape generic: YAML or JSON, fields to columns, and `providers`.")  # fmt: skip
@click.option("--name", "names", multiple=True, metavar="THEIRS=OURS", help="A model that is named differently.")
@click.option("--min-capture", type=click.FloatRange(0, 1), help="Exit code 1 where the ledger has less of the tokens.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
@STATE
def reconcile(
    files: tuple[Path, ...], shape: str, mapping: Path | None, names: tuple[str, ...], min_capture: float | None,
    as_json: bool, state: Path | None,
) -> int:  # fmt: skip
    """Compare the ledger with usage exports and bills (FILES: usage, costs, or both), by day and model.

    Each difference has a name: credits, late, unpriced, unlogged, unbilled, rounding, mispriced, unexplained.
    """
    from router.spend.imports_files import read_rows
    from router.spend.reconcile import reconciled
    from router.spend.reconcile_shapes import lines

    providers, read = _shape(shape, mapping)
    pairs = named_values(names, "--name", "THEIRS=OURS")
    found = lines((row for path in files for row in read_rows(path)), read)
    with open_ledger(folder_of(state)) as ledger:
        told = reconciled(ledger, found, providers, pairs)
    if as_json:
        click.echo(to_json(told))
    else:
        _print(told)
    is_missed = min_capture is not None and (told.captured_tokens or told.captured_usd or 0) < min_capture
    return MISSED if is_missed else 0


def _shape(shape: str, mapping: Path | None) -> tuple[tuple[str, ...], Callable[[Row], Iterator[Line]]]:
    from router.spend.reconcile_shapes import SHAPES, generic

    if shape != "generic":
        return SHAPES[shape]
    if mapping is None:
        raise click.UsageError("--shape generic needs --mapping FILE")
    from router.config import read_yaml

    said: dict[str, Any] = dict(read_yaml(mapping).values)
    providers = said.get("providers")
    if not isinstance(providers, list):
        raise click.ClickException(f"{mapping}: must list `providers`, such as [openai]")
    return tuple(map(str, providers)), generic(said)


def _print(told: Reconciled) -> None:
    from datetime import date, timedelta

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from router.spend.reconcile import RESIDUALS

    shown = [name for name in RESIDUALS if told.residuals[name] or any(c.residuals.get(name) for c in told.cells)]
    table = Table("day", "model", "calls", "ledger $", *(f"{name} $" for name in shown), "billed $", "captured")
    for cell in told.cells:
        differences = (f"{cell.residuals[name]:+f}" if cell.residuals.get(name) else "" for name in shown)
        billed = "unknown" if cell.billed_usd is None else f"{cell.billed_usd:f}"
        table.add_row(
            f"{date(1970, 1, 1) + timedelta(days=cell.day)}", Text(on_screen(cell.model or "-")), str(cell.calls),
            f"{cell.ledger_usd:f}", *differences, billed, _captured(cell),
        )  # fmt: skip
    console = Console()
    console.print(table)
    parts = " ".join(f"{told.residuals[name]:+f} {name}" for name in shown)
    console.print(f"ledger ${told.ledger_usd:f} {parts} = billed ${told.billed_usd:f}", highlight=False)
    for share, of in ((told.captured_tokens, "the provider's tokens"), (told.captured_usd, "what was billed")):
        if share is not None:
            console.print(f"the ledger has {100 * share:.2f} % of {of}", highlight=False)


def _captured(cell: Cell) -> str:
    if not cell.counted or not sum(cell.counted):
        return ""
    have = sum(min(ours, theirs) for ours, theirs in zip(cell.tokens, cell.counted, strict=True))
    return f"{100 * have / sum(cell.counted):.1f} %"
