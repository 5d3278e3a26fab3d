"""`clearbar spend statement` in each of its forms."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import router
from policies import ONE_MODEL


@pytest.fixture
def run(clearbar: Callable[..., Any]) -> Any:
    Path("policy.yaml").write_text(ONE_MODEL, encoding="utf-8")
    with router.Router("policy.yaml", None, router.FakeTransport({})) as one:
        for tags in ({"team": "search"}, {"team": "support"}, {"workflow": "eval"}):
            one.complete([{"role": "user", "content": "four words are here"}], **tags)
    month = f"{datetime.now(UTC):%Y-%m}"

    return partial(clearbar, "spend", "statement", "--month", month)


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
