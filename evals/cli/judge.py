"""`clearbar eval judge`: let models judge the answers of a finished run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from evals.types import EvalError

if TYPE_CHECKING:
    from evals.judges import Judge, Rubric


@click.command()
@click.argument("rundir", type=click.Path(file_okay=False))
@click.option("--judge", "models", required=True, multiple=True, help="Policy id of a judge; several are a panel.")
@click.option("--rubric", "rubric_file", type=click.Path(dir_okay=False), help="YAML file: instructions and scale.")
@click.option("--metric", help="A ragas metric instead of a rubric, such as faithfulness.")
@click.option("--embedder", help="Policy id of an embedding model, for the metric answer_relevancy.")
@click.option("--against", help="Compare with this candidate's answers, in both orders (pairwise).")
@click.option("--panel", type=click.Choice(["mean", "majority"]), default="mean", help="How a panel comes to a score.")
@click.option(
    "--calibration", type=click.Path(dir_okay=False), help="Of `clearbar eval calibrate`: corrects the scores by it."
)
@click.option("--out", type=click.Path(file_okay=False), help="Directory of the judged run; default inside RUNDIR.")
@click.option("--policy", help="Policy that lists the judges; default as for every command.")
@click.option("--max-cost-usd", type=str, help="Send nothing that could take the judging above this.")
@click.option("--yes", is_flag=True, help="Do not ask before calling the judges.")
@click.option("--json", "as_json", is_flag=True, help="Result as JSON.")
def judge(rundir: str, policy: str | None, max_cost_usd: str | None, yes: bool, as_json: bool, **given: Any) -> int:
    """Judge the answers of RUNDIR without asking the candidates again.

    The judged run reads like any other (`clearbar eval report`). Called again, it judges only what is missing. Without
    a calibration that holds, the verdicts hold no bar.
    Exits with 2 when the cap stopped it or a calibration is void, 3 when more than 5 % of the judge's calls failed.
    """
    from evals.calibration import read_calibration
    from evals.cli.shared import BROKEN, TOO_LITTLE, amount, confirmed
    from evals.corrected import attach, judging_of
    from evals.judges.session import calls_at_once, judge_run, judged_manifest, plan_judging
    from evals.scorers.ragas import contexts_of
    from evals.store import Run
    from evals.summary import MAX_FAILED
    from router import Router

    cap = amount(max_cost_usd)
    if given["calibration"] is not None:
        read_calibration(given["calibration"])  # a mistake is told before anything is paid
    source = Run(rundir)
    manifest = source.manifest()
    with Router(policy) as router:
        made, rubric, key = _made(router, manifest.run_id, **given)
        target = Run(
            given["out"] or source.directory / "judged" / f"{given['metric'] or rubric.name}-{_slug(made, key)}"
        )
        graded = rubric if given["metric"] is None and given["against"] is None and len(made.models) == 1 else None
        fresh = judged_manifest(manifest, made, key, router=router, rubric=graded)
        items = plan_judging(source, target, fresh, against=given["against"])
        texts = [item.sample.prompt + item.sample.reference + item.result.response + (item.other or "")
                 for item in items]  # fmt: skip
        contexts = None if given["metric"] is None else [contexts_of(item.sample) for item in items]
        worst = worst_usd(router, made, rubric, texts, contexts)
        price = "price unknown" if worst is None else f"at most ${worst * len(items):.4f} at list price"
        click.echo(f"{made.name}: {len(items)} answers, about {len(items) * made.calls_each} calls, {price}", err=True)
        if items and not yes and not confirmed("Call the judge now?"):
            raise click.Abort()
        progress = judge_run(
            items, made, fresh, target, source.samples(), max_cost_usd=cap, worst_usd=worst,
            at_once=calls_at_once(router, made.models),
        )  # fmt: skip
        if given["calibration"] is not None:
            attach(target, given["calibration"])
        judging = judging_of(target, fresh)
    void = judging.gap if judging is not None and given["calibration"] is not None else None
    spent = f"${progress.spent_usd:.4f}" + (" and more at an unknown price" if progress.has_unknown_cost else "")
    if as_json:
        said = {"out": str(target.directory), "judged": progress.judged, "failed": progress.failed,
                "unscored": progress.unscored, "spent_usd": float(progress.spent_usd), "versions": progress.versions,
                "stopped_by_cap": progress.is_stopped_by_cap, "calibration_void": void}  # fmt: skip
        click.echo(json.dumps(said))
    else:
        click.echo(f"{target.directory}: {progress.judged} judged, {progress.unscored} unscored, {spent}")
    if void:
        click.echo(f"{void}; its verdicts hold no bar until `clearbar eval calibrate` ran again", err=True)
    elif given["calibration"] is not None:
        click.echo(f"the calibration holds: `clearbar eval report {target.directory}` corrects by it", err=True)
    elif judging is not None and judging.gap is not None and manifest.bars:
        click.echo(f"judge not calibrated: {judging.gap}; its verdicts hold no bar", err=True)
    if progress.failed:
        click.echo(f"{progress.failed} calls of the judge failed; the same command asks them again", err=True)
    if progress.failed > MAX_FAILED * max(1, progress.total):
        return BROKEN
    return TOO_LITTLE if progress.is_stopped_by_cap or void else 0


def _made(
    router: Any, run_id: str, models: Sequence[str], rubric_file: str | None, metric: str | None,
    embedder: str | None, against: str | None, panel: str, **_: object,
) -> tuple[Judge, Rubric, str]:  # fmt: skip
    """The judge, its rubric, and what its verdicts depend on."""
    from evals.judges import PairwiseJudge, Panel, Rubric, RubricJudge, load_rubric

    if (metric is None) == (rubric_file is None):
        raise EvalError("give either --rubric FILE or --metric NAME")
    if metric is not None:
        from evals.scorers.ragas import RagasJudge

        if against is not None:
            raise EvalError("--against compares by a rubric; leave out --metric")
        # A metric's scores are shares; a majority counts those that are whole.
        rubric = Rubric(name=metric, instructions="", scale={0: "no", 1: "yes"}, passing=1)
        ragas: list[Judge] = [
            RagasJudge(router, model, metric, embedder=embedder, run_id=run_id) for model in dict.fromkeys(models)
        ]
        made = ragas[0] if len(ragas) == 1 else Panel(ragas, rubric, cast(Literal["mean", "majority"], panel))
        return made, rubric, f"ragas/{metric}/{embedder or ''}"
    if against is not None and panel == "majority":
        raise EvalError("--against with a panel gives the mean, in which a tie is 0.5; leave out --panel majority")
    rubric = load_rubric(str(rubric_file))
    kind = RubricJudge if against is None else PairwiseJudge
    judges: list[Judge] = [kind(router, model, rubric, run_id=run_id) for model in dict.fromkeys(models)]
    made = judges[0] if len(judges) == 1 else Panel(judges, rubric, cast(Literal["mean", "majority"], panel))
    return made, rubric, f"{rubric.sha256}/{against or ''}"


def _slug(judge: Judge, key: str) -> str:
    import hashlib

    return hashlib.sha256(f"{judge.name}/{key}".encode()).hexdigest()[:8]


def worst_usd(
    router: Any, judge: Judge, rubric: Rubric, texts: Sequence[str], contexts: Sequence[Sequence[str]] | None = None
) -> Decimal | None:
    """The most one answer can cost: its longest text, the rubric and a full verdict of every judge.

    With a metric of ragas, `contexts` are the passages of each text: it reads them, writes longer answers, and one of
    the metrics asks once for each passage.
    """
    from evals.judges.asking import MAX_TOKENS
    from evals.plan import ANY_AMOUNT
    from evals.scorers.ragas import ANSWER_TOKENS, FRAME_WORDS

    calls, max_tokens, frame = judge.calls_each // len(judge.models), MAX_TOKENS, 300
    if contexts is not None:
        calls, max_tokens, frame = max([calls, *map(len, contexts)]), ANSWER_TOKENS, FRAME_WORDS
        texts = [text + "".join(passages) for text, passages in zip(texts, contexts, strict=True)]
    longest = max(texts, key=len, default="")
    # The frame around rubric and answer, and the doubling of marks by JSON.
    content = json.dumps(longest, ensure_ascii=False) + rubric.instructions + str(rubric.scale) + " word" * frame
    total = Decimal(0)
    for model in judge.models:
        decision = router.explain([{"role": "user", "content": content}], model=model, task="judge",
                                  max_cost_usd=ANY_AMOUNT, max_tokens=max_tokens)  # fmt: skip
        worst = next((offer.worst_cost_usd for offer in decision.candidates if offer.model == model), None)
        if worst is None:
            return None
        total += worst * calls
    return total
