"""`clearbar eval drift`: did the model change, the traffic, or the judge?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from evals.cli.shared import BAR_FAILED, TOO_LITTLE


@click.command()
@click.option("--anchors", required=True, type=click.Path(file_okay=False), help="The run that evidence stands on.")
@click.option("--now", "now", required=True, type=click.Path(file_okay=False), help="The same samples, asked again.")
@click.option("--fresh", type=click.Path(file_okay=False), help="Samples of today's traffic, asked now.")
@click.option("--rescored", type=click.Path(dir_okay=False), help="Outcome table of --anchors, judged again.")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def drift(anchors: str, now: str, fresh: str | None, rescored: str | None, as_json: bool) -> int:
    """Tell apart whether the model, the traffic or the judge changed since the evidence was taken.

    Exits with 0 when nothing changed that the samples can show, 1 when something did, 2 when they are too few.
    """
    from evals.drift import conclusion
    from evals.drift import drift as compared
    from evals.store import Run

    runs = [None if name is None else Run(name) for name in (anchors, now, fresh)]
    for run in runs:
        if run is not None:
            run.manifest()  # refuses a directory without a run
    found = compared(Run(anchors), Run(now), runs[2], None if rescored is None else Path(rescored))
    if as_json:
        click.echo(json.dumps({"findings": [asdict(one) for one in found], "conclusion": conclusion(found)}, indent=2))
    else:
        for one in found:
            click.echo(one.words())
        click.echo(conclusion(found))
    verdicts = {one.verdict for one in found}
    return BAR_FAILED if "changed" in verdicts else TOO_LITTLE if verdicts != {"same"} else 0
