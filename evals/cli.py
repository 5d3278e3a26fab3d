"""`clearbar eval`: ask a suite, read the result, turn it into evidence and outcome tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from evals.types import EvalError

if TYPE_CHECKING:
    from evals.plan import Plan
    from evals.runner import Progress
    from evals.summary import Standing

BAR_FAILED, TOO_LITTLE, BROKEN = 1, 2, 3


@click.group(name="eval")
def eval_group() -> None:
    """Measure how well models do, and turn it into evidence."""


@eval_group.command()
@click.argument("suite")
@click.option("--policy", help="Policy that lists the candidates; default as for every command.")
@click.option("--candidates", help="Model ids, separated by commas; default: all chat models of the policy.")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Directory of the run.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many samples of each task.")
@click.option("--repeats", type=click.IntRange(min=1), default=1, help="How often each sample is asked.")
@click.option("--seed", type=int, help="Fresh generated samples by another seed.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out: ask what is missing or failed.")
@click.option("--yes", is_flag=True, help="Do not ask before calling models.")
@click.option("--max-cost-usd", type=str, help="Send nothing that could take the run above this.")
@click.option("--json", "as_json", is_flag=True, help="Result as JSON.")
def run(
    suite: str,
    policy: str | None,
    candidates: str | None,
    out: str,
    limit: int | None,
    repeats: int,
    seed: int | None,
    resume: bool,
    yes: bool,
    max_cost_usd: str | None,
    as_json: bool,
) -> int:
    """Ask every sample of SUITE (a YAML file, or a shipped name such as `local`) of every candidate."""
    from evals.plan import plan_run
    from evals.runner import execute
    from evals.store import Run
    from evals.suite import load_suite
    from evals.summary import MAX_FAILED
    from router import Router

    cap = _amount(max_cost_usd)
    target = Run(out)
    if target.exists and not resume:
        raise EvalError(f"{out} already holds a run; go on with --resume, or give a fresh --out")
    asked = load_suite(suite, seed=seed)
    with Router(policy) as router:
        chosen = _candidates(candidates, router.policy.models)
        plan = plan_run(asked, router, chosen, target, limit=limit, repeats=repeats)
        _show_plan(plan, chosen)
        if plan.jobs and not yes and not _confirmed():
            raise click.Abort()
        progress = execute(plan, asked, router, target, max_cost_usd=cap, on_progress=_show_progress)
    _end_progress(progress)
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
                    "spent_usd": float(progress.spent_usd),
                    "stopped_by_cap": progress.is_stopped_by_cap,
                }
            )
        )
    else:
        _print_table(out)
    if progress.is_stopped_by_cap:
        click.echo(f"stopped at --max-cost-usd {cap}; raise it and add --resume to go on", err=True)
        return TOO_LITTLE
    if progress.failed:
        click.echo(f"{progress.failed} calls failed; ask them again with --resume", err=True)
        return BROKEN if progress.failed > MAX_FAILED * progress.total else 0
    return 0


@eval_group.command()
@click.argument("rundir", type=click.Path(file_okay=False))
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="Parquet, .jsonl or .csv file.")
def outcomes(rundir: str, out: str) -> None:
    """Write a run as an outcome table, for `clearbar train` and `clearbar replay`."""
    from evals.outcomes import write_run_outcomes
    from evals.store import Run

    rows = write_run_outcomes(Run(rundir), out)
    click.echo(f"{out}: {rows:,} rows", err=True)


@eval_group.command()
@click.argument("rundir", type=click.Path(file_okay=False))
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Directory for the evidence files.")
@click.option("--candidates", help="Only these model ids, separated by commas.")
@click.option("--json", "as_json", is_flag=True, help="The evidence as JSON.")
def propose(rundir: str, out: str, candidates: str | None, as_json: bool) -> None:
    """Write a run as evidence files, which the bars of a policy ask for."""
    from evals.propose import evidence, write_evidence
    from evals.store import Run

    wanted = None if candidates is None else _candidates(candidates, Run(rundir).manifest().candidates)
    found = evidence(Run(rundir), candidates=wanted)
    paths = write_evidence(found, out)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for path, one in zip(paths, found, strict=True):
            click.echo(f"{path}: mean {one['mean']:.3f}, lower bound {one['lower']:.3f}, n {one['n']}")


@eval_group.command()
@click.argument("rundir", type=click.Path(file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="The table as JSON.")
def report(rundir: str, as_json: bool) -> int:
    """Show what each candidate reached on each task.

    Exits with 0 when every bar of the suite is held by some candidate, 1 when one is missed by all, 2 when one
    is open.
    """
    from evals.store import Run
    from evals.summary import standings

    found = standings(Run(rundir))
    if not found:
        raise EvalError(f"{rundir}: no scored answer yet; run the suite first")
    if as_json:
        click.echo(json.dumps([_standing_row(standing) for standing in found], indent=2))
    else:
        _print_table(rundir)
    return _verdict_code(found)


@eval_group.command()
@click.option("--outcomes", "table", required=True, type=click.Path(dir_okay=False), help="Outcome table.")
@click.option("--scorer", "scorers", required=True, multiple=True, metavar="TASK=NAME", help="Scorer of a task.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="Parquet, .jsonl or .csv file.")
@click.option("--json", "as_json", is_flag=True, help="Agreement as JSON.")
def rescore(table: str, scorers: Sequence[str], out: str, as_json: bool) -> None:
    """Score recorded answers again: adds the column `rescored` (null: unscored)."""
    from evals.rescore import rescore as scored_again
    from evals.rescore import write_table

    named: dict[str, str] = {}
    for pair in scorers:
        task, equals, name = pair.partition("=")
        if not (task and equals and name):
            raise EvalError(f"--scorer {pair!r}: give TASK=NAME, such as --scorer arithmetic=numeric")
        if task in named:
            raise EvalError(f"--scorer names task {task!r} twice")
        named[task] = name
    fresh, agreements = scored_again(table, named)
    write_table(fresh, out)
    if as_json:
        rows = [{name: getattr(one, name) for name in type(one).__slots__} for one in agreements]
        click.echo(json.dumps(rows, indent=2))
        return
    for one in agreements:
        share = (
            "" if one.agreeing is None or not one.scored else f", {one.agreeing / one.scored:.4f} agree with quality"
        )
        click.echo(f"{one.task}: {one.scorer or 'no scorer'}, {one.scored:,} of {one.rows:,} scored{share}")


def _candidates(given: str | None, known: Any) -> list[str]:
    if given is None:
        return [name for name, model in known.items() if "embedding" not in (model.capabilities or ())]
    chosen = list(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    if not chosen:
        raise EvalError("--candidates names no model; give ids of the policy, such as --candidates small,large")
    return chosen


def _amount(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        amount = Decimal(text)
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise EvalError(f"--max-cost-usd {text!r}: give an amount in USD, such as 0.50")
    return amount


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise EvalError("nobody is here to confirm the calls above; add --yes")
    return click.confirm("Call the models now?", err=True)


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


def _show_progress(progress: Progress) -> None:
    is_terminal = sys.stderr.isatty()
    if not is_terminal and progress.finished % 50 and progress.finished != progress.total:
        return
    line = f"{progress.finished}/{progress.total} cells, {progress.failed} failed, ${progress.spent_usd:.4f}"
    click.echo(f"\r{line}" if is_terminal else line, err=True, nl=not is_terminal)


def _end_progress(progress: Progress) -> None:
    if progress.finished and sys.stderr.isatty():
        click.echo(err=True)


def _print_table(rundir: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from evals.store import Run
    from evals.summary import standings

    table = Table(
        "task", "model", "mean", "95 % interval", "n", "USD / 1,000", "p50 s", "bar", box=None, pad_edge=False
    )
    for standing in standings(Run(rundir)):
        extra = f" ({standing.failed} failed)" if standing.failed else ""
        extra += f" ({standing.unscored} unscored)" if standing.unscored else ""
        bar = "" if standing.bar is None else f"{standing.bar:g} {standing.verdict} (lower {standing.lower:.3f})"
        table.add_row(
            standing.task,
            standing.candidate,
            f"{standing.interval.value:.3f}",
            f"{standing.interval.low:.3f} to {standing.interval.high:.3f}",
            f"{standing.n}{extra}",
            "unknown" if standing.cost_usd is None else f"{standing.cost_usd * 1000:.4f}",
            "" if standing.latency_p50_s is None else f"{standing.latency_p50_s:.2f}",
            bar,
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _standing_row(standing: Standing) -> dict[str, Any]:
    return {
        "task": standing.task,
        "model": standing.candidate,
        "n": standing.n,
        "failed": standing.failed,
        "unscored": standing.unscored,
        "mean": standing.interval.value,
        "wilson_low": standing.interval.low,
        "wilson_high": standing.interval.high,
        "lower": standing.lower,
        "confidence": standing.confidence,
        "bar": standing.bar,
        "verdict": standing.verdict,
        "cost_usd": standing.cost_usd,
        "latency_p50_s": standing.latency_p50_s,
        "model_versions": list(standing.versions),
    }


def _verdict_code(found: Sequence[Standing]) -> int:
    verdicts: dict[str, set[str]] = {}
    for standing in found:
        if standing.verdict is not None:
            verdicts.setdefault(standing.task, set()).add(standing.verdict)
    open_ = [task for task, seen in verdicts.items() if "held" not in seen and "not enough evidence" in seen]
    missed = [task for task, seen in verdicts.items() if seen == {"failed"}]
    return TOO_LITTLE if open_ else BAR_FAILED if missed else 0


__all__ = ["eval_group"]
