"""Budgets: who may spend how much in which window, and what a limit says when it stands in the way.

Pure: which accounts a call is booked on, and what follows from their balances. `spend/holds.py` keeps the balances.
Dollars are whole pico-dollars here; requests, tokens and concurrent calls are counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from router.errors import BudgetExceededError
from router.spend.money import from_pico
from router.spend.windows import SECOND_US, Window, iso
from router.types import Tags

Unit = Literal["usd", "requests", "tokens", "concurrent"]
Action = Literal["notify", "downgrade", "wait", "approve", "deny"]
BLOCKING: tuple[Action, ...] = ("wait", "approve", "deny")
UNALLOCATED = "unallocated"
"""Scope of the requests that lack a required tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happens from a share of the limit on, counted on settled + held."""

    share: float
    action: Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One limit of the policy."""

    name: str
    scope: Mapping[str, tuple[str, ...] | None]
    """Tag, `model` or `provider` -> values that share the limit; None: each value has a limit of its own. Empty:
    everything."""
    unit: Unit = "usd"
    limit: int
    window: Window
    steps: tuple[Step, ...] = (Step(share=1.0, action="deny"),)
    wait_s: float = 0.0
    """How long a call may wait for others' holds; 0 where no step says `wait`."""
    is_open: bool = False
    """Whether a call whose worst case nobody knows goes through."""
    lacking: tuple[str, ...] = ()
    """Matches only requests without one of these tags (the scope `unallocated`)."""

    @property
    def ceiling(self) -> int | None:
        """What settled + held never pass: the lowest blocking step; None where none blocks."""
        shares = [step.share for step in self.steps if step.action in BLOCKING]
        return int(self.limit * Decimal(str(min(shares)))) if shares else None

    @property
    def needs_approval(self) -> bool:
        """Whether more is a matter of approval, not of time alone."""
        return any(step.action == "approve" for step in self.steps)

    @property
    def asks_model(self) -> bool:
        """Whether it depends on who is asked, so that nobody knows before the decision."""
        return "model" in self.scope or "provider" in self.scope

    def account(self, tags: Tags, model: str = "", provider: str = "") -> str | None:
        """The account that a call is booked on, or None where the budget is not about it.

        It names scope, unit and window, not the limit: a changed limit meets what has been spent already.
        """
        if self.lacking and all(tags.get(name) for name in self.lacking):
            return None
        # Each value of a `*` is a text; what is shared is a list, and the lack of tags an object: none collide.
        values: dict[str, object] = {UNALLOCATED: {"lacking": self.lacking}} if self.lacking else {}
        for name, allowed in self.scope.items():
            value = {"model": model, "provider": provider}.get(name) or tags.get(name)
            if not value or (allowed is not None and value not in allowed):
                return None
            values[name] = value if allowed is None else allowed
        return f"{self.prefix}{json.dumps(values, ensure_ascii=False, sort_keys=True)}"

    @property
    def window_shown(self) -> str:
        """The window in words."""
        return "at once" if self.unit == "concurrent" else self.window.shown

    @property
    def prefix(self) -> str:
        """How its accounts begin."""
        return f"{self.unit} {self.window.name} "

    @property
    def pattern(self) -> str:
        """What all of its accounts have in common: as an account, with null for each value of a `*`."""
        values: dict[str, object] = {UNALLOCATED: {"lacking": self.lacking}} if self.lacking else {}
        return self.prefix + json.dumps({**values, **self.scope}, ensure_ascii=False, sort_keys=True)

    def values_of(self, account: str) -> Mapping[str, str] | None:
        """What an account's scope is filled in with, in words; None where it belongs to another budget."""
        if pattern_of(account, self.prefix) != self.pattern:
            return None
        values: dict[str, Any] = json.loads(account[len(self.prefix) :])
        return {name: _in_words(value) for name, value in values.items()}

    def shown(self, tags: Tags, model: str = "", provider: str = "") -> str:
        """The scope in words: `team=search, workflow=*` with each value filled in."""
        if self.lacking:
            return f"{UNALLOCATED} (without {' or '.join(self.lacking)})"
        asked = {"model": model, "provider": provider}
        parts = [f"{name}={asked.get(name) or tags.get(name) or name}" for name in self.scope]
        return ", ".join(parts) or "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """What one call would add to one account."""

    budget: Budget
    account: str
    bucket: int
    since: int
    amount: int
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Where an account stands."""

    settled: int = 0
    held: int = 0
    allowance: int = 0
    """Added to the limit by approvals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """Upper bounds of one call."""

    usd: int | None
    """Pico-dollars; None: nobody knows."""
    tokens: int | None

    def of(self, unit: Unit) -> int | None:
        """In one unit."""
        return {"usd": self.usd, "tokens": self.tokens, "requests": 1, "concurrent": 1}[unit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Why a call may not be sent, and whether waiting for the holds of others may help."""

    error: BudgetExceededError
    wait_s: float = 0.0
    """How long that may be tried; 0: no hold stands in the way, the money is spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A step of a budget that has been reached."""

    account: str
    bucket: int
    budget: str
    scope: str
    unit: Unit
    share: float
    action: Action
    limit: int
    used: int


