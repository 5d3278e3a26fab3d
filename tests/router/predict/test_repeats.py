"""Graded scores, and several answers of one model to one query."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sums import answers
from tables import make

from router.errors import OutcomesError
from router.outcomes import merge_repeats, read_outcomes
from router.predict import Predictor
from router.predict.matrix import read_matrix
from router.predict.train import train


def with_quality(table: pa.Table, quality: np.ndarray) -> pa.Table:
    return table.set_column(table.column_names.index("quality"), "quality", pa.array(quality.astype(float)))


def asked(times: int, queries: int = 150) -> pa.Table:
    """The same queries, answered several times with a luck of their own."""
    made = make(queries, tasks=("work",))
    luck = np.random.default_rng(7)
    parts = []
    for turn in range(times):
        part = with_quality(made.table, luck.random(made.table.num_rows) < made.truth.ravel())
        told = pa.array([f"answer {turn} {luck.random():.6f}" for _ in range(part.num_rows)])
        parts.append(part.set_column(part.column_names.index("response"), "response", told))
    return pa.concat_tables(parts)


def test_repeats_become_one_row_with_their_mean_quality_and_one_whole_answer() -> None:
    table = asked(3, 30)
    merged = merge_repeats(table)
    assert merged.num_rows == 60
    by_key: dict[tuple[str, str], list[dict[str, object]]] = {}
    for row in table.to_pylist():
        by_key.setdefault((row["query_id"], row["model"]), []).append(row)
    for row in merged.to_pylist():
        repeats = by_key[row["query_id"], row["model"]]
        assert row["quality"] == pytest.approx(np.mean([one["quality"] for one in repeats]))
        shown = next(one for one in repeats if one["response"] == row["response"])
        assert row["response_quality"] == shown["quality"]
        assert (row["output_tokens"], row["cost_usd"]) == (shown["output_tokens"], shown["cost_usd"])


def test_the_answer_that_stays_has_nothing_to_do_with_its_quality() -> None:
    table = asked(4, 600)
    merged = merge_repeats(table)
    gap = np.mean(merged["response_quality"].to_numpy()) - np.mean(merged["quality"].to_numpy())
    assert abs(gap) < 0.03


def test_the_order_of_repeats_changes_nothing() -> None:
    table = asked(2, 60)
    turned = table.take(pa.array(np.random.default_rng(0).permutation(table.num_rows)))
    assert read_matrix(merge_repeats(turned)).sha256 == read_matrix(merge_repeats(table)).sha256
    assert train(merge_repeats(turned))[0].sha256 == train(merge_repeats(table))[0].sha256


def test_a_cascade_learns_from_the_quality_of_the_answers_it_reads() -> None:
    table = answers(120)
    wrong = with_quality(table, 1.0 - table["quality"].to_numpy())
    other = wrong.set_column(wrong.column_names.index("response"), "response", pa.array(["17"] * len(wrong)))
    matrix = read_matrix(merge_repeats(pa.concat_tables([table, other])))
    assert (matrix.quality == 0.5).all()
    own = np.asarray(matrix.response_quality)
    assert set(np.unique(own)) == {0.0, 1.0}
    assert "cascade_stops" in train(merge_repeats(pa.concat_tables([table, other])))[0].arrays


def test_more_repeats_tell_more() -> None:
    made = make(150, tasks=("work",))
    once, often = (
        Predictor(train(merge_repeats(asked(times)))[0]).predict_many(made.texts, made.tasks, [None] * 150).quality
        for times in (1, 8)
    )
    assert ((often - made.truth) ** 2).mean() < ((once - made.truth) ** 2).mean()


def test_a_model_that_is_always_graded_037_is_expected_at_037() -> None:
    made = make(200)
    quality = made.table["quality"].to_numpy().copy()
    is_cheap = np.asarray(made.table["model"].to_pylist()) == "cheap"
    quality[is_cheap] = 0.37
    predictor = Predictor(train(with_quality(made.table, quality))[0])
    expected = predictor.predict_many(made.texts, made.tasks, [None] * 200).quality[:, 0]
    assert predictor.models[0] == "cheap"
    assert expected.min() > 0.3
    assert expected.max() < 0.44
    assert expected.mean() == pytest.approx(0.37, abs=0.01)


def test_the_command_trains_on_repeats_and_replay_refuses_them(tmp_path: Path) -> None:
    pq.write_table(asked(2, 40), tmp_path / "table.parquet")
    run = [sys.executable, "-c", "from router.cli import main; main()"]
    given = ["train", "--outcomes", str(tmp_path / "table.parquet"), "--out", str(tmp_path / "artifact")]
    done = subprocess.run([*run, *given], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    with pytest.raises(OutcomesError, match="keep one row per query and model"):
        read_outcomes(tmp_path / "table.parquet", needs_quality=False)
