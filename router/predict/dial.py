"""The dial: which price of a dollar, in quality, each operating point sets.

A request goes to the model with the greatest quality - lambda x cost. As lambda falls, every single request moves
up the hull of its own (cost, quality) points, so expected cost never falls along the dial.
"""

from __future__ import annotations

import numpy as np

from router.errors import InvalidRequestError
from router.predict.labels import Floats, Indices

CURVE_POINTS = 2_000
"""Points of the stored curve."""


def choose(quality: Floats, cost_usd: Floats, price: float) -> Indices:
    """Model of each query at one lambda, shape (n,); ties go to the cheaper model."""
    value = quality - price * cost_usd
    best = value.max(axis=1, keepdims=True)
    return np.asarray(np.where(value >= best - 1e-12 * np.abs(best), cost_usd, np.inf).argmin(axis=1))


def trace(quality: Floats, cost_usd: Floats) -> tuple[Floats, Floats]:
    """Mean expected cost at every lambda where some query changes its model.

    Returns:
        Lambdas (falling) and the mean cost in USD once each has been passed (rising), shape (k,) each.
    """
    switches, steps = [], []
    start = 0.0
    for own_quality, own_cost in zip(quality, cost_usd, strict=True):
        order = np.lexsort((-own_quality, own_cost))
        at = int(order[0])
        start += own_cost[at]
        while True:
            gain, extra = own_quality - own_quality[at], own_cost - own_cost[at]
            slope = np.where((gain > 0) & (extra > 0), gain / np.where(extra > 0, extra, 1.0), 0.0)
            after = int(slope.argmax())
            if slope[after] <= 0:
                break
            switches.append(slope[after])
            steps.append(extra[after])
            at = after
    order = np.argsort(-np.asarray(switches), kind="stable")
    lambdas = np.asarray(switches)[order]
    costs = (start + np.cumsum(np.asarray(steps)[order])) / len(quality)
    lambdas = np.concatenate([[10.0 * lambdas[0] if len(lambdas) else 0.0], lambdas])
    costs = np.concatenate([[start / len(quality)], costs])
    kept = np.unique(np.linspace(0, len(lambdas) - 1, CURVE_POINTS).astype(np.int64))
    return lambdas[kept], costs[kept]


def spread(lambdas: Floats, costs: Floats, points: int) -> Floats:
    """Lambdas for operating points 0..points-1, shape (points,), falling from "cheapest" to 0, "best quality".

    The points between are evenly spaced in the logarithm of expected cost.

    Args:
        lambdas: of `trace`.
        costs: of `trace`.
        points: at least 1; a single point is "best quality".
    """
    if points < 1:
        raise InvalidRequestError(f"a dial needs at least 1 point, not {points}")
    floor = max(float(costs[-1]) * 1e-6, 1e-300)
    logs = np.log(np.maximum(costs, floor))
    wanted = np.linspace(logs[0], logs[-1], points)
    place = np.minimum(np.searchsorted(logs, wanted - 1e-9), len(lambdas) - 1)
    # Halfway to the next switch, so that rounding on another machine cannot undo the one just made.
    below = np.append(lambdas[1:], 0.0)[place]
    dial = (lambdas[place] + below) / 2.0
    dial[0], dial[-1] = lambdas[0], 0.0
    return np.asarray(dial)
