"""Two candidates on the same samples: how much they differ, and whether one may stand in for the other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from evals.stats.betting import anytime_lower, log_wealth
from evals.stats.bounds import Interval
from router.bounds import check_confidence, difference_lower, differences, finite, upper_tail


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value against two candidates being right equally often (McNemar 1947, binomial).

    Only discordant samples count: where both are right, or both wrong, nothing is learned about which is better.

    Args:
        only_a: samples that only the first candidate has right.
        only_b: samples that only the second has right.

    >>> round(mcnemar(1, 7), 4)
    0.0703
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"counts {only_a!r} and {only_b!r} must not be negative")
    return min(1.0, 2 * upper_tail(max(only_a, only_b), only_a + only_b, 0.5)) if only_a + only_b else 1.0


def sign_flip_p(differences: Sequence[float], *, seed: int = 0, draws: int = 10_000) -> float:
    """Two-sided p-value against two candidates being exchangeable, for graded scores (Fisher's randomisation).

    Flips the sign of each paired difference at random; never 0, since the answers seen count as one draw.
    """
    values = finite(differences)
    values = values[values != 0]
    if not len(values):
        return 1.0
    random = np.random.default_rng(seed)
    seen = abs(values.sum()) - 1e-9
    extreme = 0
    for start in range(0, draws, 500):
        signs = random.integers(0, 2, (min(500, draws - start), len(values))) * 2 - 1
        extreme += int((np.abs(signs @ values) >= seen).sum())
    return (1 + extreme) / (1 + draws)


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], *, seed: int = 0, draws: int = 10_000, confidence: float = 0.95
) -> Interval:
    """Mean of `a - b` over the same samples, with a two-sided percentile interval.

    Args:
        a: scores of one candidate, in sample order.
        b: scores of the other on the same samples.
        seed: of the resampling; the same arguments give the same interval.
        draws: number of resamples.
        confidence: coverage of the interval.
    """
    check_confidence(confidence)
    difference = differences(a, b)
    random = np.random.default_rng(seed)
    means = np.array([difference[random.integers(0, len(difference), len(difference))].mean() for _ in range(draws)])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(difference.mean()), float(low), float(high))


def difference_interval(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of `a - b` with a two-sided interval that inverts `p_above` on both sides, so that the two agree.

    It never shrinks to a point: 50 equal answers do not prove two candidates equal.
    """
    check_confidence(confidence)
    one_sided = (1 + confidence) / 2
    low, high = difference_lower(a, b, one_sided), -difference_lower(b, a, one_sided)
    return Interval(float(differences(a, b).mean()), low, high)


def anytime_p_above(a: Sequence[float], b: Sequence[float], threshold: float) -> float:
    """Like `p_above`, but valid whenever the answers stopped coming, for any reason that the answers gave."""
    counts = Counter(((differences(a, b) + 1) / 2).tolist())
    return min(1.0, math.exp(-log_wealth(counts, (threshold + 1) / 2)))


def anytime_difference(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of `a - b` with a two-sided interval that is valid whenever the answers stopped coming."""
    difference = differences(a, b)
    low, high = (
        2 * anytime_lower(Counter(((side * difference + 1) / 2).tolist()), (1 + confidence) / 2) - 1 for side in (1, -1)
    )
    return Interval(float(difference.mean()), low, -high)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values adjusted for asking several questions at once (Holm 1979), each by the name of its question.

    An adjusted value of at most alpha may be acted on; the chance of a single false one among all is at most alpha.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    adjusted: dict[str, float] = {}
    worst = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[name]))
        adjusted[name] = worst
    return {name: adjusted[name] for name in p_values}
