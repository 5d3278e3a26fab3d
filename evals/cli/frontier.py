"""`clearbar eval frontier`: quality by cost by latency, and who is dominated."""

from __future__ import annotations

import json
import sys
from typing import Any

import click


@click.command()
@click.argument("rundir", type=click.Path(file_okay=False))
@click.option("--margin", type=float, default=0.0, show_default=True, help="Quality that may be lost.")
@click.option("--json", "as_json", is_flag=True, help="The frontier as JSON.")
def frontier(rundir: str, margin: float, as_json: bool) -> None:
    """Show what each candidate's quality costs in money and time, task by task.

    A candidate is dominated only if another is proved to be cheaper and not worse, and is not slower.
    """
    from evals.frontier import frontier as found_by
    from evals.store import Run

    found = found_by(Run(rundir), margin=margin)
    rows: list[dict[str, Any]] = [
        {
            "task": task,
            "model": point.standing.candidate,
            "n": point.standing.n,
            "mean": point.standing.interval.value,
            "low": point.standing.interval.low,
            "high": point.standing.interval.high,
            "bar": point.standing.bar,
            "verdict": point.standing.verdict,
            "cost_usd": point.cost_usd,
            "latency_p95_s": point.latency_p95_s,
            "dominated_by": list(point.dominated_by),
        }
        for task, points in found.items()
        for point in points
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("task", "model", "USD / 1,000", "mean", "95 % interval", "n", "p95 s", "", box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            escape(row["task"]),
            escape(row["model"]),
            "unknown" if row["cost_usd"] is None else f"{row['cost_usd'] * 1000:.4f}",
            f"{row['mean']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
            f"{row['n']}",
            "" if row["latency_p95_s"] is None else f"{row['latency_p95_s']:.2f}",
            f"dominated by {escape(', '.join(row['dominated_by']))}" if row["dominated_by"] else "",
        )
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table)
