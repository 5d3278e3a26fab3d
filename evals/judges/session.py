"""Judging the answers of a finished run, without asking the candidates again.

What comes out is a run directory of its own, with the same samples, answers and costs and the judge's scores, so
that reports, comparisons and evidence read it like any other. Beside its cells stands

```
judgements.jsonl   one verdict a line, only ever appended to, each line forced to disk: what was paid for
```

which is written first: after a crash nothing is judged, and paid, a second time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any

from evals.judges.asking import is_kin
from evals.judges.models import Judge, Judged
from evals.judges.rubric import Rubric
from evals.plan import Asks
from evals.store import Manifest, Run
from evals.types import Cell, EvalError, Failed, Result, Sample, Score, Unscored, score_of, score_row

AT_ONCE = 8
"""Answers judged at once by hosted models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One answer to judge."""

    cell: Cell
    """Of the judged run."""
    result: Result
    """Of the run it comes from."""
    sample: Sample
    other: str | None = None
    """The answer to compare with."""


@dataclass(slots=True)
class Judging:
    """How far the judging is."""

    total: int
    judged: int = 0
    failed: int = 0
    """Calls of the judge that failed; they are asked again next time."""
    unscored: int = 0
    spent_usd: Decimal = Decimal(0)
    """Earlier sessions included."""
    has_unknown_cost: bool = False
    is_stopped_by_cap: bool = False
    versions: tuple[str, ...] = ()


def judged_manifest(
    source: Manifest, judge: Judge, key: str, *, router: Asks | None = None, rubric: Rubric | None = None
) -> Manifest:
    """The manifest of the judged run.

    Args:
        source: of the run whose answers are judged.
        judge: who judges.
        key: names what the verdicts depend on beside the suite and the judge.
        router: with it the candidates of a judge's family are noted.
        rubric: where one model grades by it, so that a calibration can be held against the run.
    """
    sha256 = hashlib.sha256(f"{source.suite_sha256}/{judge.name}/{key}".encode()).hexdigest()
    facts: dict[str, Any] = {"name": judge.name, "models": list(judge.models)}
    if router is not None:
        facts["kin"] = [
            candidate
            for candidate in source.candidates
            if any(is_kin(router, model, candidate) for model in judge.models)
        ]
        if rubric is not None:
            facts |= {
                "call": router.policy.deployments[judge.models[0]][0].call,
                "rubric_sha256": rubric.sha256,
                "pass_at": rubric.value(rubric.passing),
            }
    return replace(source, suite_sha256=sha256, scorers={task: judge.name for task in source.scorers}, judge=facts)


def calls_at_once(router: Asks, models: Sequence[str]) -> int:
    """How many answers may be judged at once: one where a judge runs on this machine, which only has to wait longer."""
    calls = [place.call for model in models for place in router.policy.deployments[model]]
    return 1 if any(call.startswith("local/") for call in calls) else AT_ONCE


def plan_judging(source: Run, target: Run, manifest: Manifest, *, against: str | None = None) -> list[Item]:
    """The answers that still need a verdict.

    Args:
        source: a run with answers.
        target: where verdicts are kept.
        manifest: of the judged run, by `judged_manifest`.
        against: candidate whose answers the others are compared with (pairwise).

    Raises:
        EvalError: the target holds another run, or `against` is no candidate.
    """
    if target.directory.resolve() == source.directory.resolve():
        raise EvalError(f"{target.directory}: is the run itself; give another --out")
    if target.exists and target.manifest().suite_sha256 != manifest.suite_sha256:
        raise EvalError(f"{target.directory}: holds another run or another judge's verdicts; give a fresh --out")
    if against is not None and against not in source.manifest().candidates:
        raise EvalError(f"--against {against!r} is no candidate; the run has {', '.join(manifest.candidates)}")
    done = target.results() if target.exists else {}
    kept = read_judgements(target.directory / "judgements.jsonl")
    samples = {sample.id: sample for sample in source.samples()}
    results = source.results()
    items = []
    for cell, result in results.items():
        if cell.sample not in samples or cell.candidate == against:
            continue
        aim = replace(cell, suite_sha256=manifest.suite_sha256)
        verdict = kept.get(aim)
        if aim in done and (isinstance(result.score, Failed) or (verdict and not isinstance(verdict.score, Failed))):
            continue
        other = results.get(replace(cell, candidate=against)) if against is not None else None
        is_there = other is not None and not isinstance(other.score, Failed)
        text = other.response if other is not None and is_there else None
        items.append(Item(cell=aim, result=result, sample=samples[cell.sample], other=text))
    return items


def judge_run(
    items: list[Item],
    judge: Judge,
    manifest: Manifest,
    target: Run,
    samples: list[Sample],
    *,
    max_cost_usd: Decimal | None = None,
    worst_usd: Decimal | None = None,
    at_once: int = AT_ONCE,
    on_progress: Callable[[Judging], None] = lambda _: None,
) -> Judging:
    """Judge all items; each verdict is on disk before the next one is reported.

    Args:
        items: from `plan_judging`.
        judge: asked once for each item.
        manifest: of the judged run.
        target: where verdicts are kept.
        samples: of the run.
        max_cost_usd: nothing is sent that could take the judging, its earlier sessions included, above it.
        worst_usd: the most one item can cost; needed with a cap.
        at_once: see `calls_at_once`.
        on_progress: called after each verdict, from the calling thread.

    Raises:
        EvalError: there is a cap but no known worst cost; or another process writes here.
    """
    if max_cost_usd is not None and worst_usd is None:
        raise EvalError("the judge's price is unknown, so a cap cannot be kept; add its price to the policy")
    progress = Judging(total=len(items))
    with target.writing():
        target.plan(manifest, samples)
        path = target.directory / "judgements.jsonl"
        kept = read_judgements(path)
        _pay_earlier(progress, path, worst_usd)
        with path.open("ab", buffering=0) as log, ThreadPoolExecutor(at_once) as pool:
            if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
                log.write(b"\n")  # ends a torn line, which readers skip
            queue = iter(items)
            running: dict[Future[tuple[Judged, bool]], Item] = {}

            def keep(future: Future[tuple[Judged, bool]]) -> None:
                item = running.pop(future)
                judged, is_new = future.result()
                if is_new:
                    _append(log, item.cell, judge, judged)
                    _pay(progress, judged, worst_usd)
                target.append(replace(item.result, cell=item.cell, score=_cell_score(judged.score, item.result)))
                _count(progress, judged)

            try:
                while True:
                    room = at_once - len(running)
                    if max_cost_usd is not None and worst_usd:
                        left = max_cost_usd - progress.spent_usd
                        room = min(room, int(left / worst_usd) - len(running))
                    fresh = list(islice(queue, max(0, room)))
                    running |= {pool.submit(_judged, item, judge, kept.get(item.cell)): item for item in fresh}
                    if not running:
                        progress.is_stopped_by_cap = next(queue, None) is not None
                        break
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        keep(future)
                        on_progress(progress)
            finally:
                for future in list(running):  # interrupted: what is under way is paid for
                    keep(future)
    return progress


def _judged(item: Item, judge: Judge, kept: Judged | None) -> tuple[Judged, bool]:
    if isinstance(item.result.score, Failed):
        return Judged(score=Unscored("the candidate gave no answer"), calls=0), False
    if kept is not None and not isinstance(kept.score, Failed):
        return kept, False
    if not item.result.response.strip():
        return Judged(score=Unscored("the answer is empty (a tool call's content is not recorded)"), calls=0), True
    try:
        return judge.judge(item.sample, item.result.response, item.other, candidate=item.cell.candidate), True
    except Exception as error:  # noqa: BLE001  one broken verdict must not cost the others
        return Judged(score=Failed(f"judge: {type(error).__name__}: {error}"[:500]), cost_usd=None), True


def _cell_score(score: Score, result: Result) -> Score:
    """What the candidate's cell says: its own failure stays; a judge's failure is nobody's wrong answer."""
    if isinstance(result.score, Failed):
        return result.score
    return Unscored(score.error) if isinstance(score, Failed) else score


