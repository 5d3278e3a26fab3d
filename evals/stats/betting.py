"""Bounds of the mean of scores anywhere in [0, 1]: a gambler bets against each mean, and her wealth refutes it.

`router.bounds.betting_lower` tunes the bets to a number of samples fixed beforehand; `anytime_lower` may be read after
every sample, and still holds at whichever moment somebody stops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from router.bounds import check_confidence, check_counts

_STAKES = ((np.arange(64) + 0.5) / 64) ** 2
"""Shares of her wealth that the gambler stakes, one sixty-fourth of it on each; small ones for means near the bar."""


def hoeffding_lower(mean: float, n: int, confidence: float = 0.95) -> float:
    """One-sided lower bound of the mean of n scores in [0, 1] (Hoeffding 1963); needs nothing but the mean."""
    check_counts(mean * n, n, confidence)
    return max(0.0, mean - math.sqrt(math.log(1 / (1 - confidence)) / (2 * n)))


def log_wealth(counts: Mapping[float, int], mean: float) -> float:
    """Logarithm of a gambler's wealth, begun at 1, who bets that the true mean lies above `mean`.

    She splits her money over constant stakes c, each of which grows by 1 - c + c * score / mean. If the true mean is
    at most `mean`, her expected wealth never grows, so that it ever reaches 1 / alpha has a chance of at most alpha
    (Ville 1939; the mixture of Waudby-Smith and Ramdas 2024, section 4). It falls as `mean` rises, and does not depend
    on the order of the scores.

    Args:
        counts: how often each score in [0, 1] was seen.
        mean: the mean to refute, above 0.
    """
    if not 0 < mean <= 1:
        raise ValueError(f"mean {mean!r} must lie above 0 and at most at 1")
    scores = np.fromiter(counts.keys(), float, len(counts))
    times = np.fromiter(counts.values(), float, len(counts))
    growth = np.log1p(_STAKES[:, None] * (scores[None, :] / mean - 1)) @ times
    top = float(growth.max())
    return top + math.log(float(np.exp(growth - top).mean()))


def anytime_lower(counts: Mapping[float, int], confidence: float = 0.95) -> float:
    """One-sided lower bound of a mean that may be read after every sample: a confidence sequence.

    The chance that it ever, at any moment, stands above the true mean is at most 1 - confidence.

    Args:
        counts: how often each score in [0, 1] was seen.
        confidence: that the bound always holds.

    >>> round(anytime_lower({1.0: 59}), 3)
    0.916
    """
    check_confidence(confidence)
    if not any(score > 0 for score in counts):
        return 0.0
    needed = -math.log(1 - confidence)
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if log_wealth(counts, middle) >= needed else (low, middle)
    return low
