"""What a judged run proves: nothing by an unmeasured judge, and a corrected rate by a measured one."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import evals.stats.judged as judged_stats
from evals.agreement import share
from evals.calibration import Calibration
from evals.cli import eval_group
from evals.compare import compare
from evals.corrected import attach
from evals.judges.labels import read_labels
from evals.judges.measure import calibration_of, measure, plan_measurement
from evals.judges.models import RubricJudge
from evals.judges.rubric import Rubric
from evals.judges.session import judge_run, judged_manifest, plan_judging
from evals.propose import evidence, write_evidence
from evals.stats import (
    JudgeRecord,
    clopper_pearson_lower,
    clopper_pearson_upper,
    corrected_lower,
    corrected_rate,
    labels_needed,
    lower_behind,
    part_of_error,
    upper_behind,
)
from evals.store import Manifest, Run
from evals.summary import standings
from evals.types import Cell, Failed, NotEnoughEvidenceError, Result, Score, Scored, Unscored, make_sample
from router import Router
from router.policy.evidence import read_evidence
from router.transports.fake import FakeTransport
from router.types import Call

RUBRIC = Rubric(name="good", instructions="Is it good?", scale={1: "bad", 2: "fair", 3: "good"}, passing=3)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
CALIBRATION = Calibration(
    judge="judge", call="fake/gpt-judge", versions=("v7",), rubric="good", rubric_sha256=RUBRIC.sha256,
    created="2026-02-01T00:00:00+00:00", expires="2026-05-02T00:00:00+00:00", labels=400, judged=400, base_rate=0.5,
    agreement=share(388, 400), kappa=0.94, sensitivity=share(196, 200), specificity=share(192, 200),
    self_consistency=None, length_slope=None, length_slope_pairs=None, position_flips=None, position_first=None,
    family_leniency=None, kin=0, cost_per_answer_usd=0.001,
)  # fmt: skip
LASTING = replace(CALIBRATION, expires=None)
FACTS = {
    "name": "judge:good@judge", "models": ["judge"], "call": "fake/gpt-judge", "rubric_sha256": RUBRIC.sha256,
    "pass_at": 1.0, "kin": [],
}  # fmt: skip
POLICY = """\
version: 1
models:
  - {id: small, call: fake/qwen-small, price: {input: 1, output: 2}}
  - {id: judge, call: fake/gpt-judge, price: {input: 10, output: 20}}
rules:
  - {candidates: [small], strategy: fixed}
