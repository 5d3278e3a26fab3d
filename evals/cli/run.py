"""`clearbar eval run`: ask every sample of every candidate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from evals.cli.progress import shown
from evals.cli.report import print_table
from evals.cli.shared import (
    BROKEN,
    TOO_LITTLE,
    allow_code_option,
    allowing_code,
    amount,
    chosen_candidates,
    chosen_sources,
    concurrency_option,
    confirmed,
)
from evals.types import EvalError, Failed

if TYPE_CHECKING:
    from evals.plan import Asks, Plan
    from evals.sequential import Goal
    from evals.store import Run
    from evals.suite import Suite


@click.command()
@click.argument("suite")
@click.option("--policy", help="Policy that lists the candidates; default as for every command.")
@click.option("--candidates", help="Model ids, separated by commas; default: all chat models of the policy.")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Directory of the run.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many samples of each task.")
@click.option("--repeats", type=click.IntRange(min=1), help="How often each sample is asked; default: the suite's.")
@click.option("--source", "sources", multiple=True, metavar="[TASK=]FILE", help="Read samples here instead.")
@click.option("--seed", type=int, help="Fresh generated samples by another seed.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out: ask what is missing or failed.")
@click.option("--yes", is_flag=True, help="Do not ask before calling models.")
@click.option("--max-cost-usd", type=str, help="Send nothing that could take the run above this.")
@concurrency_option
@click.option("--max-failures", type=click.FloatRange(0, 1), default=0.1, help="Share of failed calls that ends it.")
@click.option(
    "--stop-early",
    type=click.Choice(["cheapest", "all"]),
    help="Leave out who cannot hold a bar, or need not (cheapest), or whose verdict is known (all).",
)
@allow_code_option
@click.option("--json", "as_json", is_flag=True, help="Result as JSON.")
def run(
    suite: str,
    policy: str | None,
    candidates: str | None,
    out: str,
    limit: int | None,
    repeats: int | None,
    sources: Sequence[str],
    seed: int | None,
    resume: bool,
    yes: bool,
    max_cost_usd: str | None,
    concurrency: int,
    max_failures: float,
    stop_early: Goal | None,
    allow_code: bool,
    as_json: bool,
) -> int:
    """Ask every sample of SUITE (a YAML or Python file, or a shipped name such as `local`) of every candidate."""
    from evals.plan import plan_run
    from evals.runner import execute
    from evals.store import Run
    from evals.suite import load_suite
    from evals.summary import MAX_FAILED
    from router import Router

    cap = amount(max_cost_usd)
    target = Run(out)
    if target.exists and not resume:
        raise EvalError(f"{out} already holds a run; go on with --resume, or give a fresh --out")
    with allowing_code(allow_code):
        asked = load_suite(suite, seed=seed, sources=chosen_sources(sources))
    with Router(policy) as router:
        chosen = chosen_candidates(candidates, router.policy.models)
        plan = plan_run(asked, router, chosen, target, limit=limit, repeats=repeats)
        _show_plan(plan, chosen)
        _show_forecast(plan, asked, router, concurrency)
        if plan.jobs and not yes and not confirmed("Call the models now?"):
            raise click.Abort()
        with shown() as show:
            progress = execute(
                plan,
                asked,
                router,
                target,
                max_cost_usd=cap,
                concurrency=concurrency,
                max_failures=max_failures,
                stop_early=stop_early,
                on_progress=show,
            )
    if as_json:
        click.echo(
            json.dumps(
                {
                    "run_id": plan.manifest.run_id,
                    "out": out,
                    "suite_sha256": plan.manifest.suite_sha256,
                    "cells": plan.done + progress.total,
                    "finished": plan.done + progress.finished - progress.failed,
                    "failed": progress.failed,
                    "not_needed": progress.skipped,
                    "spent_usd": float(progress.spent_usd),
                    "stopped_by_cap": progress.is_stopped_by_cap,
                    "stopped_by_failures": progress.is_stopped_by_failures,
                }
            )
        )
    else:
        print_table(out)
    if progress.is_stopped_by_failures:
        click.echo(
            f"stopped: {progress.failed} of {progress.finished} calls failed, more than --max-failures "
            f"{max_failures:g}; such as: {_last_error(target)}; what was answered is kept, go on with --resume",
            err=True,
        )
        return BROKEN
    if progress.is_stopped_by_cap:
        click.echo(f"stopped at --max-cost-usd {cap}; raise it and add --resume to go on", err=True)
        return TOO_LITTLE
    if progress.failed:
        click.echo(f"{progress.failed} calls failed; ask them again with --resume", err=True)
        return BROKEN if progress.failed > MAX_FAILED * progress.total else 0
    return 0


def _show_plan(plan: Plan, candidates: Sequence[str]) -> None:
    from collections import Counter

    calls = Counter(job.cell.candidate for job in plan.jobs)
    tasks = Counter(sample.task for sample in plan.samples)
    counts = ", ".join(f"{task} {count}" for task, count in tasks.items())
    click.echo(f"suite {plan.manifest.suite}: {len(plan.samples)} samples ({counts})", err=True)
    for candidate in candidates:
        worst = plan.worst_usd(candidate)
        price = "price unknown" if worst is None else f"at most ${worst:.4f} at list price"
        click.echo(f"  {candidate}: {calls[candidate]} calls, {price}", err=True)
    if plan.done:
        click.echo(f"  {plan.done} cells are finished already", err=True)


def _show_forecast(plan: Plan, suite: Suite, router: Asks, concurrency: int) -> None:
    from evals.cli.plan import load_lines, reach_lines
    from evals.forecast import forecast, local_models

    found = forecast(plan, suite, router)
    minutes = found.minutes(concurrency, local_models(router, plan.manifest.candidates))
    for line in [load_lines(found, minutes)[-1], *reach_lines(found.reaches)]:
        click.echo(f"  {line}", err=True)


def _last_error(run: Run) -> str:
    errors = [result.score.error for result in run.results().values() if isinstance(result.score, Failed)]
    return errors[-1] if errors else "unknown"
