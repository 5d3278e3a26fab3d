"""`clearbar eval propose`: a run as evidence."""

from __future__ import annotations

import json

import click

from evals.cli.shared import chosen_candidates


@click.command()
@click.argument("rundir", type=click.Path(file_okay=False))
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Directory for the evidence files.")
@click.option("--candidates", help="Only these model ids, separated by commas.")
@click.option("--json", "as_json", is_flag=True, help="The evidence as JSON.")
def propose(rundir: str, out: str, candidates: str | None, as_json: bool) -> None:
    """Write a run as evidence files, which the bars of a policy ask for."""
    from evals.propose import evidence, write_evidence
    from evals.store import Run

    wanted = None if candidates is None else chosen_candidates(candidates, Run(rundir).manifest().candidates)
    found = evidence(Run(rundir), candidates=wanted)
    paths = write_evidence(found, out)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for path, one in zip(paths, found, strict=True):
            click.echo(f"{path}: mean {one['mean']:.3f}, lower bound {one['lower']:.3f}, n {one['n']}")
