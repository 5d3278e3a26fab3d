"""Running what models write takes two permissions: the suite's, and that of whoever runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evals.cli import eval_group
from evals.scorers.code import ALLOWED_BY
from evals.types import EvalError
from router.outcomes import read_outcomes, write_outcomes

POLICY = """\
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 2}}
rules:
  - {candidates: [small], strategy: fixed}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ALLOWED_BY, raising=False)
    Path("policy.yaml").write_text(POLICY, encoding="utf-8")
    Path("code.jsonl").write_text(json.dumps({"prompt": "p", "reference": "assert two() == 2"}) + "\n", "utf-8")
    suite = "version: 1\nname: s\ntasks:\n  code: {source: code.jsonl, scorer: {name: code, allow_code: true}}\n"
    Path("suite.yaml").write_text(suite, encoding="utf-8")
    answer = "def two():\n    return 2"
    row = {"query_id": "q", "task": "code", "prompt": "p", "model": "m", "quality": 1.0, "response": answer,
           "input_tokens": 1, "output_tokens": 1, "cost_usd": 0.0, "reference": "assert two() == 2"}  # fmt: skip
    write_outcomes("table.parquet", [row])


def clearbar(*arguments: str) -> Result:
    return CliRunner().invoke(eval_group, arguments, standalone_mode=False)


RUN = ("run", "suite.yaml", "--policy", "policy.yaml", "--out", "run", "--yes")
RESCORE = ("rescore", "--outcomes", "table.parquet", "--scorer", "code=code", "--out", "out.parquet")


@pytest.mark.parametrize("command", [RUN, RESCORE])
def test_without_the_flag_nothing_runs_and_the_error_names_it(command: tuple[str, ...]) -> None:
    result = clearbar(*command)
    assert isinstance(result.exception, EvalError) and "add --allow-code" in str(result.exception)


@pytest.mark.parametrize("command", [RUN, RESCORE])
def test_with_the_flag_it_says_what_that_means(command: tuple[str, ...]) -> None:
    result = clearbar(*command, "--allow-code")
    assert result.exception is None, result.exception
    assert "a fence against accidents, not a sandbox" in result.stderr


def test_rescored_code_has_run() -> None:
    clearbar(*RESCORE, "--allow-code")
    assert read_outcomes("out.parquet")["rescored"].to_pylist() == [1.0]


def test_the_flag_is_for_one_command_only() -> None:
    clearbar(*RESCORE, "--allow-code")
    assert isinstance(clearbar(*RESCORE).exception, EvalError)


def test_a_plan_runs_nothing_and_needs_no_permission() -> None:
    result = clearbar("plan", "suite.yaml", "--policy", "policy.yaml")
    assert result.exception is None and "1 calls" in result.stdout
