"""What a run proves: standings, evidence files and outcome tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.outcomes import outcome_rows, write_run_outcomes
from evals.propose import evidence, write_evidence
from evals.stats import clopper_pearson_lower
from evals.store import Manifest, Run
from evals.summary import standings
from evals.types import Cell, EvalError, Failed, Result, Score, Scored, Unscored, make_sample
from router.outcomes import read_outcomes
from router.policy.evidence import read_evidence

SHA = "ab" * 32
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WriteRun = Callable[..., Run]


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    def write(
        scores: Sequence[Score], *, version: str | Sequence[str] = "v1", bar: float = 0.8, cost: float | None = 0.01
    ) -> Run:
        run = Run(tmp_path / "run")
        samples = [
            make_sample("qa", ({"role": "user", "content": f"question {i}"},), f"answer {i}", subtask="easy")
            for i in range(len(scores))
        ]
        manifest = Manifest(
            run_id="run-1",
            suite="s",
            suite_sha256=SHA,
            candidates=("small",),
            repeats=1,
            created="2026-01-01T00:00:00+00:00",
            scorers={"qa": "exact"},
            bars={"qa": {"min": bar, "confidence": 0.95}},
            prices={"small": {"input": "1", "output": "2"}},
        )
        with run.writing():
            run.plan(manifest, samples)
            for i, (sample, score) in enumerate(zip(samples, scores, strict=True)):
                is_failed = isinstance(score, Failed)
                run.append(
                    Result(
                        cell=Cell(suite_sha256=SHA, sample=sample.id, candidate="small"),
                        score=score,
                        response="" if is_failed else "answer",
                        input_tokens=10,
                        output_tokens=2,
                        cost_usd=None if is_failed else cost,
                        latency_s=None if is_failed else 0.5,
                        model_version=None if is_failed else version if isinstance(version, str) else version[i],
                    )
                )
        return run

    return write


def test_evidence_holds_exactly_what_the_contract_names(write_run: WriteRun) -> None:
    (found,) = evidence(write_run([Scored(1.0)] * 58 + [Scored(0.0)] * 2), now=NOW)
    assert found == {
        "version": 1,
        "task": "qa",
        "model": "small",
        "model_version": "v1",
        "run_id": "run-1",
        "suite_sha256": SHA,
        "n": 60,
        "mean": pytest.approx(58 / 60),
        "lower": clopper_pearson_lower(58, 60),
        "confidence": 0.95,
        "metric": "mean_score",
        "scorer": "exact",
        "price": {"input": "1", "output": "2"},
        "created": "2026-01-02T03:04:05+00:00",
        "expires": "2026-04-02T03:04:05+00:00",
    }


def test_evidence_for_pinned_weights_never_expires(write_run: WriteRun) -> None:
    (found,) = evidence(write_run([Scored(1.0)] * 5, version="sha256:12ab"), now=NOW)
    assert found["expires"] is None


def test_the_router_reads_what_was_written_and_other_files_stay(write_run: WriteRun, tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "other--large.json").write_text("{}", encoding="utf-8")
    (path,) = write_evidence(evidence(write_run([Scored(1.0)] * 20), now=NOW), folder)
    assert path.name == "qa--small.json"
    assert sorted(file.name for file in folder.iterdir()) == ["other--large.json", "qa--small.json"]
    found, problems = read_evidence(folder)
    assert found["qa", "small"].n == 20
    assert len(problems) == 1  # the file that was there, which is no evidence


def test_a_slash_in_a_model_id_makes_no_directory(write_run: WriteRun, tmp_path: Path) -> None:
    one = evidence(write_run([Scored(1.0)]), now=NOW)[0] | {"model": "vendor/small"}
    (path,) = write_evidence([one], tmp_path / "evidence")
    assert path.name == "qa--vendor%2Fsmall.json"
    assert ("qa", "vendor/small") in read_evidence(tmp_path / "evidence")[0]


def test_a_failure_counts_as_wrong_and_an_unscored_answer_not_at_all(write_run: WriteRun) -> None:
    (standing,) = standings(write_run([Scored(1.0)] * 8 + [Failed("down"), Unscored("no reference")]))
    assert (standing.n, standing.failed, standing.unscored) == (9, 1, 1)
    assert standing.interval.value == pytest.approx(8 / 9)
    assert standing.lower == clopper_pearson_lower(8, 9)


def test_a_run_with_many_failures_is_no_evidence(write_run: WriteRun) -> None:
    with pytest.raises(EvalError, match=r"2 calls of 'small' on task 'qa' failed .*--resume"):
        evidence(write_run([Scored(1.0)] * 18 + [Failed("down")] * 2))


def test_a_model_that_changed_during_the_run_is_no_evidence(write_run: WriteRun) -> None:
    with pytest.raises(EvalError, match=r"changed its version .*v1, v2"):
        evidence(write_run([Scored(1.0)] * 2, version=["v1", "v2"]))


@pytest.mark.parametrize(
    ("right", "wrong", "verdict"), [(20, 0, "held"), (3, 17, "failed"), (16, 4, "not enough evidence")]
)
def test_a_bar_is_held_failed_or_open(write_run: WriteRun, right: int, wrong: int, verdict: str) -> None:
    (standing,) = standings(write_run([Scored(1.0)] * right + [Scored(0.0)] * wrong))
    assert standing.verdict == verdict


def test_graded_scores_of_one_half_do_not_fail_a_bar_below_them(write_run: WriteRun) -> None:
    (standing,) = standings(write_run([Scored(0.5)] * 200, bar=0.45))
    assert standing.verdict == "held"


def test_outcomes_are_what_training_reads(write_run: WriteRun, tmp_path: Path) -> None:
    run = write_run([Scored(1.0), Scored(0.25), Failed("down"), Unscored("?")])
    assert write_run_outcomes(run, tmp_path / "outcomes.parquet") == 2
    rows = {row["query_id"]: row for row in read_outcomes(tmp_path / "outcomes.parquet").to_pylist()}
    sample = run.samples()[1]
    assert rows[sample.id] == {
        "query_id": sample.id,
        "task": "qa",
        "subtask": "easy",
        "prompt": "question 1",
        "reference": "answer 1",
        "model": "small",
        "quality": 0.25,
        "response": "answer",
        "input_tokens": 10,
        "output_tokens": 2,
        "cost_usd": 0.01,
        "latency_s": 0.5,
    }


def test_an_answer_of_unknown_cost_is_no_training_row(write_run: WriteRun, tmp_path: Path) -> None:
    run = write_run([Scored(1.0)], cost=None)
    assert list(outcome_rows(run)) == []
    with pytest.raises(EvalError, match="known cost"):
        write_run_outcomes(run, tmp_path / "outcomes.parquet")


def test_no_run_is_an_error_that_says_how_to_start_one(tmp_path: Path) -> None:
    for read in (standings, evidence):
        with pytest.raises(EvalError, match="clearbar eval run SUITE"):
            read(Run(tmp_path / "none"))


def test_a_manifest_of_another_version_is_refused(write_run: WriteRun) -> None:
    run = write_run([Scored(1.0)])
    path = run.directory / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"version": 9}), encoding="utf-8")
    with pytest.raises(EvalError, match="another version of clearbar"):
        run.manifest()
