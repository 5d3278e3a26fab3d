"""What a finite number of outcomes can prove: bounds and p-values that hold at every n, whatever the scores.

Exact for scores of 0 and 1, by betting for graded ones. None degenerates at 0 % or 100 %: ten right answers of ten
prove a rate of 0.74, not of 1. Pure `math` and numpy; evaluations promise by these, and so does a trained plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_GRID = 1_000
"""Resolution of the betting bound; the bound is rounded to the safe side of this grid."""
_SCORED = 5_000
"""Up to so many samples the exact paired test takes the more powerful statistic, which is slower."""
_FINE = 1e-4
"""How far below the exact bound of a difference the found one may lie."""
_NUISANCE = 0.001
"""Error spent on the share of discordant samples in the exact paired test."""


def clopper_pearson_lower(successes: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided lower bound of a success rate (Clopper and Pearson 1934).

    The true rate lies above it with at least the given confidence. 0 successes give 0.

    >>> round(clopper_pearson_lower(59, 59), 4)
    0.9505
    """
    check_counts(successes, n, confidence)
    if successes == 0:
        return 0.0
    return _lower(successes, n, confidence)


@lru_cache(maxsize=4_096)  # a bound of a paired difference asks for the same one again and again
def _lower(successes: int, n: int, confidence: float) -> float:
    tail = _tail(successes, n)
    return root(lambda rate: tail(rate) - (1 - confidence))


