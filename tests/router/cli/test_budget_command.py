"""`clearbar budget`: what platform people read, and what an approval changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import router
from router.cli import cli
from router.spend.ledger import Ledger

POLICY = """
version: 1
models: [{id: a, call: fake/a, price: {input: 1, output: 2}, max_output_tokens: 10}]
rules: [{candidates: [a], strategy: fixed}]
budgets:
  - {name: teams, scope: {team: "*"}, limit_usd: 0.0001, window: day, at: {100%: approve}}
  - {name: hard, scope: {team: [x, y]}, limit_requests: 100, window: {rolling: 1h}}
  - {limit_concurrent: 5}
"""
HI = [{"role": "user", "content": "hello"}]


@pytest.fixture
def spent(tmp_path: Path) -> router.Router:
    (tmp_path / "p.yaml").write_text(POLICY)
    with router.Router(tmp_path / "p.yaml", tmp_path / "state", router.FakeTransport({"a": "a b c"})) as one:
        while True:
            try:
                one.complete(HI, team="x")
            except router.BudgetExceededError:
                break
    return one


def run(tmp_path: Path, *arguments: str, has_policy: bool = True) -> Result:
    options = ["--state", str(tmp_path / "state"), *(["--policy", str(tmp_path / "p.yaml")] if has_policy else [])]
    return CliRunner().invoke(cli, ["budget", *arguments, *options])


def test_status_shows_every_limit_and_every_account(tmp_path: Path, spent: router.Router) -> None:
    rows = json.loads(run(tmp_path, "status", "--json").stdout)
    assert [(row["budget"], row["scope"]) for row in rows] == [
        ("teams", "team=x"), ("hard", "team=x|y"), ("everything at once", "everything"),
    ]  # fmt: skip
    assert 0.5 < rows[0]["used"] <= 1 and rows[0]["held"] == "0"
    assert "teams" in run(tmp_path, "status").stdout


def test_an_approval_lets_the_next_call_through(tmp_path: Path, spent: router.Router) -> None:
    done = run(tmp_path, "approve", "teams", "--more", "0.5", "--for", "team=x", "--note", "launch")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("approved $0.5 more on teams until ")
    with router.Router(tmp_path / "p.yaml", tmp_path / "state", router.FakeTransport({"a": "a b c"})) as one:
        assert one.complete(HI, team="x").text == "a b c"
        (row,) = one.ledger.rows("SELECT budget, note, by FROM approvals")
    assert (row["budget"], row["note"]) == ("teams", "launch") and row["by"]


def test_an_approver_without_a_name_is_noted_by_number(
    tmp_path: Path, spent: router.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 1_234_567)
    assert run(tmp_path, "approve", "teams", "--more", "0.5", "--for", "team=x").exit_code == 0
    with Ledger(tmp_path / "state" / "ledger.sqlite3").batch() as connection:
        assert connection.execute("SELECT by FROM approvals").fetchall() == [("uid 1234567",)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nosuch", "--more", "1"], "the policy has no budget 'nosuch'; it has teams, hard"),
        (["hard", "--more", "1"], "has no step `approve`"),
        (["teams", "--more", "1"], "give team=VALUE"),
        (["teams", "--more", "much", "--for", "team=x"], "'much' is no amount"),
        (["teams", "--more", "-1", "--for", "team=x"], "must be above 0"),
    ],
)
def test_an_approval_that_means_nothing_is_refused(
    tmp_path: Path, spent: router.Router, arguments: list[str], told: str
) -> None:
    done = run(tmp_path, "approve", *arguments)
    assert done.exit_code != 0
    assert told in done.output


def test_holds_lists_the_calls_under_way(tmp_path: Path, spent: router.Router) -> None:
    assert run(tmp_path, "holds", has_policy=False).stdout == "0 calls under way\n"


def test_a_tag_that_looks_like_markup_is_shown_as_it_is(tmp_path: Path, spent: router.Router) -> None:
    with router.Router(tmp_path / "p.yaml", tmp_path / "state", router.FakeTransport({"a": "a b c"})) as one:
        one.complete(HI, team="[/red]")
    done = run(tmp_path, "status")
    assert done.exit_code == 0, done.exception
    assert "[/r" in done.stdout


@pytest.mark.parametrize("more", ["NaN", "Infinity", "1e30", "1e999999", "-1", "0", "much"])
def test_an_approval_of_no_amount_is_refused(tmp_path: Path, spent: router.Router, more: str) -> None:
    assert run(tmp_path, "approve", "teams", "--more", more, "--for", "team=x").exit_code == 2
