"""What a scope will have spent: by the end of the month, and in the next days.

Whole days are foreseen by `daily`; today goes on as its hours usually do. What is assumed (more users, another price,
another model) changes every coming day by a factor; nothing about it is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np

from router.spend.daily import LEAST_DAYS, Array, futures
from router.spend.history import History

CONFIDENCE = 0.9
MOST_AHEAD = 366


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A sum that is not known yet, in USD."""

    usd: float
    """Half of the futures stay below."""
    low: float
    high: float
    """Between them lie as many futures as the confidence says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One scope's spend to come."""

    history: History
    month_usd: Decimal
    """Spent in this calendar month so far."""
    month_end: Span | None = None
    """The whole month, with what is spent already; None: the history is too short."""
    ahead: Span | None = None
    """From now on, as many times 24 hours as were asked for."""
    days: tuple[Span, ...] = ()
    """The rest of today, then every day asked for."""
    caution: str | None = None
    """Why there is no forecast, or what makes it a weak one."""


def outlook(
    history: History, now: datetime, days: int, *, factor: float = 1.0, growth: float | None = None,
    confidence: float = CONFIDENCE,
) -> Outlook:  # fmt: skip
    """Foresee one scope.

    Args:
        history: its past.
        now: the moment to which the history goes, in its time zone.
        days: how far to look, 1 to `MOST_AHEAD`.
        factor: on everything that is spent from now on.
        growth: change of the logarithm a day, in place of the trend that the past shows.
        confidence: of the intervals, between 0 and 1.
    """
    month_start = now.date().replace(day=1)
    spent = history.since(month_start)
    if len(history.days) < LEAST_DAYS:
        told = f"{len(history.days)} whole days are too few for a forecast; {LEAST_DAYS} are needed"
        return Outlook(history=history, month_usd=spent, caution=told)
    left = (_next_month(month_start) - now.date()).days - 1
    paths = coming(history, max(days, left), factor=factor, growth=growth)
    # As much of the last day as of today is gone already.
    whole = paths[:, :days].sum(axis=1) + paths[:, days] * history.share
    return Outlook(
        history=history,
        month_usd=spent,
        month_end=_span(float(spent) + paths[:, : left + 1].sum(axis=1), confidence),
        ahead=_span(whole, confidence),
        days=tuple(_span(paths[:, day], confidence) for day in range(days + 1)),
        caution=_caution(history, max(days, left)),
    )


def coming(history: History, days: int, *, factor: float = 1.0, growth: float | None = None) -> Array:
    """Possible spends of the rest of today and of the days behind it, in USD: paths x (days + 1)."""
    past = _floats(history.days)
    paths = futures(past, days + 1, weekday=history.first.weekday(), growth=growth)
    paths[:, 0] *= 1 - history.share
    made: Array = paths * factor
    return made


def _span(sums: Array, confidence: float) -> Span:
    low, middle, high = np.quantile(sums, [(1 - confidence) / 2, 0.5, (1 + confidence) / 2])
    return Span(usd=float(middle), low=float(low), high=float(high))


def _caution(history: History, ahead: int) -> str | None:
    told = []
    if len(history.days) < 28:
        told.append(f"only {len(history.days)} whole days: weekdays and trend are rough")
    elif ahead > len(history.days):
        told.append(f"{ahead} days ahead by {len(history.days)} days of history")
    if history.unpriced:
        told.append(f"{history.unpriced:,} calls without a price are missing")
    return "; ".join(told) or None


def _next_month(start: date) -> date:
    return (start + timedelta(days=32)).replace(day=1)


def _floats(days: Sequence[Decimal]) -> Array:
    return np.array([float(usd) for usd in days])
