"""Notices that served answers fall short of what was promised, at every moment and with a known chance to be wrong.

A gambler starts with 1 and bets on every scored answer that it falls below the promise. While the promise holds, her
wealth is not expected to grow, so it ever reaches 1 / alpha with a chance of at most alpha (Ville 1939), however often
one looks. How much she bets follows the answers of late (the approximate Kelly bet of Waudby-Smith and Ramdas 2024,
"Estimating means of bounded random variables by betting", appendix B.3, with forgetting): while answers are good she
bets nothing, so a long good time costs her no wealth and a later drift is noticed as fast as an early one.

A drop against another model cannot be seen in one answer. Where a known share of requests, drawn by chance, is
answered by that model instead, an answer estimates the difference without bias: weighed by the inverse of its chance,
on the side of whoever gave it (Horvitz and Thompson 1952), after a level is taken off that the answers before it have
set, which keeps the weights' noise down and the estimate unbiased. She bets on that estimate.

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
DROP_MEMORY = 0.998
"""The same where a drop is watched: most of its estimates are noise, so a bet has to rest on more of them."""
LEVEL_MEMORY = 0.99
"""The same for the level that scores are taken to lie around where a drop is watched."""
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
    """Sum of their scores; where a drop is watched, of their estimated differences to the other model."""
    promised: float = 0.0
    """Sum of their promises; a promised drop is a difference below 0."""
    level: float = 0.8
    """About what scores have been of late; only where a drop is watched."""
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
        return self._after(score, promise, promise * (1 - promise), 1 - promise, MEMORY, alpha)

    def hear_drop(self, score: float, max_drop: float, share: float, *, is_other: bool, alpha: float = ALPHA) -> Watch:
        """The state after one more scored answer to a request that the other model might have answered.

        Args:
            score: of the answer, in [0, 1].
            max_drop: mean quality that may be lost against the other model, in (0, 1).
            share: chance with which the other model was drawn to answer, in [0, 1); 0 where the plan was to ask it
                anyway, so that nothing can be lost.
            is_other: it was drawn.
            alpha: as in `hear`.

        Raises:
            ValueError: an argument is out of its range.
        """
        if not (0 <= score <= 1 and 0 < max_drop < 1 and 0 <= share < 1 and 0 < alpha < 1):
            raise ValueError(
                f"score {score!r}, max_drop {max_drop!r}, share {share!r} or alpha {alpha!r} is out of range"
            )
        if share == 0:
            return self._after(0.0, -max_drop, 0.0, max_drop, DROP_MEMORY, alpha)
        difference = (score - self.level) * (-1 / share if is_other else 1 / (1 - share))
        spread = self.level * (1 - self.level) * (1 / share + 1 / (1 - share))
        most = max_drop + max(self.level / share, (1 - self.level) / (1 - share))
        after = self._after(difference, -max_drop, spread, most, DROP_MEMORY, alpha)
        return replace(after, level=LEVEL_MEMORY * self.level + (1 - LEVEL_MEMORY) * score)

    def _after(self, seen: float, promise: float, variance: float, most: float, memory: float, alpha: float) -> Watch:
        """After one more number whose mean is promised; it lies at most `most` above the promise."""
        if self.raised:
            return self
        short = promise - seen
        # Fixed before the score is looked at, as every fair bet.
        gain = math.log1p(self._bet(variance, most) * short)
        log_wealth = self.log_wealth + gain
        return replace(
            self,
            log_wealth=log_wealth,
            log_cusum=max(self.log_cusum, 0.0) + gain,
            weight=PRIOR + memory * (self.weight - PRIOR) + 1,
            shortfall=memory * self.shortfall + short,
            squares=memory * self.squares + short * short,
            n=self.n + 1,
            total=self.total + seen,
            promised=self.promised + promise,
            raised=log_wealth >= -math.log(alpha),
        )

    def _bet(self, variance: float, most: float) -> float:
        """Share of wealth per unit of shortfall: expected shortfall over its mean square, never negative."""
        expected = self.shortfall / self.weight
        if expected <= 0:
            return 0.0
        spread = (PRIOR * max(variance, 0.01) + self.squares) / self.weight
        # The best answer costs `bet * most` of the wealth, which must stay below all of it.
        return min(expected / spread, _BOLDNESS / max(most, 0.01))


def watch(stream: Iterable[tuple[float, float]], alpha: float = ALPHA) -> Watch:
    """The state after a stream of (score, promise)."""
    state = Watch()
    for score, promise in stream:
        state = state.hear(score, promise, alpha)
    return state
