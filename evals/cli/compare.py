"""`clearbar eval compare`: may one candidate stand in for another?"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from evals.cli.shared import BAR_FAILED, TOO_LITTLE

if TYPE_CHECKING:
    from evals.compare import Comparison, Pair
    from evals.corrected import Judging

CUT = 240
"""Characters shown of a text."""


@click.command()
@click.argument("rundir", type=click.Path(file_okay=False))
@click.argument("a")
@click.argument("b")
@click.option("--margin", type=float, default=0.02, show_default=True, help="So much lower still counts as not worse.")
@click.option("--show", type=click.IntRange(min=0), default=5, show_default=True, help="Samples shown side by side.")
@click.option("--json", "as_json", is_flag=True, help="The comparison as JSON.")
def compare(rundir: str, a: str, b: str, margin: float, show: int, as_json: bool) -> int:
    """Compare candidates A and B of a run on the samples that both answered: is A not worse than B?

    Exits with 0 when A is proved not worse on every task, 1 when it is proved worse on one, 2 when a task is open.
    """
    from evals.compare import compare as compared
    from evals.corrected import compared_by, judging_of
    from evals.store import Run

    found = compared(Run(rundir), a, b, margin=margin)
    judging = judging_of(Run(rundir), Run(rundir).manifest())
    if as_json:
        click.echo(
            json.dumps(
                [_row(one, a, b, margin, show) | _judge_columns(judging) for one in found], indent=2, ensure_ascii=False
            )
        )
    else:
        _print(found, a, b, margin, show)
    if judging is not None:
        click.echo(compared_by(judging), err=True)
    verdicts = {one.verdict for one in found}
    return TOO_LITTLE if "not enough evidence" in verdicts else BAR_FAILED if "worse" in verdicts else 0


def _print(found: list[Comparison], a: str, b: str, margin: float, show: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # A table that nobody looks at is read by a program or a log: never folded.
    console = Console(width=None if sys.stdout.isatty() else 180, highlight=False)
    table = Table("task", "n", escape(a), escape(b), "difference", "95 % interval", "only A / only B", "p equal",
                  f"A against B, margin {margin:g}", box=None, pad_edge=False)  # fmt: skip
    for one in found:
        interval = one.findings.interval
        table.add_row(
            escape(one.task),
            f"{one.n}" + (f" ({one.unpaired} unpaired)" if one.unpaired else ""),
            f"{one.mean_a:.3f}",
            f"{one.mean_b:.3f}",
            f"{interval.value:+.3f}",
            f"{interval.low:+.3f} to {interval.high:+.3f}",
            f"{one.a_better} / {one.b_better}",
            f"{one.findings.p_equal:.4f}",
            f"{one.verdict} ({one.findings.method})",
        )
    console.print(table)
    for one in found:
        for pair in one.discordant[:show]:
            console.print(f"\n[bold]{escape(one.task)}[/] {pair.sample.id}: {escape(_cut(pair.sample.prompt))}")
            console.print(f"  reference: {escape(_cut(pair.sample.reference))}")
            console.print(f"  {escape(a)} {pair.a:g}: {escape(_cut(pair.result_a.response))}")
            console.print(f"  {escape(b)} {pair.b:g}: {escape(_cut(pair.result_b.response))}")


def _judge_columns(judging: Judging | None) -> dict[str, Any]:
    if judging is None:
        return {}
    return {"judge": judging.name, "judge_calibrated": judging.gap is None}


def _row(one: Comparison, a: str, b: str, margin: float, show: int) -> dict[str, Any]:
    return {
        "task": one.task,
        "a": a,
        "b": b,
        "n": one.n,
        "unpaired": one.unpaired,
        "mean_a": one.mean_a,
        "mean_b": one.mean_b,
        "difference": one.findings.interval.value,
        "difference_low": one.findings.interval.low,
        "difference_high": one.findings.interval.high,
        "a_better": one.a_better,
        "b_better": one.b_better,
        "p_equal": one.findings.p_equal,
        "p_not_worse": one.findings.p_not_worse,
        "p_worse": one.findings.p_worse,
        "margin": margin,
        "method": one.findings.method,
        "verdict": one.verdict,
        "discordant": [_shown(pair) for pair in one.discordant[:show]],
    }


def _shown(pair: Pair) -> dict[str, Any]:
    return {
        "sample": pair.sample.id,
        "prompt": pair.sample.prompt,
        "reference": pair.sample.reference,
        "score_a": pair.a,
        "score_b": pair.b,
        "response_a": pair.result_a.response,
        "response_b": pair.result_b.response,
    }


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= CUT else line[: CUT - 1] + "…"
