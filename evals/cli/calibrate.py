"""`clearbar eval calibrate`: how far a judge agrees with people."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from evals.agreement import Share


@click.command()
@click.option("--judge", "model", required=True, help="Policy id of the judge.")
@click.option("--rubric", "rubric_file", required=True, type=click.Path(dir_okay=False), help="YAML file.")
@click.option(
    "--labels", "labels_file", required=True, type=click.Path(dir_okay=False),
    help="JSONL or CSV with prompt, response, label (true, false or a grade), and if known reference and model.",
)  # fmt: skip
@click.option("--repeats", type=click.IntRange(1, 20), default=2, help="How often each answer is judged.")
@click.option("--policy", help="Policy that lists the judge; default as for every command.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="JSON file.")
@click.option("--yes", is_flag=True, help="Do not ask before calling the judge.")
def calibrate(
    model: str, rubric_file: str, labels_file: str, repeats: int, policy: str | None, out: str, yes: bool
) -> int:
    """Let a judge grade answers that people have labelled, and say how far it can be trusted.

    Exits with 2 when too few verdicts came to tell, or the judge does no better than a coin.
    """
    from pathlib import Path

    from evals.calibration import calibrate as measured
    from evals.calibration import read_labels
    from evals.cli.judge import confirmed
    from evals.cli.shared import TOO_LITTLE
    from evals.judges import load_rubric
    from evals.store import replace_file
    from router import Router

    rubric = load_rubric(rubric_file)
    labels = read_labels(labels_file, rubric)
    with Router(policy) as router:
        click.echo(
            f"{len(labels)} labelled answers, {repeats * len(labels)} calls, plus pairs in both orders", err=True
        )
        if not yes and not confirmed():
            raise click.Abort()
        found = measured(router, model, rubric, labels, repeats=repeats, on_progress=_show)
    replace_file(Path(out), json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n")
    cost = "unknown" if found.cost_per_answer_usd is None else f"${found.cost_per_answer_usd:.6f}"
    slope = found.length_slope
    length = "too little to tell"
    if slope is not None:
        length = f"{slope.value:+.3f} a doubling ({slope.low:+.3f} to {slope.high:+.3f})"
    for name, text in {
        "judged": f"{found.judged} of {found.labels}; people call {found.base_rate or 0:.0%} right",
        "agreement": _said(found.agreement),
        "kappa": "not defined" if found.kappa is None else f"{found.kappa:.2f}",
        "sensitivity": _said(found.sensitivity),
        "specificity": _said(found.specificity),
        "self-consistency": _said(found.self_consistency),
        "first place wins": _said(found.position_slope),
        "same in both orders": _said(found.position_consistency),
        "length": length,
        "own family": f"{found.kin} answers"
        + ("" if found.family_leniency is None else f", {found.family_leniency:+.3f} more lenient"),
        "cost": f"{cost} a judged answer",
    }.items():  # fmt: skip
        click.echo(f"{name:<20} {text}")
    tells = (found.sensitivity.value or 0) + (found.specificity.value or 0) > 1
    return 0 if tells and found.judged >= 0.95 * found.labels else TOO_LITTLE


def _said(share: Share | None) -> str:
    if share is None or share.value is None:
        return "not measured"
    return f"{share.value:.3f} ({share.low:.3f} to {share.high:.3f}, n {share.of})"


def _show(done: int, total: int) -> None:
    if sys.stderr.isatty() or done == total:
        click.echo(f"\r{done}/{total}" if sys.stderr.isatty() else f"{done}/{total}", err=True, nl=done == total)
