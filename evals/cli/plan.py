"""`clearbar eval plan`: what a run would take and could prove."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evals.cli.shared import TOO_LITTLE, chosen_candidates, chosen_sources, concurrency_option

if TYPE_CHECKING:
    from evals.forecast import Forecast, Reach


@click.command()
@click.argument("suite")
@click.option("--policy", help="Policy that lists the candidates; default as for every command.")
@click.option("--candidates", help="Model ids, separated by commas; default: all chat models of the policy.")
@click.option("--out", type=click.Path(file_okay=False), help="Run to go on with: what it has is not asked again.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many samples of each task.")
@click.option("--repeats", type=click.IntRange(min=1), help="How often each sample is asked; default: the suite's.")
@click.option("--source", "sources", multiple=True, metavar="[TASK=]FILE", help="Read samples here instead.")
@click.option("--seed", type=int, help="Fresh generated samples by another seed.")
@concurrency_option
@click.option(
    "--earlier", multiple=True, type=click.Path(file_okay=False), help="Earlier run: its tokens, seconds and scores."
)
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON.")
def plan(
    suite: str,
    policy: str | None,
    candidates: str | None,
    out: str | None,
    limit: int | None,
    repeats: int | None,
    sources: Sequence[str],
    seed: int | None,
    concurrency: int,
    earlier: Sequence[str],
    as_json: bool,
) -> int:
    """Tell what running SUITE would take and what it could prove, without calling any model.

    Exits with 2 when the samples are too few for a bar even if every answer were right.
    """
    from evals.forecast import forecast, local_models
    from evals.plan import plan_run
    from evals.scorers.code import code_allowed
    from evals.store import Run
    from evals.suite import load_suite
    from router import Router

    with code_allowed(True):  # nothing is judged here
        asked = load_suite(suite, seed=seed, sources=chosen_sources(sources))
    runs = [Run(directory) for directory in earlier]
    for run in runs:
        run.manifest()  # a directory without a run is a mistake, no empty measurement
    with Router(policy) as router:
        chosen = chosen_candidates(candidates, router.policy.models)
        target = Run(out if out is not None else Path(os.devnull) / "run")
        planned = plan_run(asked, router, chosen, target, limit=limit, repeats=repeats)
        found = forecast(planned, asked, router, earlier=runs)
        minutes = found.minutes(concurrency, local_models(router, chosen))
    if as_json:
        click.echo(json.dumps({"suite": asked.name, "sha256": asked.sha256, **as_row(found, minutes)}, indent=2))
    else:
        for line in [*load_lines(found, minutes), *reach_lines(found.reaches)]:
            click.echo(line)
    return 0 if all(reach.is_possible for reach in found.reaches) else TOO_LITTLE


def load_lines(found: Forecast, minutes: float) -> list[str]:
    """What the run takes, one line for each task and candidate."""
    lines = []
    for load in found.loads:
        source = "measured" if load.is_measured else "guessed"
        lines.append(
            f"{load.task}, {load.candidate}: {load.calls:,} calls, about {load.input_tokens:,} tokens in, "
            f"{load.output_tokens:,} out ({source}), {_usd(load.expected_usd)}, at most {_usd(load.worst_usd)}"
        )
    lines.append(
        f"together: {found.calls:,} calls, about {_usd(found.expected_usd)}, at most {_usd(found.worst_usd)}, "
        f"about {minutes:,.1f} minutes" + (f"; {found.done:,} cells are finished already" if found.done else "")
    )
    return lines


def reach_lines(reaches: Sequence[Reach]) -> list[str]:
    """What can be concluded, two or more lines for each bar."""
    lines = []
    for reach in reaches:
        what = f"{reach.task}: bar {reach.bar:g} at {reach.confidence:.0%}"
        if reach.fewest is None:
            lines.append(f"{what}: no number of samples proves a bar of 1")
            continue
        verdict = "can be proved" if reach.is_possible else "CANNOT be proved"
        lines.append(
            f"{what} {verdict} with {reach.samples:,} samples: it needs at least {reach.fewest:,}, all right; "
            f"{reach.samples:,} can prove a bar up to {int(reach.highest_bar * 1000) / 1000:.3f}"
        )
        for rate, (wanted, chance) in reach.rates.items():
            needs = "over 100,000 samples" if wanted is None else f"{wanted:,} samples"
            lines.append(f"  if the true rate is {rate:g}: {chance:.0%} chance now; {needs} for 80 %")
    return lines


def as_row(found: Forecast, minutes: float) -> dict[str, Any]:
    """The forecast as plain JSON values."""
    return {
        "calls": found.calls,
        "done": found.done,
        "expected_usd": _number(found.expected_usd),
        "worst_usd": _number(found.worst_usd),
        "minutes": round(minutes, 2),
        "loads": [
            {
                "task": load.task,
                "model": load.candidate,
                "calls": load.calls,
                "input_tokens": load.input_tokens,
                "output_tokens": load.output_tokens,
                "expected_usd": _number(load.expected_usd),
                "worst_usd": _number(load.worst_usd),
                "latency_s": load.latency_s,
                "is_measured": load.is_measured,
            }
            for load in found.loads
        ],
        "bars": [
            {
                "task": reach.task,
                "bar": reach.bar,
                "confidence": reach.confidence,
                "samples": reach.samples,
                "fewest_samples": reach.fewest,
                "highest_bar": reach.highest_bar,
                "is_possible": reach.is_possible,
                "if_true_rate": [
                    {"rate": rate, "samples_for_80_percent": wanted, "chance_now": chance}
                    for rate, (wanted, chance) in reach.rates.items()
                ],
            }
            for reach in found.reaches
        ],
    }


def _usd(cost: Decimal | None) -> str:
    return "an unknown price" if cost is None else f"${cost:.4f}"


def _number(cost: Decimal | None) -> float | None:
    return None if cost is None else float(cost)
