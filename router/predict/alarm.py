"""Notices that served answers fall short of what was promised, at every moment and with a known chance to be wrong.

A gambler starts with 1 and bets on every scored answer that it falls below the promise. While the promise holds, her
wealth is not expected to grow, so it ever reaches 1 / alpha with a chance of at most alpha (Ville 1939), however often
one looks. How much she bets follows the answers of late (the approximate Kelly bet of Waudby-Smith and Ramdas 2024,
"Estimating means of bounded random variables by betting", appendix B.3, with forgetting): while answers are good she
bets nothing, so a long good time costs her no wealth and a later drift is noticed as fast as an early one.

Beside her wealth stands its CUSUM (Page 1954; as an e-detector: Shin, Ramdas and Rinaldo 2023), which starts again
from 1 whenever it falls below. It is quicker where a good time has cost some wealth, and it will be wrong in the long
run, so it only warns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

ALPHA = 0.05
"""Greatest chance that an alarm is ever raised while the promise holds."""
WARNING = 10.0
"""The CUSUM's threshold. Proved is only that a false warning comes after 10 answers or more on average; measured,
7 to 22 % of streams that just hold their promise see one within 2,000 answers (`benchmarks/online.py`)."""
MEMORY = 0.99
"""What an answer weighs in the next bet, relative to the one after it."""
PRIOR = 10.0
"""Answers at the promised quality that the first bets assume: they bet little."""
_BOLDNESS = 0.75
"""Share of the wealth that one good answer may cost at most; below 1, so that none ruins the gambler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The state of one alarm after some scored answers; each makes the next state, in constant time."""

    log_wealth: float = 0.0
    log_cusum: float = 0.0
    weight: float = PRIOR
    """Answers that the next bet rests on; those long ago weigh less."""
    shortfall: float = 0.0
    """Sum of promise minus score over those answers, by weight."""
    squares: float = 0.0
    """Sum of the squares of the same."""
    n: int = 0
    """Scored answers so far, up to the alarm."""
    total: float = 0.0
    """Sum of their scores."""
    promised: float = 0.0
    """Sum of their promises."""
    raised: bool = False
    """It has been raised, and stays so until somebody acknowledges it."""

    @property
    def e_value(self) -> float:
        """The gambler's wealth: evidence against the promise, 1 at the start."""
        return math.exp(min(self.log_wealth, 700.0))

    @property
    def mean(self) -> float | None:
        """Mean score so far."""
        return self.total / self.n if self.n else None

    @property
    def promise(self) -> float | None:
        """Mean promise so far."""
        return self.promised / self.n if self.n else None

    @property
    def warns(self) -> bool:
        """The CUSUM is above its threshold, the e-value is not."""
        return not self.raised and self.log_cusum >= math.log(WARNING)

    def hear(self, score: float, promise: float, alpha: float = ALPHA) -> Watch:
        """The state after one more scored answer; an alarm that has been raised hears nothing more.

        Args:
            score: of the answer, in [0, 1].
            promise: mean quality that was promised for answers such as this one, in (0, 1].
            alpha: greatest chance of a false alarm, in (0, 1).

        Raises:
            ValueError: an argument is out of its range.
        """
        if not (0 <= score <= 1 and 0 < promise <= 1 and 0 < alpha < 1):
            raise ValueError(f"score {score!r}, promise {promise!r} or alpha {alpha!r} is out of range")
        if self.raised:
            return self
        short = promise - score
        # Fixed before the score is looked at, as every fair bet.
        gain = math.log1p(self._bet(promise) * short)
        log_wealth = self.log_wealth + gain
        return replace(
            self,
            log_wealth=log_wealth,
            log_cusum=max(self.log_cusum, 0.0) + gain,
            weight=PRIOR + MEMORY * (self.weight - PRIOR) + 1,
            shortfall=MEMORY * self.shortfall + short,
            squares=MEMORY * self.squares + short * short,
            n=self.n + 1,
            total=self.total + score,
            promised=self.promised + promise,
            raised=log_wealth >= -math.log(alpha),
        )

    def _bet(self, promise: float) -> float:
        """Share of wealth per unit of shortfall: expected shortfall over its mean square, never negative."""
        expected = self.shortfall / self.weight
        if expected <= 0:
            return 0.0
        spread = (PRIOR * max(promise * (1 - promise), 0.01) + self.squares) / self.weight
        # A perfect answer costs `bet * (1 - promise)` of the wealth, which must stay below all of it.
        return min(expected / spread, _BOLDNESS / max(1 - promise, 0.01))


def watch(stream: Iterable[tuple[float, float]], alpha: float = ALPHA) -> Watch:
    """The state after a stream of (score, promise)."""
    state = Watch()
    for score, promise in stream:
        state = state.hear(score, promise, alpha)
    return state
