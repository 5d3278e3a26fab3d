"""`clearbar explain`: tables for people, JSON for programs, and a past decision made again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router import FakeTransport, Router
from router.cli import main

POLICY = """\
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 2, cached_input: 0.1}}
  - {id: large, call: fake/large, price: {input: 5, output: 9}}
tasks: {qa: {bar: 0.9}}
data: {store_text: full}
rules:
  - {name: tagged, when: {tags: {kind: odd}}, candidates: [large], strategy: fixed}
  - {name: proven, when: {task: qa}, candidates: [small], fallback: [large]}
  - {name: all, candidates: [small, large], strategy: fixed, cache: exact}
"""
HELLO = [{"role": "user", "content": "hello there"}]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `clearbar explain` in a folder with a policy; code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("CLEARBAR_POLICY", "p.yaml")
    Path("p.yaml").write_text(POLICY, encoding="utf-8")

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["clearbar", "explain", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return (ended.value.code, *capsys.readouterr())

    return command


def served(**options: Any) -> str:
    """Answers one request; its id."""
    with Router("p.yaml", transport=FakeTransport({"small": "four"})) as router:
        done = router.complete(HELLO, **options)
    return str(done.id)


def test_a_new_request_is_shown_within_a_hundred_columns(run: Run) -> None:
    code, told, _ = run("hello there", "--task", "qa")
    assert code == 0
    assert max(map(len, told.splitlines())) <= 100
    for part in ("task qa (by label)", "proven", "bar 0.9", "no evidence for task qa", "stands", "expected USD"):
        assert part in told


def test_tags_lead_to_their_rule(run: Run) -> None:
    assert "tagged" in run("hello", "--tag", "kind=odd")[1]
    code, _, told = run("hello", "--tag", "odd")
    assert code == 3
    assert "'odd' is no NAME=VALUE" in told


def test_a_past_request_shows_what_was_expected_and_what_was_billed(run: Run) -> None:
    request_id = served(task="qa")
    code, told, _ = run("--id", request_id)
    assert code == 0
    assert request_id in told
    assert "the answer of large stands; billed" in told
    shown = json.loads(run("--id", request_id, "--json")[1])
    (call,) = shown["attempts"]
    assert (call["model"], shown["model_served"], shown["cost_usd"]) == ("large", "large", call["cost_usd"])
    assert shown["decision"]["id"] == request_id


def test_an_answer_out_of_the_cache_says_so(run: Run) -> None:
    served(), (again := served())
    assert "out of the cache, billed 0 USD" in run("--id", again)[1]
    assert run("--reproduce", again)[0] == 2


@pytest.mark.parametrize(
    "options",
    [
        {"task": "qa"},
        {"team": "a", "tags": {"kind": "odd"}},
        {"model": "small"},
        {"max_cost_usd": "0.5", "max_tokens": 20, "extra_body": {"n": 2}},
        {"tools": [{"type": "function"}], "run_id": "r"},
    ],
)
def test_the_same_decision_comes_out_again(run: Run, options: dict[str, object]) -> None:
    request_id = served(**options)
    assert run("--reproduce", request_id)[:2] == (0, f"{request_id}: the same decision\n")


def test_another_policy_or_no_text_is_no_reproduction(run: Run) -> None:
    request_id = served(task="qa")
    Path("other.yaml").write_text(POLICY.replace("bar: 0.9", "bar: 0.8"), encoding="utf-8")
    code, told, _ = run("--reproduce", request_id, "--policy", "other.yaml")
    assert code == 2
    assert "it was decided under version" in told
    Path("state/texts.sqlite3").unlink()
    code, told, _ = run("--reproduce", request_id, "--json")
    assert code == 2
    assert json.loads(told)["is_same"] is None
    assert "its text is not stored" in told


def test_under_a_policy_that_has_changed_the_text_of_then_decides_again(run: Run) -> None:
    request_id = served(task="qa")
    Path("p.yaml").write_text(POLICY.replace("bar: 0.9", "bar: 0.8"), encoding="utf-8")
    assert run("--reproduce", request_id)[:2] == (0, f"{request_id}: the same decision\n")
    Path("evidence").mkdir()
    evidence = {"version": 1, "task": "t", "model": "small", "model_version": None, "run_id": "r", "suite_sha256": "0",
                "n": 50, "mean": 0.9, "lower": 0.8, "confidence": 0.95, "metric": "m", "scorer": "exact",
                "created": "2026-01-01T00:00:00Z", "expires": None}  # fmt: skip
    Path("evidence/t--small.json").write_text(json.dumps(evidence), encoding="utf-8")
    code, told, _ = run("--reproduce", request_id)
    assert code == 2 and "it was decided under version" in told  # that evidence was not there


def test_another_decision_by_the_same_policy_is_told_line_by_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    request_id = served(task="qa")
    monkeypatch.setattr("router.offers.TYPICAL_OUTPUT_TOKENS", 512)  # as another version of the code might have it
    code, told, _ = run("--reproduce", request_id)
    assert code == 1
    assert "small, expected_cost_usd:" in told


def test_what_is_not_written_down_is_named_where_the_decision_differs(run: Run) -> None:
    request_id = served(max_cost_usd="0.5", max_tokens=20, tools=[{"type": "function", "text": "long " * 500}])
    code, told, _ = run("--reproduce", request_id)
    assert code == 2
    assert "worst_cost_usd" in told
    assert "of tools only their presence is recorded" in told


WAY = POLICY.replace(
    "rules:",
    """\
