"""Bounds of the mean of scores anywhere in [0, 1]: a gambler bets against each mean, and her wealth refutes it.

Two sizes of bets: `betting_lower` tunes them to a number of samples fixed beforehand; `anytime_lower` may be read
after every sample, and still holds at whichever moment somebody stops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evals.stats.bounds import check_confidence, check_counts, clopper_pearson_lower

_GRID = 1_000
"""Resolution of the betting bound; the bound is rounded to the safe side of this grid."""

_STAKES = ((np.arange(64) + 0.5) / 64) ** 2
"""Shares of her wealth that the gambler stakes, one sixty-fourth of it on each; small ones for means near the bar."""


def betting_lower(scores: Sequence[float], confidence: float = 0.95) -> float:
    """One-sided lower bound of a mean of independent scores in [0, 1], valid at every n.

    A gambler bets that the scores lie above m; if the mean were m, her expected wealth could not grow, so
    wealth above 1 / (1 - confidence) refutes m (Waudby-Smith and Ramdas 2024, "Estimating means of bounded
    random variables by betting", section 4, hedged only to the one side that is asked for). Far better than
    Hoeffding's bound for scores that vary little. The bound depends on the order of the scores, so give them in
    one that was fixed beforehand (such as by sample id): trying several orders would void it.
    """
    check_confidence(confidence)
    values = _checked(scores)
    means = np.arange(1, _GRID) / _GRID
    refuted = _wagers(values, means, confidence) >= -math.log(1 - confidence)
    # Wealth falls as m rises, so the refuted means are the low ones; the first survivor ends them.
    first = int(np.argmin(refuted)) if not refuted.all() else len(means)
    return float(means[first - 1]) if first else 0.0


def betting_p(scores: Sequence[float], mean: float, confidence: float = 0.95) -> float:
    """One-sided p-value against a true mean of at most `mean`, by the bets of `betting_lower`; valid at every n.

    Args:
        scores: in [0, 1], in an order fixed beforehand.
        mean: the mean to refute, in (0, 1).
        confidence: at which the bets are aimed.
    """
    check_confidence(confidence)
    return min(1.0, math.exp(-float(_wagers(_checked(scores), np.array([mean]), confidence)[0])))


def _checked(scores: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=float)
    if not len(values):
        raise ValueError("a bound needs at least one score")
    if not bool(np.all((values >= 0) & (values <= 1))):
        raise ValueError("scores must lie in [0, 1], without NaN")
    return values


def _wagers(values: NDArray[np.float64], means: NDArray[np.float64], confidence: float) -> NDArray[np.float64]:
    """Logarithm of the final wealth of a bettor against each mean."""
    # Predictable bets: each uses only the scores before it, with one half as the first guess.
    n = len(values)
    before = np.arange(n)
    mean = (0.5 + np.concatenate([[0.0], np.cumsum(values)[:-1]])) / (before + 1)
    squares = np.concatenate([[0.0], np.cumsum((values - mean) ** 2)[:-1]])
    variance = (0.25 + squares) / (before + 1)
    bets = np.sqrt(-2 * math.log(1 - confidence) / (n * variance))
    capped = np.minimum(bets[None, :], 0.75 / means[:, None])
    wealth: NDArray[np.float64] = np.log1p(capped * (values[None, :] - means[:, None])).sum(axis=1)
    return wealth


def hoeffding_lower(mean: float, n: int, confidence: float = 0.95) -> float:
    """One-sided lower bound of the mean of n scores in [0, 1] (Hoeffding 1963); needs nothing but the mean."""
    check_counts(mean * n, n, confidence)
    return max(0.0, mean - math.sqrt(math.log(1 / (1 - confidence)) / (2 * n)))


def lower_bound(scores: Sequence[float], confidence: float = 0.95) -> float:
    """The lower bound to promise: exact for scores of 0 and 1 only, by betting for graded ones."""
    if scores and all(score in (0.0, 1.0) for score in scores):
        return clopper_pearson_lower(int(sum(scores)), len(scores), confidence)
    return betting_lower(scores, confidence)


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
