"""When a budget's window begins, ends and moves on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.spend.windows import CALENDAR, SECOND_US, Window

moments = st.integers(0, 4_000_000_000).map(lambda seconds: seconds * SECOND_US)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])


def us(text: str, tz: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)).timestamp()) * SECOND_US


@pytest.mark.parametrize(
    ("unit", "tz", "at", "start", "end"),
    [
        ("minute", "UTC", "2026-02-03T04:05:06", "2026-02-03T04:05", "2026-02-03T04:06"),
        ("hour", "UTC", "2026-02-03T04:05:06", "2026-02-03T04:00", "2026-02-03T05:00"),
        ("day", "UTC", "2026-02-28T23:59:59", "2026-02-28T00:00", "2026-03-01T00:00"),
        ("week", "UTC", "2026-11-22T12:00:00", "2026-11-16T00:00", "2026-11-23T00:00"),
        ("month", "UTC", "2026-12-31T23:59:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("day", "Europe/Berlin", "2026-03-29T12:00:00", "2026-03-29T00:00", "2026-03-30T00:00"),
        ("month", "America/New_York", "2026-03-08T02:30:00", "2026-03-01T00:00", "2026-04-01T00:00"),
    ],
)
def test_calendar_windows_follow_the_calendar_of_their_zone(unit: str, tz: str, at: str, start: str, end: str) -> None:
    window = Window(unit=unit, tz=tz)
    assert (window.bucket(us(at, tz)), window.resets_us(us(at, tz))) == (us(start, tz), us(end, tz))


@given(moments, st.sampled_from(CALENDAR), zones)
def test_every_moment_lies_in_its_window_and_the_next_one_begins_where_it_ends(at: int, unit: str, tz: str) -> None:
    window = Window(unit=unit, tz=tz)
    start, end = window.bucket(at), window.resets_us(at)
    assert end is not None
    assert start <= at < end
    assert window.bucket(end) == end and window.bucket(end - 1) == start
    assert window.since(at) == start


@given(moments, st.integers(60, 366 * 86_400))
def test_a_rolling_window_forgets_nothing_that_is_younger_and_little_that_is_older(at: int, seconds: int) -> None:
    window = Window(rolling_s=seconds)
    since = window.since(at)
    assert at - seconds * SECOND_US - (at - window.bucket(at)) - 2 * SECOND_US * max(1, seconds // 60) <= since
    assert since <= at - seconds * SECOND_US
    assert window.resets_us(at) is None


def test_windows_of_different_length_or_zone_have_different_names() -> None:
    windows = [Window(unit=unit, tz=tz) for unit in CALENDAR for tz in ("UTC", "Asia/Kolkata")]
    windows += [Window(rolling_s=seconds) for seconds in (60, 3_600)]
    assert len({window.name for window in windows}) == len(windows)


def test_the_hour_that_a_clock_shift_repeats_is_two_hours() -> None:
    window = Window(unit="hour", tz="Europe/Berlin")
    first = int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()) * SECOND_US
    second = first + int(timedelta(hours=1).total_seconds()) * SECOND_US
    assert window.bucket(first) != window.bucket(second)


@pytest.mark.parametrize(
    ("window", "shown"),
    [
        (Window(rolling_s=86_400), "rolling 24h"),
        (Window(rolling_s=5_400), "rolling 90m"),
        (Window(rolling_s=90), "rolling 90s"),
        (Window(unit="month", tz="Europe/Berlin"), "month Europe/Berlin"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_window_is_shown_as_authors_write_it(window: Window, shown: str) -> None:
    assert window.shown == shown
