from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tables import make

from router.predict import Predictor


def clearbar(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from router.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "one.parquet", tmp_path / "two.parquet"
    for number, path in enumerate(paths):
        table = make(60, seed=number, tasks=(f"task-{number}",)).table
        ids = [f"{number}-{name}" for name in table["query_id"].to_pylist()]
        pq.write_table(table.set_column(0, "query_id", [ids]), path)
    return paths


@pytest.mark.parametrize("style", ["after one flag", "a flag each"])
def test_several_files_are_trained_on_together(tables: tuple[Path, Path], tmp_path: Path, style: str) -> None:
    one, two = tables
    files = ["--outcomes", one, two] if style == "after one flag" else ["--outcomes", one, "--outcomes", two]
    done = clearbar("train", *files, "--out", tmp_path / "artifact", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["report"]["queries"] == 120
    assert Predictor.load(tmp_path / "artifact").tasks == ("task-0", "task-1")
    assert Predictor.load(tmp_path / "artifact").version == facts["sha256"][:12]


def test_people_get_a_table_and_a_verdict_and_do_not_route_is_a_result(
    tables: tuple[Path, Path], tmp_path: Path
) -> None:
    done = clearbar("train", "--outcomes", tables[0], "--out", tmp_path / "[bold]", "--seed", 3)
    assert done.returncode == 0, done.stderr
    for word in ("best constant", "per-task table", "single", "oracle", "verdict", "[bold]"):  # no colour: a folder
        assert word in done.stdout


def test_a_missing_table_is_a_broken_input(tmp_path: Path) -> None:
    done = clearbar("train", "--outcomes", tmp_path / "none.parquet", "--out", tmp_path / "artifact")
    assert done.returncode == 3
    assert "no such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_with_other_files_is_refused_before_training(tables: tuple[Path, Path], tmp_path: Path) -> None:
    done = clearbar("train", "--outcomes", tables[0], "--out", tmp_path)
    assert done.returncode == 3
    assert "holds other files" in done.stderr
