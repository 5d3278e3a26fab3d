"""Notices, without a label, that more doubtful questions are asked than before: old labels say nothing of these.

Each proposal is ranked among the recent ones by how likely the shipped score, which is never refitted, thinks it wrong.
As long as the order in which questions come does not matter, ranks are uniform, and no bet that they are high gains on
average: the wealth of one who goes on betting is an exchangeability martingale (Vovk, Nouretdinov and Gammerman 2003),
in CUSUM form, so that false alarms are thousands of proposals apart on average.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.cache.score import shipped

REFERENCE = 1_000
"""Recent proposals that a new one is ranked among."""
LEAST = 100
"""Of them, before anything is ranked."""
USUAL = 0.6
"""Rank over which a bet wins. At 0.5 it would be fair; over it, small changes pass."""
STAKES = (0.3, 0.6, 0.9)
DOUBT = -2.2
"""Log odds, of p = 0.1: what is less likely to be wrong ranks alike, so that new questions which fit are no change."""
ALARM, CALM, MOST = 1_000.0, 50.0, 5_000.0
"""Mean wealth from which it is a change and down to which it stays one, and what one stake may come to."""
PATIENCE = 200
"""Proposals after which the other questions are the usual ones, for which everything is to be earned anew."""


class Change:
    """Watches the proposals of one task."""

    def __init__(self) -> None:
        self.is_on = False
        """Whether other questions are asked than usual."""
        self._usual, self._seen, self._since = np.zeros(REFERENCE), 0, 0
        self._wealth = [1.0] * len(STAKES)

    def note(self, features: NDArray[np.float64]) -> bool:
        """Take in a proposal; True when the change is to stay."""
        at = max(DOUBT, float(features @ shipped()))
        known = self._usual[: min(self._seen, REFERENCE)]
        if len(known) >= LEAST:
            below = np.count_nonzero(known < at) if at > DOUBT else np.count_nonzero(known == DOUBT) / 2
            won = (below / len(known) - USUAL) / USUAL
            self._wealth = [
                min(MOST, max(1.0, wealth * (1 + stake * won)))
                for wealth, stake in zip(self._wealth, STAKES, strict=True)
            ]
            self.is_on = sum(self._wealth) / len(STAKES) > (CALM if self.is_on else ALARM)
        if not self.is_on:
            self._usual[self._seen % REFERENCE] = at
            self._seen, self._since = self._seen + 1, 0
            return False
        self._since += 1
        if self._since < PATIENCE:
            return False
        self.is_on, self._seen, self._since = False, 0, 0
        self._wealth = [1.0] * len(STAKES)
        return True
