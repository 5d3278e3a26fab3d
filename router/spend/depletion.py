"""When budgets will be gone, by the futures of the scopes that spend from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np

from router.spend.budget import Budget
from router.spend.daily import LEAST_DAYS, Array
from router.spend.forecast import coming
from router.spend.history import KNOWN, histories
from router.spend.holds import Holds
from router.spend.money import from_pico
from router.spend.rollups import Rollups
from router.spend.scenario import Lever, recent_factors

RARE = 0.05
WINDOWS = ("week", "month")


@dataclass(frozen=True, slots=True, kw_only=True)
class Depletion:
    """One account of a dollar budget."""

    budget: str
    scope: str
    left_usd: Decimal | None = None
    """Now, with what calls under way hold taken off; None: the budget has no account to look at."""
    resets: date | None = None
    """First day of its next window."""
    chance: float | None = None
    """Share of the futures in which it is gone before; None: nobody knows."""
    half: date | None = None
    """In half of all futures it is gone on this day or before; None: in fewer of them within this window."""
    soonest: date | None = None
    """In one future of twenty."""
    why: str | None = None
    """Why nobody knows."""

    @property
    def told(self) -> str:
        """In words."""
        left = "" if self.left_usd is None else f"${self.left_usd:.2f} left until {self.resets}; "
        if self.chance is None:
            return f"{left}not known when it is gone: {self.why}"
        when = f", one in twenty by {self.soonest}" if self.soonest else ""
        when = f"{when}, one in two by {self.half}" if self.half else when
        return f"{left}gone before in {self.chance:.0%} of the futures{when}"


def depletions(
    rollups: Rollups, holds: Holds, budgets: Sequence[Budget], now: datetime, *, days: int,
    levers: Sequence[Lever] = (), growth: float | None = None,
) -> list[Depletion]:  # fmt: skip
    """Every account of every dollar budget.

    Args:
        rollups: of the ledger.
        holds: where the accounts are.
        budgets: of the policy.
        now: the moment.
        days: how far to look at least.
        levers: what is assumed.
        growth: as of `forecast.outlook`.
    """
    found: list[Depletion] = []
    for budget in budgets:
        if budget.unit != "usd":
            continue
        if why := _unknown(budget):
            found.append(Depletion(budget=budget.name, scope="", why=why))
            continue
        zone = ZoneInfo(budget.window.tz)
        here, names = now.astimezone(zone), list(budget.scope)
        resets_us = budget.window.resets_us(int(now.timestamp() * 1e6))
        resets = datetime.fromtimestamp((resets_us or 0) / 1e6, zone).date()
        past = {tuple(one.scope.values()): one for one in histories(rollups, names, here)}
        factor = recent_factors(rollups, names, levers, now)
        for account, balance in holds.accounts([budget])[0]:
            values = budget.values_of(account) or {}
            key = tuple(values[name] for name in names)
            left_usd = from_pico(budget.limit + balance.allowance - balance.settled - balance.held)
            scope, history = ", ".join(f"{name}={value}" for name, value in values.items()), past.get(key)
            if history is None or len(history.days) < LEAST_DAYS:
                why = f"fewer than {LEAST_DAYS} whole days of history"
                found.append(Depletion(budget=budget.name, scope=scope, left_usd=left_usd, resets=resets, why=why))
                continue
            ahead = (resets - here.date()).days
            paths = coming(history, max(days, ahead), factor=factor.get(key, 1.0), growth=growth)
            chance, half, soonest = exhaustion(paths[:, :ahead], float(left_usd), here.date())
            found.append(Depletion(budget=budget.name, scope=scope, left_usd=left_usd, resets=resets, chance=chance,
                                   half=half, soonest=soonest))  # fmt: skip
    return found


def exhaustion(paths: Array, left_usd: float, today: date) -> tuple[float, date | None, date | None]:
    """Chance that a sum is gone within some days, and by when it is in half and in a twentieth of the futures.

    Args:
        paths: USD, futures x days, from today on.
        left_usd: what there is now.
        today: the first of the days.
    """
    gone = np.cumsum(paths, axis=1) >= left_usd if left_usd > 0 else np.ones(paths.shape, dtype=bool)
    share = gone.mean(axis=0)

    def first(least: float) -> date | None:
        reached = np.flatnonzero(share >= least)
        return today + timedelta(days=int(reached[0])) if len(reached) else None

    return float(share[-1]), first(0.5), first(RARE)


def _unknown(budget: Budget) -> str | None:
    """Why a budget's scope has no past to go by."""
    if budget.window.unit not in WINDOWS:
        return f"only windows of a {' or a '.join(WINDOWS)} are foreseen"
    if budget.lacking or any(name not in KNOWN for name in budget.scope):
        return "no sums by the hour are kept of its scope"
    if any(values is not None and len(values) > 1 for values in budget.scope.values()):
        return "several values share it"
    return None
