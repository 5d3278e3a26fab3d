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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param([], "give one of TEXT, --id ID, --reproduce ID", id="nothing"),
        pytest.param(["hello", "--id", "x"], "give one of TEXT, --id ID, --reproduce ID", id="two things"),
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