@dataclass(frozen=True, slots=True)
class Budgets:
    """All budgets of a policy."""

    each: tuple[Budget, ...] = field(default=())

    def about(self, tags: Tags) -> tuple[Budget, ...]:
        """The budgets that a request may meet, whoever will be asked."""
        return tuple(one for one in self.each if one.asks_model or one.account(tags) is not None)

    def legs(self, tags: Tags, model: str, provider: str, worst: Worst, at_us: int) -> list[Leg] | tuple[Budget, str]:
        """What a call would add to every account on its path, or the budget that needs a bound nobody knows."""
        found: list[Leg] = []
        for budget in self.each:
            account = budget.account(tags, model, provider)
            if account is None:
                continue
            amount = worst.of(budget.unit)
            if amount is None:
                if budget.ceiling is not None and not budget.is_open:
                    return budget, budget.shown(tags, model, provider)
                amount = 0
            found.append(
                Leg(
                    budget=budget,
                    account=account,
                    bucket=budget.window.bucket(at_us),
                    since=budget.window.since(at_us),
                    amount=amount,
                    shown=budget.shown(tags, model, provider),
                )
            )
        return found


def pattern_of(account: str, prefix: str) -> str | None:
    """The pattern of the budgets whose account it is; None where those of the prefix have no such account."""
    if not account.startswith(f"{prefix}{{"):  # the name of a window may begin like that of another
        return None
    values = json.loads(account[len(prefix) :])
    each = {name: None if isinstance(value, str) else value for name, value in values.items()}
    return prefix + json.dumps(each, ensure_ascii=False, sort_keys=True)


def refusal(legs: Sequence[Leg], balances: Sequence[Balance], at_us: int, model: str) -> Denial | None:
    """Why these legs do not fit their accounts; None when all do.

    Of several limits in the way, the one that has least left is told. Waiting is worth it only if, at every limit
    in the way, the call would fit without the live holds.
    """
    tight = []
    for leg, balance in zip(legs, balances, strict=True):
        ceiling = leg.budget.ceiling
        if ceiling is not None and balance.settled + balance.held + leg.amount > ceiling + balance.allowance:
            tight.append((ceiling + balance.allowance - balance.settled - balance.held, leg, balance))
    if not tight:
        return None
    left, leg, balance = min(tight, key=lambda row: row[0])
    can_wait = all(
        (one.budget.ceiling or 0) + at.allowance >= at.settled + one.amount and one.budget.wait_s > 0
        for _, one, at in tight
    )
    wait_s = min((one.budget.wait_s for _, one, _ in tight), default=0.0) if can_wait else 0.0
    return Denial(error=denied(leg, balance, left, at_us, model), wait_s=wait_s)


def denied(leg: Leg, balance: Balance, left: int, at_us: int, model: str) -> BudgetExceededError:
    """The error that says scope, limit, settled, held, when it resets and what would fit."""
    budget = leg.budget
    resets_us = budget.window.resets_us(at_us)
    resets_at = None if resets_us is None else iso(resets_us)
    is_held = balance.settled + leg.amount <= (budget.ceiling or 0) + balance.allowance
    retry_after = 1.0 if is_held else None if resets_us is None else max(0.0, (resets_us - at_us) / SECOND_US)

    def show(amount: int) -> str:
        return (
            f"${from_pico(amount):f}"
            if budget.unit == "usd"
            else f"{amount:,} {budget.unit.removesuffix('s') if amount == 1 else budget.unit}"
        )

    remedy = (
        f"wait for the calls in flight ({show(balance.held)} held)" if is_held
        else f"ask for approval: clearbar budget approve {budget.name!r} --more AMOUNT" if budget.needs_approval
        else f"it resets at {resets_at}" if resets_at else "it frees a little all the time"
    )  # fmt: skip
    scale = from_pico if budget.unit == "usd" else Decimal
    return BudgetExceededError(
        f"{model} may take up to {show(leg.amount)}, and {show(max(0, left))} of the {budget.window_shown} limit "
        f"{show(budget.limit)} of {leg.shown} is left ({show(balance.settled)} settled, {show(balance.held)} held); "
        f"{remedy}",
        scope=leg.shown,
        unit=budget.unit,
        limit=scale(budget.limit),
        settled=scale(balance.settled),
        held=scale(balance.held),
        fits_usd=scale(max(0, left)) if budget.unit == "usd" else None,
        resets_at=resets_at,
        retry_after=retry_after,
    )


def crossings(legs: Sequence[Leg], balances: Sequence[Balance]) -> list[Crossing]:
    """The steps that these legs reach, on balances from before they were booked.

    Of a calendar window also the steps that lie behind already: a bill that came late or a lower limit passes them
    without a call. A rolling window's buckets move on, so that these would be told again and again.
    """
    found = []
    for leg, balance in zip(legs, balances, strict=True):
        before, is_rolling = balance.settled + balance.held, leg.budget.window.unit is None
        found += [
            Crossing(
                account=leg.account, bucket=leg.bucket, budget=leg.budget.name, scope=leg.shown, unit=leg.budget.unit,
                share=step.share, action=step.action, limit=leg.budget.limit, used=before + leg.amount,
            )
            for step in leg.budget.steps
            if (quota := step.share * leg.budget.limit) <= before + leg.amount and not (is_rolling and quota <= before)
        ]  # fmt: skip
    return found


def squeezed(budgets: Iterable[tuple[Budget, Balance]]) -> str | None:
    """The budget that asks for cheaper routes, told with its share; None where none does."""
    for budget, balance in budgets:
        share = (balance.settled + balance.held) / budget.limit if budget.limit else 1.0
        if any(step.action == "downgrade" and share >= step.share for step in budget.steps):
            return f"{budget.name} at {share:.0%}"
    return None


def _in_words(value: str | list[str] | dict[str, list[str]]) -> str:
    if isinstance(value, dict):
        return f"without {' or '.join(value['lacking'])}"
    return value if isinstance(value, str) else "|".join(value)
