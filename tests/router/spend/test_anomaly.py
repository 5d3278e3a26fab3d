"""Spend that is not as usual is found, explained to the last cent, and told once."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path

import pytest

from router.spend import anomaly_scan
from router.spend.anomaly import WINDOWS, Finding, compared, explained, new, slow, sudden
from router.spend.baseline import learn
from router.spend.decompose import FACTORS, Sums, changes, main_cause
from router.spend.ledger import Ledger
from router.spend.windows import HOUR_US

MONDAY = 20_724 * 24
"""Hours since 1970 of a Monday's midnight."""
SCOPE = {"workflow": "w"}


def usual(hours: int, seed: int = 1) -> list[float]:
    """A working day's shape with noise, quieter at week-ends, some growth."""
    rng = random.Random(seed)
    return [
        (1 + 4 * (8 <= hour % 24 < 18))
        * (0.3 if hour // 24 % 7 >= 5 else 1)
        * (1 + hour / 2000)
        * rng.gammavariate(9, 1 / 9)
        for hour in range(hours)
    ]


def judged(hours: list[float], lately: float, window: float = 1.0) -> Finding | None:
    baselines = [one for size in WINDOWS if (one := learn(MONDAY, hours, size))]
    now = MONDAY + len(hours) + 1
    past = [*hours, lately]
    return sudden(SCOPE, baselines, now, lambda length: sum(past[-max(1, round(length)) :]) * min(1.0, length))


def test_an_hour_that_is_far_from_its_like_is_found_and_a_usual_one_is_not() -> None:
    hours = usual(28 * 24 + 10)  # the next hour is a Monday's ten o'clock
    assert judged(hours, 5.5) is None
    found = judged(hours, 40.0)
    assert found is not None and found.kind == "sudden"
    assert found.usd == 40 and 4 < found.expected_usd < 8 and found.basis == "28 days, by time of day and week-end"
    assert "an hour cost $40" in found.shown()


def test_what_comes_every_week_at_this_hour_is_usual() -> None:
    hours = usual(28 * 24)
    for week in range(4):
        hours[week * 168] = 60.0  # every Monday at midnight
    assert judged(hours, 62.0) is None
    assert judged(usual(28 * 24), 62.0) is not None


def test_six_hours_together_show_what_the_last_one_does_not() -> None:
    hours = usual(28 * 24 + 10)
    baselines = [one for size in WINDOWS if (one := learn(MONDAY, hours, size))]
    found = sudden(SCOPE, baselines, MONDAY + len(hours) + 6, lambda length: 6.0 * length if length < 6 else 120.0)
    assert found is not None and found.until - found.since == 6
    assert "6 hours cost $120" in found.shown()


def test_where_days_differ_much_more_is_needed_than_a_record() -> None:
    steady, wild = usual(28 * 24), usual(28 * 24)
    for day in range(28):
        wild[day * 24 + 12] = 12.0 * 1.5 ** (day % 5)
    limits = [one.record_usd for hours in (steady, wild) if (one := learn(MONDAY, hours))]
    assert limits[0] < 20 and limits[1] > 1.2 * 12.0 * 1.5**4


def test_little_history_is_used_and_said() -> None:
    assert learn(MONDAY, usual(20)) is None
    (hours,) = (usual(60),)
    baseline = learn(MONDAY, hours)
    assert baseline is not None and baseline.basis == "only 60 hours, all alike"
    baseline = learn(MONDAY, usual(5 * 24))
    assert baseline is not None and baseline.basis == "only 5 days, by time of day"
    assert learn(MONDAY, [0.0] * 100) is None


def days(unit: list[float], calls: float = 100.0) -> list[tuple[float, float]]:
    rng = random.Random(3)
    return [(calls, calls * one * rng.gammavariate(200, 1 / 200)) for one in unit]


def test_a_call_that_gets_a_little_dearer_every_day_is_found_and_growth_is_not() -> None:
    drifting = days([0.01] * 18 + [0.01 * 1.04**day for day in range(10)])
    (first, *_) = slow(SCOPE, MONDAY // 24, drifting)
    assert (first.kind, first.about) == ("slow", "unit")
    assert first.since >= (MONDAY // 24 + 17) * 24 and first.expected_usd == pytest.approx(0.01, rel=0.1)
    assert slow(SCOPE, MONDAY // 24, days([0.01] * 28)) == []
    growing = [(100 * 1.01**day, usd * 1.01**day) for day, (_, usd) in enumerate(days([0.01] * 28))]
    assert slow(SCOPE, MONDAY // 24, growing) == []
    assert slow(SCOPE, MONDAY // 24, drifting[-16:]) == []  # too little before it


def test_a_new_value_matters_by_its_share() -> None:
    found = new({"customer": "x"}, 5.0, 100.0, 20, MONDAY)
    assert found is not None and found.shown().startswith("customer x is new and spent $5 (5% of the day's spend)")
    assert new({"customer": "x"}, 1.0, 100.0, 20, MONDAY) is None
    assert new({"customer": "x"}, 50.0, 100.0, 3, MONDAY) is None


def model(calls: float, given: float, made: float, price: float = 1.0, cached: float = 0.0) -> Sums:
    tokens = {"input": given, "cached_input": cached, "output": made}
    return Sums(calls=calls, tokens=tokens, cost_usd=price * (given + 0.1 * cached + 4 * made) * 1e-6)


BEFORE = {"a": model(100, 1e5, 2e4), "b": model(50, 2e5, 1e4)}


@pytest.mark.parametrize(
    ("after", "cause"),
    [
        ({"a": model(300, 3e5, 6e4), "b": model(150, 6e5, 3e4)}, "volume"),
        ({"a": model(20, 2e4, 4e3), "b": model(130, 5.2e5, 2.6e4)}, "models"),
        ({"a": model(100, 3e5, 6e4), "b": model(50, 2e5, 1e4)}, "tokens"),
        ({"a": model(100, 6e4, 6e4), "b": model(50, 2e5, 1e4)}, "token mix"),
        ({"a": model(100, 1e5, 2e4, 1.5), "b": model(50, 2e5, 1e4)}, "price"),
        ({**BEFORE, "c": model(50, 9e5, 1e5)}, "models"),
    ],
)  # fmt: skip
def test_the_cause_of_a_change_is_named_and_all_parts_sum_to_it(after: dict[str, Sums], cause: str) -> None:
    parts = changes(BEFORE, after)
    assert main_cause(parts) == cause and set(parts) == set(FACTORS)
    change = sum(one.cost_usd for one in after.values()) - sum(one.cost_usd for one in BEFORE.values())
    assert abs(float(sum(parts.values())) - change) < 1e-12
    if cause in ("volume", "price"):
        assert all(abs(usd) < Decimal("1e-9") for name, usd in parts.items() if name != cause)


def test_parts_sum_exactly_for_any_two_stretches() -> None:
    rng = random.Random(5)
    for _ in range(200):
        sides = [
            {name: model(rng.randint(1, 99), rng.random() * 1e6, rng.random() * 1e5, rng.choice([1.0, 1.3]))
             for name in rng.sample("abcd", rng.randint(0, 4))}
            for _ in range(2)
        ]  # fmt: skip
        costs = [sum(Decimal(f"{one.cost_usd:.12f}") for one in side.values()) for side in sides]
        assert abs(sum(changes(*sides).values()) - (costs[1] - costs[0])) <= Decimal("4e-12")


def test_the_cost_of_a_call_is_explained_for_as_many_calls() -> None:
    finding = Finding(kind="slow", scope=SCOPE, about="unit", usd=2, expected_usd=1, score=9, threshold=5,
                      since=MONDAY, until=MONDAY + 240, basis="")  # fmt: skip
    assert compared(finding) == ((MONDAY + 72, MONDAY + 240), [(MONDAY - 336, MONDAY)])
    told = explained(finding, {"a": model(100, 1e5, 2e4)}, {"a": model(900, 9e5, 18e4, 1.5)})
    assert abs(told.parts["volume"]) < Decimal("1e-9") and main_cause(told.parts) == "price"


def test_a_ledger_is_scanned_and_what_a_workflow_explains_is_not_told_of_its_team(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    now_us = (MONDAY + 28 * 24 + 11) * HOUR_US
    for step, usd in enumerate([*usual(28 * 24 + 10), 40.0]):
        tags = {"team": "t", "workflow": "w", "customer": "new" if step == 28 * 24 + 10 else "old"}
        write(ledger, (MONDAY + step) * HOUR_US + 55 * 60_000_000, usd, tags)
    found = anomaly_scan.scan(ledger.rollups, now_us)
    ledger.close()
    assert [(one.kind, dict(one.scope)) for one in found] == [
        ("sudden", {"workflow": "w"}), ("new", {"customer": "new"}),
    ]  # fmt: skip
    assert found[0].parts and abs(float(sum(found[0].parts.values())) - 35) < 5


def write(ledger: Ledger, at_us: int, usd: float, tags: dict[str, str]) -> None:
    names = ", ".join(tags)
    with ledger.batch() as connection:
        connection.execute(
            f"INSERT INTO attempts (request_id, number, at_us, model, call, outcome, latency_s, cost_pusd, "
            f"input_tokens, output_tokens, tags, {names}) "
            "VALUES (?, 0, ?, 'm', 'fake/m', 'ok', 0.1, ?, 1000, 100, '{}', ?, ?, ?)",
            (f"r{at_us}", at_us, int(usd * 1e12), *tags.values()),
        )
