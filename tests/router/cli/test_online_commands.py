"""`clearbar alarms` and `clearbar policy value`: from a ledger to an exit code."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import router
from router.cli import main

ASKED = [{"role": "user", "content": "hello there"}]
MODELS = """
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 4}}
  - {id: large, call: fake/large, price: {input: 10, output: 40}}
tasks: {qa: {bar: 0.5}}
"""
SERVING = MODELS + "rules: [{candidates: [small, large], bar: 0.5, learning: {from_feedback: true, explore: SHARE}}]"
OTHER = MODELS + "rules: [{candidates: large, strategy: fixed}]"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "evidence"
    folder.mkdir()
    for model, mean in (("small", 0.7), ("large", 0.8)):
        row = {
            "version": 1, "task": "qa", "model": model, "model_version": None, "run_id": "e1", "suite_sha256": "0",
            "n": 400, "mean": mean, "lower": 0.6, "confidence": 0.95, "metric": "pass", "scorer": "exact",
            "price": None, "created": "2020-01-01T00:00:00Z", "expires": None,
        }  # fmt: skip
        (folder / f"qa--{model}.json").write_text(json.dumps(row), encoding="utf-8")
    Path("other.yaml").write_text(OTHER, encoding="utf-8")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["clearbar", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def serve() -> Iterator[Any]:
    """Serves requests of the task qa, scored as said for each model."""

    def go(n: int, share: float, chances: dict[str, float]) -> None:
        Path("policy.yaml").write_text(SERVING.replace("SHARE", str(share)), encoding="utf-8")
        draw = random.Random(0)  # the same scores in every run
        with router.Router("policy.yaml", None, router.FakeTransport({})) as one:
            for _ in range(n):
                done = one.complete(ASKED, task="qa", team="search")
                one.record_feedback(done.id, float(draw.random() < chances[done.model]))

    yield go


def test_another_policy_is_worth_what_its_model_earned_where_it_was_explored(
    serve: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(400, 0.5, {"small": 0.7, "large": 0.95})
    assert run(monkeypatch, "policy", "value", "other.yaml", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    found = told["value"]
    assert (told["requests"], told["unserved"], found["extrapolated"]) == (400, 0, 0.0)
    assert found["doubly_robust"]["mean"] == pytest.approx(0.95, abs=0.1)
    assert found["difference"]["low"] > 0
    assert found["cost_usd"] > found["recorded_cost_usd"]
    assert run(monkeypatch, "policy", "value", "other.yaml") == 0
    assert "doubly robust" in capsys.readouterr().out


def test_without_exploration_there_is_too_little_to_see(
    serve: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(80, 0.0, {"small": 0.7, "large": 0.95})
    assert run(monkeypatch, "policy", "value", "other.yaml") == 2
    out = capsys.readouterr().out
    assert "never seen (extrapolated) 100%" in out and "explore: 0.05" in out
    assert run(monkeypatch, "policy", "value", "policy.yaml") == 0


def test_a_policy_that_counts_tokens_needs_stored_text(
    serve: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(3, 0.0, {"small": 1.0, "large": 1.0})
    sized = OTHER.replace("rules: [{", "rules: [{when: {input_tokens: {max: 100}}, ")
    Path("sized.yaml").write_text(sized, encoding="utf-8")
    assert run(monkeypatch, "policy", "value", "sized.yaml") == 3
    assert "store_text: redacted" in capsys.readouterr().err


def test_stored_text_is_decided_by(
    serve: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SERVING", SERVING + "\ndata: {store_text: redacted}")
    serve(60, 0.0, {"small": 0.8, "large": 0.9})
    sized = MODELS + (
        "rules: [{when: {input_tokens: {min: 1000}}, candidates: large, strategy: fixed}, "
        "{candidates: small, strategy: fixed}]"
    )
    Path("sized.yaml").write_text(sized, encoding="utf-8")
    assert run(monkeypatch, "policy", "value", "sized.yaml", "--json") == 0
    assert json.loads(capsys.readouterr().out)["value"]["difference"]["mean"] == pytest.approx(0.0)


def test_a_policy_that_serves_nobody_says_so(
    serve: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(3, 0.0, {"small": 1.0, "large": 1.0})
    strict = MODELS + "rules: [{candidates: [small], bar: 0.95}]"
    Path("strict.yaml").write_text(strict, encoding="utf-8")
    assert run(monkeypatch, "policy", "value", "strict.yaml") == 2
    assert "3 that no model of this policy may serve" in capsys.readouterr().out


def test_an_alarm_is_listed_acknowledged_and_gone(
    serve: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(150, 0.0, {"small": 0.1, "large": 0.1})
    assert run(monkeypatch, "alarms", "list", "--json") == 1
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["task"], told["state"], told["promised"]) == ("qa", "ALARM", 0.5)
    assert told["e_value"] >= 20
    assert run(monkeypatch, "alarms", "ack", "qa", "--note", "model was changed") == 0
    assert run(monkeypatch, "alarms", "list") == 0
    assert run(monkeypatch, "alarms", "ack", "qa") == 3
    assert "no alarm; raised: none" in capsys.readouterr().err


def test_good_answers_raise_nothing(
    serve: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(50, 0.0, {"small": 0.9, "large": 0.9})
    assert run(monkeypatch, "alarms", "list") == 0
    assert "quiet" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [("alarms", "list"), ("alarms", "ack", "qa"), ("policy", "value", "other.yaml")])
def test_without_a_ledger_it_says_where_it_looked(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 3
    assert "no ledger here yet" in capsys.readouterr().err
