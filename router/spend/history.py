"""What each scope spent day by day, out of the rollups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from router.spend.rollups import ROLLED, Rollups

KNOWN = tuple(name for name in ROLLED if name != "customer")
"""What the past is known by, hour by hour; customers are too many for that."""
NOTHING = Decimal(0)
RECENT_DAYS = 28
"""From so many days the course of a day is taken."""
Group = tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One scope's spend by day of a time zone."""

    scope: Mapping[str, str | None]
    first: date
    """The first whole day: on the day before, or before this day's first hour, nothing was known."""
    days: tuple[Decimal, ...]
    """USD of each whole day since then, also of those without any."""
    today_usd: Decimal
    """USD so far today."""
    share: float
    """Of a day's spend, usually so much is spent by this time of the day; 0 to 1."""
    unpriced: int
    """Calls whose cost nobody knows; they are missing in the sums."""

    def since(self, day: date) -> Decimal:
        """USD from a day on until now."""
        return sum(self.days[max(0, (day - self.first).days) :], NOTHING) + self.today_usd


def histories(rollups: Rollups, names: Sequence[str], now: datetime, since_us: int = 0) -> list[History]:
    """Every scope's days, the dearest scope of the last four weeks first.

    Args:
        rollups: of the ledger.
        names: of `KNOWN`; empty: everything is one scope.
        now: with the time zone whose days count.
        since_us: nothing older is looked at.
    """
    zone = now.tzinfo
    assert isinstance(zone, ZoneInfo)  # noqa: S101  a fixed offset has no calendar of its own
    groups: dict[Group, list[tuple[datetime, Mapping[str, Any]]]] = {}
    for row in rollups.by_hour(names, since_us):
        at = datetime.fromtimestamp(row["hour"] * 3600, zone)
        if at <= now:
            groups.setdefault(tuple(row[name] for name in names), []).append((at, row))
    found = [_history(dict(zip(names, group, strict=True)), rows, now) for group, rows in groups.items()]
    return sorted(found, key=lambda one: -one.since(now.date() - timedelta(days=RECENT_DAYS)))


def _history(scope: Mapping[str, str | None], rows: list[tuple[datetime, Mapping[str, Any]]], now: datetime) -> History:
    begin, today = rows[0][0], now.date()
    first = begin.date() + timedelta(days=begin.hour > 0)  # a day that was seen from its first hour is whole
    days = [NOTHING] * max(0, (today - first).days)
    today_usd, by_now, recent = NOTHING, 0.0, 0.0
    hours = now.hour + now.minute / 60
    for at, row in rows:
        age, cost_usd = (today - at.date()).days, row["cost_usd"]
        if age == 0:
            today_usd += cost_usd
        elif age <= len(days):
            days[-age] += cost_usd
            if age <= RECENT_DAYS:
                recent += float(cost_usd)
                by_now += float(cost_usd) * min(1.0, max(0.0, hours - at.hour))
    return History(
        scope=scope,
        first=first,
        days=tuple(days),
        today_usd=today_usd,
        share=by_now / recent if recent else hours / 24,
        unpriced=sum(row["unpriced"] for _, row in rows),
    )
