"""Two candidates on the same samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.stats.bounds import Interval, check_confidence


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
    if len(a) != len(b) or not len(a):
        raise ValueError(f"a paired comparison needs the same samples on both sides, not {len(a)} and {len(b)}")
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    random = np.random.default_rng(seed)
    means = np.array([difference[random.integers(0, len(difference), len(difference))].mean() for _ in range(draws)])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(difference.mean()), float(low), float(high))
