"""`clearbar cache` as its users see it: warm, explain, stats, audit, calibrate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alike import STREAM, Make, ask, learn, routers, rows
from click.testing import CliRunner, Result

from router.cli import cli
from router.embedding import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason="needs clearbar[embed]")

FAQ = [
    ("How do I pay?", "By card."),
    ("What is the price today?", "One dollar."),
    ("How do I pay?", "By card or cash."),
    ("What is my address?", "You are john@acme.example."),
]
WITH_FAQ = "{mode: on, max_error: 0.3, confidence: 0.8, sources: faq}"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    yield from routers(tmp_path)


def run(tmp_path: Path, *words: str, code: int = 0, policy: bool = False) -> Result:
    options = ["--policy", str(tmp_path / "policy0.yaml")] if policy else []
    state = [] if words[0] == "calibrate" else ["--state", str(tmp_path / "state")]
    done = CliRunner().invoke(cli, ["cache", *words, *options, *state])
    assert done.exit_code == code, done.output
    return done


def told(tmp_path: Path, *words: str, policy: bool = False) -> Any:
    return json.loads(run(tmp_path, *words, "--json", policy=policy).stdout)


def faq(tmp_path: Path, name: str = "faq.jsonl") -> str:
    path = tmp_path / name
    path.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in FAQ), encoding="utf-8")
    return str(path)


def test_a_warm_cache_serves_its_questions_and_offers_answers_to_those_like_them(make: Make, tmp_path: Path) -> None:
    one = make(WITH_FAQ)
    assert told(tmp_path, "warm", faq(tmp_path), "--task", "cheap", policy=True) == {"stored": 4, "alike": 2}
    done = one.complete(ask("How do I pay?"), task="cheap")
    assert (done.text, done.cache, done.model, done.cost_usd) == ("By card or cash.", "exact", "source:faq", Decimal(0))
    assert one.complete(ask("What is the price today?"), task="cheap").text == "One dollar."
    assert one.complete(ask("What is my address?"), task="cheap").text == "You are john@acme.example."
    said = one.complete(ask("How can I pay?"), task="cheap").decision.semantic
    assert said is not None
    assert (said.outcome, said.similarity is None) == ("miss", False)  # an answer was proposed
    for other in ({"task": "dear"}, {"task": "cheap", "customer": "acme"}, {"task": "cheap", "temperature": 0}):
        assert one.complete(ask("How do I pay?"), **other).cache == "miss"  # type: ignore[arg-type]
    assert rows(tmp_path, "SELECT COUNT(*) <= 1 FROM labels") == [(1,)]  # the file gave none


def test_a_warm_cache_stands_for_requests_with_their_tags_system_prompt_and_parameters(
    make: Make, tmp_path: Path
) -> None:
    one = make(WITH_FAQ)
    run(tmp_path, "warm", faq(tmp_path), "--task", "cheap", "--tag", "customer=acme", "--system", "Be brief.",
        "--params", '{"temperature": 0}', "--ttl", "90d", policy=True)  # fmt: skip
    system = {"role": "system", "content": "Be brief."}
    done = one.complete(ask("How do I pay?", system), task="cheap", customer="acme", temperature=0)
    assert done.cache == "exact"
    assert rows(tmp_path, "SELECT MIN(expires_s - created_s) > 89 * 86400 FROM entries") == [(1,)]


def test_a_source_that_the_rule_does_not_list_is_refused(make: Make, tmp_path: Path) -> None:
    make(WITH_FAQ)
    done = run(tmp_path, "warm", faq(tmp_path, "other.jsonl"), "--task", "cheap", policy=True, code=1)
    assert "does not take answers of 'other'" in str(done.exception)
    assert rows(tmp_path, "SELECT COUNT(*) FROM entries") == [(0,)]


def test_answers_of_a_source_that_is_no_longer_listed_serve_nobody(make: Make, tmp_path: Path) -> None:
    make(WITH_FAQ)
    run(tmp_path, "warm", faq(tmp_path), "--task", "cheap", policy=True)
    one = make("{mode: on, max_error: 0.3, confidence: 0.8}")
    assert one.complete(ask("How do I pay?"), task="cheap").cache == "miss"


def test_explain_shows_neighbours_vetoes_score_and_threshold_and_no_text(make: Make, tmp_path: Path) -> None:
    one = make()
    done = learn(one, rounds=2)
    (before,) = rows(tmp_path, "SELECT (SELECT COUNT(*) FROM entries), (SELECT COUNT(*) FROM labels)")
    seen = told(tmp_path, "explain", "How do I get a replacement card, please?", "--task", "cheap", policy=True)
    assert seen["threshold"] > 0
    assert seen["labels"] == before[1]
    assert len(seen["nearest"]) == 16
    assert seen["nearest"][0]["request_id"] in {completion.id for completion in done}
    assert (seen["nearest"][0]["answer"], seen["nearest"][0]["text"]) == (1, None)
    vetoed = told(tmp_path, "explain", "How do I not order 2 replacement cards?", "--task", "cheap", policy=True)
    assert vetoed["reason"].startswith("veto: ")
    assert set(vetoed["nearest"][0]["vetoes"]) >= {"numbers", "negation"}
    assert (
        "veto numbers, negation"
        in run(tmp_path, "explain", "How do I not order 2 replacement cards?", "--task", "cheap", policy=True).output
    )
    refused = told(tmp_path, "explain", "What is the price?", "--task", "cheap", policy=True)
    assert (refused["outcome"], refused["nearest"]) == ("refused", [])
    run(tmp_path, "explain", "Hello", "--task", "exact", policy=True, code=1)
    assert rows(tmp_path, "SELECT (SELECT COUNT(*) FROM entries), (SELECT COUNT(*) FROM labels)") == [before]


def test_stats_and_audit_name_what_was_saved_and_what_was_wrong(make: Make, tmp_path: Path) -> None:
    one = make()
    done = learn(one, rounds=3)
    hits = [completion for completion in done if completion.cache == "semantic"]
    one.reject(hits[-1].id)
    (task,) = told(tmp_path, "stats")["tasks"]
    saves = sum(hit.decision.semantic.saves_usd for hit in hits if hit.decision.semantic)  # type: ignore[misc]
    assert (task["semantic"], task["rejected"], Decimal(task["saved_usd"])) == (len(hits), 1, saves)
    audited = [one for one in done if one.decision.semantic and one.decision.semantic.outcome == "verify"]
    assert task["audits"] == len(audited)
    assert Decimal(task["audits_cost_usd"]) == sum(one.cost_usd or 0 for one in audited)
    found = told(tmp_path, "audit")
    (rate,) = found["rates"]
    assert (rate["max_error"], rate["audits"]) == ("0.3", len(audited))
    assert rate["low"] <= (rate["wrong_of_hits"] or 0) <= rate["high"]
    first = found["wrong"][0]
    assert (first["kind"], first["request"]) == ("rejected hit", hits[-1].id)
    assert first["entry"] == hits[-1].decision.semantic.entry  # type: ignore[union-attr]
    shown = run(tmp_path, "audit", "--most", "2").output
    assert f"rejected hit: {hits[-1].id}" in shown
    assert not any(text in shown for text, _ in STREAM)
    assert "wrong / requests" in run(tmp_path, "stats").output


def test_shadow_says_what_it_would_have_saved(make: Make, tmp_path: Path) -> None:
    done = learn(make("{mode: shadow, max_error: 0.3, confidence: 0.8}"), rounds=2)
    would = [one for one in done if one.decision.semantic and one.decision.semantic.outcome == "hit"]
    (task,) = told(tmp_path, "stats")["tasks"]
    assert (task["would"], task["semantic"], Decimal(task["saved_usd"])) == (len(would), 0, Decimal(0))
    assert Decimal(task["would_save_usd"]) > 0


def test_calibrate_measures_labelled_pairs_and_certifies_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    pairs = [(a, b, True) for a, b in zip(["How do I pay?"] * 40, ["How can I pay?"] * 40, strict=True)]
    pairs += [("How do I pay 2 bills?", "How do I pay 3 bills?", False), ("Open it.", "Do not open it.", False)]
    path.write_text("".join(json.dumps(dict(zip("a b same".split(), row, strict=True))) + "\n" for row in pairs))
    found = told(tmp_path, "calibrate", "--pairs", str(path), "--max-error", "0.1")
    assert (found["pairs"], found["same"], found["vetoed_same"], found["vetoed_different"]) == (42, 40, 0, 2)
    assert found["vetoes"] == {"numbers": [0, 1], "negation": [0, 1]}
    assert (found["passed"], found["passed_different"]) == (40, 0)
    assert found["passed_different_upper"] == pytest.approx(1 - 0.05 ** (1 / 40))
    assert "certifies nothing" in run(tmp_path, "calibrate", "--pairs", str(path), "--max-error", "0.1").output
    path.write_text('{"a": "x", "b": "y", "same": "yes"}\n')
    assert "must hold true and false" in run(tmp_path, "calibrate", "--pairs", str(path), code=1).output
