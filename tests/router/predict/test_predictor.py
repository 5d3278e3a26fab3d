from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from tables import Made

from router.errors import InvalidRequestError
from router.policy import load_policy
from router.predict import Predictor, artifact, choose
from router.predict.artifact import Artifact
from router.predict.evaluate import TrainReport
from router.trial_run import try_policy, unmet

EASY_TEXT = "count the apples 3; copy the letters 5; name the colors 9; list the rivers 4"
HARD_TEXT = "prove the vectors 3; refute the graphs 5; derive the planets 9; integrate the rivers 4"


@pytest.fixture(scope="module")
def predictor(trained: tuple[Artifact, TrainReport]) -> Predictor:
    return Predictor(trained[0])


def test_it_knows_its_models_tasks_and_version(predictor: Predictor) -> None:
    assert predictor.models == ("cheap", "middle", "strong")
    assert predictor.tasks == ("chores", "proofs")
    assert len(predictor.version) == 12


def test_hard_texts_lower_the_weak_model_more_than_the_strong_one(predictor: Predictor) -> None:
    easy, hard = predictor.predict(EASY_TEXT, "chores"), predictor.predict(HARD_TEXT, "proofs")
    assert easy["cheap"].quality - hard["cheap"].quality > 0.3
    assert abs(easy["strong"].quality - hard["strong"].quality) < 0.15


def test_every_prediction_is_ordered_and_in_range(predictor: Predictor) -> None:
    for text in ("", "🙂" * 10, EASY_TEXT, "long " * 20_000):
        for task in (None, "chores", "never seen"):
            for made in predictor.predict(text, task).values():
                assert 0 <= made.quality_low <= made.quality <= made.quality_high <= 1
                assert 0 <= made.output_tokens <= made.output_tokens_p95


@pytest.mark.parametrize("subtask", [None, "never seen", ""])
def test_an_unseen_subtask_falls_back_to_its_task(predictor: Predictor, subtask: str | None) -> None:
    assert predictor.predict(EASY_TEXT, "chores", subtask) == predictor.predict(EASY_TEXT, "chores")


def test_an_unseen_task_is_the_mean_of_all_tasks_and_less_sure(predictor: Predictor) -> None:
    unseen, nothing = predictor.predict(EASY_TEXT, "never seen"), predictor.predict(EASY_TEXT, None)
    assert unseen == nothing
    known = predictor.predict(EASY_TEXT, "chores")
    for model in predictor.models:
        width = known[model].quality_high - known[model].quality_low
        assert nothing[model].quality_high - nothing[model].quality_low > width


def test_one_text_is_predicted_as_it_is_among_many(predictor: Predictor) -> None:
    many = predictor.predict_many([HARD_TEXT, EASY_TEXT], ["proofs", None], ["proofs-1", None])
    one = predictor.predict(HARD_TEXT, "proofs", "proofs-1")
    np.testing.assert_allclose(many.quality[0], [one[model].quality for model in predictor.models], rtol=1e-6)
    assert many.cost_usd.shape == many.input_tokens.shape == (2, 3)


def test_nothing_to_predict_gives_empty_arrays(predictor: Predictor) -> None:
    assert predictor.predict_many([], [], []).quality.shape == (0, 3)


def test_expected_cost_follows_the_prices(predictor: Predictor, made: Made) -> None:
    many = predictor.predict_many(made.texts, made.tasks, [None] * len(made.texts))
    means = made.table.group_by("model").aggregate([("cost_usd", "mean")]).to_pylist()
    paid = {row["model"]: row["cost_usd_mean"] for row in means}
    np.testing.assert_allclose(many.cost_usd.mean(axis=0), [paid[model] for model in predictor.models], rtol=0.05)


def test_longer_texts_are_expected_to_read_more_tokens(predictor: Predictor) -> None:
    short, long = predictor.predict_many([EASY_TEXT, EASY_TEXT * 50], ["chores"] * 2, [None] * 2).input_tokens
    assert (long > 30 * short).all()


def test_the_classifier_tells_the_tasks_apart(predictor: Predictor) -> None:
    assert predictor.guess(HARD_TEXT).task in ("proofs", None)
    assert predictor.guess(EASY_TEXT).task in ("chores", None)


def test_tests_of_a_policy_hear_the_classifier(
    trained: tuple[Artifact, TrainReport], predictor: Predictor, made: Made, tmp_path: Path
) -> None:
    artifact.save(trained[0], tmp_path / "artifact", created="2026-01-01T00:00:00+00:00")
    sure = {predictor.guess(text).task: text for text in made.texts}
    texts = {"chores": sure["chores"], "proofs": sure["proofs"], "others": "What is the capital of France?"}
    cases = "".join(f"  - {{given: {{text: '{text}'}}, expect: {{rule: {name}}}}}\n" for name, text in texts.items())
    rules = "".join(
        f"  - {{name: {name}, {when}candidates: cheap, strategy: fixed}}\n"
        for name, when in (("chores", "when: {task: chores}, "), ("proofs", "when: {task: proofs}, "), ("others", ""))
    )
    file = tmp_path / "p.yaml"
    file.write_text(
        "version: 1\nartifact: artifact\nmodels: [{id: cheap, call: fake/cheap, price: {input: 1, output: 1}}]\n"
        f"rules:\n{rules}tests:\n{cases}", encoding="utf-8",
    )  # fmt: skip
    policy = load_policy(file)
    tried = try_policy(policy, predictor, datetime(2026, 11, 22, tzinfo=UTC))
    assert [one.misses for one in tried] == [(), (), ()] and unmet(policy, tried) == []
    assert {one.decision.task.by for one in tried[:2]} == {"classifier"}
    deaf = try_policy(policy, None, datetime(2026, 11, 22, tzinfo=UTC))
    assert [bool(one.misses) for one in deaf] == [True, True, False]


@pytest.mark.parametrize(
    "text",
    ["", "🙂" * 500, "€" * 9_000 + "\\" * 9_000, "What is the capital of France?", "Write a poem about the sea."],
    ids=["empty", "emoji", "noise", "question", "order"],
)
def test_the_classifier_abstains_far_from_what_it_knows(predictor: Predictor, text: str) -> None:
    guess = predictor.guess(text)
    assert (guess.task, guess.by) == (None, "none")


@pytest.mark.parametrize("points", [1, 2, 7, 60])
def test_the_dial_falls_to_zero(predictor: Predictor, points: int) -> None:
    dial = predictor.dial(points)
    assert dial.shape == (points,)
    assert (np.diff(dial) <= 0).all()
    assert dial[-1] == 0


def test_a_dial_without_points_is_refused(predictor: Predictor) -> None:
    with pytest.raises(InvalidRequestError, match="at least 1 point, not 0"):
        predictor.dial(0)


def test_expected_cost_never_falls_along_the_dial(predictor: Predictor, made: Made) -> None:
    many = predictor.predict_many(made.texts, made.tasks, [None] * len(made.texts))
    rows = np.arange(len(made.texts))
    costs = [many.cost_usd[rows, choose(many.quality, many.cost_usd, x)].mean() for x in predictor.dial(40)]
    assert (np.diff(costs) >= -1e-15).all()
    assert costs[0] == pytest.approx(many.cost_usd.min(axis=1).mean())
    assert len({round(cost, 12) for cost in costs}) > 15


def test_ties_go_to_the_cheaper_model() -> None:
    assert choose(np.array([[0.5, 0.5]]), np.array([[2.0, 1.0]]), 0.0).tolist() == [1]
