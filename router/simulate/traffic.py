"""A ledger's requests under two policies: decided again, weighed by what was seen, budgets run in the order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from router.predict.value import effective
from router.simulate.accounts import Accounts
from router.simulate.pairs import Pair, Side, Simulated
from router.simulate.party import Party
from router.simulate.past import MOST, Habits, Past, Read, read
from router.simulate.view import View
from router.spend.budget import Worst
from router.spend.money import PICO

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

Sides = tuple[Side, Side]
REPLICATES = 50
"""How often requests are drawn again where budgets tie them together."""


def from_ledger(
    ledger: Ledger, before: Party | None, after: Party, now: datetime, folder: Path | None = None, *,
    since_us: int = 0, until_us: int | None = None,
) -> Simulated:  # fmt: skip
    """Simulate both policies on the requests of a period.

    What a policy learns, explores, caches or remembers of sessions is left out; canaries take their share.

    Args:
        ledger: of what was done.
        before: the policy that is; None: what was done, exploration included.
        after: the policy that may be.
        now: prices and evidence of this moment count.
        folder: state folder with the stored texts; only looked at where a policy reads text.
        since_us: microseconds since 1970.
        until_us: the first that no longer counts.

    Raises:
        ConfigurationError: a policy reads the text of requests, and none is stored.
    """
    found = read(ledger, [one for one in (before, after) if one is not None], folder, since_us, until_us)
    habits = Habits(found.pasts)
    stands_for = found.count / max(1, len(found.pasts))
    runs = [_Run(None if one is None else View(one, habits, now), found.pasts, stands_for) for one in (before, after)]
    order = np.arange(len(found.pasts))
    both = [run.served(order) for run in runs]
    pairs = [_pair(past, a, b) for past, a, b in zip(found.pasts, *both, strict=True)]
    is_tied = any(run.has_budgets for run in runs)
    return Simulated(
        pairs=pairs,
        left=found.left,
        notes=tuple(_notes(found, runs)),
        effective_n=_effective(found.pasts, pairs),
        replicates=_replicates(runs) if is_tied and pairs else None,
    )


class _Run:
    """One policy over all requests; without a policy, what was done."""

    def __init__(self, view: View | None, pasts: Sequence[Past], stands_for: float) -> None:
        self._view, self.pasts, self._stands_for = view, pasts, stands_for
        self._known: dict[tuple[int, bool], tuple[list[tuple[str, str, Worst]], list[Sides]] | str] = {}
        budgets = view.policy.budgets.each if view is not None else ()
        self.has_budgets = any(one.unit != "concurrent" for one in budgets)
        self.learns = view is not None and view.policy.learns
        self.leaves_out = any(one.unit == "concurrent" for one in budgets)

    def served(self, order: NDArray[np.int64]) -> list[Sides]:
        """What becomes of requests that come at the moments there were, in an order of their own."""
        if self._view is None:
            return [_recorded(self.pasts[number]) for number in order]
        if not self.has_budgets:
            return [self._alone(int(number)) for number in order]
        accounts = Accounts(self._view.policy.budgets, self._stands_for)
        return [self._within(int(number), accounts, self.pasts[place].at_us) for place, number in enumerate(order)]

    def _alone(self, number: int) -> Sides:
        known = self._decided(number, is_squeezed=False)
        return _denied(known) if isinstance(known, str) else known[1][0]

    def _within(self, number: int, accounts: Accounts, at_us: int) -> Sides:
        tags = self.pasts[number].request.tags
        known = self._decided(number, is_squeezed=accounts.squeezed(tags, at_us) is not None)
        if isinstance(known, str):
            return _denied(known)
        scope = None
        for (model, provider, worst), sides in zip(*known, strict=True):
            scope = accounts.refuses(tags, model, provider, worst, at_us)
            if scope is None:
                usd = sides[1].cost_usd
                answer = self.pasts[number].answer
                tokens = None if answer is None else (answer["input_tokens"] or 0) + (answer["output_tokens"] or 0)
                spent = Worst(usd=worst.usd if usd is None else round(usd * int(PICO)), tokens=tokens or worst.tokens)
                accounts.settle(tags, model, provider, spent, at_us)
                return sides
        return _denied(f"budget of {scope}")

    def _decided(
        self, number: int, *, is_squeezed: bool
    ) -> tuple[list[tuple[str, str, Worst]], list[Sides]] | str:  # fmt: skip
        key = number, is_squeezed
        if key not in self._known:
            assert self._view is not None  # noqa: S101  asked before
            past = self.pasts[number]
            ruling = self._view.decide(past, "a budget" if is_squeezed else None)
            if isinstance(ruling, str):
                self._known[key] = ruling
            elif not self.has_budgets:
                self._known[key] = [], [self._view.sides(past, ruling.decision)]
            else:
                plan = range(len(ruling.decision.plan))
                sides = [self._view.sides(past, ruling.decision, start) for start in plan]
                self._known[key] = self._view.worst(past, ruling), sides
        return self._known[key]


def _denied(why: str) -> Sides:
    side = Side(action=None, denied=why, cost_usd=0.0)
    return side, side


def _recorded(past: Past) -> Sides:
    side = Side(action=past.action, denied=past.denied, quality=past.score, cost_usd=past.cost_usd,
                latency_s=past.latency_s)  # fmt: skip
    return side, side


def _pair(past: Past, before: Sides, after: Sides) -> Pair:
    a, b = before[0], after[0]
    noise = 0.0
    if a.action != b.action and past.score is not None:
        # Whether an answer is right is beyond what is expected of it.
        means = [min(1.0, max(0.0, one[1].quality)) for one in (before, after) if one[1].quality is not None]
        noise = sum(mean * (1 - mean) for mean in means)
    return Pair(cluster=past.cluster, scope=past.scope, a=a, b=b, plain=(before[1], after[1]), noise=noise)


def _effective(pasts: Sequence[Past], pairs: Sequence[Pair]) -> float | None:
    """Effective answers behind what the new policy does otherwise than was mostly done; None where it does nothing."""
    weights = []
    for past, pair in zip(pasts, pairs, strict=True):
        usual = max(past.chances, key=lambda action: past.chances[action], default=None)
        if past.score is None and (pair.a.action is None or not pair.is_changed):
            continue
        if pair.b.action is None or pair.b.action == usual or pair.a.action == pair.b.action == usual:
            continue
        is_told = past.score is not None and pair.b.action == past.action
        weights.append(1 / past.chances[pair.b.action] if is_told else 0.0)
    return effective(np.array(weights)) if weights else None


def _replicates(runs: Sequence[_Run]) -> dict[str, tuple[float, float]]:
    """Standard deviations of what budgets let through, over requests drawn again."""
    draws, count = np.random.default_rng(0), len(runs[0].pasts)
    found: dict[str, list[float]] = {"cost": [], "denied": [], "denied_b": []}
    for _ in range(REPLICATES):
        order = draws.integers(count, size=count)
        before, after = (run.served(order) for run in runs)
        paid = [sum(plain.cost_usd or 0.0 for _, plain in sides) for sides in (before, after)]
        refused = [sum(side.denied is not None for side, _ in sides) / count for sides in (before, after)]
        found["cost"].append(paid[1] / paid[0] - 1 if paid[0] > 0 else 0.0)
        found["denied"].append(refused[1] - refused[0])
        found["denied_b"].append(refused[1])
    return {name: (float(np.std(values, ddof=1)),) * 2 for name, values in found.items()}


def _notes(found: Read, runs: Sequence[_Run]) -> Iterator[str]:
    if found.count > MOST:
        yield f"{MOST:,} of {found.count:,} requests were drawn"
    scored = sum(past.score is not None for past in found.pasts)
    if scored < len(found.pasts):
        yield f"quality is that of {scored:,} scored requests of {len(found.pasts):,}"
    if any(run.has_budgets for run in runs):
        yield "budgets start empty with the first request, and see the simulated requests alone"
    if any(run.learns for run in runs):
        yield "what a policy learns and explores is left out"
    if any(run.leaves_out for run in runs):
        yield "limits on calls at once (`limit_concurrent`) are not simulated"
