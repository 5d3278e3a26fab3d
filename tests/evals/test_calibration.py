"""Calibration of a judge: what it measures, how it resumes under a cap, and when it no longer holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from evals.agreement import kappa, share, slope
from evals.calibration import Calibration, expiry, read_calibration
from evals.cli import eval_group
from evals.judges.labels import read_labels
from evals.judges.measure import Measurement, calibration_of, measure, plan_measurement
from evals.types import EvalError
from policies import GOOD, GOOD_FILE, JUDGES
from router import Router
from router.errors import RateLimitedError
from router.transports.fake import FakeTransport
from router.types import Call

Made = Callable[..., tuple[Router, Measurement]]


def labels_file(folder: Path) -> Path:
    """Forty answers to twenty questions, one of each pair good."""
    rows = [
        {"prompt": f"q{i // 2}", "response": f"good {i} " * (1 + i % 5) if i % 2 else f"bad {i}", "label": bool(i % 2),
         "model": "small" if i < 20 else "second"}
        for i in range(40)
    ]  # fmt: skip
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def by_word(call: Call) -> str:
    """Knows good from bad, but has never seen the first three questions."""
    shown = json.loads(call.messages[1]["content"])
    if "first_answer" in shown:
        return json.dumps({"better": "first" if "good" in shown["first_answer"] else "second"})
    is_good = "good" in shown["answer"] and shown["question"] not in ("q0", "q1", "q2")
    return json.dumps({"reason": "so", "grade": 3 if is_good else 1})


@pytest.fixture
def planned(tmp_path: Path) -> Iterator[Made]:
    (tmp_path / "policy.yaml").write_text(JUDGES, encoding="utf-8")
    labels = read_labels(labels_file(tmp_path), GOOD)
    made: list[Router] = []

    def make(model: str = "judge", repeats: int = 2, **scripts: Any) -> tuple[Router, Measurement]:
        scripts = scripts or {model: by_word}
        made.append(Router(tmp_path / "policy.yaml", tmp_path / "state", FakeTransport(scripts)))
        return made[-1], plan_measurement(made[-1], model, GOOD, labels, tmp_path / "verdicts", repeats=repeats)

    yield make
    for router in made:
        router.close()


def calls_of(router: Router) -> int:
    return len(router._transport.calls)  # type: ignore[attr-defined]


def test_a_calibration_measures_the_judge(planned: Made) -> None:
    router, plan = planned()
    measure(plan)
    found = calibration_of(plan, router)
    assert (found.judged, found.base_rate, found.agreement.value) == (40, 0.5, 37 / 40)
    assert (found.sensitivity.value, found.specificity.value) == (17 / 20, 1.0)
    assert found.kappa == pytest.approx(0.85)
    assert found.self_consistency and found.self_consistency.value == 1.0
    assert found.position_flips and (found.position_flips.count, found.position_flips.of) == (0, 20)
    assert found.position_first and found.position_first.value is None
    assert found.cost_per_answer_usd and found.cost_per_answer_usd > 0
    assert (found.kin, found.family_leniency) == (0, None)
    assert plan.calls == calls_of(router) == 120
    assert found.reach() < 17 / 20 and found.biases == []
    assert found.record and (found.record.right_passed, found.record.wrong_failed) == (17, 20)


def test_leniency_towards_the_own_family_has_an_interval(planned: Made) -> None:
    router, plan = planned("third", repeats=1)
    measure(plan)
    found = calibration_of(plan, router)
    assert found.kin == 20 and found.self_consistency is None
    assert found.family_leniency and found.family_leniency.value == pytest.approx(-0.15)
    assert found.family_leniency.low < -0.15 < found.family_leniency.high


def test_a_judge_that_takes_the_first_is_found_out(planned: Made) -> None:
    router, plan = planned(repeats=1, judge='{"reason": "so", "grade": 3, "better": "first"}')
    measure(plan)
    found = calibration_of(plan, router)
    assert found.position_flips and found.position_flips.value == 1.0
    assert found.position_first and (found.position_first.value, found.position_first.of) == (1.0, 20)
    assert found.position_first.low > 0.5
    assert found.biases == ["in pairs it favours the first place"] and found.reach() == 0
    assert found.kappa == 0 and found.weakness and "no better than a coin" in found.weakness


def by_length(call: Call) -> str:
    shown = json.loads(call.messages[1]["content"])
    if "first_answer" in shown:
        sizes = [len(shown[name].split()) for name in ("first_answer", "second_answer")]
        return json.dumps({"better": "tie" if sizes[0] == sizes[1] else "first" if sizes[0] > sizes[1] else "second"})
    return json.dumps({"reason": "so", "grade": 3 if len(shown["answer"].split()) > 3 else 1})


def test_a_judge_that_likes_long_answers_is_found_out(planned: Made, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"q{i // 2}", "response": f"word{i} " * (1 + (i * 7) % 9), "label": i % 4 < 2} for i in range(60)
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    router, _ = planned(judge=by_length)
    labels = read_labels(tmp_path / "labels.jsonl", GOOD)
    plan = plan_measurement(router, "judge", GOOD, labels, tmp_path / "other", repeats=1)
    measure(plan)
    found = calibration_of(plan, router)
    assert found.length_slope and found.length_slope.low > 0
    assert found.length_slope_pairs and found.length_slope_pairs.low > 0
    assert found.biases == ["it favours longer answers", "in pairs it favours the longer answer"]


def test_a_calibration_goes_on_where_the_cap_stopped_it(planned: Made) -> None:
    router, plan = planned()
    worst = Decimal("0.01")
    done = measure(plan, max_cost_usd=Decimal("0.05"), worst_usd=worst)
    assert done.is_stopped_by_cap and done.spent_usd <= Decimal("0.05")
    before = calls_of(router)
    assert 0 < before < 120
    again, plan = planned()
    assert plan.calls == 120 - before
    assert measure(plan, max_cost_usd=Decimal(5), worst_usd=worst).spent_usd > done.spent_usd
    assert calls_of(again) == 120 - before
    assert calibration_of(plan, again).judged == 40
    assert planned()[1].calls == 0


def test_calls_that_failed_are_asked_again(planned: Made) -> None:
    _, plan = planned(repeats=1, judge=RateLimitedError("busy"))
    assert measure(plan).failed == 60
    router, plan = planned(repeats=1)
    assert plan.calls == 80
    measure(plan)
    assert calibration_of(plan, router).judged == 40


def test_grades_that_are_asked_again_leave_the_money_that_comparisons_took(planned: Made) -> None:
    def only_compares(call: Call) -> str:
        if "first_answer" not in json.loads(call.messages[1]["content"]):
            raise RateLimitedError("busy")
        return by_word(call)

    done = measure(planned(repeats=1, judge=only_compares)[1])
    assert (done.failed, done.judged) == (40, 60) and done.spent_usd > 0
    again, plan = planned(repeats=1)
    assert plan.calls == 40
    assert measure(plan, max_cost_usd=done.spent_usd, worst_usd=Decimal("0.0001")).is_stopped_by_cap
    assert calls_of(again) == 0


def test_a_cap_needs_a_price(planned: Made) -> None:
    with pytest.raises(EvalError, match="price is unknown"):
        measure(planned()[1], max_cost_usd=Decimal(1))


def test_another_judge_needs_another_folder(planned: Made) -> None:
    measure(planned()[1])
    with pytest.raises(EvalError, match="another judge's"):
        planned("second")


def test_a_calibration_is_void_for_another_rubric_judge_version_or_time(planned: Made, tmp_path: Path) -> None:
    router, plan = planned(repeats=1)
    measure(plan)
    found = calibration_of(plan, router)
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(found.to_json()), encoding="utf-8")
    again: Calibration = read_calibration(path)
    assert again == found
    sha, call = GOOD.sha256, "fake/gpt-judge"
    assert again.void_because(sha, "judge", call, ("fake/gpt-judge",)) is None
    assert "rubric changed" in str(again.void_because(replace(GOOD, instructions="Else?").sha256, "judge", call))
    assert "not second" in str(again.void_because(sha, "second", "fake/claude-judge"))
    assert "version changed" in str(again.void_because(sha, "judge", call, ("gpt-next",)))
    later = datetime.now(UTC) + timedelta(days=91)
    assert "expired" in str(again.void_because(sha, "judge", call, now=later))
    assert expiry(later, ["sha256:ab"]) is None
    assert expiry(later, []) is not None


@pytest.mark.parametrize(
    ("rows", "said", "line"),
    [
        ([{"prompt": "q", "label": True}], "no column 'response'", 1),
        ([{"prompt": "q", "response": "a", "label": "good"}], "neither true nor false nor a grade", 1),
        ([{"prompt": "q", "response": "a", "label": 7}], "neither true nor false nor a grade", 1),
        ([{"prompt": "q", "response": "a", "label": said} for said in (True, False)], "right in one row and wrong", 2),
    ],
)  # fmt: skip
def test_a_wrong_label_is_told_by_its_line(tmp_path: Path, rows: list[dict[str, object]], said: str, line: int) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(EvalError, match=said) as caught:
        read_labels(path, GOOD)
    assert f"labels.jsonl:{line}" in str(caught.value)


def test_an_answer_labelled_twice_counts_once(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "q", "response": "a", "label": 3}) + "\n"
    (tmp_path / "labels.jsonl").write_text(row * 2, encoding="utf-8")
    (only,) = read_labels(tmp_path / "labels.jsonl", GOOD)
    assert only.is_right


def test_kappa_and_slopes_are_the_textbooks() -> None:
    assert kappa([True] * 25 + [False] * 25, [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15) == 0.4
    assert kappa([True, True], [True, True]) is None and kappa([], []) is None
    found = slope([1, 2, 3, 4], [2.1, 3.9, 5.9, 8.1])
    assert found is not None and found.value == pytest.approx(2) and found.low < 2 < found.high
    assert slope([1, 2, 3, 4], [2, 4, 6, 8]) is None  # without any error there is no interval
    assert slope([0, 0, 1, 1, 0, 1], [1, 2, 3, 4, 1, 5], [0, 0, 1, 1, 0, 1]) is None  # the same cause twice
    assert slope([1, 1, 1], [1, 2, 3]) is None
    assert slope([0, 0, 0, 1], [1, 2, 3, 4]) is None  # one point alone decides
    assert (share(0, 0).value, share(10, 10).low) == (None, pytest.approx(0.7225, abs=1e-4))


@pytest.mark.parametrize("beside", [False, True])
def test_the_interval_of_a_slope_holds_as_often_as_it_says(beside: bool) -> None:
    random = np.random.default_rng(3)
    outside = 0
    for _ in range(1_000):
        x, other = random.normal(size=40), random.choice([-1.0, 0.0, 1.0], 40)
        noise = random.normal(size=40) * (0.2 + np.abs(x))  # larger for the far points
        y = 0.3 * x + (0.5 * other if beside else 1.0) + noise
        found = slope(list(x), list(y), list(other) if beside else None, is_paired=beside)
        outside += found is None or not found.low <= 0.3 <= found.high
    assert outside <= 1_000 * 0.07


def test_the_command_calibrate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(JUDGES, encoding="utf-8")
    (tmp_path / "rubric.yaml").write_text(GOOD_FILE, encoding="utf-8")
    labels_file(tmp_path)
    run = CliRunner()
    common = ("--judge", "judge", "--rubric", "rubric.yaml", "--policy", "policy.yaml", "--labels", "labels.jsonl",
              "--out", "calibration.json")  # fmt: skip

    def calibrate(*arguments: str) -> Any:
        return run.invoke(eval_group, ["calibrate", *common, *arguments], standalone_mode=False)

    assert "add --yes" in str(calibrate().exception)
    stopped = calibrate("--yes", "--max-cost-usd", "0.03")
    assert stopped.return_value == 2 and "add --resume" in stopped.stderr
    assert not Path("calibration.json").exists()
    assert "--resume, or give a fresh --out" in str(calibrate("--yes").exception)
    assert "give an amount" in str(calibrate("--yes", "--max-cost-usd", "much").exception)
    # The fake provider answers "A fake answer.", which is no verdict.
    done = calibrate("--yes", "--resume")
    assert done.exception is None and done.return_value == 2
    assert "not measured" in done.stdout and "do not rely on this judge" in done.stderr
