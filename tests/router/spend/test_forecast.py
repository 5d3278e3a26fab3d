"""Forecasts: from the past's days, honest about how little they know."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from past import add_calls

from router.spend.daily import LEAST_DAYS, futures
from router.spend.depletion import exhaustion
from router.spend.forecast import outlook
from router.spend.history import History, histories
from router.spend.ledger import Ledger
from router.spend.prices import Price
from router.spend.scenario import lever, recent_factors, replacement

BERLIN = ZoneInfo("Europe/Berlin")
UTC_ZONE = ZoneInfo("UTC")
WEEK = np.array([1.0, 1.1, 1.0, 0.9, 1.0, 0.2, 0.1])


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.sqlite3")
    yield made
    made.close()


def noisy(days: int, *, seed: int = 0, size: float = 0.1, slope: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    when = np.arange(days)
    return np.asarray(10 * WEEK[when % 7] * np.exp(slope * when + random.normal(0, size, days)))


def history(days: np.ndarray, *, first: date = date(2026, 9, 28), today: str = "0", share: float = 0.5) -> History:
    return History(
        scope={}, first=first, days=tuple(map(Decimal, days.tolist())), today_usd=Decimal(today), share=share,
        unpriced=0,
    )  # fmt: skip


def test_weekends_come_again() -> None:
    ahead = np.median(futures(noisy(42), 14, weekday=0), axis=0)
    assert ahead.reshape(2, 7) == pytest.approx(np.tile(10 * WEEK, (2, 1)), rel=0.1, abs=0.5)


def test_growth_goes_on_and_a_runaway_night_is_no_new_level() -> None:
    growing, spiked = noisy(60, slope=0.02), noisy(60)
    spiked[50] *= 30
    assert np.median(futures(growing, 28, weekday=0).sum(axis=1)) > 1.3 * growing[-28:].sum()
    assert np.median(futures(spiked, 7, weekday=0).sum(axis=1)) == pytest.approx(10 * WEEK.sum(), rel=0.2)


def test_nine_of_ten_intervals_hold_the_truth() -> None:
    held = []
    for seed in range(60):
        days = noisy(56, seed=seed, size=0.25)
        low, high = np.quantile(futures(days[:42], 14, weekday=0, paths=500).sum(axis=1), (0.05, 0.95))
        held.append(low <= days[42:].sum() <= high)
    assert np.mean(held) >= 0.85


def test_the_same_past_gives_the_same_futures_and_no_spend_gives_none() -> None:
    assert np.array_equal(futures(noisy(30), 5, weekday=2), futures(noisy(30), 5, weekday=2))
    assert futures(np.zeros(20), 5, weekday=0).sum() == 0
    assert np.isfinite(futures(np.array([0.0, 5.0] * 10), 30, weekday=0)).all()


def test_too_short_a_history_is_no_forecast() -> None:
    with pytest.raises(ValueError, match="13 days are too few"):
        futures(noisy(LEAST_DAYS - 1), 5, weekday=0)
    told = outlook(history(noisy(13), today="7"), datetime(2026, 10, 11, 12, tzinfo=UTC_ZONE), 7)
    assert told.ahead is None and told.month_end is None
    assert told.caution == "13 whole days are too few for a forecast; 14 are needed"


def test_the_month_ends_at_what_is_spent_and_what_is_to_come() -> None:
    past = history(noisy(50), today="4")  # Monday 28 September to Monday 16 November
    told = outlook(past, datetime(2026, 11, 17, 12, tzinfo=UTC_ZONE), 7)
    assert told.month_usd == sum(past.days[-16:]) + 4
    assert told.month_end is not None and told.ahead is not None
    rest = 10 * (WEEK[1] / 2 + WEEK[2:].sum() + WEEK.sum())
    assert told.month_end.usd == pytest.approx(float(told.month_usd) + rest, rel=0.1)
    assert told.month_end.low < told.month_end.usd < told.month_end.high
    assert told.ahead.usd == pytest.approx(10 * WEEK.sum(), rel=0.15)
    doubled = outlook(past, datetime(2026, 11, 17, 12, tzinfo=UTC_ZONE), 7, factor=2.0)
    assert doubled.ahead is not None and doubled.ahead.usd == pytest.approx(2 * told.ahead.usd)


def test_on_the_last_day_only_its_rest_is_to_come() -> None:
    told = outlook(history(noisy(63), share=1.0), datetime(2026, 11, 30, 23, 59, tzinfo=UTC_ZONE), 3)
    assert told.month_end is not None and told.month_end.usd == pytest.approx(float(told.month_usd))


def test_assumed_growth_takes_the_trends_place() -> None:
    past, now = history(noisy(60)), datetime(2026, 11, 27, 12, tzinfo=UTC_ZONE)
    flat, grown = (outlook(past, now, 60, growth=slope).days[-7:] for slope in (0.0, np.log(2) / 30))
    assert sum(day.usd for day in grown) > 2.5 * sum(day.usd for day in flat)


def test_days_are_those_of_the_time_zone_and_begin_with_the_first_whole_one(ledger: Ledger) -> None:
    def at(day: int, hour: int) -> datetime:
        return datetime(2026, 11, day, hour, 30, tzinfo=UTC)

    add_calls(ledger, [
        {"at": at(1, 9), "usd": 9.0, "team": "a"}, {"at": at(2, 23), "usd": 1.0, "team": "a"},
        {"at": at(5, 8), "usd": 2.0, "team": "a"}, {"at": at(6, 6), "usd": 4.0, "team": "a"},
        {"at": at(6, 6), "usd": None, "team": "b"},
    ])  # fmt: skip
    one, other = histories(ledger.rollups, ["team"], datetime(2026, 11, 6, 9, tzinfo=BERLIN))
    assert one.scope == {"team": "a"} and one.first == date(2026, 11, 2)
    assert one.days == (0, 1, 0, 2) and one.today_usd == 4  # 23:30 UTC is the next day in Berlin
    assert one.share == pytest.approx(1 / 3)  # of 1 at 0 o'clock and 2 at 9 o'clock, what came before 9
    assert one.since(date(2026, 11, 5)) == 6
    assert (other.scope, other.days, other.unpriced) == ({"team": "b"}, (), 1)


def test_a_budget_is_gone_when_the_futures_have_spent_it() -> None:
    paths = np.full((100, 8), 1.0)
    paths[:10] = 5.0
    assert exhaustion(paths, 6.5, date(2026, 11, 24)) == (1.0, date(2026, 11, 30), date(2026, 11, 25))
    assert exhaustion(paths, 9.0, date(2026, 11, 24)) == (0.1, None, date(2026, 11, 25))
    assert exhaustion(paths, 0.0, date(2026, 11, 24))[0] == 1.0


@pytest.mark.parametrize(("text", "told"), [
    ("users +30%", (None, "", 1.3)), ("team=search -10%", ("team", "search", 0.9)),
    ("model=large + 5%", None), ("users", None), ("cats +3%", None), ("users -100%", None), ("hat=red +1%", None),
])  # fmt: skip
def test_scenarios_are_read_or_refused(text: str, told: tuple[str | None, str, float] | None) -> None:
    if told is None:
        with pytest.raises(ValueError, match=r"write such as|known are"):
            lever(text)
    else:
        one = lever(text)
        assert (one.name, one.value) == told[:2] and one.factor == pytest.approx(told[2])


def test_levers_weigh_by_what_a_scope_was_made_of(ledger: Ledger) -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    add_calls(ledger, [
        {"at": at, "usd": 3.0, "team": "a", "model": "small"}, {"at": at, "usd": 1.0, "team": "a", "model": "large"},
        {"at": at, "usd": 1.0, "team": "b", "model": "small"},
    ])  # fmt: skip
    levers = [lever("users +10%"), lever("model=large +100%")]
    found = recent_factors(ledger.rollups, ["team"], levers, datetime(2026, 11, 21, tzinfo=UTC))
    assert found == pytest.approx({("a",): 1.1 * 5 / 4, ("b",): 1.1})


def test_another_model_costs_what_the_same_tokens_cost_there(ledger: Ledger) -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    add_calls(ledger, [{"at": at, "usd": 0.0002, "input_tokens": 100, "output_tokens": 50} for _ in range(4)])
    price = Price(input=Decimal(4), output=Decimal(8))
    one, calls = replacement(ledger.rows, "small", "large", price)
    assert (one.name, one.value, calls) == ("model", "small", 4)
    assert one.factor == pytest.approx(0.0008 / 0.0002)
    with pytest.raises(ValueError, match="no call of nosuch"):
        replacement(ledger.rows, "nosuch", "large", price)
