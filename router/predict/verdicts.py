"""What a verifier's verdict on an answer tells, and when it is worth asking for one.

A verifier is a cheap model that is shown question and answer and says whether the answer is right. Its verdict moves
the log-odds that everything else came to; an answer without one is judged exactly as before. It is asked only between
two rungs, about the answer that stands, where what its verdict may change about climbing on is worth more than its
price: the value of information of one step (H. Raiffa, R. Schlaifer, Applied Statistical Decision Theory, 1961).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.predict.calibrate import sigmoid
from router.predict.labels import Floats, Indices

COLUMNS = 3
Surplus = Callable[[Floats], Floats]
"""What climbing on is worth beyond its price, at least 0, by P(the standing answer clears); shape (n,) each."""


def columns(verdict: Floats, scored: Floats) -> Floats:
    """What the correction looks at, shape (n, COLUMNS); a row without a verdict is zeros.

    Args:
        verdict: shape (n,), 0 (wrong) to 1 (right), NaN where there is none.
        scored: shape (n,), log-odds without the verdict.
    """
    known = np.isfinite(verdict)
    says = np.where(known, 2.0 * verdict - 1.0, 0.0)
    return np.column_stack([known, says, says * np.abs(scored) * known])


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What the verdicts of one verifier, asked by one prompt, are worth."""

    weights: Floats
    """Shape (COLUMNS,), of `columns`."""
    levels: Floats
    """Shape (2,): the mean verdict among those below one half, and among the others."""
    cost_usd: Floats
    """Shape (m,): mean cost of a verdict on each model's answers; NaN where none was recorded."""

    def corrected(self, scored: Floats, verdict: Floats) -> Floats:
        """Log-odds with a verdict, shape (n,); unchanged where there is none."""
        return np.asarray(scored + columns(verdict, scored) @ self.weights)

    def worth(self, scored: Floats, model: Indices, surplus: Surplus, price: float) -> Floats:
        """What asking about the standing answers is worth beyond its price, in quality, shape (n,).

        The chance of either verdict follows from the correction itself: on average it must not move the chance.

        Args:
            scored: shape (n,), log-odds of the standing answers, which have no verdict.
            model: shape (n,), who gave them.
            surplus: of climbing on.
            price: quality per USD.
        """
        chance = sigmoid(scored)
        low, high = (sigmoid(self.corrected(scored, np.full(len(scored), level))) for level in self.levels)
        spread = high - low
        share = np.clip((chance - low) / np.where(spread > 0.0, spread, 1.0), 0.0, 1.0)
        gain = share * surplus(high) + (1.0 - share) * surplus(low) - surplus(chance)
        cost = self.cost_usd[model]
        return np.where((spread > 0.0) & np.isfinite(cost), gain - price * np.nan_to_num(cost), -np.inf)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        return {f"verdicts_{f.name}": getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Verdicts | None:
        """What `arrays` was taken from; None where verdicts told nothing, or training had none."""
        if "verdicts_weights" not in arrays:
            return None
        return cls(**{f.name: arrays[f"verdicts_{f.name}"] for f in fields(cls)})


def behind(verdict: Floats, own: NDArray[np.bool_]) -> Floats:
    """Mean verdict on the responses that give an answer, shape (n,); NaN where none of them has one.

    Args:
        verdict: shape (n, m), NaN where there is none.
        own: shape (n, m), who stands behind the answer.
    """
    known = own & np.isfinite(verdict)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, verdict, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The likelier of the two best supported answers, with what verdicts say of it; shape (n,) each."""

    odds: Floats
    model: Indices
    verdict: Floats
    """NaN: nobody was asked about it."""

    @property
    def chance(self) -> Floats:
        """P(it clears)."""
        return sigmoid(self.odds)


def standing(
    verdicts: Verdicts, scored: Sequence[tuple[Floats, Indices, NDArray[np.bool_], NDArray[np.bool_]]], verdict: Floats
) -> Standing:
    """Which answer stands.

    Args:
        verdicts: of the artifact.
        scored: of `Acceptance.scored`.
        verdict: shape (n, m), NaN where nobody was asked.
    """
    (odds, model, _, own), (other_odds, other_model, is_there, other_own) = scored
    said, other_said = behind(verdict, own), behind(verdict, other_own)
    odds, other_odds = verdicts.corrected(odds, said), verdicts.corrected(other_odds, other_said)
    second = is_there & (other_odds > odds)
    return Standing(
        odds=np.where(second, other_odds, odds),
        model=np.where(second, other_model, model),
        verdict=np.where(second, other_said, said),
    )
