"""Budgets over requests in the order of their time: who is denied, and who is asked for cheaper routes. Pure.

One call after the other: what calls in flight would hold beside it is not known, so that limits on concurrent calls are
left out and `wait` never helps.
"""

from __future__ import annotations

from router.spend.budget import Balance, Budget, Budgets, Worst, refusal, squeezed
from router.types import Tags


class Accounts:
    """Where every account of a policy's budgets stands, empty at the start.

    Args:
        budgets: of the policy.
        weight: requests that each one stands for, where only a part of them is simulated.
    """

    def __init__(self, budgets: Budgets, weight: float = 1.0) -> None:
        self._budgets = Budgets(tuple(one for one in budgets.each if one.unit != "concurrent"))
        self._weight = weight
        self._settled: dict[str, dict[int, float]] = {}

    def refuses(self, tags: Tags, model: str, provider: str, worst: Worst, at_us: int) -> str | None:
        """The scope of the budget in the way of a call; None where it may be sent."""
        legs = self._budgets.legs(tags, model, provider, worst, at_us)
        if isinstance(legs, tuple):
            return legs[0].name
        balances = [Balance(settled=self._standing(leg.account, leg.since)) for leg in legs]
        denial = refusal(legs, balances, at_us, model)
        return None if denial is None else denial.error.scope

    def settle(self, tags: Tags, model: str, provider: str, spent: Worst, at_us: int) -> None:
        """Book what a request took."""
        legs = self._budgets.legs(tags, model, provider, spent, at_us)
        for leg in {leg.account: leg for leg in legs}.values() if isinstance(legs, list) else ():
            account = self._settled.setdefault(leg.account, {})
            account[leg.bucket] = account.get(leg.bucket, 0.0) + leg.amount * self._weight

    def squeezed(self, tags: Tags, at_us: int) -> str | None:
        """The budget that asks for cheaper routes; None where none does."""
        standing: list[tuple[Budget, Balance]] = []
        for budget in self._budgets.each:
            account = None if budget.asks_model else budget.account(tags)
            if account is not None:
                settled = self._standing(account, budget.window.since(at_us))
                standing.append((budget, Balance(settled=settled)))
        return squeezed(standing)

    def _standing(self, account: str, since: int) -> int:
        return round(sum(amount for bucket, amount in self._settled.get(account, {}).items() if bucket >= since))