def _pay(progress: Judging, judged: Judged, worst_usd: Decimal | None) -> None:
    # A lost call may still be billed: its worst case counts against the cap.
    progress.spent_usd += (judged.cost_usd if judged.cost_usd is not None else worst_usd) or 0
    progress.has_unknown_cost |= judged.cost_usd is None


def _pay_earlier(progress: Judging, path: Path, worst_usd: Decimal | None) -> None:
    for _, judged in _rows(path):
        _pay(progress, judged, worst_usd)


def spent_before(run: Run, worst_usd: Decimal | None) -> Decimal:
    """What earlier sessions have spent on a judged run."""
    progress = Judging(total=0)
    _pay_earlier(progress, run.directory / "judgements.jsonl", worst_usd)
    return progress.spent_usd


def _count(progress: Judging, judged: Judged) -> None:
    progress.judged += 1
    progress.failed += isinstance(judged.score, Failed)
    progress.unscored += isinstance(judged.score, Unscored)
    progress.versions = tuple(dict.fromkeys(progress.versions + judged.versions))


def _append(log: IO[bytes], cell: Cell, judge: Judge, judged: Judged) -> None:
    row = {
        **asdict(cell),
        "judge": judge.name,
        "score": score_row(judged.score),
        "cost_usd": None if judged.cost_usd is None else str(judged.cost_usd),
        "calls": judged.calls,
        "versions": judged.versions,
        "texts": judged.texts,
    }
    log.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
    os.fsync(log.fileno())


def read_judgements(path: Path) -> dict[Cell, Judged]:
    """The latest verdict of each cell; a torn last line counts as never written."""
    return dict(_rows(path))


def _rows(path: Path) -> Iterator[tuple[Cell, Judged]]:
    for line in path.read_bytes().split(b"\n") if path.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        cost = None if row["cost_usd"] is None else Decimal(row["cost_usd"])
        yield (
            Cell(**{name: row[name] for name in ("suite_sha256", "sample", "candidate", "repeat")}),
            Judged(
                score=score_of(row["score"]),
                cost_usd=cost,
                calls=row["calls"],
                versions=tuple(row["versions"]),
                texts=tuple(row["texts"]),
            ),
        )
