"""`clearbar spend forecast`: what finance reads, and what it refuses to say."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from past import add_calls, days_ago

import router
from router.cli import cli
from router.spend.ledger import Ledger

POLICY = """
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 2}}
  - {id: large, call: fake/large, price: {input: 10, output: 20}}
rules: [{candidates: [small], strategy: fixed}]
budgets:
  - {name: teams, scope: {team: "*"}, limit_usd: 100000, window: month}
  - {name: runs, scope: {run_id: "*"}, limit_usd: 2, window: month}
  - {name: hourly, limit_usd: 2, window: hour}
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "p.yaml").write_text(POLICY)
    with closing(Ledger(tmp_path / "state" / "ledger.sqlite3")) as ledger:
        add_calls(ledger, ({"at": days_ago(day, hour=0.5), "usd": 2.0 + day % 3, "team": "search",
                            "input_tokens": 1_000_000, "output_tokens": 500_000} for day in range(40)))  # fmt: skip
        add_calls(ledger, ({"at": days_ago(day, hour=0.5), "usd": 1.0, "team": "new"} for day in range(5)))
    return tmp_path / "state"


def run(state: Path, *arguments: str) -> Result:
    policy = ("--policy", str(state.parent / "p.yaml"))
    return CliRunner().invoke(cli, ["spend", "forecast", "--state", str(state), *policy, *arguments])


def test_each_scope_gets_its_intervals_or_the_reason_why_not(state: Path) -> None:
    told = json.loads(run(state, "--by", "team", "--days", "30", "--json").stdout)
    search, new = told["scopes"]
    assert search["scope"] == {"team": "search"} and new["scope"] == {"team": "new"}
    assert search["ahead"]["low"] < 90 < search["ahead"]["high"]
    assert len(search["days"]) == 31
    assert new["ahead"] is None and new["caution"].startswith("4 whole days are too few")


def test_assumptions_are_said_and_change_what_is_to_come(state: Path) -> None:
    plain, assumed = (
        json.loads(run(state, "--json", *more).stdout)
        for more in ((), ("--scenario", "users +30%", "--replace", "small=large"))
    )
    ratio = assumed["scopes"][0]["ahead"]["usd"] / plain["scopes"][0]["ahead"]["usd"]
    assert ratio > 1.3 * 5
    assert assumed["assumed"][0] == "users +30%"
    assert assumed["assumed"][1].startswith("large in place of small: x ")


def test_names_that_look_like_markup_are_shown_as_they_are(state: Path) -> None:
    with closing(Ledger(state / "ledger.sqlite3")) as ledger:
        add_calls(ledger, [{"at": days_ago(1), "usd": 9.0, "team": "[/b]", "customer": "[/i]"}])
    assert "[/b]" in run(state, "--by", "team").stdout
    units = ("spend", "units", "--state", str(state))
    assert "[/b]" in CliRunner().invoke(cli, [*units, "--by", "team"]).stdout
    assert "[/i]" in CliRunner().invoke(cli, [*units, "--margins"]).stdout


def test_budgets_say_why_nobody_knows_when_they_are_gone(state: Path) -> None:
    told = run(state).stdout
    assert "budget runs: not known when it is gone: no sums by the hour are kept of its scope" in told
    assert "budget hourly: not known when it is gone: only windows of a week or a month are foreseen" in told


def test_a_budgets_account_has_a_chance_to_be_gone_before_its_window_ends(state: Path) -> None:
    with router.Router(state.parent / "p.yaml", state):
        pass  # it books on the accounts what their windows have seen
    told = {row["scope"]: row for row in json.loads(run(state, "--json").stdout)["budgets"] if row["left_usd"]}
    assert told["team=search"]["chance"] == 0.0 and told["team=search"]["half"] is None
    assert told["team=new"]["why"] == "fewer than 14 whole days of history"
    policy = state.parent / "p.yaml"
    policy.write_text(policy.read_text().replace("limit_usd: 100000", "limit_usd: 0.5"))
    assert "gone before in 100% of the futures" in run(state).stdout


def test_too_little_history_ends_with_2_and_wrong_options_with_an_error(tmp_path: Path, state: Path) -> None:
    with closing(Ledger(tmp_path / "other" / "ledger.sqlite3")) as ledger:
        add_calls(ledger, [{"at": days_ago(3), "usd": 1.0}])
    assert run(state, "--state", str(tmp_path / "other")).exit_code == 2
    for wrong in (("--by", "cats"), ("--scenario", "more"), ("--replace", "small=tiny"), ("--tz", "Mars/Base")):
        assert run(state, *wrong).exit_code == 2 and "Invalid value" in run(state, *wrong).output
