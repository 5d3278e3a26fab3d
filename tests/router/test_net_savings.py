"""Savings that add up, lever by lever, and that nobody is told without what is known of quality."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from past import add_calls, days_ago

import router
from router.cli import cli
from router.net_savings import NetSavings, net_savings
from router.policy import load_policy
from router.spend.ledger import Ledger
from router.spend.prices import Price

POLICY = """
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 2, cached_input: 0.1}}
  - {id: large, call: fake/large, price: {input: 10, output: 20, cached_input: 1}}
rules: [{candidates: [small], strategy: fixed, cache: exact}]
"""
SMALL = Price(input=Decimal(1), output=Decimal(2), cached_input=Decimal("0.1"))
MILLION = 1_000_000


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "p.yaml").write_text(POLICY)
    return tmp_path


@contextmanager
def opened(here: Path) -> Iterator[Ledger]:
    ledger = Ledger(here / "state" / "ledger.sqlite3")
    try:
        yield ledger
    finally:
        ledger.close()


def decided(*, strategy: str = "single", served: float | None = 0.9, best: float | None = 0.95, **more: Any) -> str:
    candidates = [{"model": "small", "quality": served, "quality_low": 0.85}, {"model": "large", "quality": best}]
    return json.dumps({"strategy": strategy, "plan": ["small"], "candidates": candidates, "facts": {}, **more})


def calls(ledger: Ledger, count: int, usd: float, **columns: Any) -> list[str]:
    ledger.keep_prices([SMALL])
    return add_calls(ledger, ({"at": days_ago(1), "usd": usd, "price_id": SMALL.id, "input_tokens": MILLION,
                               "output_tokens": MILLION, "strategy": "single", "decision": decided(), **columns}
                              for _ in range(count)))  # fmt: skip


def saved(here: Path, **options: Any) -> NetSavings:
    with opened(here) as ledger:
        return net_savings(ledger, load_policy(here / "p.yaml"), **options)


def test_each_lever_gets_what_it_saved_and_together_they_are_the_difference(here: Path) -> None:
    with opened(here) as ledger:
        calls(ledger, 20, 3.0)  # by routing: 30 - 3
        calls(ledger, 10, 2.1, cached_input_tokens=MILLION)  # and 0.9 by the provider's prompt cache
        calls(ledger, 5, 4.0, cache_write_tokens=MILLION, strategy="cascade",
              decision=decided(strategy="cascade"))  # writing to it is no saving: -1  # fmt: skip
    found = saved(here)
    assert (found.requests, found.baselines) == (35, {"large": 35})
    assert found.baseline_usd == pytest.approx(35 * 30)
    assert found.paid_usd == pytest.approx(20 * 3 + 10 * 2.1 + 5 * 4)
    lines = {name: one.value for name, one in found.lines.items()}
    assert lines == pytest.approx({"routing": 30 * 27, "cascade": 5 * 27, "batch": 0, "prompt caching": 10 * 0.9 - 5,
                                   "cache": 0})  # fmt: skip
    assert sum(one or 0 for one in lines.values()) == pytest.approx(found.baseline_usd - found.paid_usd)
    assert found.net.low is not None and found.net.high is not None
    assert found.net.low < (found.net.value or 0) < found.net.high
    assert found.share.value == pytest.approx((found.net.value or 0) / found.baseline_usd)


def test_a_batch_saves_the_difference_of_its_tier(here: Path) -> None:
    with opened(here) as ledger:
        calls(ledger, 1, 3.0)
        half = Price(input=Decimal(1), output=Decimal(2), variants=router_batch())
        ledger.keep_prices([half])
        calls(ledger, 12, 1.5, service_tier="batch", price_id=half.id)
    found = saved(here)
    assert found.lines["batch"].value == pytest.approx(12 * 1.5)
    assert found.lines["routing"].value == pytest.approx(13 * 27)


def router_batch() -> tuple[Any, ...]:
    from router.spend.prices.price import Variant
    from router.spend.prices.rates import Rates

    return (Variant(tier="batch", rates=Rates(input=Decimal("0.5"), output=Decimal(1))),)


def test_overhead_is_taken_off_and_is_no_traffic(here: Path) -> None:
    with opened(here) as ledger:
        calls(ledger, 12, 3.0)
        calls(ledger, 4, 3.0, workflow="eval-judge")
        calls(ledger, 1, 2.0, feature="shadow")
    found = saved(here, overhead=({"workflow": "eval-judge"}, {"feature": "shadow"}))
    assert found.requests == 12
    assert found.overhead_usd == pytest.approx({"workflow=eval-judge": 12.0, "feature=shadow": 2.0})
    assert found.net.value == pytest.approx(12 * 27 - 14)


def test_a_hit_saves_the_call_and_its_routing_is_still_routing(here: Path) -> None:
    fake = router.FakeTransport({"small": "a b c", "large": "a b c"})
    with router.Router(here / "p.yaml", here / "state", fake) as one:
        for _ in range(3):
            done = one.complete([{"role": "user", "content": "hello"}])
    assert done.cache == "exact"
    found = saved(here, baseline="large")
    call = found.paid_usd  # of the one that was made
    assert found.lines["cache"].value == pytest.approx(2 * call)
    assert found.lines["routing"].value == pytest.approx(3 * 9 * call)
    assert found.baseline_usd == pytest.approx(3 * 10 * call)


def test_quality_is_what_evidence_expects_or_feedback_saw_or_not_known(here: Path) -> None:
    with opened(here) as ledger:
        ids = calls(ledger, 40, 3.0)
    quality = saved(here).quality
    assert quality is not None and quality.source == "evidence"
    assert (quality.delta, quality.low) == pytest.approx((-0.05, -0.10)) and quality.high == pytest.approx(-0.05)
    with opened(here) as ledger:
        calls(ledger, 10, 3.0, decision=decided(served=None, best=None, versus="large"))
    assert saved(here).quality is None
    half = {"candidates": [{"model": name, "quality": 0.9, "propensity": 0.5} for name in ("small", "large")]}
    explored = json.dumps({**json.loads(decided()), **half, "facts": {"at": "now"}, "propensity": 0.5})
    other = json.dumps({**json.loads(explored), "plan": ["large"]})
    with opened(here) as ledger:
        ids = [*calls(ledger, 100, 3.0, decision=explored),
               *calls(ledger, 100, 3.0, model="large", model_served="large", decision=other)]  # fmt: skip
        for place, id in enumerate(ids):
            ledger.append_feedback(id, 0.5 if place < 100 else 0.9)
    seen = saved(here, baseline="large").quality
    assert seen is not None and seen.source == "feedback"
    assert seen.delta == pytest.approx(-0.2, abs=0.05) and seen.low < seen.delta < seen.high


def test_what_cannot_be_compared_is_counted(here: Path) -> None:
    with opened(here) as ledger:
        calls(ledger, 2, 3.0)
        calls(ledger, 3, 1.0, outcome="error")
        add_calls(ledger, [{"at": days_ago(1), "usd": None, "strategy": "single", "decision": decided()}])
    left = saved(here).left
    assert (left.failed, left.failed_usd, left.unpriced) == (3, 3.0, 1)


def run(here: Path, *arguments: str) -> Result:
    given = ["spend", "savings", "--state", str(here / "state"), "--policy", str(here / "p.yaml"), *arguments]
    return CliRunner().invoke(cli, given)


def test_the_command_refuses_a_saving_without_quality_and_shows_both(here: Path) -> None:
    with opened(here) as ledger:
        calls(ledger, 20, 3.0, decision=decided(served=None, best=None))
    done = run(here, "--baseline", "large")
    assert done.exit_code == 2 and "no saving is told" in done.stdout and "$" not in done.stdout
    assert "saved" not in json.loads(run(here, "--baseline", "large", "--json").stdout)
    with opened(here) as ledger:
        calls(ledger, 200, 3.0)
    done = run(here)
    assert done.exit_code == 0, done.output
    assert "quality against the baseline -0.0455" in done.stdout and "routing" in done.stdout
    assert run(here, "--baseline", "nosuch").exit_code == 2
