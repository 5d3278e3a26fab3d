from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sums import answers
from tables import Made, make

from router.errors import OutcomesError
from router.predict import Predictor
from router.predict.artifact import Artifact
from router.predict.evaluate import Comparison, TrainReport, verdict
from router.predict.matrix import read_matrix
from router.predict.train import train


def test_routing_is_promoted_where_it_pays() -> None:
    _, report = train(make(1_500, seed=5, tasks=("work",)).table)
    assert report.promoted, report.verdicts[0].reason
    constant = report.verdicts[0].comparisons[0]
    assert constant.cost_ratio_high is not None
    assert constant.cost_ratio_high < 1
    assert constant.quality_difference_low >= -0.01
    assert "saves" in report.verdicts[0].reason


def test_routing_is_not_promoted_where_texts_say_nothing() -> None:
    made = make(400, seed=2, tasks=("work",))
    random = np.random.default_rng(0)
    noise = pa.array((random.random(made.table.num_rows) < 0.7).astype(float))
    table = made.table.set_column(made.table.column_names.index("quality"), "quality", noise)
    _, report = train(table)
    assert not report.promoted
    assert report.verdicts[0].reason


def test_the_report_compares_four_ways_to_route(trained: tuple[Artifact, TrainReport]) -> None:
    _, report = trained
    assert [score.name for score in report.scores] == ["best constant", "per-task table", "single", "oracle"]
    oracle, constant = report.scores[3], report.scores[0]
    assert oracle.quality >= max(score.quality for score in report.scores)
    assert oracle.cost_usd < constant.cost_usd
    assert all(score.quality_low <= score.quality <= score.quality_high for score in report.scores)
    assert report.brier < report.table_brier


def test_the_same_table_in_another_order_gives_the_same_artifact(
    made: Made, trained: tuple[Artifact, TrainReport]
) -> None:
    order = np.random.default_rng(1).permutation(made.table.num_rows)
    again, report = train(made.table.take(pa.array(order)), seed=3)
    assert again.sha256 == trained[0].sha256
    assert report == trained[1]


def test_another_seed_gives_another_artifact() -> None:
    table = make(60).table
    assert train(table, seed=0)[0].sha256 != train(table, seed=1)[0].sha256


@pytest.mark.parametrize("seed", [0, 1])
def test_predicted_probabilities_are_calibrated(seed: int) -> None:
    made = make(2_400, seed=seed)
    known = pc.less(made.table["query_id"], "q01200")
    predictor = Predictor(train(made.table.filter(known))[0])
    many = predictor.predict_many(made.texts[1_200:], made.tasks[1_200:], [None] * 1_200)
    truth = made.truth[1_200:]
    for model in range(2):
        order = np.argsort(many.quality[:, model])
        gaps = [abs((many.quality[p, model] - truth[p, model]).mean()) for p in np.array_split(order, 5)]
        assert max(gaps) < 0.06
    covered = (many.quality_low <= truth) & (truth <= many.quality_high)
    assert covered.mean() > 0.85


def test_the_best_prediction_is_no_worse_than_the_best_constant() -> None:
    made = make(800, ("a", "b", "c", "d"), seed=9)
    flat = np.random.default_rng(4).random((800, 4)) < 0.6
    table = made.table.set_column(
        made.table.column_names.index("quality"), "quality", pa.array(flat.ravel().astype(float))
    )
    predictor = Predictor(train(table)[0])
    many = predictor.predict_many(made.texts, made.tasks, [None] * 800)
    # All models are equally good: whatever is chosen, no large advantage may be promised.
    assert (many.quality.max(axis=1) - many.quality.min(axis=1)).mean() < 0.1


@pytest.mark.parametrize(
    "options",
    [
        {"queries": 20},
        {"queries": 60},
        {"queries": 80, "missing": 0.3},
        {"queries": 60, "missing": 0.8},
        {"queries": 80, "graded": True},
        {"queries": 80, "models": [f"model-{n}" for n in range(9)]},
        {"queries": 80, "tasks": ["one"]},
        {"queries": 45, "tasks": [f"task-{n}" for n in range(40)], "subtasks": True},
    ],
    ids=lambda options: " ".join(
        f"{key}={value}" if not isinstance(value, list) else key for key, value in options.items()
    ),
)
def test_small_and_ragged_tables_end_in_an_artifact_and_a_verdict(options: dict[str, object]) -> None:
    artifact, report = train(make(**options).table)  # type: ignore[arg-type]
    assert report.verdicts[0].reason
    made = Predictor(artifact).predict("add the apples", None)
    assert all(np.isfinite([p.quality, p.output_tokens]).all() for p in made.values())


