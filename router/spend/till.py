"""The till: every call passes it, is held against all budgets that are about it, or is told why it may not be sent."""

from __future__ import annotations

import time
from decimal import Decimal

from router.errors import BudgetExceededError
from router.spend.budget import Budgets, Denial, Worst, squeezed
from router.spend.holds import Holds
from router.spend.money import from_pico, to_pico
from router.types import Call, Request

MOST_PUSD = 4 * 10**18
"""More than any limit, and what still fits an integer of the ledger; a caller may ask for any number of tokens."""
SPARE = 10
"""A shadow is held only where so many of it would fit: what nobody waits for must not stand in the way of a request."""


class Till:
    """Admits calls under a policy's budgets."""

    def __init__(self, budgets: Budgets, holds: Holds) -> None:
        self._budgets, self._holds = budgets, holds
        self._has_downgrade = any(step.action == "downgrade" for one in budgets.each for step in one.steps)

    def admit(
        self, request: Request, call: Call, number: int, worst_usd: Decimal | None, worst_tokens: int | None
    ) -> Decimal | Denial | None:
        """Hold what one call may cost.

        Args:
            request: whose tags say which budgets are about it.
            call: about to be sent.
            number: of its attempt, from 0.
            worst_usd: upper bound of its cost; None: nobody knows.
            worst_tokens: upper bound of input and output together; None: the same.

        Returns:
            What is held, in USD; None where no budget is about the call; a `Denial` where it may not be sent.
        """
        usd = to_pico(worst_usd)
        worst = Worst(usd=None if usd is None else min(usd, MOST_PUSD), tokens=worst_tokens)
        provider = call.deployment.call.partition("/")[0]
        legs = self._budgets.legs(request.tags, call.model, provider, worst, time.time_ns() // 1000)
        if isinstance(legs, tuple):
            budget, shown = legs
            return Denial(error=_unbounded(call.model, budget.name, shown))
        if not legs:
            return None
        amount = worst.usd or 0
        times = SPARE if call.role == "shadow" else 1
        denial = self._holds.take(request.id, number, legs, amount, call.model, times=times)
        return denial or from_pico(amount)

    def release(self, request: Request, number: int) -> None:
        """Give back the hold of a call that was never sent."""
        self._holds.release(request.id, number)

    def used(self, request: Request, name: str) -> float | None:
        """Share of a budget's limit that is settled or held on the account of a request; None where it has none."""
        budget = next((one for one in self._budgets.each if one.name == name and not one.asks_model), None)
        account = budget.account(request.tags) if budget is not None else None
        if budget is None or account is None:
            return None
        ((_, balance),) = self._holds.standing([(budget, account)])
        return round((balance.settled + balance.held) / budget.limit, 4) if budget.limit else 1.0

    def squeezed(self, request: Request) -> str | None:
        """The budget that asks for cheaper routes for this request, told with its share; None where none does."""
        if not self._has_downgrade:
            return None
        accounts = [
            (budget, account)
            for budget in self._budgets.each
            if not budget.asks_model and (account := budget.account(request.tags)) is not None
        ]
        return squeezed(self._holds.standing(accounts))


def _unbounded(model: str, name: str, shown: str) -> BudgetExceededError:
    return BudgetExceededError(
        f"nobody knows what {model} may cost at most, and the budget {name!r} ({shown}) asks for a bound; give the "
        "model a `price`, leave out pictures and sound, or write `unknown: allow` in the budget",
        scope=shown, limit=Decimal(0), settled=Decimal(0), held=Decimal(0), fits_usd=None,
    )  # fmt: skip
