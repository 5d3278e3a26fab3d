"""A model's card: what its owner says, what was measured and suffices for which bar, what it costs, who uses it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from router.canaries import Canaries
from router.cli import main
from router.spend.ledger import Ledger
from tests.past import add_calls, days_ago

YESTERDAY = datetime.now(UTC) - timedelta(days=1)
POLICY = """\
version: 1
models:
  - id: small
    call: openai/small
    owner: search team
    status: approved
    sunset: 2126-01-01
    region: eu
    price: [{input: 1, output: 4}, {input: 0.50, output: 2, cached_input: 0.1, effective: 2026-03-05}, {input: 9, output: 9, effective: 2125-01-01}]
    card:
      use: |
        Short answers.
        In two languages.
      data: No health data.
      docs: https://example.com/card
  - {id: org/small, call: fake/other}
tasks: {qa: {bar: 0.8}, sum: {bar: 0.95}}
rules:
  - {name: answers, when: {task: qa}, candidates: [small]}
  - {name: sums, when: {task: sum}, candidates: [small], fallback: [org/small]}
  - {name: the rest, candidates: [org/small], bar: 0, canary: {model: small, percent: 5%}}
"""  # noqa: E501
ROW = {
    "version": 1, "model": "small", "model_version": None, "run_id": "r", "suite_sha256": "", "n": 300, "mean": 0.92,
    "lower": 0.89, "confidence": 0.95, "metric": "accuracy", "scorer": "exact", "price": None,
    "created": "2026-01-01T00:00:00Z", "expires": "2126-01-01T00:00:00Z",
}  # fmt: skip
Run = Callable[..., Any]


@pytest.fixture
def clearbar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    (tmp_path / "p.yaml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "evidence").mkdir()
    for task in ("qa", "sum"):
        (tmp_path / "evidence" / f"{task}--small.json").write_text(json.dumps({**ROW, "task": task}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLEARBAR_POLICY", "p.yaml")
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: str, code: int = 0) -> Any:
        monkeypatch.setattr(sys, "argv", ["clearbar", "models", "card", *arguments, "--state", "state"])
        with pytest.raises(SystemExit) as ended:
            main()
        told, complaints = capsys.readouterr()
        assert ended.value.code == code, told + complaints
        return json.loads(told) if "--json" in arguments and not code else told + complaints

    return run


def test_a_card_says_what_its_owner_wrote_and_what_the_policy_knows(clearbar: Run) -> None:
    card = clearbar("small", "--json")
    assert (card["owner"], card["status"], card["sunset"], card["barred"]) == (
        "search team", "approved", "2126-01-01", None,
    )  # fmt: skip
    assert card["says"] == {
        "use": "Short answers.\nIn two languages.", "data": "No health data.", "docs": "https://example.com/card",
    }  # fmt: skip
    assert card["deployments"] == [{"call": "openai/small", "region": "eu", "is_local": False}]
    assert card["price"] == {"input": "0.5", "output": "2", "cached_input": "0.1"}
    assert [one["effective"] for one in card["prices"]] == [None, "2026-03-05", "2125-01-01"]
    assert card["rules"] == ["answers: candidate", "sums: candidate", "the rest: canary"]
    assert card["usage"] is None


def test_evidence_says_for_which_bars_it_suffices(clearbar: Run) -> None:
    qa, sums = clearbar("small", "--json")["measured"]
    assert (qa["n"], qa["lower"], qa["expires"], qa["carries"]) == (300, 0.89, "2126-01-01", ["answers: bar 0.8"])
    assert qa["lacks"] == []
    assert sums["carries"] == []
    assert sums["lacks"][0].startswith("sums: bar 0.95: below bar 0.95: mean 0.920 on n=300")


def test_its_use_is_told_by_team_and_workflow_with_errors_and_latency(tmp_path: Path, clearbar: Run) -> None:
    with closing(Ledger(tmp_path / "state" / "ledger.sqlite3")) as ledger:
        add_calls(ledger, [
            {"at": days_ago(1), "usd": 0.5, "team": "search", "workflow": "w", "latency_s": 1.0},
            {"at": days_ago(2), "usd": 0.25, "team": "search", "workflow": "w", "latency_s": 3.0},
            {"at": days_ago(3), "usd": None, "outcome": "error"},
            {"at": days_ago(50), "usd": 9.0, "team": "old"},
            {"at": days_ago(1), "usd": 9.0, "model": "org/small"},
        ])  # fmt: skip
        for rule in ("the rest/small", "the rest/org/small"):
            Canaries(ledger).heard(rule, "errors", 1.0, 0.95)
    usage = clearbar("small", "--json")["usage"]
    assert (usage["calls"], usage["cost_usd"], usage["failed"], usage["unpriced"]) == (3, "0.75", 1, 1)
    assert usage["error_rate"] == pytest.approx(1 / 3)
    assert usage["p95_s"] == pytest.approx(3.0, rel=0.011)
    assert [(one["team"], one["workflow"], one["calls"]) for one in usage["users"]] == [
        ("search", "w", 2), (None, None, 1),
    ]  # fmt: skip
    assert [one["name"] for one in usage["trials"]] == ["the rest/small"]
    assert clearbar("small", "--json", "--last", "60d")["usage"]["calls"] == 4
    text = clearbar("small")
    for told in ("search team", "approved, until 2126-01-01", "In two languages.", "0.890 at 0.95", "33.3% of its",
                 "canary the rest/small: 1 requests, 0.0% without its answer; goes on"):  # fmt: skip
        assert told in text


def test_markdown_holds_the_same_and_no_sign_of_its_own(tmp_path: Path, clearbar: Run) -> None:
    with closing(Ledger(tmp_path / "state" / "ledger.sqlite3")) as ledger:
        add_calls(ledger, [{"at": days_ago(1), "usd": 0.5, "team": "a|b\n# <img>\x1b[31m"}])
    text = clearbar("small", "--markdown")
    assert "Short answers. In two languages." in text
    assert "a\\|b \\# &lt;img&gt;\\[31m" in text
    assert "\x1b" not in text
    assert "\x1b" not in clearbar("small")


def test_a_model_without_anything_has_a_card_too(clearbar: Run) -> None:
    text = clearbar("org/small")
    assert "nobody is named" in text
    assert "evidence: none" in text
    assert "no ledger is here yet" in text
    assert "price today" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["smal"], "lists no model 'smal'; did you mean 'small'?"), (["small", "--json", "--markdown"], "give one of"),
     (["small", "--policy", "none.yaml"], "none.yaml: cannot be read")],
)  # fmt: skip
def test_a_mistake_is_told(clearbar: Run, arguments: list[str], said: str) -> None:
    assert said in clearbar(*arguments, code=3).replace("\n", " ")


def test_a_banned_model_says_so(tmp_path: Path, clearbar: Run) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.replace("status: approved", "status: banned"))
    assert clearbar("small", "--json")["barred"] == "banned; owner: search team"
