"""Two candidates side by side, and the frontier: only what is proved is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from evals.cli import eval_group
from evals.compare import compare
from evals.early import stopping_early
from evals.frontier import frontier
from evals.plan import Plan
from evals.store import Manifest, Run
from evals.summary import standings
from evals.types import Cell, EvalError, Failed, Result, Score, Scored, Unscored, make_sample

SHA = "cd" * 32
Scores = Mapping[str, Sequence[float | Score]]
WriteRun = Callable[..., Run]


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    def write(
        tasks: Mapping[str, Scores],
        *,
        costs: Mapping[str, float | None] | None = None,
        latencies: Mapping[str, float] | None = None,
        cluster_of: Callable[[int], str] | None = None,
        stop_early: bool = False,
        bars: Mapping[str, Mapping[str, float]] | None = None,
        planned: Mapping[str, int] | None = None,
    ) -> Run:
        run = Run(tmp_path / "run")
        names = tuple(dict.fromkeys(name for scores in tasks.values() for name in scores))
        manifest = Manifest(
            run_id="run-1", suite="s", suite_sha256=SHA, candidates=names, repeats=1,
            created="2026-01-01T00:00:00+00:00", scorers=dict.fromkeys(tasks, "exact"), bars=bars or {},
            planned=planned or {},
            prices=dict.fromkeys(names), stop_early=stop_early,
        )  # fmt: skip
        with run.writing():
            samples = {
                (task, i): make_sample(
                    task, ({"role": "user", "content": f"{task} {i}"},), "right",
                    metadata={"cluster": cluster_of(i)} if cluster_of else {},
                )
                for task, scores in tasks.items()
                for i in range(max(map(len, scores.values())))
            }  # fmt: skip
            run.plan(manifest, samples.values())
            for task, scores in tasks.items():
                for name, values in scores.items():
                    for i, value in enumerate(values):
                        score = Scored(value) if isinstance(value, float) else value
                        cost = (costs or {}).get(name, 0.01)
                        run.append(
                            Result(
                                cell=Cell(suite_sha256=SHA, sample=samples[task, i].id, candidate=name),
                                score=score, response=f"{name} says {value}", cost_usd=cost, list_cost_usd=cost,
                                latency_s=(latencies or {}).get(name, 1.0),
                            )
                        )  # fmt: skip
        return run

    return write


def clearbar(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(eval_group, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    return result.return_value, result.stdout


SAME = {"a": [1.0] * 200, "b": [1.0] * 200}
WORSE = {"a": [1.0, 0.0] * 100, "b": [1.0] * 200}
FEW = {"a": [1.0] * 10, "b": [1.0] * 10}


def test_two_hundred_equal_answers_prove_that_a_is_not_worse(write_run: WriteRun) -> None:
    (one,) = compare(write_run({"qa": SAME}), "a", "b", margin=0.05)
    assert (one.verdict, one.n, one.a_better, one.b_better) == ("not worse", 200, 0, 0)
    # Equal so far is not equal for ever: the interval does not shrink to a point.
    assert one.findings.interval.low < -0.01 and one.findings.interval.high > 0.01


def test_half_as_good_is_proved_worse(write_run: WriteRun) -> None:
    (one,) = compare(write_run({"qa": WORSE}), "a", "b")
    assert one.verdict == "worse" and one.findings.p_equal < 1e-20
    assert (one.a_better, one.b_better, len(one.discordant)) == (0, 100, 100)


def test_ten_equal_answers_prove_nothing(write_run: WriteRun) -> None:
    assert compare(write_run({"qa": FEW}), "a", "b", margin=0.05)[0].verdict == "not enough evidence"


def test_many_tasks_need_more_proof_each(write_run: WriteRun) -> None:
    scores = {"a": [1.0] * 90, "b": [1.0] * 90}
    alone = compare(write_run({"one": scores}), "a", "b", margin=0.05)
    assert alone[0].verdict == "not worse"
    together = compare(write_run({f"task {i}": scores for i in range(10)}), "a", "b", margin=0.05)
    assert {one.verdict for one in together} == {"not enough evidence"}


def test_a_failed_call_counts_as_wrong_and_an_unscored_one_leaves_its_pair_out(write_run: WriteRun) -> None:
    scores = {"a": [1.0, Failed("down"), Unscored("?"), 1.0], "b": [1.0, 1.0, 1.0, Unscored("?")]}
    (one,) = compare(write_run({"qa": scores}), "a", "b")
    assert (one.n, one.unpaired, one.mean_a, one.b_better) == (2, 2, 0.5, 1)


def test_graded_scores_are_compared_by_betting(write_run: WriteRun) -> None:
    scores = {"a": [0.8, 0.7, 0.9] * 200, "b": [0.8, 0.7, 0.91] * 200}
    (one,) = compare(write_run({"qa": scores}), "a", "b", margin=0.05)
    assert (one.verdict, one.findings.method) == ("not worse", "betting")


def test_clusters_widen_the_interval(write_run: WriteRun) -> None:
    scores = {"a": [1.0] * 30 + [0.0] * 30, "b": [0.0] * 10 + [1.0] * 50}
    apart = compare(write_run({"qa": scores}), "a", "b")[0].findings
    together = compare(write_run({"qa": scores}, cluster_of=lambda i: f"page {i // 10}"), "a", "b")[0].findings
    assert together.method == "t on 6 clusters"
    assert together.interval.high - together.interval.low > 1.5 * (apart.interval.high - apart.interval.low)


def test_a_run_that_stopped_early_is_compared_by_what_holds_at_any_stop(write_run: WriteRun) -> None:
    (one,) = compare(write_run({"qa": SAME}, stop_early=True), "a", "b", margin=0.1)
    assert (one.verdict, one.findings.method) == ("not worse", "betting, valid at any stop")
    fixed = compare(write_run({"qa": SAME}), "a", "b", margin=0.1)[0].findings
    assert one.findings.interval.low < fixed.interval.low


def test_the_planned_end_of_a_run_that_stops_early_is_a_proof_of_its_own(write_run: WriteRun) -> None:
    scores = {"qa": {"a": [0.0 if i % 15 == 0 else 1.0 for i in range(60)]}}
    bars = {"qa": {"min": 0.8, "confidence": 0.95}}
    (planned,) = standings(write_run(scores, stop_early=True, bars=bars, planned={"qa": 60}))
    assert planned.verdict == "held"
    (unplanned,) = standings(write_run(scores, stop_early=True, bars=bars))
    assert unplanned.verdict == "not enough evidence" and unplanned.lower < 0.8


def test_a_run_that_stopped_early_needs_more_to_call_a_bar_missed(write_run: WriteRun) -> None:
    bars = {"qa": {"min": 0.8, "confidence": 0.95}}
    scores = {"qa": {"a": [1.0, 0.0, 1.0] * 12}}
    assert standings(write_run(scores, bars=bars))[0].verdict == "failed"
    (early,) = standings(write_run(scores, bars=bars, stop_early=True))
    assert early.verdict == "not enough evidence" and early.upper > 0.8


@pytest.mark.parametrize(("has_answers", "planned"), [(False, {"qa": 2}), (True, {})])
def test_an_end_planned_after_a_look_at_answers_is_none(
    write_run: WriteRun, has_answers: bool, planned: Mapping[str, int]
) -> None:
    run = write_run({"qa": {"a": [1.0, 1.0]}})
    plan = Plan(manifest=run.manifest(), samples=tuple(run.samples()), jobs=(), done=0)
    begun = stopping_early(plan, has_answers=has_answers)
    assert begun.stop_early and begun.planned == planned
    more = replace(plan, manifest=begun, samples=(*plan.samples, *plan.samples))
    assert stopping_early(more, has_answers=True).planned == planned, "more samples do not move the end"


@pytest.mark.parametrize(("a", "b", "message"), [("a", "c", "has no candidate 'c'"), ("a", "a", "with itself")])
def test_only_two_candidates_of_the_run_can_be_compared(write_run: WriteRun, a: str, b: str, message: str) -> None:
    with pytest.raises(EvalError, match=message):
        compare(write_run({"qa": FEW}), a, b)


@pytest.mark.parametrize(
    ("tasks", "code"),
    [({"x": SAME}, 0), ({"x": SAME, "y": WORSE}, 1), ({"x": FEW, "y": WORSE}, 2), ({"x": FEW}, 2)],
    ids=["not worse", "one worse", "open before worse", "open"],
)
def test_the_exit_code_tells_the_verdict(write_run: WriteRun, tasks: Mapping[str, Scores], code: int) -> None:
    run = write_run(tasks)
    assert clearbar("compare", str(run.directory), "a", "b", "--margin", "0.05")[0] == code


def test_discordant_samples_are_shown_side_by_side(write_run: WriteRun) -> None:
    run = write_run({"qa": {"a": [1.0, 1.0, 0.0], "b": [1.0, 0.0, 1.0]}})
    _, text = clearbar("compare", str(run.directory), "a", "b")
    assert "a says 0.0" in text and "b says 1.0" in text and "1 / 1" in text
    assert text.index("a says 0.0") < text.index("a says 1.0"), "losses come first"
    _, shown = clearbar("compare", str(run.directory), "a", "b", "--json", "--show", "1")
    (row,) = json.loads(shown)
    assert (row["verdict"], len(row["discordant"]), row["discordant"][0]["score_a"]) == ("not enough evidence", 1, 0.0)


BETTER = [1.0] * 90 + [0.0] * 10
POORER = [1.0] * 50 + [0.0] * 50


def dominated(run: Run, margin: float = 0.0) -> dict[str, tuple[str, ...]]:
    return {point.standing.candidate: point.dominated_by for point in frontier(run, margin=margin)["qa"]}


def test_cheaper_and_better_dominates(write_run: WriteRun) -> None:
    run = write_run({"qa": {"dear": POORER, "cheap": BETTER}}, costs={"dear": 0.02, "cheap": 0.01})
    assert dominated(run) == {"cheap": (), "dear": ("cheap",)}


@pytest.mark.parametrize(
    ("scores", "costs", "latencies"),
    [
        ({"dear": POORER[:10], "cheap": BETTER[:10]}, {"dear": 0.02, "cheap": 0.01}, {}),
        ({"dear": POORER, "cheap": BETTER}, {"dear": 0.02, "cheap": None}, {}),
        ({"dear": POORER, "cheap": BETTER}, {"dear": 0.02, "cheap": 0.01}, {"cheap": 9.0}),
        ({"dear": BETTER, "cheap": BETTER}, {"dear": 0.02, "cheap": 0.01}, {}),
        ({"dear": BETTER, "cheap": POORER}, {"dear": 0.02, "cheap": 0.01}, {}),
    ],
    ids=["too few", "cost unknown", "slower", "only equal", "worse"],
)
def test_without_proof_nobody_is_dominated(
    write_run: WriteRun, scores: Scores, costs: Mapping[str, float | None], latencies: Mapping[str, float]
) -> None:
    run = write_run({"qa": scores}, costs=costs, latencies=latencies)
    assert set(dominated(run).values()) == {()}


def test_with_a_margin_the_cheaper_of_equals_dominates(write_run: WriteRun) -> None:
    run = write_run({"qa": {"dear": BETTER, "cheap": BETTER}}, costs={"dear": 0.02, "cheap": 0.01})
    assert dominated(run, margin=0.1) == {"cheap": (), "dear": ("cheap",)}


def test_the_frontier_lists_the_cheapest_first_and_the_unknown_last(write_run: WriteRun) -> None:
    run = write_run({"qa": {"x": BETTER, "y": BETTER, "z": BETTER}}, costs={"x": None, "y": 0.02, "z": 0.01})
    code, text = clearbar("frontier", str(run.directory), "--json")
    assert not code
    assert [(row["model"], row["cost_usd"]) for row in json.loads(text)] == [("z", 0.01), ("y", 0.02), ("x", None)]
    assert "unknown" in clearbar("frontier", str(run.directory))[1]