"""
Judged = Callable[..., Run]


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    """A run that a judge scored, as `clearbar eval judge` leaves it."""

    def write(
        scores: Sequence[Score], calibration: Calibration | None = CALIBRATION, *, bar: float = 0.9, repeats: int = 1,
        stop_early: bool = False, **facts: Any,
    ) -> Run:  # fmt: skip
        run = Run(tmp_path / "judged")
        samples = [
            make_sample("qa", ({"role": "user", "content": f"q{i}"},), "") for i in range(len(scores) // repeats)
        ]
        manifest = Manifest(
            run_id="run-1", suite="s", suite_sha256="ab" * 32, candidates=("small",), repeats=repeats,
            created="2026-02-01", scorers={"qa": "judge:good@judge"}, bars={"qa": {"min": bar, "confidence": 0.95}},
            prices={"small": None}, judge={**FACTS, **facts}, stop_early=stop_early,
        )  # fmt: skip
        with run.writing():
            run.plan(manifest, samples)
            run.append(
                *(
                    Result(
                        cell=Cell(
                            suite_sha256="ab" * 32, sample=samples[number // repeats].id, candidate="small",
                            repeat=number % repeats,
                        ),
                        score=score,
                        response="" if isinstance(score, Failed) else "an answer",
                        cost_usd=None if isinstance(score, Failed) else 0.01,
                        model_version=None if isinstance(score, Failed) else "v1",
                    )
                    for number, score in enumerate(scores)
                )
            )  # fmt: skip
        row = {"suite_sha256": "ab" * 32, "sample": "x", "candidate": "small", "repeat": 0, "score": {"unscored": ""},
               "cost_usd": "0", "calls": 1, "versions": ["v7"], "texts": []}  # fmt: skip
        (run.directory / "judgements.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
        if calibration is not None:
            (run.directory / "calibration.json").write_text(json.dumps(calibration.to_json()), encoding="utf-8")
        return run

    return write


def by_word(call: Call) -> str:
    shown = json.loads(call.messages[1]["content"])
    if "first_answer" in shown:
        return json.dumps({"better": "first" if shown["first_answer"] == "good" else "second"})
    return json.dumps({"reason": "so", "grade": 3 if shown["answer"] == "good" else 1})


def passes(right: int, wrong: int) -> list[Score]:
    return [Scored(1.0)] * right + [Scored(0.5)] * wrong  # fair does not pass


def test_a_measured_judges_rate_is_corrected(judged: Judged) -> None:
    (standing,) = standings(judged(passes(285, 15)), now=NOW)
    record = JudgeRecord(right_passed=196, right=200, wrong_failed=192, wrong=200)
    assert standing.interval == corrected_rate(285, 300, record)
    assert standing.lower == corrected_lower(285, 300, record)
    assert standing.correction and standing.correction.judged.value == 0.95
    assert standing.verdict == "held" and "corrected by 400 labels" in standing.judge_note


@pytest.mark.parametrize(
    ("calibration", "facts", "said"),
    [
        (None, {}, "never held against people's labels"),
        (replace(CALIBRATION, expires="2026-02-28T00:00:00+00:00"), {}, "expired on 2026-02-28"),
        (replace(CALIBRATION, rubric_sha256="0" * 64), {}, "the rubric changed"),
        (replace(CALIBRATION, judge="other"), {}, "it is of judge other"),
        (replace(CALIBRATION, versions=("v6",)), {}, "version changed (v6 is now v7)"),
        (replace(CALIBRATION, specificity=share(4, 200)), {}, "no better than a coin"),
        (replace(CALIBRATION, specificity=share(0, 0)), {}, "no right or no wrong answer"),
        (CALIBRATION, {"rubric_sha256": "1" * 64}, "the rubric changed"),
    ],
)
def test_an_unmeasured_judge_holds_no_bar_however_good_its_scores(
    judged: Judged, calibration: Calibration | None, facts: dict[str, Any], said: str
) -> None:
    run = judged(passes(300, 0), calibration, **facts)
    (standing,) = standings(run, now=NOW)
    assert standing.verdict == "not enough evidence"
    assert (standing.interval.value, standing.lower, standing.upper) == (1.0, 0.0, 1.0)
    assert standing.judge_note.startswith("judge not calibrated") and said in standing.judge_note
    with pytest.raises(NotEnoughEvidenceError, match="judge not calibrated"):
        evidence(run, now=NOW)


def test_the_note_says_how_many_labels_it_takes(judged: Judged) -> None:
    (standing,) = standings(judged(passes(300, 0), None), now=NOW)
    assert "label at least 30 wrong answers" in standing.judge_note
    few = replace(CALIBRATION, specificity=share(3, 3), sensitivity=share(3, 3), judged=6)
    (standing,) = standings(judged(passes(285, 15), few), now=NOW)
    assert standing.verdict == "not enough evidence"
    assert "at least 24 labelled wrong answers, there are 3" in standing.judge_note


def test_a_panel_or_a_metric_is_not_calibrated(judged: Judged) -> None:
    run = judged(passes(300, 0))
    path = run.directory / "run.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["judge"] = {"name": "panel-mean:good@a+b", "models": ["a", "b"]}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    (standing,) = standings(run, now=NOW)
    assert standing.verdict == "not enough evidence" and "one model that grades by a rubric" in standing.judge_note
    del manifest["judge"]  # judged before manifests named the judge
    path.write_text(json.dumps(manifest), encoding="utf-8")
    assert "judge:good@judge" in standings(run, now=NOW)[0].judge_note


def test_failed_calls_are_wrong_and_unscored_answers_left_out(judged: Judged) -> None:
    scores = [*passes(270, 15), *[Failed("down")] * 15, Unscored("no verdict")]
    (standing,) = standings(judged(scores), now=NOW)
    record = CALIBRATION.record
    assert record and standing.n == 300
    assert standing.interval.value == pytest.approx(corrected_rate(270, 285, record).value * 285 / 300)
    assert standing.lower == pytest.approx(corrected_lower(270, 300, record))
    assert standing.upper >= standing.interval.value


def test_repeats_of_a_sample_count_once(judged: Judged) -> None:
    (standing,) = standings(judged(passes(285, 15), repeats=3), now=NOW)
    assert standing.n == 100 and standing.lower < standings(judged(passes(285, 15)), now=NOW)[0].lower


def test_a_run_that_stopped_early_gets_a_bound_for_any_time(judged: Judged) -> None:
    at_any_time = standings(judged(passes(285, 15), stop_early=True), now=NOW)[0]
    assert at_any_time.lower < standings(judged(passes(285, 15)), now=NOW)[0].lower


def test_a_judged_rate_below_the_bar_fails_it(judged: Judged) -> None:
    assert standings(judged(passes(150, 150)), now=NOW)[0].verdict == "failed"


def test_evidence_says_that_it_is_corrected_and_ends_with_the_calibration(judged: Judged, tmp_path: Path) -> None:
    now = NOW + timedelta(days=1)
    (found,) = evidence(judged(passes(285, 15)), now=now)
    assert (found["metric"], found["expires"]) == ("pass_rate", CALIBRATION.expires)
    assert found["judge"]["judged_rate"] == 0.95 and found["lower"] < found["mean"]
    assert (found["judge"]["wrong_failed"], found["judge"]["wrong"], found["judge"]["labels"]) == (192, 200, 400)
    write_evidence([found], tmp_path / "evidence")
    assert read_evidence(tmp_path / "evidence")[0]["qa", "small"].lower == found["lower"]


def test_report_propose_and_compare_say_it_plainly(judged: Judged, tmp_path: Path) -> None:
    run = judged(passes(300, 0), None)

    def clearbar(*arguments: str) -> Any:
        return CliRunner().invoke(eval_group, [*arguments], standalone_mode=False)

    told = clearbar("report", str(run.directory))
    assert told.return_value == 2 and "judge not calibrated" in told.stdout
    (row,) = json.loads(clearbar("report", str(run.directory), "--json").stdout)
    assert (row["judge_calibrated"], row["verdict"]) == (False, "not enough evidence")
    page = tmp_path / "page.html"
    clearbar("report", str(run.directory), "--html", str(page))
    assert "judge not calibrated" in page.read_text(encoding="utf-8")
    refused = clearbar("propose", str(run.directory), "--out", str(tmp_path / "evidence"))
    assert refused.return_value == 2 and "judge not calibrated" in refused.stderr
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize(
    ("calibration", "margin", "verdict"),
    [
        (LASTING, 0.1, "not worse"),
        (None, 0.1, "not enough evidence"),
        (replace(LASTING, sensitivity=share(120, 200), specificity=share(120, 200)), 0.1, "not enough evidence"),
    ],
)
def test_a_comparison_counts_that_a_judge_shrinks_differences(
    judged: Judged, calibration: Calibration | None, margin: float, verdict: str
) -> None:
    run = judged(passes(285, 15), calibration)
    twin = replace(run.manifest(), candidates=("small", "twin"))
    with run.writing():
        run.plan(twin, run.samples())
        # The same scores, but for four samples that only one of the two has right.
        for number, result in enumerate(list(run.results().values())):
            score = Scored(float(number >= 2)) if number < 285 else Scored(float(number < 287))
            run.append(replace(result, cell=replace(result.cell, candidate="twin"), score=score))
    (found,) = compare(run, "small", "twin", margin=margin)
    assert found.verdict == verdict


def test_labels_needed_is_where_the_bound_reaches_the_bar() -> None:
    rate = clopper_pearson_lower(285, 300, part_of_error(0.95))
    least = labels_needed(rate, 0.9)
    assert least == 24

    def bound(wrong: int) -> float:
        return corrected_lower(285, 300, JudgeRecord(right_passed=100, right=100, wrong_failed=wrong, wrong=wrong))

    assert bound(least) >= 0.9 > bound(least - 1)
    assert labels_needed(0.9, 0.9) is None and labels_needed(1.0, 0.9) == 1


exact_lower, exact_upper = functools.cache(clopper_pearson_lower), functools.cache(clopper_pearson_upper)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same exact bounds, each worked out once: ten thousand runs have few different counts."""
    monkeypatch.setattr(judged_stats, "clopper_pearson_lower", exact_lower)
    monkeypatch.setattr(judged_stats, "clopper_pearson_upper", exact_upper)


