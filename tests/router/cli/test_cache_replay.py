"""`clearbar cache replay`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from router.cli import cli
from router.embedding import missing

needs_embedder = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def written(path: Path, **columns: list[str]) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


@needs_embedder
def test_a_row_gets_a_hit_or_a_null_in_the_order_of_the_stream(tmp_path: Path) -> None:
    prompts = ["how do I reset my PIN", "where is my card", "how do I reset my PIN", "x" * 3_000]
    stream = written(tmp_path / "stream.parquet", prompt=prompts, answer=["pin", "card", "pin", "long"])
    out = tmp_path / "hits.parquet"
    result = CliRunner().invoke(
        cli, ["cache", "replay", "--stream", str(stream), "--max-error", "0.05", "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    table = parquet.read_table(out)
    assert table.column_names == ["hit", "served"]
    assert table["hit"].to_pylist() == [False, False, True, False]
    assert table["served"].to_pylist() == [None, None, "pin", None]
    assert "1 exact" in result.output


@needs_embedder
def test_a_stream_without_its_columns_is_named_with_the_remedy(tmp_path: Path) -> None:
    stream = written(tmp_path / "stream.parquet", prompt=["a"])
    out = tmp_path / "hits.parquet"
    result = CliRunner().invoke(
        cli, ["cache", "replay", "--stream", str(stream), "--max-error", "0.05", "--out", str(out)]
    )
    assert result.exit_code != 0
    assert "no column `answer`" in result.output