def clopper_pearson_upper(successes: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided upper bound of a success rate; n successes of n give 1."""
    return 1.0 - clopper_pearson_lower(n - successes, n, confidence)


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


def lower_bound(scores: Sequence[float], confidence: float = 0.95) -> float:
    """The lower bound to promise: exact for scores of 0 and 1 only, by betting for graded ones."""
    if scores and all(score in (0.0, 1.0) for score in scores):
        return clopper_pearson_lower(int(sum(scores)), len(scores), confidence)
    return betting_lower(scores, confidence)


def p_above(a: Sequence[float], b: Sequence[float], threshold: float, confidence: float = 0.95) -> float:
    """One-sided p-value against the true mean of `a - b` being at most `threshold`; valid at every n.

    With a threshold of minus the margin, this tests that `a` is not worse than `b` by more than the margin. Scores of 0
    and 1 are tested exactly: the chance of a paired score statistic (Tango 1998) as high as the seen one, at the least
    favourable share of discordant samples that its 99.9 % upper bound allows (Berger and Boos 1994); that 0.1 % is
    added. Graded scores are tested by betting on their differences, which never assumes a shape.

    Args:
        a: scores in [0, 1] of one candidate, in an order fixed beforehand.
        b: scores of the other on the same samples.
        threshold: a difference in (-1, 1).
        confidence: at which the bets are aimed; it does not change what is exact.

    >>> round(p_above([1.0] * 100, [1.0] * 100, -0.05), 4)
    0.0073
    """
    difference = differences(a, b)
    if not -1 < threshold < 1:
        raise ValueError(f"threshold {threshold!r} must lie between -1 and 1, such as -0.02")
    if not _is_pass_fail(a, b):
        return betting_p(list((difference + 1) / 2), (threshold + 1) / 2, confidence)
    return _exact_p(len(difference), int((difference > 0).sum()), int((difference < 0).sum()), threshold)


def difference_lower(
    a: Sequence[float], b: Sequence[float], confidence: float = 0.95, *, refuted: float = -1.0
) -> float:
    """One-sided lower bound of the mean of `a - b` over the same samples, which inverts `p_above`.

    Args:
        a: as in `p_above`.
        b: as in `p_above`.
        confidence: in (0, 1).
        refuted: a difference that `p_above` is known to refute; the search starts there, and is shorter.

    >>> round(difference_lower([1.0] * 100, [1.0] * 100, 0.9), 3)
    -0.023
    """
    check_confidence(confidence)
    low, high = refuted, float(differences(a, b).mean())
    while high - low > _FINE:  # never, where `a` is wrong on all that `b` had right: there is nothing below
        middle = (low + high) / 2
        is_refuted = p_above(a, b, middle, confidence) <= 1 - confidence
        low, high = (middle, high) if is_refuted else (low, middle)
    return low


def differences(a: Sequence[float], b: Sequence[float]) -> Array:
    """`a - b`, sample by sample; refuses two sides of different lengths."""
    if len(a) != len(b) or not len(a):
        raise ValueError(f"a paired comparison needs the same samples on both sides, not {len(a)} and {len(b)}")
    return finite(a) - finite(b)


def upper_tail(successes: int, n: int, rate: float) -> float:
    """P(X >= successes) for X ~ Binomial(n, rate), summed in logarithms so that no term underflows early."""
    return _tail(successes, n)(rate)


def _tail(successes: int, n: int) -> Callable[[float], float]:
    """`upper_tail` as a function of the rate; the ways to so many successes are counted once."""
    whole = math.lgamma(n + 1)
    ways = [(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1), k) for k in range(successes, n + 1)]

    def tail(rate: float) -> float:
        if rate <= 0 or rate >= 1:
            return float(rate >= 1 or successes == 0)
        log_rate, log_rest = math.log(rate), math.log1p(-rate)
        return math.fsum([math.exp(log_ways + k * log_rate + (n - k) * log_rest) for log_ways, k in ways])

    return tail


def root(rising: Callable[[float], float]) -> float:
    """Where a rising function of a rate crosses zero, from below, to the last bit that matters."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return low


def check_counts(successes: float, n: int, confidence: float) -> None:
    """Refuse counts and a confidence that cannot be."""
    check_confidence(confidence)
    if n < 1 or not 0 <= successes <= n + 1e-9:
        raise ValueError(f"{successes!r} successes of {n!r} samples; need at least one sample and 0 to n successes")


def check_confidence(confidence: float) -> None:
    """Refuse a confidence outside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence!r} must lie between 0 and 1, such as 0.95")


def _exact_p(n: int, wins: int, losses: int, threshold: float) -> float:
    """P-value of a paired score statistic, maximised over the share of discordant samples."""
    least, most = abs(threshold), clopper_pearson_upper(wins + losses, n, 1 - _NUISANCE)
    if least >= most:
        # So few samples differ that a difference as large as the threshold is refuted by their number alone.
        return _NUISANCE if threshold < 0 else 1.0
    shares = np.linspace(least, most, 32)
    up, down = (shares + threshold) / 2, (shares - threshold) / 2
    # By the number of samples alone, so that the outcomes do not choose their own test.
    if n > _SCORED:
        return min(1.0, max(_lead_tails(n, wins - losses, up, down)) + _NUISANCE)
    return min(1.0, max(_score_tails(n, wins, losses, threshold, up, down)) + _NUISANCE)


def _score_tails(n: int, wins: int, losses: int, threshold: float, up: Array, down: Array) -> list[float]:
    """Chance of a score statistic as high as the seen one, for each pair of chances to win and to lose."""
    seen = float(_score(np.array(float(wins)), np.array(float(losses)), n, threshold)) - 1e-9
    first, last = _around(n, float(up.min()))[0], _around(n, float(up.max()))[1]
    b = np.arange(first, last)[:, None]
    least, most = _around(n, float(down.min()))[0], _around(n, float(down.max()))[1]
    c = np.arange(least, most)[None, :]
    ties = np.maximum(n - b - c, 0)
    is_as_high = (_score(b.astype(float), c.astype(float), n, threshold) >= seen) & (b + c <= n)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    ways = np.where(is_as_high, logs[n] - logs[b] - logs[c] - logs[ties], -np.inf)
    tails = []
    for win, lose in zip(up.tolist(), down.tolist(), strict=True):
        (b_from, b_to), (c_from, c_to) = _around(n, win), _around(n, lose)
        rows, columns = slice(b_from - first, b_to - first), slice(c_from - least, c_to - least)
        tie = _log(1 - win - lose)
        chance = b[rows] * (_log(win) - tie) + c[:, columns] * (_log(lose) - tie) + n * tie
        tails.append(float(np.exp(ways[rows, columns] + chance).sum()))
    return tails


def _score(wins: Array, losses: Array, n: int, threshold: float) -> Array:
    """Score statistic of a difference of paired rates against `threshold` (Tango 1998), higher for more wins.

    It is measured in the standard error that these wins and losses leave possible under the threshold: few
    discordant samples prove more than many with the same lead.
    """
    half = -wins - losses + (2 * n - wins + losses) * threshold
    lost = (np.sqrt(np.maximum(half**2 + 8 * n * losses * threshold * (1 - threshold), 0.0)) - half) / (4 * n)
    variance = n * (2 * lost + threshold * (1 - threshold))
    return np.asarray((wins - losses - n * threshold) / np.sqrt(np.maximum(variance, 1e-12)))


def _around(n: int, rate: float) -> tuple[int, int]:
    """First and past the last number of successes that are not as good as impossible (a chance below 1e-10)."""
    spread = 7 * math.sqrt(n * rate)
    return max(0, int(n * rate - spread - 1)), min(n, int(n * rate + spread + 20)) + 1


def _log(rate: float) -> float:
    return math.log(max(rate, 1e-300))


def _lead_tails(n: int, lead: int, up: Array, down: Array) -> list[float]:
    """Chance of a lead (a sum of -1, 0 and 1) as high as the seen one: less power, but quick for any n."""
    turns = np.exp(2j * math.pi * np.arange(2 * n + 1) / (2 * n + 1))
    each = up[:, None] * turns + down[:, None] / turns + (1 - up - down)[:, None]
    # From the characteristic function, for all shares at once; lead m stands at index m modulo 2n + 1.
    chances = np.maximum(0.0, np.fft.fft(each**n, axis=1).real / (2 * n + 1))
    leads = np.arange(lead, n + 1) % (2 * n + 1)
    return [float(tail) for tail in chances[:, leads].sum(axis=1)]


def _is_pass_fail(*sides: Sequence[float]) -> bool:
    return all(bool(np.isin(np.asarray(scores, dtype=float), (0.0, 1.0)).all()) for scores in sides)


def finite(scores: Sequence[float]) -> Array:
    """As an array; refuses NaN and infinity."""
    values = np.asarray(scores, dtype=float)
    if not bool(np.isfinite(values).all()):
        raise ValueError("scores must be finite numbers, without NaN")
    return values
