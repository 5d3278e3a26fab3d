"""`clearbar eval report`: what each candidate reached."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from evals.cli.shared import BAR_FAILED, TOO_LITTLE
from evals.types import EvalError

if TYPE_CHECKING:
    from evals.summary import Standing


@click.command()
@click.argument("rundir", type=click.Path(file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="The table as JSON.")
@click.option(
    "--html", "page", type=click.Path(dir_okay=False), help="Also write one self-contained page, every answer in it."
)
def report(rundir: str, as_json: bool, page: str | None) -> int:
    """Show what each candidate reached on each task.

    Exits with 0 when every bar of the suite is held by some candidate, 1 when one is missed by all, 2 when one
    is open.
    """
    from evals.store import Run
    from evals.summary import standings

    found = standings(Run(rundir))
    if not found:
        raise EvalError(f"{rundir}: no scored answer yet; run the suite first")
    if as_json:
        click.echo(json.dumps([_standing_row(standing) for standing in found], indent=2))
    else:
        print_table(rundir)
    if page is not None:
        from evals.html.page import write_page

        size = write_page(Run(rundir), page)
        click.echo(f"{page}: {size / 1_000_000:.1f} MB, opens in any browser and needs no network", err=True)
    return _verdict_code(found)


def print_table(rundir: str) -> None:
    """Print a run as a table of tasks and models."""
    from rich.console import Console
    from rich.table import Table

    from evals.store import Run
    from evals.summary import standings

    table = Table(
        "task", "model", "mean", "95 % interval", "n", "USD / 1,000", "p50 s", "bar", box=None, pad_edge=False
    )
    found = standings(Run(rundir))
    for standing in found:
        extra = f" ({standing.failed} failed)" if standing.failed else ""
        extra += f" ({standing.unscored} unscored)" if standing.unscored else ""
        bar = "" if standing.bar is None else f"{standing.bar:g} {_verdict(standing)}"
        table.add_row(
            standing.task,
            standing.candidate,
            f"{standing.interval.value:.3f}",
            f"{standing.interval.low:.3f} to {standing.interval.high:.3f}",
            f"{standing.n}{extra}",
            "unknown" if standing.cost_usd is None else f"{standing.cost_usd * 1000:.4f}",
            "" if standing.latency_p50_s is None else f"{standing.latency_p50_s:.2f}",
            bar,
        )
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for note in dict.fromkeys(_judge_notes(found)):
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    for task, note in Run(rundir).manifest().contamination.items():
        console.print(f"{task}: {note}", markup=False)


def _verdict(standing: Standing) -> str:
    if standing.judging is not None and standing.judging.gap is not None:
        return "not enough evidence (judge not calibrated)"
    return f"{standing.verdict} (lower {standing.lower:.3f})"


def _judge_notes(found: Sequence[Standing]) -> list[str]:
    """One line for each candidate whose rate was corrected; one for all where the judge was not calibrated."""
    return [
        standing.judge_note if standing.judging.gap is not None
        else f"{standing.task}, {standing.candidate}: {standing.judge_note}"
        for standing in found if standing.judging is not None
    ]  # fmt: skip


def _standing_row(standing: Standing) -> dict[str, Any]:
    return {
        "task": standing.task,
        "model": standing.candidate,
        "n": standing.n,
        "failed": standing.failed,
        "unscored": standing.unscored,
        "mean": standing.interval.value,
        "wilson_low": standing.interval.low,
        "wilson_high": standing.interval.high,
        "lower": standing.lower,
        "confidence": standing.confidence,
        "bar": standing.bar,
        "verdict": standing.verdict,
        "cost_usd": standing.cost_usd,
        "latency_p50_s": standing.latency_p50_s,
        "model_versions": list(standing.versions),
        **_judge_columns(standing),
    }


def _judge_columns(standing: Standing) -> dict[str, Any]:
    if standing.judging is None:
        return {}
    return {
        "judge": standing.judging.name,
        "judge_calibrated": standing.judging.gap is None,
        "judged_rate": standing.interval.value if standing.correction is None else standing.correction.judged.value,
        "judge_note": standing.judge_note,
    }


def _verdict_code(found: Sequence[Standing]) -> int:
    verdicts: dict[str, set[str]] = {}
    for standing in found:
        if standing.verdict is not None:
            verdicts.setdefault(standing.task, set()).add(standing.verdict)
    open_ = [task for task, seen in verdicts.items() if "held" not in seen and "not enough evidence" in seen]
    missed = [task for task, seen in verdicts.items() if seen == {"failed"}]
    return TOO_LITTLE if open_ else BAR_FAILED if missed else 0
