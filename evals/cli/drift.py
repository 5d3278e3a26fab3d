"""`clearbar eval drift`: did the model change, the traffic, or the judge?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from evals.cli.shared import BAR_FAILED, TOO_LITTLE


@click.command()
@click.option("--anchors", required=True, type=click.Path(file_okay=False), help="The run that evidence stands on.")
@click.option("--now", "now", type=click.Path(file_okay=False), help="The same samples, asked again.")
@click.option("--fresh", type=click.Path(file_okay=False), help="Samples of today's traffic, asked now.")
@click.option("--rescored", type=click.Path(dir_okay=False), help="Outcome table of --anchors, judged again.")
@click.option(
    "--ledger",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="STATE",
    help="State folder of the router: its requests, not asked again. Needs stored text.",
)
@click.option("--days", type=click.FloatRange(min=0, min_open=True), default=7, show_default=True,
              help="Requests of the last so many days (with --ledger).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def drift(
    anchors: str,
    now: str | None,
    fresh: str | None,
    rescored: str | None,
    ledger: Path | None,
    days: float,
    as_json: bool,
) -> int:
    """Tell apart whether the model, the traffic or the judge changed since the evidence was taken.

    --ledger alone compares prompts and costs nothing; --now tells about model and judge.

    Exits with 0 when nothing changed that the samples can show, 1 when something did, 2 when they are too few.
    """
    from evals.drift import conclusion
    from evals.drift import drift as compared
    from evals.store import Run
    from evals.traffic import fresh_samples

    if now is None and (ledger is None or fresh is not None or rescored is not None):
        raise click.UsageError("give --now (the same samples, asked again), or --ledger alone")
    runs = [None if name is None else Run(name) for name in (anchors, now, fresh)]
    for run in runs:
        if run is not None:
            run.manifest()  # refuses a directory without a run
    requests = None if ledger is None else fresh_samples(ledger, Run(anchors).samples(), days=days)
    found = compared(Run(anchors), runs[1], runs[2], None if rescored is None else Path(rescored), requests=requests)
    if as_json:
        click.echo(json.dumps({"findings": [asdict(one) for one in found], "conclusion": conclusion(found)}, indent=2))
    else:
        for one in found:
            click.echo(one.words())
        click.echo(conclusion(found))
    verdicts = {one.verdict for one in found}
    return BAR_FAILED if "changed" in verdicts else TOO_LITTLE if verdicts != {"same"} else 0
