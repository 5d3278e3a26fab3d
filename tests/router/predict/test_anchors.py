from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tables import make

from router.errors import ArtifactError, OutcomesError
from router.outcomes import read_outcomes
from router.predict import Predictor
from router.predict import artifact as artifacts
from router.predict.add_model import add_model
from router.predict.anchors import Scale, pick_at_random, shares
from router.predict.matrix import read_matrix
from router.predict.new_model import Known, study
from router.predict.train import train
from router.replay import replay

MODELS = ("a", "b", "c", "d", "e", "f")
GROUPS = 3


def item_responses(queries: int, models: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes (n, m) of a two-parameter logistic model whose groups differ in difficulty, and the groups."""
    random = np.random.default_rng(seed)
    group = np.arange(queries) % GROUPS
    difficulty = random.normal(size=queries) * 1.5 + group - 1
    chance = 1 / (1 + np.exp(-random.uniform(0.7, 1.5, models) * (random.normal(size=models) - difficulty[:, None])))
    return (random.random(chance.shape) < chance).astype(float), group


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return make(400, MODELS, seed=5).table


@pytest.fixture(scope="module")
def without_last(table: pa.Table) -> pa.Table:
    return table.filter(pc.not_equal(table["model"], "f"))


@pytest.fixture(scope="module")
def trained(without_last: pa.Table) -> artifacts.Artifact:
    return train(without_last, seed=1)[0]


@pytest.fixture(scope="module")
def answers(table: pa.Table, without_last: pa.Table) -> pa.Table:
    """What the last model answered to 50 anchors."""
    matrix = read_matrix(without_last)
    known = Known.of(matrix)
    ids = [matrix.query_ids[known.rows[place]] for place in known.scale().pick(50)]
    return table.filter(pc.and_(pc.equal(table["model"], "f"), pc.is_in(table["query_id"], pa.array(ids))))


@pytest.fixture(scope="module")
def extended(trained: artifacts.Artifact, without_last: pa.Table, answers: pa.Table) -> Iterator[artifacts.Artifact]:
    yield add_model(trained, without_last, answers)[0]


def test_every_group_keeps_its_share() -> None:
    group = np.repeat([0, 1, 2], [60, 30, 10])
    assert shares(group, 3, 10).tolist() == [6, 3, 1]
    assert shares(group, 4, 11).sum() == 11


def test_anchors_are_distinct_and_spread_over_the_groups() -> None:
    quality, group = item_responses(600, 8, 1)
    picked = Scale.of(quality, group, GROUPS).pick(45)
    assert len(set(picked.tolist())) == 45
    assert np.bincount(group[picked]).tolist() == [15, 15, 15]


def test_queries_that_may_not_be_picked_are_not() -> None:
    quality, group = item_responses(300, 6, 2)
    allowed = np.arange(300) % 2 == 0
    assert (Scale.of(quality, group, GROUPS).pick(30, allowed) % 2 == 0).all()


def test_fifty_answers_place_a_model_far_better_than_the_mean_of_all_models_does() -> None:
    found, usual, blind = [], [], []
    for seed in range(4):
        quality, group = item_responses(900, 10, seed)
        for model in (0, 4):
            rest, own = np.delete(quality, model, axis=1), quality[:, model]
            scale = Scale.of(rest, group, GROUPS)
            every = np.arange(len(own))
            for errors, asked in (
                (found, scale.pick(50)),
                (blind, pick_at_random(group, 50, np.random.default_rng(seed))),
            ):
                errors.append(abs(scale.estimate(asked, own[asked]).mean(every)[0] - own.mean()))
            usual.append(abs(rest.mean() - own.mean()))
    assert np.mean(found) < 0.4 * np.mean(usual)
    assert np.mean(blind) < 0.6 * np.mean(usual)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    within = []
    for seed in range(5):
        quality, group = item_responses(600, 8, 10 + seed)
        for model in range(0, 8, 2):
            own = quality[:, model]
            scale = Scale.of(np.delete(quality, model, axis=1), group, GROUPS)
            asked = scale.pick(40)
            result = scale.estimate(asked, own[asked])
            for number in range(GROUPS):
                mean, deviation = result.mean(np.flatnonzero(group == number))
                within.append(abs(mean - own[group == number].mean()) <= 1.645 * deviation)
    assert 0.8 <= np.mean(within) <= 1.0


def test_asking_everything_leaves_no_doubt() -> None:
    quality, group = item_responses(200, 6, 3)
    result = Scale.of(quality[:, 1:], group, GROUPS).estimate(np.arange(200), quality[:, 0])
    assert result.mean(np.arange(200)) == pytest.approx((quality[:, 0].mean(), 0.0))


def test_a_model_that_clears_everything_is_placed_without_an_accident() -> None:
    quality, group = item_responses(300, 6, 4)
    asked = np.arange(0, 300, 6)
    result = Scale.of(quality, group, GROUPS).estimate(asked, np.ones(50))
    assert np.isfinite(result.quality).all()
    assert result.quality.mean() > quality.mean(axis=0).max()


def test_each_known_model_is_treated_as_new(without_last: pa.Table) -> None:
    known = Known.of(read_matrix(without_last))
    done = study(known, 40)
    assert [trial.model for trial in done.trials] == list("abcde")
    assert done.stretch >= 1.0
    errors = np.array([abs(trial.error[-1]) for trial in done.trials])
    usual = np.array([abs(trial.means[-1] - trial.truth[-1]) for trial in done.trials])
    assert errors.mean() < usual.mean()


def test_the_new_model_stands_last_and_the_others_are_predicted_as_before(
    trained: artifacts.Artifact, extended: artifacts.Artifact
) -> None:
    before, after = Predictor(trained), Predictor(extended)
    assert after.models == (*before.models, "f")
    texts, tasks = ["prove the apples; count the trains", "spell"], ["proofs", None]
    old, new = before.predict_many(texts, tasks, [None] * 2), after.predict_many(texts, tasks, [None] * 2)
    for name in ("quality", "quality_low", "quality_high", "output_tokens", "cost_usd"):
        np.testing.assert_allclose(getattr(new, name)[:, :-1], getattr(old, name))
    assert ((new.quality_low <= new.quality) & (new.quality <= new.quality_high)).all()


def test_the_new_models_quality_tokens_and_cost_are_about_right_and_its_intervals_wider(
    extended: artifacts.Artifact, table: pa.Table
) -> None:
    own = table.filter(pc.equal(table["model"], "f"))
    columns = [own[name].to_pylist() for name in ("prompt", "task")]
    expected = Predictor(extended).predict_many(*columns, [None] * len(own))
    assert expected.quality[:, -1].mean() == pytest.approx(np.mean(own["quality"].to_pylist()), abs=0.08)
    assert expected.output_tokens[:, -1].mean() == pytest.approx(np.mean(own["output_tokens"].to_pylist()), rel=0.2)
    assert expected.cost_usd[:, -1].mean() == pytest.approx(np.mean(own["cost_usd"].to_pylist()), rel=0.2)
    # On the scale of log-odds, where an able model's interval is not squeezed against 1.
    log_odds = [np.log(q / (1 - q)) for q in np.clip((expected.quality_low, expected.quality_high), 1e-4, 1 - 1e-4)]
    width = (log_odds[1] - log_odds[0]).mean(axis=0)
    assert width[-1] > np.median(width[:-1])


def test_nothing_is_promoted_on_anchors_alone(
    trained: artifacts.Artifact, without_last: pa.Table, answers: pa.Table
) -> None:
    new, report = add_model(trained, without_last, answers)
    assert Predictor(new).promoted == frozenset()
    assert not report.promoted
    assert report.parts[-1].name == "all"
    assert report.parts[-1].quality_low < report.parts[-1].quality < report.parts[-1].quality_high
    assert not [name for name in new.arrays if name.startswith(("promise_single", "promise_cascade"))]


@pytest.mark.parametrize("strategy", ["single", "cascade"])
def test_replay_knows_the_new_model(extended: artifacts.Artifact, table: pa.Table, strategy: str) -> None:
    some = table.filter(pc.is_in(table["query_id"], pa.array([f"q{number:05}" for number in range(40)])))
    decisions = replay(Predictor(extended), some.drop_columns(["quality"]), 4, strategy)  # type: ignore[arg-type]
    assert decisions.num_rows == 160


def test_ladders_hear_the_same_whether_or_not_a_model_was_added() -> None:
    made = make(400, ("a", "b", "c", "d", "e"), seed=2).table
    random = np.random.default_rng(0)
    texts = [str(right or random.integers(2, 9)) for right in np.asarray(made["quality"]).astype(int)]
    made = made.set_column(made.column_names.index("response"), "response", [texts])
    rest = made.filter(pc.not_equal(made["model"], "e"))
    before = train(rest)[0]
    own = made.filter(pc.equal(made["model"], "e")).slice(0, 60)
    after = Predictor(add_model(before, rest, own)[0])
    old = Predictor(before)
    assert old.cascade is not None
    place = old.labels("chores", None)
    choice = next(c for price in old.cascade.prices if (c := old.choice(price, *place)) and c.ladder is not None)
    heard = []
    for predictor in (old, after):
        quality = predictor.predict_many(["count the apples"], ["chores"], [None]).quality[0]
        climb = predictor.climb(choice, quality, "count the apples", *place)
        climb.hear(climb.models[0], "1", 30)
        heard.append((climb.chance, climb.model, [climb.wants(model) for model in climb.models]))
    assert heard[0] == heard[1]


def test_answers_are_found_by_their_prompt_where_a_suite_gave_them_other_ids(
    trained: artifacts.Artifact, without_last: pa.Table, answers: pa.Table
) -> None:
    renamed = answers.set_column(0, "query_id", [[f"other-{row}" for row in range(len(answers))]])
    one, two = (add_model(trained, without_last, each)[1] for each in (answers, renamed))
    assert one == two


def test_wrong_input_is_named(trained: artifacts.Artifact, without_last: pa.Table, table: pa.Table) -> None:
    strange = table.filter(pc.equal(table["model"], "f")).slice(0, 5)
    with pytest.raises(OutcomesError, match="only 5 of 5 answers"):
        add_model(trained, without_last, strange)
    with pytest.raises(OutcomesError, match="of 5 models"):
        add_model(trained, without_last, without_last)
    with pytest.raises(OutcomesError, match="knows 'a' already"):
        add_model(trained, without_last, table.filter(pc.equal(table["model"], "a")))
    with pytest.raises(ArtifactError, match="trained on other outcomes"):
        add_model(trained, table, strange)
    with pytest.raises(OutcomesError, match="at least 20 such queries and 3 models"):
        Known.of(read_matrix(make(60).table))


def clearbar(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from router.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )


def test_from_anchors_to_an_artifact_by_command(
    trained: artifacts.Artifact, without_last: pa.Table, table: pa.Table, tmp_path: Path
) -> None:
    pq.write_table(without_last, tmp_path / "known.parquet")
    artifacts.save(trained, tmp_path / "artifact", created="")
    picked = clearbar("anchors", "--outcomes", tmp_path / "known.parquet", "--count", 30, "--out", tmp_path / "suite")
    assert picked.returncode == 0, picked.stderr
    assert "error to expect (each of 5 known models treated as new" in picked.stdout
    prompts = [json.loads(line)["prompt"] for file in (tmp_path / "suite").glob("*.jsonl") for line in file.open("rb")]
    assert len(prompts) == 30
    own = table.filter(pc.and_(pc.equal(table["model"], "f"), pc.is_in(table["prompt"], pa.array(prompts))))
    pq.write_table(own, tmp_path / "answers.parquet")
    added = clearbar(
        *("train", "--add-model", tmp_path / "answers.parquet", "--outcomes", tmp_path / "known.parquet"),
        *("--artifact", tmp_path / "artifact", "--out", tmp_path / "more", "--json"),
    )
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["report"]["anchors"] == 30
    assert Predictor.load(tmp_path / "more").models[-1] == "f"
    shown = clearbar(
        *("train", "--add-model", tmp_path / "answers.parquet", "--outcomes", tmp_path / "known.parquet"),
        *("--artifact", tmp_path / "artifact", "--out", tmp_path / "more"),
    )
    assert "do not route" in shown.stdout
    half = clearbar("train", "--outcomes", tmp_path / "known.parquet", "--artifact", tmp_path, "--out", tmp_path / "x")
    assert half.returncode == 3
    assert "go together" in half.stderr


def test_the_written_suite_is_one_that_evals_read(tmp_path: Path) -> None:
    from evals.suite import load_suite
    from router.cli.anchors import write_suite

    rows = [
        {"query_id": f"q{n}", "task": task, "prompt": f"{task} {n}?", "reference": str(n), "subtask": "odd"}
        for task in ("math: hard & new", "chores")
        for n in range(3)
    ]
    assert write_suite(tmp_path / "suite", rows, {"chores": "numeric"}) == {"chores": 3, "math: hard & new": 3}
    suite = load_suite(tmp_path / "suite/suite.yaml")
    assert sorted(sample.prompt for sample in suite.samples()) == sorted(row["prompt"] for row in rows)
    assert {sample.subtask for sample in suite.samples()} == {"odd"}
    assert suite.scorer_name("chores") == "numeric"


def test_anchors_pass_through_the_table_readers(tmp_path: Path, without_last: pa.Table) -> None:
    pq.write_table(without_last, tmp_path / "known.parquet")
    assert read_matrix(read_outcomes(tmp_path / "known.parquet")).sha256 == read_matrix(without_last).sha256
