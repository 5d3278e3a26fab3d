"""`clearbar quickstart`: the main job on this machine, from weights to routed answers.

It runs the same commands that you would type and prints each of them; then it routes fresh prompts, repeats
some, and holds the result against the best constant model on the same prompts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from statistics import fmean
from typing import Any

import click

from evals.outcomes import value_of
from evals.store import Run
from evals.suite import Suite, load_suite
from evals.types import Result, Sample, Scored
from router import Completion, Router
from router.errors import ConfigurationError

RECORDED = Path(__file__).parent / "data" / "quickstart.jsonl"
"""Answers of an earlier run of ours to the same prompts, for machines that cannot run the models."""
FRESH_SEED = 1
"""Prompts of this seed share none with the suite's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much a quickstart does."""

    policy: str
    models: tuple[str, ...]
    """Weights to fetch."""
    measured: int
    """Samples per task that are asked of every candidate."""
    routed: int
    """Fresh prompts per task that are routed live."""
    repeated: int
    """How many of them are asked again."""


FULL = Size(
    policy="quickstart.yaml",
    models=("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"),
    measured=20,
    routed=6,
    repeated=12,
)
FAST = Size(
    policy="quickstart-fast.yaml", models=("smollm2-135m", "qwen2.5-coder-0.5b"), measured=12, routed=4, repeated=6
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One fresh prompt: what the router answered, and what the best constant model answers to it."""

    sample: Sample
    label: str | None
    """The task as the caller named it, if at all."""
    routed: Completion
    quality: float
    constant_quality: float
    constant_cost_usd: Decimal


@click.command()
@click.option("--fast", is_flag=True, help="The two smaller models and fewer samples: a first look.")
@click.option(
    "--out",
    default=".clearbar/quickstart",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for everything it makes; an earlier quickstart's is replaced.",
)
def quickstart(fast: bool, out: Path) -> None:
    """Evaluate local models, train, route live prompts, and show what it saved."""
    size = FAST if fast else FULL
    if out.exists() and any(out.iterdir()) and not (out / "policy.yaml").is_file():
        raise click.ClickException(f"{out} holds something else; give another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    pool = _pool(size)
    policy, run = out / "policy.yaml", out / "run"
    policy.write_text(_policy_text(size, pool), encoding="utf-8")
    _clearbar("eval", "run", "local", "--policy", policy, "--limit", size.measured, "--out", run, "--yes")
    _clearbar("eval", "report", run, "--html", out / "evals.html", is_quiet=True, is_verdict=True)
    _clearbar("eval", "propose", run, "--out", out / "evidence", is_quiet=True)
    _clearbar("eval", "outcomes", run, "--out", out / "outcomes.jsonl")
    _clearbar("train", "--outcomes", out / "outcomes.jsonl", "--out", out / "artifact")
    with policy.open("a", encoding="utf-8") as file:
        file.write("\nartifact: artifact\n")
    _clearbar("policy", "show", policy)
    served, hits = _route(size, policy, out / "state", Run(run))
    _show(served, hits, size, pool, out, best_constant(Run(run)))


def _pool(size: Size) -> str:
    """`local` when the models can run here, else `replay`, with the reason told."""
    problem = ""
    try:
        _clearbar("models", "pull", *size.models)
        import importlib.util

        if importlib.util.find_spec("xllamacpp") is None:
            problem = 'the engine is missing (pip install "clearbar[local]")'
    except ConfigurationError:
        problem = "the weights cannot be had (see above)"
    if not problem:
        return "local"
    if not RECORDED.is_file():
        raise ConfigurationError(f"{problem}, and {RECORDED} is missing as well; install the package again")
    click.echo(f"\n{problem}: going on with answers that were recorded on another machine\n", err=True)
    os.environ["CLEARBAR_REPLAY"] = str(RECORDED)
    return "replay"


def _policy_text(size: Size, pool: str) -> str:
    done = subprocess.run([*_COMMAND, "policy", "path"], capture_output=True, text=True, check=True)  # noqa: S603
    text = Path(done.stdout.strip(), "examples", size.policy).read_text(encoding="utf-8")
    return text if pool == "local" else text.replace("call: local/", "call: replay/")


_COMMAND = (sys.executable, "-m", "router.cli")


def _clearbar(*arguments: object, is_quiet: bool = False, is_verdict: bool = False) -> None:
    """Run a clearbar command the way a person would, and show it; a verdict may also say no (1) or open (2)."""
    words = [str(argument) for argument in arguments]
    click.echo(f"\n$ clearbar {' '.join(words)}", err=True)
    # What it prints belongs to the show, not to our result: standard output carries the report alone.
    done = subprocess.run([*_COMMAND, *words], stdout=subprocess.DEVNULL if is_quiet else sys.stderr, check=False)  # noqa: S603
    if done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode not in ((0, 1, 2) if is_verdict else (0,)):
        raise ConfigurationError(f"`clearbar {' '.join(words)}` ended with exit code {done.returncode}; see above")


def best_constant(run: Run) -> str:
    """The candidate with the best mean over all measured samples; the cheaper one on a tie."""
    by_candidate: dict[str, list[Result]] = {}
    for cell, result in run.results().items():
        by_candidate.setdefault(cell.candidate, []).append(result)

    def rank(candidate: str) -> tuple[float, float]:
        results = by_candidate[candidate]
        return fmean(value_of(result) or 0.0 for result in results), -sum(result.cost_usd or 0.0 for result in results)

    return max(by_candidate, key=rank)


def _route(size: Size, policy: Path, state: Path, run: Run) -> tuple[list[Served], int]:
    """Route fresh prompts, ask the best constant model the same, and repeat some; returns answers and cache hits."""
    suite = load_suite("local", seed=FRESH_SEED)
    samples, constant = suite.samples(size.routed), best_constant(run)
    served: list[Served] = []
    with Router(policy, state) as router:
        for number, sample in enumerate(samples):
            _tick(number, len(samples), "routing fresh prompts")
            # Every other prompt comes without its task, as from a caller that does not know: the classifier says.
            label = sample.task if (number // len(suite.tasks)) % 2 == 0 else None
            routed = _ask(router, suite, sample, task=label)
            # At temperature 0 a model's answer is its answer: it is only asked again where another one had served.
            same = routed if routed.model == constant else _ask(router, suite, sample, model=constant)
            served.append(
                Served(
                    sample=sample,
                    label=label,
                    routed=routed,
                    quality=_judged(suite, sample, routed.text),
                    constant_quality=_judged(suite, sample, same.text),
                    constant_cost_usd=same.cost_usd or Decimal(0),
                )
            )
        _tick(len(samples), len(samples), "routing fresh prompts")
        again = [_ask(router, suite, one.sample, task=one.label) for one in served[: size.repeated]]
    return served, sum(completion.cache == "exact" for completion in again)


def _ask(
    router: Router, suite: Suite, sample: Sample, *, task: str | None = None, model: str | None = None
) -> Completion:
    done: Completion = router.complete(
        sample.messages,
        task=task,
        model=model,
        workflow="quickstart" if model is None else "quickstart-baseline",
        **suite.params(sample.task),
    )
    return done


def _judged(suite: Suite, sample: Sample, text: str) -> float:
    score = suite.scorer_of(sample)(text, sample.reference)
    return score.value if isinstance(score, Scored) else 0.0


def _tick(done: int, total: int, what: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{what}: {done}/{total}", err=True, nl=done == total)
    elif done % 12 == 0:
        click.echo(f"{what}: {done}/{total}", err=True)


def _show(served: Sequence[Served], hits: int, size: Size, pool: str, out: Path, constant: str) -> None:
    """Print the report, keep it as a page, and end with one line for programs."""
    from rich.console import Console
    from rich.table import Table

    console = Console(record=True, highlight=False, width=110)
    table = Table("task", "went to", "why", "n", "quality", f"always {constant}", "USD", f"always {constant}")
    table.title = f"\nFresh prompts, routed live ({'local models' if pool == 'local' else 'recorded answers'})"
    for column in table.columns[3:]:
        column.justify = "right"
    for task in dict.fromkeys(one.sample.task for one in served):
        table.add_row(*_row(task, [one for one in served if one.sample.task == task]))
    table.add_section()
    table.add_row(*_row("all", served))
    console.print(table)
    figures = _figures(served, hits, size, pool)
    saved = 1 - figures["cost_usd"] / figures["best_constant_cost_usd"] if figures["best_constant_cost_usd"] else 0.0
    guessed = [one for one in served if one.routed.decision.task.by != "label"]
    right = sum(one.routed.decision.task.task == one.sample.task for one in guessed)
    console.print(
        f"Spent ${figures['cost_usd']:.6f} where always asking {constant} spends "
        f"${figures['best_constant_cost_usd']:.6f}: {saved:.0%} saved, at quality {figures['quality']:.3f} against "
        f"{figures['best_constant_quality']:.3f}.\n"
        f"Prices are list prices of comparable hosted models; the machine itself charged nothing.\n"
        f"Without a label the classifier named the right task for {right} of {len(guessed)} prompts. "
        f"{hits} of {size.repeated} repeated prompts came from the cache, billed 0"
        f"{'' if hits == size.repeated else ' (an answer cut at its length limit is not kept)'}.\n"
        f"{len(served)} prompts are a demonstration, not a measurement; benchmarks/ has the measurements."
    )
    report = out / "report.html"
    console.save_html(str(report))
    console.print(
        f"\nReport: {report}\n"
        f"Evals:  {out / 'evals.html'} (every answer, in a browser)\n"
        f"Policy: {out / 'policy.yaml'} (clearbar policy show)\n"
        f"Spend:  clearbar spend --state {out / 'state'} --by workflow,model"
    )
    click.echo(json.dumps(figures))


def _row(task: str, served: Sequence[Served]) -> list[str]:
    went: dict[str, int] = {}
    for one in served:
        went[one.routed.model] = went.get(one.routed.model, 0) + 1
    chosen = max(went, key=lambda model: went[model])
    reasons = [c.reason for one in served for c in one.routed.decision.candidates if c.model == chosen and c.is_in]
    return [
        task,
        ", ".join(f"{model} {count}" for model, count in sorted(went.items(), key=lambda item: -item[1])),
        "" if task == "all" or not reasons else reasons[0].partition(" (")[0],
        str(len(served)),
        f"{fmean(one.quality for one in served):.2f}",
        f"{fmean(one.constant_quality for one in served):.2f}",
        f"{sum((one.routed.cost_usd or Decimal(0)) for one in served):.6f}",
        f"{sum(one.constant_cost_usd for one in served):.6f}",
    ]


def _figures(served: Sequence[Served], hits: int, size: Size, pool: str) -> Mapping[str, Any]:
    """The machine-readable result. Repeats count as requests; nothing is claimed for what they would have cost."""
    return {
        "pool": pool,
        "requests": len(served) + size.repeated,
        "quality": round(fmean(one.quality for one in served), 4),
        "best_constant_quality": round(fmean(one.constant_quality for one in served), 4),
        "cost_usd": float(sum((one.routed.cost_usd or Decimal(0)) for one in served)),
        "best_constant_cost_usd": float(sum(one.constant_cost_usd for one in served)),
        "cache_hits": hits,
    }
