"""How much of the spend carries the tags that it must."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from router._request import chat_request
from router.cli.spend import spend
from router.policy import check, load_policy
from router.spend.ledger import Ledger
from router.types import Attempt

POLICY = """
version: 1
required_tags: [team, plan]
models: [{id: m, call: fake/m, price: {input: 1, output: 1}}]
rules: [{candidates: [m], strategy: fixed}]
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Of 4 USD, 3 carry a team and 1 both tags; a request without any call has none."""
    (tmp_path / "p.yaml").write_text(POLICY, encoding="utf-8")
    with closing(Ledger(tmp_path / "ledger.sqlite3")) as ledger:
        for team, tags, cost in (("a", {"plan": "gold"}, 1), ("a", {}, 2), (None, {}, 1), (None, {}, None)):
            request = chat_request([{"role": "user", "content": "hi"}], team=team, tags=tags)
            call = Attempt(
                model="m", call="fake/m", outcome="ok", usage=None, latency_s=1.0,
                cost_usd=None if cost is None else Decimal(cost),
            )  # fmt: skip
            calls = [] if cost is None else [call]
            ledger.append_request(
                request, None, outcome="ok", attempts=calls, unwritten=len(calls), cost_usd=call.cost_usd,
                latency_s=1.0, cache="miss" if calls else "exact",
            )  # fmt: skip
    return tmp_path


def test_each_required_tag_and_all_together_have_their_share(state: Path) -> None:
    arguments = ["coverage", "--policy", str(state / "p.yaml"), "--state", str(state)]
    told = json.loads(CliRunner().invoke(spend, [*arguments, "--json"]).stdout)
    assert [(row["tag"], row["of_spend"], row["of_requests"]) for row in told] == [
        ("team", 0.75, 0.5), ("plan", 0.25, 0.25), ("all of them", 0.25, 0.25),
    ]  # fmt: skip
    assert "75.0%" in CliRunner().invoke(spend, arguments).output


def test_it_can_hold_a_bar(state: Path) -> None:
    arguments = ["coverage", "--tags", "team", "--state", str(state), "--fail-under"]
    assert [CliRunner().invoke(spend, [*arguments, share]).exit_code for share in ("0.75", "0.8")] == [0, 1]


def test_a_policy_without_required_tags_is_told_what_to_write(state: Path) -> None:
    (state / "p.yaml").write_text(POLICY.replace("required_tags: [team, plan]", ""), encoding="utf-8")
    told = CliRunner().invoke(spend, ["coverage", "--policy", str(state / "p.yaml"), "--state", str(state)])
    assert told.exit_code == 2
    assert "give --tags" in told.output


def test_sums_that_were_deleted_are_made_again(state: Path) -> None:
    before = CliRunner().invoke(spend, ["--json", "--state", str(state)]).stdout
    assert CliRunner().invoke(spend, ["rebuild", "--state", str(state)]).exit_code == 0
    assert CliRunner().invoke(spend, ["--json", "--state", str(state)]).stdout == before


def test_required_tags_that_nothing_caps_are_warned_of(state: Path) -> None:
    budget = "budgets: [{scope: unallocated, limit_usd: 5, window: month}]\n"
    assert any("scope: unallocated" in finding.text for finding in check(load_policy(state / "p.yaml")))
    (state / "p.yaml").write_text(POLICY + budget, encoding="utf-8")
    assert check(load_policy(state / "p.yaml")) == []
