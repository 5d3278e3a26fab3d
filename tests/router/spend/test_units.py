"""Unit costs: runs are what is drawn, failures are paid by successes, and outcomes may come late."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from past import add_calls

from router.cli import cli
from router.spend.ledger import Ledger
from router.spend.ratios import ratio
from router.spend.units import margins, units

AT = datetime(2026, 11, 2, 9, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.sqlite3")
    yield made
    made.close()


def call(run: str | None, usd: float | None, *, minutes: float = 0, **columns: Any) -> dict[str, Any]:
    return {"at": AT + timedelta(minutes=minutes), "usd": usd, "run_id": run, **columns}


def test_each_unit_divides_the_same_cost(ledger: Ledger) -> None:
    add_calls(ledger, [call("a", 0.3), call("a", 0.1, minutes=5), call("b", 0.2), call(None, 0.4)])
    found = {per: units(ledger.rows, per)[0] for per in ("token", "call", "action", "run")}
    assert {one.cost_usd for one in found.values()} == {Decimal(1)}
    assert {per: one.units for per, one in found.items()} == {"token": 440, "call": 4, "action": 4, "run": 3}
    assert found["run"].usd == pytest.approx(1 / 3) and found["run"].low is None  # three runs tell no interval


def test_what_failed_is_paid_by_what_succeeded_however_late(ledger: Ledger) -> None:
    add_calls(ledger, [call(f"r{n}", 1.0, workflow="support") for n in range(20)])
    add_calls(ledger, [call("other", 50.0, workflow="coder")])
    for n in range(10):
        ledger.append_outcome(f"r{n}", "resolved", 1.0, (AT + timedelta(days=3)).timestamp())
    ledger.append_outcome("r10", "resolved", 0.0, (AT + timedelta(days=3)).timestamp())
    ledger.append_outcome("nosuch", "resolved", 1.0)
    day_us = 86_400_000_000
    soon = int(AT.timestamp() * 1e6) + day_us
    (one,) = units(ledger.rows, "outcome:resolved", where={"workflow": "support"}, now_us=soon)
    assert (one.units, one.usd, one.without) == (10, 2.0, 9)
    assert one.wait_days == pytest.approx(3) and one.young == 9
    assert one.low is not None and one.high is not None and one.low < 2 < one.high
    (later,) = units(ledger.rows, "outcome:resolved", where={"workflow": "support"}, now_us=soon + 9 * day_us)
    assert later.young == 0
    assert units(ledger.rows, "outcome:none")[0].usd is None


def test_a_run_belongs_whole_to_where_and_when_it_began(ledger: Ledger) -> None:
    add_calls(ledger, [call("a", 1.0, team="x"), call("a", 2.0, minutes=60 * 24 * 40, team="x"),
                       call("b", 5.0, minutes=60 * 24 * 40, team="y")])  # fmt: skip
    until_us = int((AT + timedelta(days=28)).timestamp() * 1e6)
    (one,) = units(ledger.rows, "run", by=["team"], until_us=until_us)
    assert (one.scope, one.cost_usd, one.units) == ({"team": "x"}, Decimal(3), 1)


def test_calls_without_a_price_are_told_not_counted_as_0(ledger: Ledger) -> None:
    add_calls(ledger, [call("a", 1.0), call("b", None)])
    (one,) = units(ledger.rows, "run")
    assert (one.cost_usd, one.unpriced) == (Decimal(1), 1)


def test_a_customers_margin_is_revenue_less_cost(ledger: Ledger) -> None:
    add_calls(ledger, [call("a", 1.5, customer="acme"), call("b", 4.0, customer="bit"), call("c", 1.0)])
    ledger.append_outcome("a", "revenue", 10.25)
    ledger.append_outcome("b", "revenue", 3.0)
    found = {one.customer: one for one in margins(ledger.rows)}
    assert list(found) == ["bit", "acme", None]
    assert (found["acme"].margin_usd, found["bit"].margin_usd) == (Decimal("8.75"), Decimal(-1))
    assert found[None].margin_usd is None
    given = {one.customer: one.margin_usd for one in margins(ledger.rows, revenue_usd={"acme": Decimal(2)})}
    assert given == {"acme": Decimal("0.5"), "bit": None, None: None}


def test_intervals_hold_the_truth_though_runs_are_uneven() -> None:
    held = []
    for seed in range(100):
        random = np.random.default_rng(seed)
        calls = random.integers(1, 6, 60).astype(float)
        one = ratio(calls * random.lognormal(0, 0.8, 60), calls, 0.95, seed)
        assert one.low is not None and one.high is not None
        held.append(one.low <= np.exp(0.32) <= one.high)
    assert np.mean(held) >= 0.88


@pytest.mark.filterwarnings("error")
def test_one_run_that_is_nearly_all_of_it_tells_no_interval() -> None:
    one = ratio([*(1.0 + 0.01 * i for i in range(20)), 1e6], [1.0] * 21, 0.95)
    assert one.value is not None and one.value > 47_000
    assert (one.low, one.high) == (None, None)


def test_interval_of_what_never_varies_is_a_point_and_thousands_of_runs_are_binned() -> None:
    assert ratio([2.0] * 20, [1.0] * 20, 0.95).high == 2.0
    random = np.random.default_rng(1)
    many = ratio(random.lognormal(0, 1, 20_000), np.ones(20_000), 0.95)
    assert many.low is not None and many.high is not None
    assert many.low < np.exp(0.5) < many.high and many.high - many.low < 0.15


def test_unknown_units_and_tags_are_refused(ledger: Ledger) -> None:
    for wrong in ({"per": "cat"}, {"per": "run", "by": ["run_id"]}, {"per": "run", "where": {"hat": "red"}}):
        with pytest.raises(ValueError, match="known are"):
            units(ledger.rows, **wrong)  # type: ignore[arg-type]


def test_the_command_shows_units_and_margins(tmp_path: Path, ledger: Ledger) -> None:
    add_calls(ledger, [call(f"r{n}", 1.0 + n % 3, customer="acme") for n in range(12)])

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(cli, ["spend", "units", "--state", str(tmp_path), *arguments])

    (one,) = json.loads(run("--per", "run", "--by", "customer", "--json").stdout)
    assert one["scope"] == {"customer": "acme"} and one["low"] < one["usd"] == 2.0 < one["high"]
    assert "USD per call" in run("--per", "call").stdout
    (tmp_path / "revenue.csv").write_text("customer,revenue_usd\nacme,30.5\n")
    assert json.loads(run("--revenue", str(tmp_path / "revenue.csv"), "--json").stdout)[0]["margin_usd"] == "6.5"
    (tmp_path / "revenue.csv").write_text("customer,revenue_usd\nacme,much\n")
    assert "revenue.csv:2" in run("--revenue", str(tmp_path / "revenue.csv")).output
    assert run("--per", "cat").exit_code == 2 and run("--where", "x").exit_code == 2