def test_too_few_complete_queries_are_a_verdict() -> None:
    _, report = train(make(60, missing=0.8).table)
    assert not report.promoted
    assert report.scores == ()
    assert "queries have outcomes of all 2 models and the comparison needs 20" in report.verdicts[0].reason


@pytest.mark.parametrize(
    ("queries", "models"), [(1, ("a", "b")), (19, ("a", "b")), (100, ("a",))], ids=["1 query", "19 queries", "1 model"]
)
def test_too_little_to_train_on_is_refused(queries: int, models: tuple[str, ...]) -> None:
    with pytest.raises(OutcomesError, match="at least 2 models and 20 queries"):
        train(make(queries, models).table)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_quality_routes_to_the_cheapest_and_is_not_promoted(value: float) -> None:
    made = make(60)
    constant = pa.array(np.full(made.table.num_rows, value))
    table = made.table.set_column(made.table.column_names.index("quality"), "quality", constant)
    _, report = train(table)
    assert report.best_constant == "cheap"
    assert not report.promoted


def test_free_models_save_nothing() -> None:
    made = make(60)
    free = pa.array(np.zeros(made.table.num_rows))
    artifact, report = train(made.table.set_column(made.table.column_names.index("cost_usd"), "cost_usd", free))
    assert not report.promoted
    assert "free" in report.verdicts[0].reason
    assert Predictor(artifact).dial(5).tolist() == [0.0] * 5


def test_equal_prompts_never_sit_on_both_sides_of_a_fold() -> None:
    from router.predict.matrix import read_matrix

    made = make(100)
    twice = made.table.set_column(
        made.table.column_names.index("prompt"),
        "prompt",
        pa.array([f"text {i // 8}" for i in range(made.table.num_rows)]),
    )
    matrix = read_matrix(twice)
    fold_of: dict[str, int] = {}
    for text, fold in zip(matrix.texts, matrix.folds(5, 0).tolist(), strict=True):
        assert fold_of.setdefault(text, fold) == fold


def compared(versus: str, difference: float, ratio: float) -> Comparison:
    return Comparison(
        versus=versus,
        quality_difference=difference + 0.005,
        quality_difference_low=difference,
        quality_difference_high=difference + 0.01,
        cost_ratio=ratio - 0.05,
        cost_ratio_low=ratio - 0.1,
        cost_ratio_high=ratio,
    )


@pytest.mark.parametrize(
    ("constant", "table", "promoted", "reason"),
    [
        ((0.0, 0.6), (0.0, 0.9), True, "saves"),
        ((0.0, 0.6), (0.004, 1.0), True, "saves"),
        ((-0.02, 0.6), (0.0, 0.9), False, "-0.020 to the best constant"),
        ((0.0, 1.1), (0.0, 0.9), False, "not certainly cheaper than the best constant"),
        ((0.0, 0.6), (0.0, 1.1), False, "not certainly cheaper than the per-task table"),
        ((0.0, 0.6), (-0.02, 0.9), False, "-0.020 to the per-task table"),
    ],
)
def test_the_verdict_needs_certainty_against_both(
    constant: tuple[float, float], table: tuple[float, float], promoted: bool, reason: str
) -> None:
    found = verdict((compared("best constant", *constant), compared("per-task table", *table)))
    assert found[0] is promoted
    assert reason in found[1]


def test_queries_that_all_ask_the_same_cannot_be_learned_from() -> None:
    table = answers(30)
    same = table.set_column(table.column_names.index("prompt"), "prompt", pa.array(["What?"] * len(table)))
    with pytest.raises(OutcomesError, match="different prompts"):
        train(same)


def test_tasks_of_one_query_each_are_learned_from_each_other() -> None:
    table = answers(40)
    alone = table.set_column(table.column_names.index("task"), "task", table["query_id"])
    assert len(set(read_matrix(alone).folds(5, 0).tolist())) == 5
    train(alone)