budgets: [{name: teams, scope: {team: "*"}, limit_usd: 10, window: day, at: {90%: downgrade}}]
rules:
  - {name: at home, when: {findings: pii}, candidates: [small], strategy: fixed}
  - {name: night, when: {time: {hours: 22:00-06:00}}, candidates: [small], strategy: fixed}
  - {name: tight, when: {budget: {name: teams, used: ">80%"}}, candidates: [small], strategy: fixed}
  - {name: with tools, when: {tools: true}, candidates: [large], strategy: fixed}""",
)


def test_the_rules_that_were_passed_are_told_with_what_did_not_hold(run: Run) -> None:
    Path("p.yaml").write_text(WAY, encoding="utf-8")
    code, told, _ = run("hello", "--at", "2026-11-20T14:05+00:00", "--tag", "team=a")
    assert code == 0
    for line in (
        "rule 'at home': no, no findings",
        "rule 'night': no, it is fri 14:05, outside 22:00-24:00 00:00-06:00 UTC",
        "rule 'tight': no, the budget teams is used to 0%, not >80%",
        "rule 'with tools': no, it offers no tools",
        "rule 'tagged': no, no kind; it wants odd",
        "rule 'all': yes, it has no conditions",
    ):
        assert line in told.splitlines()
    way = json.loads(run("hello", "--json")[1])["way"]
    assert (len(way["passed"]), way["met"]["rule"], way["met"]["place"]) == (6, "all", "p.yaml:15")


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        pytest.param(["--at", "2026-11-20T23:05+00:00"], "night", id="at night"),
        pytest.param(["--used", "teams=85%", "--tag", "team=a"], "tight", id="short of money"),
        pytest.param(["--tools"], "with tools", id="with tools"),
    ],
)
def test_how_things_stand_can_be_said(run: Run, arguments: list[str], rule: str) -> None:
    Path("p.yaml").write_text(WAY, encoding="utf-8")
    noon = [] if "--at" in arguments else ["--at", "2026-11-20T12:00+00:00"]
    decision = json.loads(run("hello", *noon, *arguments, "--json")[1])
    assert (decision["rule"], decision["way"]["met"]["rule"]) == (rule, rule)


def test_a_spent_budget_asks_for_cheaper_routes_here_too(run: Run) -> None:
    Path("p.yaml").write_text(WAY, encoding="utf-8")
    noon = ["--at", "2026-11-20T12:00+00:00", "--tag", "team=a", "--json"]
    assert json.loads(run("hello", *noon, "--used", "teams=95%")[1])["squeezed"] == "teams at 95%"
    assert json.loads(run("hello", *noon)[1])["squeezed"] is None


@pytest.mark.parametrize("is_body", [True, False])
def test_messages_come_out_of_a_file(run: Run, is_body: bool) -> None:
    Path("p.yaml").write_text(WAY, encoding="utf-8")
    messages = [{"role": "user", "content": "write to joe@example.org"}]
    text = {"messages": messages, "model": "auto", "stream": True, "max_tokens": 5} if is_body else messages
    Path("m.json").write_text(json.dumps(text), encoding="utf-8")
    decision = json.loads(run("--messages", "m.json", "--json")[1])
    assert (decision["rule"], decision["way"]["met"]["why"]) == ("at home", "found: email")


def test_a_pinned_model_meets_no_rule(run: Run) -> None:
    assert json.loads(run("hello", "--model", "small", "--json")[1])["way"] is None


def test_of_many_rules_twenty_are_printed(run: Run) -> None:
    many = "".join(f"  - {{when: {{task: t{i}}}, candidates: [small], strategy: fixed}}\n" for i in range(50))
    Path("p.yaml").write_text(POLICY.replace("rules:\n", f"rules:\n{many}"), encoding="utf-8")
    told = run("hello")[1]
    assert told.count("': no, ") == 20 and "32 more rules: no; --json has all" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["hi", "--at", "noon"], "'noon' must be a day such as", id="no moment"),
        pytest.param(["hi", "--used", "team=5%"], "did you mean 'teams'?", id="no budget"),
        pytest.param(["hi", "--used", "teams=5"], "must be a share of the limit", id="no share"),
        pytest.param(["--messages", "p.yaml"], "not readable as JSON", id="no JSON"),
        pytest.param(["--messages", "n.json"], "must be a JSON list of messages", id="no messages"),
        pytest.param(["--messages", "e.json"], "must be a dict with a 'role'", id="messages without roles"),
        pytest.param(["--messages", "k.json"], "bananas", id="a key that is none"),
    ],
)
def test_what_cannot_be_decided_about_ends_with_three(run: Run, arguments: list[str], told: str) -> None:
    Path("p.yaml").write_text(WAY, encoding="utf-8")
    Path("n.json").write_text("3", encoding="utf-8")
    Path("e.json").write_text("[1]", encoding="utf-8")
    Path("k.json").write_text('{"messages": [{"role": "user"}], "team": {"bananas": 1}}', encoding="utf-8")
    code, out, err = run(*arguments)
    assert (code, out) == (3, "")
    assert told in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param([], "give one of TEXT, --messages FILE, --id ID, --reproduce ID", id="nothing"),
        pytest.param(
            ["hello", "--id", "x"], "give one of TEXT, --messages FILE, --id ID, --reproduce ID", id="two things"
        ),
        pytest.param(["--id", "x", "--task", "qa"], "belong to TEXT", id="a past request has its own task"),
        pytest.param(["--id", "x"], "no ledger here yet", id="no ledger"),
        pytest.param(["--reproduce", "x"], "no ledger here yet", id="no ledger to reproduce from"),
    ],
)
def test_mistakes_end_with_three(run: Run, arguments: list[str], told: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (3, "")
    assert told in err


def test_an_unknown_id_ends_with_three(run: Run) -> None:
    served()
    for option in ("--id", "--reproduce"):
        code, _, told = run(option, "cb-no")
        assert code == 3
        assert "no request has the id 'cb-no'" in told
