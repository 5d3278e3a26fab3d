"""`clearbar train --add-model`: an artifact that knows one model more, and how far to trust that."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.anchors import in_words
from router.types import to_json

if TYPE_CHECKING:
    from router.predict.add_model import AddReport


def add(answers: Path, outcomes: Sequence[Path], artifact: Path, out: Path, *, as_json: bool) -> None:
    """Read the artifact and both tables, write the new artifact, and print what is known of the model now."""
    from router.outcomes import read_outcomes
    from router.predict import artifact as artifacts
    from router.predict.add_model import add_model

    artifacts.check_replaceable(out)
    known = artifacts.load(artifact)
    extended, report = add_model(known, read_outcomes(*outcomes), read_outcomes(answers))
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    sha256 = artifacts.save(extended, out, created=created)
    if as_json:
        click.echo(to_json({"artifact": str(out), "sha256": sha256, "created": created, "report": report}))
    else:
        _print(report, out, sha256)


def _print(report: AddReport, out: Path, sha256: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("", "anchors", "queries", "quality", "90 % interval", title_justify="left")
    table.title = f"{escape(report.model)}, expected from {report.anchors} answers"
    for column in table.columns[1:]:
        column.justify = "right"
    for part in report.parts:
        interval = f"{part.quality_low:.3f} to {part.quality_high:.3f}"
        table.add_row(escape(part.name), str(part.anchors), f"{part.queries:,}", f"{part.quality:.3f}", interval)
    console.print(table)
    console.print(
        f"expected: {report.output_tokens:,.0f} output tokens and ${1_000 * report.cost_usd:.4g} per 1,000 queries"
    )
    console.print(in_words(report.error), soft_wrap=True, markup=False)
    if report.ignored:
        console.print(
            f"{report.ignored} answers are not used: their queries are not in the table, or not all known models have "
            "answered them",
            soft_wrap=True,
        )
    console.print(f"artifact: {out} ({sha256[:12]})", soft_wrap=True, markup=False)
    console.print(f"verdict: [bold yellow]do not route[/]: {escape(report.reason)}", soft_wrap=True)
