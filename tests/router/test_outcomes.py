"""Outcome tables come back as they were written, and a wrong one says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from router.errors import OutcomesError
from router.outcomes import COLUMNS, read_outcomes, write_outcomes

ROW: dict[str, Any] = {
    "query_id": "q1", "task": "qa", "prompt": "2 + 2?", "model": "small", "quality": 1.0, "response": "4",
    "input_tokens": 5, "output_tokens": 1, "cost_usd": 0.001,
}  # fmt: skip
FORMATS = [".parquet", ".jsonl", ".csv"]


def row(**changes: Any) -> dict[str, Any]:
    return {**ROW, **changes}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


@pytest.mark.parametrize("ending", FORMATS)
def test_a_table_comes_back_as_it_was_written(tmp_path: Path, ending: str) -> None:
    rows = [row(), row(model="large", quality=0.25, subtask="sum", reference="four", latency_s=0.5)]
    write_outcomes(tmp_path / f"t{ending}", rows)
    back = read_outcomes(tmp_path / f"t{ending}").to_pylist()
    assert [{name: one[name] for name in ROW} for one in back] == [{name: one[name] for name in ROW} for one in rows]
    assert [(one["subtask"], one["reference"], one["latency_s"]) for one in back] == [
        ("", "", None), ("sum", "four", 0.5),
    ]  # fmt: skip


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(
    "text",
    ["007", "1.50", "NA", "null", "true", "2026-01-31", "2026-01-31T00:00:00Z", "1e5", " x ", "a,b", 'say "x"', "a\nb",
     "", "é€😀", "N/A", "nan", "-"],
    ids=repr,
)  # fmt: skip
def test_texts_stay_texts_whatever_they_look_like(tmp_path: Path, ending: str, text: str) -> None:
    write_outcomes(tmp_path / f"t{ending}", [row(query_id="007", prompt=text, response=text, task="1.50")])
    (back,) = read_outcomes(tmp_path / f"t{ending}").to_pylist()
    assert (back["query_id"], back["prompt"], back["response"], back["task"]) == ("007", text, text, "1.50")


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=15)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(FORMATS), st.lists(st.tuples(texts, texts, st.floats(0, 1), st.integers(0, 10**6)), min_size=1))
def test_any_table_survives_any_format(tmp_path: Path, ending: str, given_rows: list[tuple[Any, ...]]) -> None:
    rows = [
        row(query_id=str(i), prompt=prompt, response=response, quality=quality, output_tokens=tokens)
        for i, (prompt, response, quality, tokens) in enumerate(given_rows)
    ]
    write_outcomes(tmp_path / f"t{ending}", rows)
    assert read_outcomes(tmp_path / f"t{ending}").select(list(COLUMNS)).to_pylist() == rows


def test_several_files_are_one_table_with_what_they_share(tmp_path: Path) -> None:
    one = write_lines(tmp_path / "1.jsonl", [row(split="a", only_here=1)])
    two = write_lines(tmp_path / "2.jsonl", [row(query_id="q2", split="b")])
    table = read_outcomes(one, two)
    assert table["split"].to_pylist() == ["a", "b"]
    assert "only_here" not in table.column_names


def test_replay_sees_neither_quality_nor_reference(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "t.parquet", [row(reference="4")])
    table = read_outcomes(tmp_path / "t.parquet", needs_quality=False)
    assert not {"quality", "reference"} & set(table.column_names)
    without = {name: value for name, value in ROW.items() if name != "quality"}
    read_outcomes(write_lines(tmp_path / "t.jsonl", [without]), needs_quality=False)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        pytest.param(
            [{k: v for k, v in ROW.items() if k != "quality"}], "needs the column 'quality'; it has", id="no quality"
        ),
        pytest.param([{k: v for k, v in ROW.items() if k != "task"}], "needs the column 'task'; it has", id="no task"),
        pytest.param([row(), row(model=None)], "column 'model' has no value in 1 of 2 rows", id="a model is missing"),
        pytest.param(
            [row(quality=None), row(model="x")], "column 'quality' has no value in 1 of 2", id="a quality is missing"
        ),
        pytest.param([row(), row()], "query_id 'q1' has 2 rows for model 'small'; keep one", id="a row twice"),
        pytest.param([row(quality=1.01)], "row 1: quality is 1.01; it must be 0 to 1", id="quality above 1"),
        pytest.param([row(), row(model="x", quality=-0.1)], "row 2: quality is -0.1; it must be 0 to 1", id="below 0"),
        pytest.param([row(cost_usd=-1)], "row 1: cost_usd is -1.0; it must be 0 or more", id="negative cost"),
        pytest.param([row(input_tokens=-1)], "row 1: input_tokens is -1; it must be 0 or more", id="negative tokens"),
        pytest.param([row(output_tokens=1.5)], "column 'output_tokens' cannot be read as int64", id="half a token"),
        pytest.param([row(quality="good")], "column 'quality' cannot be read as double", id="quality as a word"),
        pytest.param([row(query_id=7)], "cannot be read as .jsonl", id="an id that is a number"),
    ],
)
def test_a_wrong_table_says_what_is_wrong(tmp_path: Path, rows: list[dict[str, Any]], told: str) -> None:
    path = write_lines(tmp_path / "t.jsonl", rows)
    with pytest.raises(OutcomesError) as caught:
        read_outcomes(path)
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_a_cost_that_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    write_outcomes(tmp_path / "t.parquet", [row(cost_usd=value)])
    with pytest.raises(OutcomesError, match=f"row 1: cost_usd is {value}; it must be 0 or more"):
        read_outcomes(tmp_path / "t.parquet")


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.csv", "t"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00garbage{"], ids=["empty", "garbage"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OutcomesError, match="t"):
        read_outcomes(tmp_path / name)


@pytest.mark.parametrize("name", ["nosuch.parquet", "."], ids=["missing", "a folder"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutcomesError, match="no such file; give a Parquet, JSONL or CSV outcome table"):
        read_outcomes(tmp_path / name)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "t.parquet", [])
    with pytest.raises(OutcomesError, match="has no rows"):
        read_outcomes(tmp_path / "t.parquet")


def test_tables_whose_columns_disagree_are_refused_by_name(tmp_path: Path) -> None:
    one = write_lines(tmp_path / "1.jsonl", [row(fold=1)])
    two = write_lines(tmp_path / "2.jsonl", [row(query_id="q2", fold="b")])
    with pytest.raises(OutcomesError, match=r"1\.jsonl, .*2\.jsonl: the tables do not fit together"):
        read_outcomes(one, two)


def test_other_arrow_types_of_the_same_meaning_are_taken(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([row()])
    table = table.set_column(0, "query_id", table["query_id"].dictionary_encode())
    table = table.set_column(4, "quality", pa.array([1], pa.int8()))
    table = table.set_column(6, "input_tokens", pa.array([5.0]))
    parquet.write_table(table, tmp_path / "t.parquet")
    (back,) = read_outcomes(tmp_path / "t.parquet").to_pylist()
    assert (back["query_id"], back["quality"], back["input_tokens"]) == ("q1", 1.0, 5)
