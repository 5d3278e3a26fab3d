"""`clearbar spend statement` in each of its forms."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import router
from router.cli import main

POLICY = """
version: 1
models: [{id: small, call: fake/small, price: {input: 1, output: 4}}]
rules: [{candidates: small, strategy: fixed}]
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("policy.yaml").write_text(POLICY, encoding="utf-8")
    with router.Router("policy.yaml", None, router.FakeTransport({})) as one:
        for tags in ({"team": "search"}, {"team": "support"}, {"workflow": "eval"}):
            one.complete([{"role": "user", "content": "four words are here"}], **tags)
    month = f"{datetime.now(UTC):%Y-%m}"

    def go(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["clearbar", "spend", "statement", "--month", month, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert ended.value.code == code, captured
        return captured.out + captured.err

    return go


def test_a_table_tells_the_methods(run: Any) -> None:
    told = run("--share", "workflow=eval:requests", "--add", "gateway=1:equal")
    assert "workflow=eval: $" in told
    assert "in proportion to each scope's requests" in told
    assert "stated $1" in told


@pytest.mark.parametrize("name", ["s.csv", "s.json", "s.html", "s.parquet"])
def test_files_go_by_their_ending(run: Any, name: str) -> None:
    assert "2 lines" in run("--share", "workflow=eval:spend", "--out", name)
    assert Path(name).stat().st_size > 100


def test_json_goes_to_standard_output(run: Any) -> None:
    told = json.loads(run("--by", "team,workflow", "--format", "json"))
    assert sorted(line["scope"] for line in told["lines"] if line["scope"][0]) == [["search", None], ["support", None]]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "parquet"], "needs --out"),
        (["--out", "s.doc"], "ends in none of"),
        (["--share", "eval"], "ends in no method"),
        (["--by", ""], "need names"),
    ],
)
def test_mistakes_are_named(run: Any, arguments: list[str], says: str) -> None:
    assert says in run(*arguments, code=3)
