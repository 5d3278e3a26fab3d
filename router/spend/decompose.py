"""What made spend change: volume, model mix, tokens a call, token mix or price; the parts sum to the change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

FACTORS = ("volume", "models", "tokens", "token mix", "price")
METERS = ("input", "cached_input", "cache_write", "output")
TYPICAL: Mapping[str, float] = {"input": 1.0, "cached_input": 0.1, "cache_write": 1.25, "output": 4.0}
"""What tokens cost against each other where nobody knows a model's price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What one model did in a stretch of time."""

    calls: float
    cost_usd: float
    tokens: Mapping[str, float]
    """By `METERS`, each token once: `input` is what was neither cached nor written to a cache."""

    def scaled(self, factor: float) -> Sums:
        """As much of it, or so many times as much."""
        tokens = {meter: count * factor for meter, count in self.tokens.items()}
        return Sums(calls=self.calls * factor, cost_usd=self.cost_usd * factor, tokens=tokens)

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        meters = {*self.tokens, *other.tokens}
        tokens = {meter: self.tokens.get(meter, 0.0) + other.tokens.get(meter, 0.0) for meter in meters}
        return Sums(calls=self.calls + other.calls, cost_usd=self.cost_usd + other.cost_usd, tokens=tokens)


def changes(
    before: Mapping[str, Sums], after: Mapping[str, Sums], rates: Mapping[str, Mapping[str, float]] | None = None
) -> dict[str, Decimal]:
    """Parts of a change in cost, in USD, by `FACTORS`.

    Each model's cost is calls x its share of them x tokens a call x cost of a token at fixed rates x what is really
    paid against that. The change is split by the logarithmic mean Divisia index (Ang 2004, LMDI-I), which leaves no
    rest: a factor x adds L(c1, c0) ln(x1 / x0), with L(a, b) = (a - b) / ln(a / b). A model that is there on one side
    only is a change of the model mix.

    Args:
        before: what was to be expected, by model.
        after: what came.
        rates: for each model, USD of a token by meter; only their proportions matter, and they serve both sides.
    """
    parts = dict.fromkeys(FACTORS, 0.0)
    calls = [sum(one.calls for one in side.values()) for side in (before, after)]
    for model in {*before, *after}:
        old, new = before.get(model), after.get(model)
        rate = (rates or {}).get(model) or TYPICAL
        if old is None or new is None or not (_is_whole(old, rate) and _is_whole(new, rate)):
            parts["models"] += (new.cost_usd if new else 0.0) - (old.cost_usd if old else 0.0)
            continue
        weight = _logarithmic_mean(new.cost_usd, old.cost_usd)
        ratios = {"volume": calls[1] / calls[0], "models": new.calls / calls[1] * calls[0] / old.calls}
        valued = [_valued(one, rate) for one in (old, new)]
        tokens = [sum(one.tokens.values()) for one in (old, new)]
        ratios["tokens"] = tokens[1] / new.calls / (tokens[0] / old.calls)
        ratios["token mix"] = valued[1] / tokens[1] / (valued[0] / tokens[0])
        ratios["price"] = new.cost_usd / valued[1] / (old.cost_usd / valued[0])
        for name, ratio in ratios.items():
            parts[name] += weight * math.log(ratio)
    change = _exact(sum(one.cost_usd for one in after.values())) - _exact(sum(one.cost_usd for one in before.values()))
    exact = {name: _exact(part) for name, part in parts.items()}
    largest = max(exact, key=lambda name: abs(exact[name]))
    exact[largest] += change - sum(exact.values())  # what rounding left
    return exact


def main_cause(parts: Mapping[str, Decimal]) -> str:
    """The factor that moved the cost most, in the direction in which it moved."""
    rose = sum(parts.values()) >= 0
    return max(parts, key=lambda name: parts[name] if rose else -parts[name])


def _is_whole(sums: Sums, rate: Mapping[str, float]) -> bool:
    return sums.calls > 0 and sums.cost_usd > 0 and _valued(sums, rate) > 0


def _valued(sums: Sums, rate: Mapping[str, float]) -> float:
    return sum(count * rate.get(meter, 0.0) for meter, count in sums.tokens.items())


def _logarithmic_mean(a: float, b: float) -> float:
    return a if math.isclose(a, b, rel_tol=1e-12) else (a - b) / math.log(a / b)


def _exact(usd: float) -> Decimal:
    return Decimal(f"{usd:.12f}")
