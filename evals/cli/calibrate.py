"""`clearbar eval calibrate`: how far a judge agrees with people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from evals.agreement import Share, Slope
    from evals.calibration import Calibration


@click.command()
@click.option("--judge", "model", required=True, help="Policy id of the judge.")
@click.option("--rubric", "rubric_file", required=True, type=click.Path(dir_okay=False), help="YAML file.")
@click.option(
    "--labels", "labels_file", required=True, type=click.Path(dir_okay=False),
    help="JSONL or CSV with prompt, response, label (true, false or a grade), and if known reference and model.",
)  # fmt: skip
@click.option("--repeats", type=click.IntRange(1, 20), default=2, help="How often each answer is judged.")
@click.option("--policy", help="Policy that lists the judge; default as for every command.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="JSON file; verdicts go to OUT.verdicts/.")
@click.option("--resume", is_flag=True, help="Go on with the verdicts beside --out: ask what is missing or failed.")
@click.option("--yes", is_flag=True, help="Do not ask before calling the judge.")
@click.option("--max-cost-usd", type=str, help="Send nothing that could take the calibration above this.")
@click.option("--json", "as_json", is_flag=True, help="Result as JSON.")
def calibrate(
    model: str,
    rubric_file: str,
    labels_file: str,
    repeats: int,
    policy: str | None,
    out: str,
    resume: bool,
    yes: bool,
    max_cost_usd: str | None,
    as_json: bool,
) -> int:
    """Let a judge grade answers that people have labelled, and say how far it can be trusted.

    `clearbar eval judge --calibration OUT` then corrects scores by it. Exits with 2 when the cap stopped it, too few
    verdicts came to tell, or the judge does no better than a coin; 3 when more than 5 % of its calls failed.
    """
    from pathlib import Path

    from evals.cli.judge import worst_usd
    from evals.cli.shared import BROKEN, TOO_LITTLE, amount, confirmed
    from evals.judges import load_rubric
    from evals.judges.labels import read_labels
    from evals.judges.measure import calibration_of, measure, plan_measurement
    from evals.store import replace_file
    from evals.summary import MAX_FAILED
    from evals.types import EvalError
    from router import Router

    cap = amount(max_cost_usd)
    rubric = load_rubric(rubric_file)
    labels = read_labels(labels_file, rubric)
    folder = Path(f"{out}.verdicts")
    if folder.exists() and not resume:
        raise EvalError(f"{folder} already holds verdicts; go on with --resume, or give a fresh --out")
    with Router(policy) as router:
        plan = plan_measurement(router, model, rubric, labels, folder, repeats=repeats)
        texts = [item.sample.prompt + item.sample.reference + item.result.response + (item.other or "")
                 for items in plan.items for item in items]  # fmt: skip
        worst = worst_usd(router, plan.judges[0], rubric, texts)
        price = "price unknown" if worst is None else f"at most ${worst * plan.calls:.4f} at list price"
        click.echo(f"{len(labels)} labelled answers, {plan.calls} calls, {price}", err=True)
        if plan.calls and not yes and not confirmed("Call the judge now?"):
            raise click.Abort()
        done = measure(plan, max_cost_usd=cap, worst_usd=worst, on_progress=_Counter(sum(map(len, plan.items))))
        if done.is_stopped_by_cap:
            click.echo(
                f"stopped at --max-cost-usd {cap}, ${done.spent_usd:.4f} spent; raise it and add --resume to go on",
                err=True,
            )
            return TOO_LITTLE
        found = calibration_of(plan, router)
    if done.failed > MAX_FAILED * max(1, done.total):
        click.echo(f"{done.failed} calls of the judge failed; ask them again with --resume", err=True)
        return BROKEN
    replace_file(Path(out), json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n")
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    else:
        for name, text in _lines(found):
            click.echo(f"{name:<20} {text}")
    weak = found.weakness or (
        f"only {found.judged} of {found.labels} answers got a verdict" if found.judged < 0.95 * found.labels else None
    )
    if weak:
        click.echo(f"do not rely on this judge: {weak}", err=True)
    return TOO_LITTLE if weak else 0


def _lines(found: Calibration) -> list[tuple[str, str]]:
    cost = "unknown" if found.cost_per_answer_usd is None else f"${found.cost_per_answer_usd:.6f}"
    kappa = "not defined" if found.kappa is None else f"{found.kappa:.2f}"
    base = found.base_rate or 0.0
    return [
        ("judged", f"{found.judged} of {found.labels}"),
        ("agreement", f"{_said(found.agreement)}; always saying the same would give {max(base, 1 - base):.3f}"),
        ("kappa", f"{kappa}, where people call {base:.0%} right"),
        ("sensitivity", f"{_said(found.sensitivity)} of right answers passed"),
        ("specificity", f"{_said(found.specificity)} of wrong answers failed"),
        ("self-consistency", _said(found.self_consistency)),
        ("order flips", _said(found.position_flips)),
        ("flips to the first", f"{_said(found.position_first)}; 0.5 is fair"),
        ("length", f"{_slope(found.length_slope)} a doubling of words, on single answers"),
        ("length in pairs", f"{_slope(found.length_slope_pairs)} a doubling, on the chance to win"),
        ("own family", f"{found.kin} answers, leniency {_slope(found.family_leniency)}"),
        ("bias proved", "; ".join(found.biases) or "none"),
        ("bars in reach", f"up to {found.reach():.2f} at 95 %, for a model without a mistake; more labels widen it"),
        ("cost", f"{cost} a judged answer"),
        ("holds until", "the judge or the rubric changes" if found.expires is None else found.expires[:10]),
    ]  # fmt: skip


def _said(share: Share | None) -> str:
    if share is None or share.value is None:
        return "not measured"
    return f"{share.value:.3f} ({share.low:.3f} to {share.high:.3f}, n {share.of})"


def _slope(slope: Slope | None) -> str:
    return "too little to tell" if slope is None else f"{slope.value:+.3f} ({slope.low:+.3f} to {slope.high:+.3f})"


class _Counter:
    """Shows how far it is: on a terminal at each verdict, in a log at each tenth."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0

    def __call__(self, _: object) -> None:
        import sys

        self._done += 1
        tenth = max(1, self._total // 10)
        if sys.stderr.isatty() or self._done % tenth == 0 or self._done == self._total:
            start = "\r" if sys.stderr.isatty() else ""
            click.echo(f"{start}{self._done}/{self._total}", err=True, nl=not start or self._done == self._total)
