"""Conditions as a service meets them: what was seen is written down, explained, and decided upon again."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import router
from router import FakeTransport
from router.reproduce import reproduce

POLICY = """\
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 1}, max_output_tokens: 10}
  - {id: large, call: fake/large, price: {input: 10000, output: 10000}, max_output_tokens: 10}
budgets: [{name: teams, scope: {team: '*'}, limit_usd: 1}]
rules:
  - {name: thrift, when: {budget: {name: teams, used: '>50%'}}, candidates: small, strategy: fixed, cache: exact}
  - {name: german, when: {language: de}, candidates: small, strategy: fixed}
  - {name: rest, candidates: large, strategy: fixed, cache: exact}
data: {store_text: redacted}
"""
HI = [{"role": "user", "content": "hello"}]


def test_a_budget_that_is_half_used_changes_the_rule_and_the_cache_does_not_hide_it(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY, encoding="utf-8")
    transport = FakeTransport(default=" ".join(["word"] * 60))
    with router.Router(tmp_path / "p.yaml", tmp_path / "state", transport) as serving:
        first = serving.complete(HI, team="a")
        second = serving.complete(HI, team="a")
        third = serving.complete(HI, team="a")
        other = serving.complete(HI, team="b")
    assert (first.decision.rule, first.cost_usd) == ("rest", Decimal("0.61"))
    # The answer under the other rule lies in the cache, and stays there.
    assert (second.decision.rule, second.cache, second.model) == ("thrift", "miss", "small")
    assert (third.cache, third.model) == ("exact", "small")
    assert other.decision.rule == "rest"


def test_a_decision_says_what_its_rules_saw_and_comes_out_the_same_again(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY, encoding="utf-8")
    with router.Router(tmp_path / "p.yaml", tmp_path / "state", FakeTransport()) as serving:
        done = serving.complete([{"role": "user", "content": "Wie wird das Wetter morgen?"}], team="a")
        assert "used of budgets: teams 0%; language: de" in done.decision.explain()
        serving.complete([{"role": "user", "content": "Wie wird das Wetter bei ann@example.com?"}], team="a")
        row = serving.ledger.request(done.id)
        assert row is not None
        assert json.loads(row["decision"])["facts"]["asked"] == {"used": {"teams": 0.0}, "language": "de"}
        again = reproduce(done.id, serving.ledger, tmp_path / "state", tmp_path / "p.yaml")
    assert again.is_same, again
