"""`clearbar spend reconcile` with a provider's files and with anybody's."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import router

POLICY = """
version: 1
models: [{id: small, call: fake/small, price: {input: 1000, output: 4000}}]
rules: [{candidates: small, strategy: fixed}]
"""


@pytest.fixture
def run(clearbar: Callable[..., Any]) -> Any:
    Path("policy.yaml").write_text(POLICY, encoding="utf-8")
    with router.Router("policy.yaml", None, router.FakeTransport({})) as one:
        for _ in range(4):
            one.complete([{"role": "user", "content": "four words are here"}])
        (sums,) = one.ledger.rows(
            "SELECT SUM(input_tokens) AS i, SUM(output_tokens) AS o, MIN(at_us) AS at FROM attempts"
        )
    Path("map.yaml").write_text(
        "providers: [fake]\nday: day\nmodel: model\nusd: cost\ninput_tokens: in\noutput_tokens: out\n", encoding="utf-8"
    )
    day = datetime.fromtimestamp(sums["at"] / 1e6, UTC).date()
    bill = (sums["i"] * 2 + sums["o"] * 8) / 1000  # twice as many tokens as the ledger has
    Path("bill.csv").write_text(
        f"day,model,cost,in,out\n{day},small-20260101,{bill:.6f},{2 * sums['i']},{2 * sums['o']}\n", encoding="utf-8"
    )
    return partial(clearbar, "spend", "reconcile")


@pytest.mark.skipif(time.gmtime().tm_hour == 23 and time.gmtime().tm_min > 57, reason="a day may end in between")
def test_a_bill_is_compared_and_a_low_capture_ends_with_one(run: Any) -> None:
    told = run("bill.csv", "--shape", "generic", "--mapping", "map.yaml")
    assert "unlogged" in told
    assert "the ledger has 50.00 % of the provider's tokens" in told
    said = run("bill.csv", "--shape", "generic", "--mapping", "map.yaml", "--json")
    assert said["captured_tokens"] == 0.5
    run("bill.csv", "--shape", "generic", "--mapping", "map.yaml", "--min-capture", "0.99", code=1)


def test_mistakes_are_named(run: Any) -> None:
    assert "needs --mapping" in run("bill.csv", "--shape", "generic", code=3)
    assert "look at --shape" in run("bill.csv", "--shape", "openai", code=3)
    Path("map.yaml").write_text("day: day\n", encoding="utf-8")
    assert "must list `providers`" in run("bill.csv", "--shape", "generic", "--mapping", "map.yaml", code=3)