def bounds(passed: int, n: int, right_passed: int, wrong_failed: int, labels: int) -> tuple[float, float]:
    """Corrected lower and upper bound."""
    record = JudgeRecord(right_passed=right_passed, right=labels, wrong_failed=wrong_failed, wrong=labels)
    each = part_of_error(0.95)
    return (
        lower_behind(exact_lower(passed, n, each), record, each),
        upper_behind(exact_upper(passed, n, each), record, each),
    )


def misses(n: int, rate: float, sensitivity: float, specificity: float, labels: int, runs: int) -> tuple[float, float]:
    """Shares of runs in which the corrected lower bound lies above the true rate, and the upper one below it."""
    random = np.random.default_rng([n, int(100 * rate), int(100 * sensitivity), labels])
    passed = random.binomial(n, rate * sensitivity + (1 - rate) * (1 - specificity), runs)
    right_passed = random.binomial(labels, sensitivity, runs)
    wrong_failed = random.binomial(labels, specificity, runs)
    found = np.array(
        [bounds(int(p), n, int(r), int(w), labels) for p, r, w in zip(passed, right_passed, wrong_failed, strict=True)]
    )
    return float(np.mean(found[:, 0] > rate)), float(np.mean(found[:, 1] < rate))


JUDGES = [(1.0, 1.0), (0.98, 0.95), (0.8, 0.9), (0.6, 0.5), (0.5, 0.5)]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99])
def test_the_corrected_bounds_hold_in_95_of_100_runs(rate: float, judge: tuple[float, float]) -> None:
    assert max(misses(100, rate, *judge, 40, 200)) <= 0.05


