"""What `clearbar train --add-model` says of the model, and how far to trust that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from router.cli.anchors import in_words

if TYPE_CHECKING:
    from router.predict.add_model import AddReport


def show_added(report: AddReport, out: Path, sha256: str) -> None:
    """Print what is known of the model now."""
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
