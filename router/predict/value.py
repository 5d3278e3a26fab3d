"""What another policy would have earned on requests whose answers were scored, from what this one did.

Where the recorded policy left the first model to chance, its answers stand for those that it did not ask for, by the
inverse of their chance (Horvitz and Thompson 1952; self-normalised: Swaminathan and Joachims 2015). The doubly robust
estimate (Dudik, Langford and Li 2011) starts from expected scores and mends them by what was seen; it is right where
either the chances or the expectations are. Chances are logged, so they are; where there was no chance, nothing mends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_EFFECTIVE = 50.0
"""Below so many effective answers there is no estimate worth reading."""
RESAMPLES = 1_000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One request whose answer was scored. An action is the first model asked, or a whole cascade."""

    score: float
    """In [0, 1]."""
    action: str
    """What the recorded policy did."""
    chances: Mapping[str, float]
    """Chance of each action under the recorded policy; an action without one had none."""
    wanted: str
    """What the other policy would have done."""
    expected: Mapping[str, float]
    """Expected score of `action` and of `wanted`, without a look at this request's score."""
    cost_usd: float | None = None
    expected_cost_usd: Mapping[str, float | None]
    """Expected cost of `action` and of `wanted`; None where unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean with an interval of 95 %."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What the other policy would have earned, and how much of that was seen."""

    n: int
    effective_n: float
    """(sum of weights)^2 / sum of squared weights, over the requests on which the two policies overlap."""
    extrapolated: float
    """Share of requests on which the recorded policy never did what the other wants: expectation alone."""
    recorded: Estimate
    """Mean score of what was served."""
    doubly_robust: Estimate
    """Mean score of the other policy on all requests. The interval does not cover errors of the extrapolated share."""
    inverse_propensity: Estimate
    """The same on the requests with overlap only, without any expectation."""
    worst: float
    """`inverse_propensity` if every extrapolated answer were worth 0."""
    best: float
    """The same if each were worth 1."""
    difference: Estimate
    """`doubly_robust` minus `recorded`, request by request."""
    cost_usd: float | None
    """Mean cost of a request under the other policy, doubly robust; None where a cost is unknown."""
    recorded_cost_usd: float | None

    @property
    def suffices(self) -> bool:
        """Whether enough was seen to say anything."""
        return self.effective_n >= LEAST_EFFECTIVE


def value(records: Sequence[Scored], seed: int = 0) -> Value:
    """Estimate another policy's mean score from scored requests.

    Args:
        records: at least one.
        seed: of the bootstrap.

    Raises:
        ValueError: there is no record, or an action was taken that had no chance.
    """
    if not records:
        raise ValueError("no scored request")
    if impossible := [one.action for one in records if not one.chances.get(one.action, 0.0) > 0]:
        raise ValueError(f"action {impossible[0]!r} was taken with no chance")
    score, weight = np.array([one.score for one in records]), weights_of(records)
    overlaps = np.array([one.chances.get(one.wanted, 0.0) > 0 for one in records])
    wanted = np.array([one.expected[one.wanted] for one in records])
    taken = np.array([one.expected[one.action] for one in records])
    robust = wanted + weight * (score - taken)
    extrapolated = 1.0 - float(overlaps.mean())
    draws = np.random.default_rng(seed)
    by_weight = _interval(draws, (0.0, 1.0), weight * score, weight)
    known, mean_cost = _costs(records, weight)
    return Value(
        n=len(records),
        effective_n=effective(weight),
        extrapolated=extrapolated,
        recorded=_interval(draws, (0.0, 1.0), score),
        doubly_robust=_clipped(_interval(draws, (0.0, 1.0), robust)),
        inverse_propensity=by_weight,
        worst=(1 - extrapolated) * by_weight.mean,
        best=(1 - extrapolated) * by_weight.mean + extrapolated,
        difference=_interval(draws, (-1.0, 1.0), robust - score),
        cost_usd=mean_cost,
        recorded_cost_usd=known,
    )


def weights_of(records: Sequence[Scored]) -> Array:
    """How many requests each answer stands for: the inverse of its chance where it is what was wanted, else 0."""
    return np.array([1 / one.chances[one.action] if one.action == one.wanted else 0.0 for one in records])


def effective(weight: Array) -> float:
    """How many answers of equal weight would tell as much."""
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares else 0.0


def _costs(records: Sequence[Scored], weight: Array) -> tuple[float | None, float | None]:
    """Mean recorded cost, and mean cost under the other policy."""
    paid = [one.cost_usd for one in records]
    wanted = [one.expected_cost_usd.get(one.wanted) for one in records]
    taken = [one.expected_cost_usd.get(one.action) for one in records]
    if None in paid:
        return None, None
    seen = np.array(paid, dtype=float)
    if None in wanted or None in taken:
        return float(seen.mean()), None
    expected = np.array(wanted, dtype=float)
    return float(seen.mean()), max(0.0, float((expected + weight * (seen - np.array(taken, dtype=float))).mean()))


def _interval(
    draws: np.random.Generator, extremes: tuple[float, float], values: Array, weights: Array | None = None
) -> Estimate:
    """Mean of values, or their sum over that of their weights, with its bootstrap interval (Efron 1979).

    Two made-up requests of weight 1, one at each extreme, stand among those that are drawn: where all scores are
    equal, an interval without them would be a point.
    """
    own = float(values.sum() / max(weights.sum(), 1e-12)) if weights is not None else float(values.mean())
    value = np.append(values, extremes)
    weight = np.append(weights, [1.0, 1.0]) if weights is not None else np.ones(len(value))
    found = []
    for _ in range(RESAMPLES):
        rows = draws.integers(len(value), size=len(value))
        found.append(value[rows].sum() / max(weight[rows].sum(), 1e-12))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return Estimate(mean=own, low=min(float(low), own), high=max(float(high), own))


def _clipped(one: Estimate) -> Estimate:
    return Estimate(mean=min(1.0, max(0.0, one.mean)), low=max(0.0, one.low), high=min(1.0, one.high))
