"""`clearbar eval propose`: a run as evidence, and as a change of a policy that a person can review."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evals.cli.shared import TOO_LITTLE, chosen_candidates
from evals.types import EvalError, NotEnoughEvidenceError

if TYPE_CHECKING:
    from evals.store import Run


@click.command()
@click.argument("rundir", type=click.Path(file_okay=False))
@click.option("--out", type=click.Path(file_okay=False), help="Directory for the evidence files.")
@click.option("--candidates", help="Only these model ids, separated by commas.")
@click.option("--policy", help="Policy that the diff is against.")
@click.option("--diff", type=click.Path(dir_okay=False, allow_dash=True), help="File for the diff, or - for stdout.")
@click.option("--json", "as_json", is_flag=True, help="The evidence as JSON.")
def propose(
    rundir: str, out: str | None, candidates: str | None, policy: str | None, diff: str | None, as_json: bool
) -> int:
    """Write a run as evidence files (--out), which the bars of a policy ask for.

    With --diff, tell also which tasks could move to a cheaper model, and who must leave: with bounds, money by 1,000
    requests and the samples on which the two differ. The policy itself is never edited. Exits with 2 when a judge gave
    the scores that nobody has calibrated: its verdicts are no evidence.
    """
    from evals.propose import evidence, write_evidence
    from evals.store import Run

    if out is None and diff is None:
        raise EvalError("give --out DIR for evidence files, --diff FILE for a change of the policy, or both")
    run = Run(rundir)
    wanted = None if candidates is None else chosen_candidates(candidates, run.manifest().candidates)
    try:
        found = evidence(run, candidates=wanted)
    except NotEnoughEvidenceError as error:
        click.echo(f"clearbar: {error}", err=True)
        return TOO_LITTLE
    # Before the evidence is written: where the policy reads it there, it would have moved what is to be told.
    changes = None if diff is None else _changes(run, wanted, policy, diff)
    paths = [] if out is None else write_evidence(found, out)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for path, one in zip(paths, found, strict=False):
            click.echo(f"{path}: mean {one['mean']:.3f}, lower bound {one['lower']:.3f}, n {one['n']}")
    if diff is not None and changes is not None:
        _write(changes, diff)
    return 0


def _changes(run: Run, candidates: Sequence[str] | None, policy: str | None, diff: str) -> str:
    """What the run says of the policy, by the evidence that it has now."""
    import tempfile

    from evals.moves import proposals, written_diff
    from router import Router

    with tempfile.TemporaryDirectory() as state, Router(policy, state) as router:
        if Path(diff).exists() and Path(diff).samefile(router.policy.path):
            raise EvalError(f"--diff {diff}: is the policy itself, which only a person edits; give another file")
        return written_diff(proposals(run, router, candidates=candidates), router)


def _write(text: str, diff: str) -> None:
    if diff == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(diff).write_text(text, encoding="utf-8")
    except OSError as error:
        raise EvalError(f"{diff}: cannot be written ({error.strerror}); give another --diff") from error
    how = ", then apply it with `patch -p0` or by hand" if "\n--- " in f"\n{text}" else ""
    click.echo(f"{diff}: review it{how}", err=True)
