"""Cascades on synthetic tables, in which models that agree are nearly always right."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from sums import MODELS, answers

from router.predict import Predictor
from router.predict.artifact import Artifact
from router.predict.evaluate import TrainReport
from router.predict.train import train
from router.replay import replay


@pytest.fixture(scope="module")
def trained() -> tuple[Artifact, TrainReport]:
    return train(answers(1_500, seed=1))


def measure(decisions: pa.Table, outcomes: pa.Table) -> list[tuple[float, float]]:
    """Mean cost and quality of every point."""
    found = {(row["query_id"], row["model"]): row for row in outcomes.to_pylist()}
    points: dict[int, list[tuple[float, float]]] = {}
    for row in decisions.to_pylist():
        cost = sum(found[row["query_id"], model]["cost_usd"] for model in row["calls"])
        points.setdefault(row["point"], []).append((cost, found[row["query_id"], row["answer_model"]]["quality"]))
    return [tuple(np.mean(values, axis=0)) for _, values in sorted(points.items())]


def test_looking_at_cheap_answers_saves_most_of_the_bill(trained: tuple[Artifact, TrainReport]) -> None:
    artifact, report = trained
    assert "cascade" in report.promoted
    fresh = answers(seed=2)
    points = measure(replay(Predictor(artifact), fresh, 20), fresh)
    dearest = MODELS["large"][1] * 1e-5
    assert any(cost < 0.75 * dearest and quality >= 0.92 for cost, quality in points)
    assert max(quality for _, quality in points) > 0.92


def test_expected_cost_does_not_fall_along_the_dial(trained: tuple[Artifact, TrainReport]) -> None:
    fresh = answers(seed=3)
    costs = [cost for cost, _ in measure(replay(Predictor(trained[0]), fresh, 25), fresh)]
    assert all(after >= before - 1e-9 for before, after in pairwise(costs))


def test_a_model_is_called_once_and_the_answer_comes_from_one_that_was_called(
    trained: tuple[Artifact, TrainReport],
) -> None:
    for row in replay(Predictor(trained[0]), answers(100, seed=4), 7).to_pylist():
        assert len(set(row["calls"])) == len(row["calls"]) >= 1
        assert row["answer_model"] in row["calls"]


def test_single_makes_one_call(trained: tuple[Artifact, TrainReport]) -> None:
    rows = replay(Predictor(trained[0]), answers(100, seed=4), 7, "single").to_pylist()
    assert all(row["calls"] == [row["answer_model"]] for row in rows)


def test_without_responses_a_cascade_equals_a_single_call() -> None:
    artifact, report = train(answers(200, silent=True))
    assert [verdict.strategy for verdict in report.verdicts] == ["single"]
    fresh = answers(60, seed=5, silent=True)
    one, other = (replay(Predictor(artifact), fresh, 9, name).to_pylist() for name in ("single", "cascade"))
    assert one == other


def test_an_unseen_task_and_missing_models_are_served(trained: tuple[Artifact, TrainReport]) -> None:
    fresh = answers(40, seed=6).to_pylist()
    rows = [{**row, "task": "riddles"} for row in fresh if row["model"] != "small"]
    served = replay(Predictor(trained[0]), pa.Table.from_pylist(rows), 5).to_pylist()
    assert len(served) == 5 * 40
    assert all("small" not in row["calls"] for row in served)


def test_the_plan_reads_no_grades(trained: tuple[Artifact, TrainReport]) -> None:
    fresh = answers(50, seed=7)
    blind = fresh.drop_columns(["quality"])
    flipped = fresh.set_column(
        fresh.column_names.index("quality"), "quality", pa.array([1.0 - q for q in fresh["quality"].to_pylist()])
    )
    predictor = Predictor(trained[0])
    assert replay(predictor, blind, 9).equals(replay(predictor, flipped, 9))
