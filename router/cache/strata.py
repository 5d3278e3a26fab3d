"""Two certificates a task: one for answers that a single near question speaks for, one for those with more.

An answer that came once may be a neighbour by chance; that it came twice shows that such questions repeat. The two are
wrong at different rates at the same p, and a change of what is asked moves requests from one to the other, so labels
of the one say nothing of the other. Each keeps wrong / hits at or under the promise, so both together do as well.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from router.cache.certify import Certifier, JudgeError, Standing
from router.cache.evidence import FEATURES

SUPPORTERS = FEATURES.index("supporters")
SHARES = (0.1, 0.9)
"""Of 1 - confidence: single ones and others. A union bound; nearly all hits are in the second."""


MOST = (0.1, 0.5)
"""What each may promise at most: where hardly anything comes twice, a lax promise is many wrong answers."""


class Strata:
    """The certifiers of a task."""

    def __init__(self, max_error: float, *, confidence: float = 0.95, judge: JudgeError | None = None) -> None:
        """Promise that wrong / hits stays at or under `max_error`, in (0, 0.5], with this confidence."""
        self.all = tuple(
            Certifier(min(max_error, most), confidence=1 - share * (1 - confidence), judge=judge)
            for share, most in zip(SHARES, MOST, strict=True)
        )

    def of(self, features: NDArray[np.float64]) -> Certifier:
        """The one that answers with these features belong to."""
        return self.all[int(features[SUPPORTERS] > 0)]

    def update(self) -> None:
        """Move both thresholds to the largest ones that their labels allow."""
        for one in self.all:
            one.update()

    def withdraw(self) -> None:
        """All has to be earned anew."""
        for one in self.all:
            one.withdraw()

    def standing(self) -> Standing:
        """Of both together; the threshold is the larger one."""
        parts = [one.standing() for one in self.all]
        hits = sum(one.hits for one in parts)

        def shared(rates: list[float]) -> float:
            if not hits:
                return rates[1]
            return math.fsum(rate * one.hits for rate, one in zip(rates, parts, strict=True)) / hits

        return Standing(
            threshold=max(one.threshold for one in parts),
            hits=hits,
            labels=sum(one.labels for one in parts),
            wrong_estimate=shared([one.wrong_estimate for one in parts]),
            wrong_upper=shared([one.wrong_upper for one in parts]),
            withdrawn=sum(one.withdrawn for one in parts),
        )
