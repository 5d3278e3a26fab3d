"""`clearbar train`: outcome tables in, an artifact and an honest comparison out."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.add_model import show_added
from router.types import to_json

if TYPE_CHECKING:
    from router.predict.add_model import AddReport
    from router.predict.evaluate import TrainReport


@click.command()
@click.option("--outcomes", "first", multiple=True, metavar="FILE [FILE...]", type=click.Path(path_type=Path))
@click.argument("more", nargs=-1, metavar="", type=click.Path(path_type=Path))
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where the artifact goes.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Same tables and seed, same hash."
)
@click.option(
    "--embedding",
    type=click.Choice(["local/minilm"]),
    help="Also read the prompts' meaning, where they are trained on and where they are served (5 to 150 ms a request).",
)
@click.option(
    "--add-model",
    "answers",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Add one model to --artifact: its outcomes on a few queries of --outcomes (see `clearbar anchors`).",
)
@click.option("--artifact", metavar="DIR", type=click.Path(path_type=Path), help="The artifact to add to.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def train(
    first: tuple[Path, ...],
    more: tuple[Path, ...],
    out: Path,
    seed: int,
    embedding: str | None,
    answers: Path | None,
    artifact: Path | None,
    as_json: bool,
) -> None:
    """Train the predictor on outcome tables (Parquet, JSONL or CSV) and judge it on held-out queries.

    Writes an artifact and prints the learned router beside the best constant model, the per-task table and the
    oracle, with a verdict: promote, or do not route. Both verdicts are results, with exit code 0.

    With --add-model, nothing is trained anew: the artifact learns one model more from few answers.
    """
    from router.outcomes import read_outcomes
    from router.predict import artifact as artifacts
    from router.predict.add_model import AddReport, add_model
    from router.predict.train import train as fit

    paths = (*first, *more)
    if not paths:
        raise click.UsageError("give at least one outcome table: --outcomes FILE")
    if (answers is None) != (artifact is None):
        raise click.UsageError("--add-model FILE and --artifact DIR go together")
    if answers is not None and embedding is not None:
        raise click.UsageError("--add-model reads what --artifact was trained to read; leave --embedding out")
    artifacts.check_replaceable(out)
    report: TrainReport | AddReport
    if answers is not None and artifact is not None:
        made, report = add_model(
            artifacts.load(artifact), read_outcomes(*paths, merges_repeats=True), read_outcomes(answers)
        )
    else:
        click.echo(f"training on {', '.join(map(str, paths))} ...", err=True)
        made, report = fit(read_outcomes(*paths, merges_repeats=True), seed=seed, embedding=embedding)
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    sha256 = artifacts.save(made, out, created=created)
    if as_json:
        click.echo(to_json({"artifact": str(out), "sha256": sha256, "created": created,
                            "seed": made.manifest["seed"], "report": report}))  # fmt: skip
    elif isinstance(report, AddReport):
        show_added(report, out, sha256)
    else:
        _show_trained(report, out, sha256)


def _show_trained(report: TrainReport, out: Path, sha256: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("router", "quality", "95 % interval", "USD per 1,000 queries", "saving", title_justify="left")
    table.title = f"Held out: {report.judged_queries:,} queries, {report.models} models, {report.tasks} tasks"
    for column in table.columns[1:]:
        column.justify = "right"
    constant = report.scores[0].cost_usd if report.scores else 0.0
    for score in report.scores:
        name = f"{score.name} ({report.best_constant})" if score.name == "best constant" else score.name
        saving = f"{1.0 - score.cost_usd / constant:.1%}" if constant else "-"
        interval = f"{score.quality_low:.3f} to {score.quality_high:.3f}"
        table.add_row(escape(name), f"{score.quality:.3f}", interval, f"{1_000 * score.cost_usd:.4g}", saving)
    if report.scores:
        console.print(table)
    for verdict in report.verdicts:
        for compared in verdict.comparisons:
            line = (
                f"{verdict.strategy} against {compared.versus}: quality {compared.quality_difference:+.3f} "
                f"({compared.quality_difference_low:+.3f} to {compared.quality_difference_high:+.3f})"
            )
            if compared.cost_ratio is not None:
                line += f", cost x {compared.cost_ratio:.2f} "
                line += f"({compared.cost_ratio_low:.2f} to {compared.cost_ratio_high:.2f})"
            console.print(line, soft_wrap=True, markup=False)
    console.print(
        f"calibration: ECE {report.ece:.3f}, Brier {report.brier:.3f} (per-task table {report.table_brier:.3f})"
    )
    if report.embedding is not None:
        console.print(f"embedding {report.embedding.name}: {report.embedding.verdict}", soft_wrap=True, markup=False)
    console.print(f"artifact: {out} ({sha256[:12]})", soft_wrap=True, markup=False)
    for verdict in report.verdicts:
        word = "[bold green]promote[/]" if verdict.promoted else "[bold yellow]do not route[/]"
        console.print(f"verdict on {verdict.strategy}: {word}: {escape(verdict.reason)}", soft_wrap=True)
