"""How many samples a question needs."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from router.bounds import check_confidence

MOST = 100_000
"""A bar that needs more samples than this is too near to the assumed rate to be proved."""


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


def samples_for_power(bar: float, rate: float, confidence: float = 0.95, power: float = 0.8) -> int:
    """Fewest pass/fail samples that prove a bar with the given chance, if the true rate is `rate`.

    Exact binomial for both the bound (Clopper-Pearson) and the chance.

    Args:
        bar: rate to prove, in (0, 1).
        rate: assumed true rate, above the bar.
        confidence: of the bound.
        power: chance of proving the bar.

    Raises:
        ValueError: the rate does not lie above the bar, or so near that 100,000 samples would not do.

    >>> samples_for_power(0.9, 0.95)
    179
    """
    check_confidence(confidence)
    check_confidence(power)
    if not 0 < bar < rate <= 1:
        raise ValueError(f"assumed rate {rate!r} must lie above the bar {bar!r} (and that above 0)")
    rough = _rough(bar, rate, confidence, power)
    logs = _log_factorials(MOST)
    if _chance(bar, rate, MOST, confidence, logs) < power:
        raise ValueError(f"bar {bar!r} is too near to the rate {rate!r}: over {MOST:,} samples; lower the bar")
    for n in range(max(samples_needed(bar, confidence), rough * 3 // 4 - 50), MOST + 1):
        if _chance(bar, rate, n, confidence, logs) >= power:
            return n
    return MOST


def successes_needed(bar: float, n: int, confidence: float = 0.95) -> int | None:
    """Fewest successes of n that prove a bar; None where n is too small even without a failure.

    >>> successes_needed(0.9, 179), successes_needed(0.9, 28)
    (168, None)
    """
    check_confidence(confidence)
    return _successes(bar, n, confidence, _log_factorials(n))


def chance_to_prove(bar: float, rate: float, n: int, confidence: float = 0.95) -> float:
    """Chance that n pass/fail samples prove a bar, if the true rate is `rate`.

    >>> round(chance_to_prove(0.9, 0.95, 179), 2)
    0.81
    """
    check_confidence(confidence)
    return _chance(bar, rate, n, confidence, _log_factorials(n))


def _chance(bar: float, rate: float, n: int, confidence: float, logs: NDArray[np.float64]) -> float:
    successes = _successes(bar, n, confidence, logs)
    if successes is None:
        return 0.0
    first, tails = _upper_tails(n, rate, logs)
    place = successes - first
    return 1.0 if place < 0 else float(tails[place]) if place < len(tails) else 0.0


def _successes(bar: float, n: int, confidence: float, logs: NDArray[np.float64]) -> int | None:
    first, tails = _upper_tails(n, bar, logs)
    proving = np.flatnonzero(tails <= 1 - confidence)
    # Past the last count that has any chance worth counting, one more success is a proof.
    found = first + (int(proving[0]) if len(proving) else len(tails))
    return found if found <= n else None


def _log_factorials(most: int) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])
    return logs


def _upper_tails(n: int, rate: float, logs: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]]:
    """P(X >= k) for k from the first number on; counts over 12 standard deviations away are left out as impossible."""
    if not 0 < rate < 1:
        return 0, np.asarray(np.arange(n + 1) <= (n if rate >= 1 else 0), dtype=np.float64)
    reach = 12 * math.sqrt(n * rate * (1 - rate)) + 40
    first, last = max(0, int(n * rate - reach)), min(n, int(n * rate + reach))
    ks = np.arange(first, last + 1)
    chances = np.exp(logs[n] - logs[ks] - logs[n - ks] + ks * math.log(rate) + (n - ks) * math.log1p(-rate))
    tails: NDArray[np.float64] = np.minimum(1.0, np.cumsum(chances[::-1])[::-1])
    return first, tails


def _rough(bar: float, rate: float, confidence: float, power: float) -> int:
    """By the normal approximation; three quarters of it, less 50, lie below the exact number."""
    normal = NormalDist()
    spread = normal.inv_cdf(confidence) * math.sqrt(bar * (1 - bar))
    spread += max(0.0, normal.inv_cdf(power)) * math.sqrt(rate * (1 - rate))
    return min(MOST, int((spread / (rate - bar)) ** 2))