@pytest.mark.long
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("rate", [0.01, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(("n", "labels"), [(30, 20), (200, 50), (500, 200)])
def test_the_corrected_bounds_hold_in_95_of_100_runs_at_full_size(
    n: int, labels: int, rate: float, judge: tuple[float, float]
) -> None:
    # 0.05 is allowed; the page on judges says how careful the bounds are.
    assert max(misses(n, rate, *judge, labels, 10_000)) <= 0.008


ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (Path(__file__).parents[2] / "docs/judges.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| 0.")
]


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_so_many_labels_do_as_the_page_says_and_half_of_them_do_not(row: list[str]) -> None:
    bar, rate = float(row[0]), float(row[1])
    sensitivity, specificity = (int(share.strip(" %")) / 100 for share in row[2].split("/"))

    def holds(n: int, labels: int) -> bool:
        """With the counts that such a judge gives on average."""
        passed = round(n * (rate * sensitivity + (1 - rate) * (1 - specificity)))
        record = JudgeRecord(right_passed=round(labels * sensitivity), right=labels,
                             wrong_failed=round(labels * specificity), wrong=labels)  # fmt: skip
        return corrected_lower(passed, n, record) >= bar

    for n, cell in zip((200, 500, 2_000), row[3:], strict=True):
        if cell == "-":
            assert not holds(n, 5_000)
        else:
            labels = int(cell.replace(",", ""))
            assert holds(n, labels) and not holds(n, labels // 2)


def test_the_page_has_its_table() -> None:
    assert len(ROWS) == 5


def test_the_way_from_verdicts_to_evidence(tmp_path: Path) -> None:
    source = Run(tmp_path / "run")
    samples = [make_sample("qa", ({"role": "user", "content": f"q{i}"},), "") for i in range(100)]
    manifest = Manifest(
        run_id="run-1", suite="s", suite_sha256="0" * 64, candidates=("small",), repeats=1, created="2026-01-01",
        scorers={"qa": "exact"}, bars={"qa": {"min": 0.5, "confidence": 0.95}}, prices={"small": None},
    )  # fmt: skip
    with source.writing():
        source.plan(manifest, samples)
        for i, sample in enumerate(samples):
            cell = Cell(suite_sha256="0" * 64, sample=sample.id, candidate="small")
            response = "good" if i < 80 else "bad"
            source.append(Result(cell=cell, score=Scored(0.0), response=response, cost_usd=0.01, model_version="v1"))
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    with Router(tmp_path / "policy.yaml", tmp_path / "state", FakeTransport({"judge": by_word})) as router:
        judge = RubricJudge(router, "judge", RUBRIC)
        target = Run(tmp_path / "judged")
        fresh = judged_manifest(manifest, judge, RUBRIC.sha256, router=router, rubric=RUBRIC)
        judge_run(plan_judging(source, target, fresh), judge, fresh, target, samples)
        with pytest.raises(NotEnoughEvidenceError, match="never held against"):
            evidence(target)
        rows = [{"prompt": f"p{i}", "response": word, "label": word == "good"} for i in range(50)
                for word in ("good", "bad")]  # fmt: skip
        (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        labels = read_labels(tmp_path / "labels.jsonl", RUBRIC)
        plan = plan_measurement(router, "judge", RUBRIC, labels, tmp_path / "verdicts", repeats=1)
        measure(plan)
        (tmp_path / "calibration.json").write_text(json.dumps(calibration_of(plan, router).to_json()), encoding="utf-8")
    attach(target, tmp_path / "calibration.json")
    (found,) = evidence(target)
    assert found["mean"] == 0.8 and 0.5 < found["lower"] < clopper_pearson_lower(80, 100)
    assert found["judge"]["labels"] == 100 and found["judge"]["same_family"] is False


def test_the_command_judge_attaches_a_calibration_and_says_whether_it_holds(
    judged: Judged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = judged(passes(2, 2), None)
    (run.directory / "judgements.jsonl").unlink()
    path = run.directory / "run.json"
    plain = {**json.loads(path.read_text(encoding="utf-8")), "judge": {}}
    path.write_text(json.dumps(plain), encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    text = "version: 1\nname: good\ninstructions: Is it good?\nscale: {1: bad, 2: fair, 3: good}\n"
    (tmp_path / "rubric.yaml").write_text(text, encoding="utf-8")
    # The fake provider gives no verdict, and says it served `fake/gpt-judge`.
    fits = replace(LASTING, versions=("fake/gpt-judge",))
    for calibration, code, said in (
        (fits, 0, "the calibration holds"),
        (replace(fits, rubric_sha256="0" * 64), 2, "void: the rubric changed"),
        (replace(fits, versions=("v0",)), 2, "version changed (v0 is now fake/gpt-judge)"),
    ):
        (tmp_path / "calibration.json").write_text(json.dumps(calibration.to_json()), encoding="utf-8")
        arguments = ["judge", str(run.directory), "--judge", "judge", "--rubric", "rubric.yaml", "--policy",
                     "policy.yaml", "--out", "out", "--calibration", "calibration.json", "--yes"]  # fmt: skip
        told = CliRunner().invoke(eval_group, arguments, standalone_mode=False)
        assert (told.return_value, told.exception) == (code, None) and said in told.stderr
    (tmp_path / "calibration.json").write_text("{}", encoding="utf-8")
    told = CliRunner().invoke(eval_group, arguments, standalone_mode=False)
    assert "not a calibration" in str(told.exception)
