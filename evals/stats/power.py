"""How many samples a question needs."""

from __future__ import annotations

import math

from evals.stats.bounds import check_confidence


def samples_needed(bar: float, confidence: float = 0.95) -> int:
    """Fewest pass/fail samples that can prove a bar, namely when every answer is right.

    >>> [samples_needed(bar) for bar in (0.8, 0.9, 0.95, 0.99)]
    [14, 29, 59, 299]
    """
    check_confidence(confidence)
    if not 0 <= bar < 1:
        raise ValueError(f"bar {bar!r} must be at least 0 and below 1: no number of samples proves 1")
    if bar == 0:
        return 1
    exact = math.log(1 - confidence) / math.log(bar)
    return max(1, math.ceil(exact - 1e-9))
