"""The stretch of time over which a budget counts, on the wall clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
CALENDAR = ("minute", "hour", "day", "week", "month")
ROLLING_PARTS = 60
"""A rolling window moves on in so many steps: what leaves it leaves up to a sixtieth of the window late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A calendar window, which starts anew at a boundary, or a rolling one, which always ends now."""

    unit: str | None = None
    """One of `CALENDAR`; None: rolling."""
    tz: str = "UTC"
    """IANA time zone whose calendar it follows."""
    rolling_s: int = 0

    @property
    def name(self) -> str:
        """How it is told apart from others: `month`, `day Europe/Berlin`, `rolling 3600s`."""
        if self.unit is None:
            return f"rolling {self.rolling_s}s"
        return self.unit if self.tz == "UTC" else f"{self.unit} {self.tz}"

    @property
    def shown(self) -> str:
        """As an author writes it: `month`, `rolling 24h`; the name stays as it is, for accounts are kept under it."""
        if self.unit is not None:
            return self.name
        hours, rest = divmod(self.rolling_s, 3_600)
        minutes, seconds = divmod(self.rolling_s, 60)
        return f"rolling {f'{hours}h' if not rest else f'{minutes}m' if not seconds else f'{self.rolling_s}s'}"

    def bucket(self, at_us: int) -> int:
        """Start of the part of the window that a moment is counted in; microseconds since 1970, like all here."""
        if self.unit is None:
            width = self._width
            return at_us // width * width
        return _calendar(self.unit, self.tz, at_us // SECOND_US)[0] * SECOND_US

    def since(self, at_us: int) -> int:
        """The first bucket that still counts at a moment."""
        if self.unit is None:
            width = self._width
            return (at_us - self.rolling_s * SECOND_US) // width * width
        return self.bucket(at_us)

    def resets_us(self, at_us: int) -> int | None:
        """When it starts anew; None for a rolling window, which frees a little all the time."""
        return None if self.unit is None else _calendar(self.unit, self.tz, at_us // SECOND_US)[1] * SECOND_US

    @property
    def _width(self) -> int:
        return max(SECOND_US, self.rolling_s * SECOND_US // ROLLING_PARTS)


@lru_cache(maxsize=4096)
def _minute_of(unit: str, tz: str, minute: int) -> tuple[int, int]:
    at = datetime.fromtimestamp(minute * 60, ZoneInfo(tz))
    start = at.replace(second=0, microsecond=0)
    if unit != "minute":
        start = start.replace(minute=0)
    if unit in ("day", "week", "month"):
        start = start.replace(hour=0, fold=0)
    if unit == "week":
        start -= timedelta(days=start.weekday())
    if unit == "month":
        start = start.replace(day=1)
    return int(start.timestamp()), int(_next(unit, start).timestamp())


def iso(at_us: int) -> str:
    """A moment for reading and sorting, in UTC, to the second."""
    return datetime.fromtimestamp(at_us / SECOND_US, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _calendar(unit: str, tz: str, at_s: int) -> tuple[int, int]:
    """Start and end, in seconds since 1970, of the calendar window that holds a moment."""
    # No zone's offset changes within a minute, and the same minute is asked about thousands of times.
    return _minute_of(unit, tz, at_s // 60)


def _next(unit: str, start: datetime) -> datetime:
    if unit in ("minute", "hour"):  # by elapsed time: an hour that a clock shift repeats is an hour of its own
        return (start.astimezone(UTC) + timedelta(**{f"{unit}s": 1})).astimezone(start.tzinfo)
    if unit == "month":
        return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return start + timedelta(days=7 if unit == "week" else 1)
