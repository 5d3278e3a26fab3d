"""Model, traffic or judge: told apart by runs that differ in one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from evals.cli import eval_group
from evals.drift import conclusion, drift
from evals.store import Manifest, Run
from evals.traffic import two_sample_p
from evals.types import Cell, EvalError, Result, Scored, make_sample
from router.outcomes import write_outcomes

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(
        name: str,
        *,
        right: float,
        version: str = "v1",
        words: int = 3,
        count: int = 200,
        prefix: str = "question",
        value: float = 1.0,
        seed: int = 7,
    ) -> Run:
        run, random = Run(tmp_path / name), Random(seed)
        samples = [
            make_sample("qa", ({"role": "user", "content": f"{prefix} {i} " + "word " * words},), "yes")
            for i in range(count)
        ]
        manifest = Manifest(
            run_id=name, suite="s", suite_sha256="ab", candidates=("small",), repeats=1, created="2026-01-01",
            scorers={"qa": "exact"}, bars={}, prices={"small": None},
        )  # fmt: skip
        with run.writing():
            run.plan(manifest, samples)
            run.append(
                *(
                    Result(
                        cell=Cell(suite_sha256="ab", sample=sample.id, candidate="small"),
                        score=Scored(value if is_right else 0.0),
                        response="yes" if is_right else "no",
                        model_version=version,
                    )
                    for sample in samples
                    for is_right in [random.random() < right]
                )
            )
        return run

    return make


def changed(*runs: object) -> set[str]:
    return {one.about for one in drift(*runs) if one.verdict == "changed"}  # type: ignore[arg-type]


def test_nothing_changed_between_two_like_runs(make_run: MakeRun) -> None:
    anchors = make_run("anchors", right=0.9)
    assert (
        changed(anchors, make_run("now", right=0.9), make_run("fresh", right=0.9, prefix="ask me a", seed=8)) == set()
    )


def test_a_model_that_got_worse_on_the_same_questions(make_run: MakeRun) -> None:
    found = drift(make_run("anchors", right=0.9), make_run("now", right=0.6, seed=9))
    assert {one.about for one in found if one.verdict == "changed"} == {"model"}
    assert "The model changed: small" in conclusion(found)


def test_another_version_is_another_model_whatever_its_scores(make_run: MakeRun) -> None:
    found = drift(make_run("anchors", right=0.9), make_run("now", right=0.9, version="v2"))
    (model,) = [one for one in found if one.about == "model"]
    assert model.verdict == "changed" and "version v1 became v2" in model.note


def test_harder_and_longer_questions_are_the_traffics_doing(make_run: MakeRun) -> None:
    fresh = make_run("fresh", right=0.7, words=30, prefix="ask me", seed=8)
    assert changed(make_run("anchors", right=0.95), make_run("now", right=0.95), fresh) == {"traffic"}


def test_the_same_answers_at_another_value_are_the_judges_doing(make_run: MakeRun) -> None:
    found = drift(make_run("anchors", right=0.9), make_run("now", right=0.9, value=0.7))
    assert "judge" in {one.about for one in found if one.verdict == "changed"}
    assert conclusion(found).startswith("The judge changed")


def test_a_rescored_table_tells_the_judge_alone(make_run: MakeRun, tmp_path: Path) -> None:
    anchors = make_run("anchors", right=0.9)
    rows = [
        {"query_id": str(i), "task": "qa", "prompt": "p", "model": "small", "quality": 1.0, "rescored": 0.5,
         "response": "yes", "input_tokens": 1, "output_tokens": 1, "cost_usd": 0.0}
        for i in range(40)
    ]  # fmt: skip
    path = tmp_path / "rescored.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert changed(anchors, make_run("now", right=0.9), None, path) == {"judge"}
    write_outcomes(path, [{name: row[name] for name in row if name != "rescored"} for row in rows])
    with pytest.raises(EvalError, match="no column `rescored`"):
        drift(anchors, make_run("again", right=0.9), None, path)


def test_a_few_samples_decide_nothing(make_run: MakeRun) -> None:
    found = drift(make_run("anchors", right=1.0, count=5), make_run("now", right=0.5, count=5))
    assert {one.verdict for one in found} == {"not enough evidence"}


def test_runs_without_a_common_sample_are_refused(make_run: MakeRun) -> None:
    with pytest.raises(EvalError, match="shares no sample"):
        drift(make_run("anchors", right=1.0), make_run("now", right=1.0, prefix="other"))


def test_the_command_exits_by_what_it_found(make_run: MakeRun, tmp_path: Path) -> None:
    def exits(*names: str) -> int:
        options = [part for flag, name in zip(("--anchors", "--now", "--fresh"), names, strict=False)
                   for part in (flag, str(tmp_path / name))]  # fmt: skip
        return int(CliRunner().invoke(eval_group, ["drift", *options], standalone_mode=False).return_value)

    make_run("anchors", right=0.9), make_run("now", right=0.9), make_run("worse", right=0.5, seed=9)
    make_run("few", right=0.9, count=5)
    assert (exits("anchors", "now"), exits("anchors", "worse"), exits("anchors", "few")) == (0, 1, 2)


@pytest.mark.parametrize("seed", range(3))
def test_two_samples_of_one_population_seldom_differ(seed: int) -> None:
    random = Random(seed)
    values = [[random.random() for _ in range(30)] for _ in range(2)]
    alarms = sum(two_sample_p(*([random.random() for _ in range(25)] for _ in range(2)), draws=200) <= 0.05
                 for _ in range(60))  # fmt: skip
    assert alarms <= 9
    assert two_sample_p([0.0] * 20, [1.0] * 20) < 0.01 < two_sample_p(values[0], values[0])
