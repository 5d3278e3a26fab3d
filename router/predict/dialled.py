"""A way to route on held-out queries, at each of its operating points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.predict.dial import choose, spread, trace
from router.predict.labels import Floats, Indices

ALLOWED_DROP = 0.01
"""Mean quality that "not worse" may lose: the lower bound of the paired difference must stay above minus this."""
DIAL_POINTS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialled:
    """What a way to route did with held-out queries at its operating points; shape (points, n) each."""

    prices: Floats
    """Shape (points,), falling: quality per USD of each point."""
    quality: Floats
    cost_usd: Floats

    @classmethod
    def single(cls, expected: Floats, expected_cost: Floats, quality: Floats, cost_usd: Floats) -> Dialled:
        """One call each, to the model with the best expected quality minus price x expected cost."""
        prices = spread(*trace(expected, expected_cost), DIAL_POINTS)
        rows = np.arange(len(quality))
        chosen = [choose(expected, expected_cost, float(price)) for price in prices]
        return cls(
            prices=prices,
            quality=np.stack([quality[rows, models] for models in chosen]),
            cost_usd=np.stack([cost_usd[rows, models] for models in chosen]),
        )

    def point(self, constant: Floats, rows: Indices) -> int:
        """The cheapest point that, on `rows`, is not worse than the best constant model with 95 % confidence.

        Where none is: the one whose lower bound is highest. Chosen by half of what is allowed: the cheapest of many
        points owes its place to luck, too, and has to stand the same test again where it is judged.

        Args:
            constant: quality of the best constant model, shape (n,).
            rows: the queries to judge by.
        """
        gain = self.quality[:, rows] - constant[rows]
        low = gain.mean(axis=1) - 1.96 * gain.std(axis=1) / np.sqrt(len(rows))
        short = np.maximum(-ALLOWED_DROP / 2 - low, 0.0)
        return int(np.lexsort((self.cost_usd[:, rows].mean(axis=1), short))[0])

    def served(self, constant: Floats, folds: Indices) -> tuple[Floats, Floats]:
        """Quality and cost of every query, each fold at the point that the other folds chose; shape (n,) each."""
        quality, cost = np.zeros((2, len(folds)))
        for fold in np.unique(folds):
            out, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            point = self.point(constant, rest)
            quality[out], cost[out] = self.quality[point, out], self.cost_usd[point, out]
        return quality, cost
