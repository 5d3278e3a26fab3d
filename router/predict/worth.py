"""Is the embedding worth its milliseconds? The predictor with it against the same without, paired by held-out query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.predict.calibrate import squared_error
from router.predict.dialled import Dialled
from router.predict.labels import Floats
from router.predict.meaning import NAMES, Meaning

LEVELS = 24
"""Costs at which the two are compared, evenly spaced in the logarithm over the range that both can spend."""
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What an embedding added to the predictor."""

    name: str
    version: str
    dimensions: int
    """Columns that it became."""
    truncated: int
    """Training texts of which only the first and the last 254 word pieces were read."""
    gain: float
    """Mean quality of one call each, with the embedding minus without, at the same cost, mean over the dial."""
    gain_low: float
    """95 % interval, paired by query."""
    gain_high: float
    brier: float
    """Mean squared error of the expected quality with it ..."""
    brier_without: float
    """... and without."""

    @classmethod
    def of(
        cls,
        name: str,
        meaning: Meaning,
        expected: tuple[Floats, Floats],
        quality: Floats,
        gain: tuple[float, float, float],
    ) -> Worth:
        """Put together.

        Args:
            name: of `meaning.NAMES`.
            meaning: as it was fitted.
            expected: quality as expected with it and without, shape (n, m) each.
            quality: shape (n, m), NaN where a model was not asked.
            gain: of `gain_at_equal_cost`.
        """
        return cls(
            name=name,
            version=NAMES[name],
            dimensions=meaning.projection.shape[1],
            truncated=meaning.truncated,
            gain=gain[0],
            gain_low=gain[1],
            gain_high=gain[2],
            brier=squared_error(expected[0], quality),
            brier_without=squared_error(expected[1], quality),
        )

    @property
    def verdict(self) -> str:
        """One sentence for people."""
        gain = f"quality {self.gain:+.4f} ({self.gain_low:+.4f} to {self.gain_high:+.4f}) at equal cost"
        if self.gain_low > 0.0:
            return f"worth it: {gain} on held-out queries"
        if self.gain > 0.0:
            return f"not certainly worth it: {gain} on held-out queries; without it no request waits for it"
        return f"not worth it: {gain} on held-out queries; train without it, and no request waits for it"


def gain_at_equal_cost(own: Dialled, other: Dialled) -> tuple[float, float, float]:
    """Mean gain of quality over the costs that both dials reach, with a paired 95 % interval; zeros if there are none.

    The interval takes the operating points as given.
    """
    if own.quality.shape[1] < 2:
        return 0.0, 0.0, 0.0
    ends = [np.maximum.accumulate(way.cost_usd.mean(axis=1))[[0, -1]] for way in (own, other)]
    low, high = max(ends[0][0], ends[1][0]), min(ends[0][1], ends[1][1])
    if not 0.0 < low < high:
        return 0.0, 0.0, 0.0
    costs = np.geomspace(low, high, LEVELS)
    gain = _along(own, costs) - _along(other, costs)
    reach = NORMAL_95 * float(gain.std(ddof=1)) / len(gain) ** 0.5
    mean = float(gain.mean())
    return mean, mean - reach, mean + reach


def _along(way: Dialled, costs: Floats) -> Floats:
    """Mean quality of every query over the costs, by mixing the two points around each cost; shape (n,)."""
    reached = np.maximum.accumulate(way.cost_usd.mean(axis=1))
    after = np.clip(np.searchsorted(reached, costs), 1, len(reached) - 1)
    step = reached[after] - reached[after - 1]
    share = np.clip((costs - reached[after - 1]) / np.where(step > 0, step, 1.0), 0.0, 1.0)[:, None]
    return np.asarray(((1.0 - share) * way.quality[after - 1] + share * way.quality[after]).mean(axis=0))
