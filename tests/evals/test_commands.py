"""`clearbar eval` from the outside: what it prints, writes and exits with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evals.cli import eval_group
from evals.types import EvalError
from policies import SMALL_AND_LARGE
from router.outcomes import read_outcomes, write_outcomes


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "suite.yaml").write_text(
        "version: 1\nname: echo\ntasks:\n  echo: {source: echo.jsonl, scorer: exact, bar: 0.8}\n", encoding="utf-8"
    )
    return folder


def clearbar(*arguments: str) -> Result:
    return CliRunner().invoke(eval_group, arguments, standalone_mode=False)


def good(*arguments: str) -> Result:
    result = clearbar(*arguments)
    assert result.exception is None, result.exception
    return result


RUN = ("run", "suite.yaml", "--policy", "policy.yaml", "--candidates", "small", "--out", "run")


def test_run_reports_a_table_and_the_plan_goes_to_stderr(folder: Path) -> None:
    result = good(*RUN, "--yes")
    assert result.return_value == 0
    assert "echo" in result.stdout and "1.000" in result.stdout and "held" in result.stdout
    assert "30 calls, at most $" in result.stderr and "30 calls" not in result.stdout


def test_run_as_json_is_one_object(folder: Path) -> None:
    result = good(*RUN, "--yes", "--limit", "3", "--json")
    report = json.loads(result.stdout)
    assert (report["cells"], report["finished"], report["failed"]) == (3, 3, 0)


def test_run_without_anyone_to_ask_needs_yes(folder: Path) -> None:
    assert "add --yes" in str(clearbar(*RUN).exception)
    assert not (folder / "run" / "cells.jsonl").exists()


def test_a_second_run_into_the_same_directory_needs_resume(folder: Path) -> None:
    good(*RUN, "--yes", "--limit", "3")
    assert "--resume" in str(clearbar(*RUN, "--yes").exception)
    assert json.loads(good(*RUN, "--yes", "--resume", "--json").stdout)["cells"] == 30


def test_a_run_stopped_by_its_cap_says_that_evidence_is_missing(folder: Path) -> None:
    result = good(*RUN, "--yes", "--max-cost-usd", "0.0083")
    assert result.return_value == 2
    assert "stopped at --max-cost-usd" in result.stderr


def test_a_run_that_stops_early_says_what_was_not_needed(folder: Path) -> None:
    suite = (folder / "suite.yaml").read_text(encoding="utf-8")
    (folder / "suite.yaml").write_text(suite.replace("bar: 0.8", "bar: 0.3"), encoding="utf-8")
    result = good(*RUN, "--yes", "--concurrency", "2", "--stop-early", "cheapest", "--json")
    report = json.loads(result.stdout)
    assert report["not_needed"] == 30 - report["finished"] > 0
    assert f"{report['finished']}/30 cells, {report['not_needed']} not needed" in result.stderr
    assert "small 1.000 (" in result.stderr and "left" in result.stderr


def test_a_run_of_failures_stops_and_exits_as_broken(folder: Path) -> None:
    policy = SMALL_AND_LARGE.replace("fake/small", "replay/small")  # which needs a table that nobody gave
    (folder / "policy.yaml").write_text(policy, encoding="utf-8")
    result = good(*RUN, "--yes", "--max-failures", "0.5")
    assert result.return_value == 3
    assert "calls failed, more than --max-failures 0.5; such as: ConfigurationError" in result.stderr


@pytest.mark.parametrize("amount", ["lots", "-1", "nan"])
def test_a_cap_must_be_an_amount(folder: Path, amount: str) -> None:
    assert "amount in USD" in str(clearbar(*RUN, "--yes", f"--max-cost-usd={amount}").exception)


def test_report_exits_by_the_bars(folder: Path) -> None:
    good(*RUN, "--yes", "--limit", "5")
    assert good("report", "run").return_value == 2
    good(*RUN, "--yes", "--resume")
    result = good("report", "run", "--json")
    (row,) = json.loads(result.stdout)
    assert (result.return_value, row["verdict"], row["n"], row["model"]) == (0, "held", 30, "small")


def test_a_bar_missed_by_everyone_fails_the_report(folder: Path) -> None:
    (folder / "echo.jsonl").write_text(
        "".join(json.dumps({"prompt": f"{i}", "reference": "x"}) + "\n" for i in range(30)), encoding="utf-8"
    )
    good(*RUN, "--yes")
    assert good("report", "run").return_value == 1


def test_propose_writes_evidence_and_lists_it(folder: Path) -> None:
    good(*RUN, "--yes")
    result = good("propose", "run", "--out", "evidence")
    assert "echo--small.json" in result.stdout
    assert json.loads((folder / "evidence" / "echo--small.json").read_text(encoding="utf-8"))["n"] == 30


def test_outcomes_can_be_read_back(folder: Path) -> None:
    good(*RUN, "--yes")
    good("outcomes", "run", "--out", "outcomes.csv")
    assert read_outcomes(folder / "outcomes.csv").num_rows == 30


def outcome(number: int, task: str, response: str, reference: str, quality: float) -> dict[str, Any]:
    return {
        "query_id": f"q{number}", "task": task, "prompt": "p", "model": "m", "quality": quality, "response": response,
        "reference": reference, "input_tokens": 1, "output_tokens": 1, "cost_usd": 0.0,
    }  # fmt: skip


ROWS = [
    outcome(0, "sums", "The answer is 4.", "4", 1.0),
    outcome(1, "sums", "5", "4", 1.0),
    outcome(2, "sums", "5", "no number", 0.0),
    outcome(3, "words", "yes", "yes", 1.0),
]


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_rescore_keeps_every_row_and_leaves_null_where_nothing_was_scored(folder: Path, ending: str) -> None:
    write_outcomes(folder / f"table.{ending}", ROWS)
    result = good("rescore", "--outcomes", f"table.{ending}", "--scorer", "sums=numeric", "--out", "out.parquet")
    rows = {row["query_id"]: row for row in read_outcomes(folder / "out.parquet").to_pylist()}
    assert [rows[f"q{i}"]["rescored"] for i in range(4)] == [1.0, 0.0, None, None]
    assert "sums: numeric, 2 of 3 scored, 0.5000 agree" in result.stdout
    assert "words: no scorer, 0 of 1 scored" in result.stdout


def test_rescore_needs_no_quality_column(folder: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "quality"} for row in ROWS]
    (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = good("rescore", "--outcomes", "table.jsonl", "--scorer", "words=exact", "--out", "out.jsonl", "--json")
    assert [(one["scored"], one["agreeing"]) for one in json.loads(result.stdout)] == [(0, None), (1, None)]
    assert json.loads((folder / "out.jsonl").read_text(encoding="utf-8").splitlines()[3])["rescored"] == 1.0


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        ("sums", "give TASK=NAME"),
        ("sums=magic", "scorers are choice, code, constraints"),
        ("poems=exact", "has no task 'poems'; it has sums, words"),
    ],
)
def test_rescore_refuses_what_it_cannot_do(folder: Path, scorer: str, message: str) -> None:
    write_outcomes(folder / "table.parquet", ROWS)
    result = clearbar("rescore", "--outcomes", "table.parquet", "--scorer", scorer, "--out", "out.parquet")
    assert isinstance(result.exception, EvalError) and message in str(result.exception)
    assert not (folder / "out.parquet").exists()


def test_rescoring_needs_references(folder: Path) -> None:
    write_outcomes(folder / "table.parquet", [row | {"reference": None} for row in ROWS])
    result = clearbar("rescore", "--outcomes", "table.parquet", "--scorer", "sums=numeric", "--out", "out.parquet")
    assert "needs the column 'reference'" in str(result.exception)
