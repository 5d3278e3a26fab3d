"""The exact paired test errs as seldom as it says: summed over every outcome, no luck of the draw."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from router.bounds import difference_lower, p_above

N = 60


def paired(wins: int, losses: int, n: int) -> tuple[list[float], list[float]]:
    ties = n - wins - losses
    return [1.0] * wins + [0.0] * losses + [1.0] * ties, [0.0] * wins + [1.0] * losses + [1.0] * ties


def p_values(margin: float) -> NDArray[np.float64]:
    """By wins and losses; 1 where there are so many that they hardly happen below."""
    table = np.ones((16, 16))
    for wins in range(16):
        for losses in range(16):
            table[wins, losses] = p_above(*paired(wins, losses, N), -margin)
    return table


@pytest.mark.parametrize("margin", [0.02, 0.05])
def test_the_computed_chance_of_a_false_pass_is_never_above_the_error(margin: float) -> None:
    passes = p_values(margin)
    for discordant in np.linspace(margin, 0.15, 8):
        win, lose = max((discordant - margin) / 2, 0.0), (discordant + margin) / 2
        for error in (0.05, 0.1):
            chance = sum(
                math.comb(N, b) * math.comb(N - b, c) * win**b * lose**c * (1 - discordant) ** (N - b - c)
                for b, c in zip(*np.nonzero(passes <= error), strict=True)
            )
            assert chance <= error


def test_equal_answers_prove_a_margin_nearly_as_soon_as_they_can() -> None:
    # 0.98^114 = 0.09994: no valid test of a drop of 0.02 at 90 % passes sooner.
    passed = [n for n in range(110, 125) if p_above(*paired(0, 0, n), -0.02) <= 0.1]
    assert passed[0] == 115


def test_few_discordant_samples_prove_more_than_many_with_the_same_lead() -> None:
    assert p_above(*paired(2, 3, 240), -0.02) < p_above(*paired(9, 10, 240), -0.02)


def test_the_quick_test_for_many_samples_is_only_a_little_more_careful() -> None:
    few, many = (p_above(*paired(round(n * 0.02), round(n * 0.035), n), -0.02) for n in (5_000, 5_001))
    assert few <= many <= few + 0.03


def test_the_lower_bound_of_a_difference_inverts_the_test() -> None:
    a, b = paired(5, 8, 200)
    lower = difference_lower(a, b, 0.9)
    assert p_above(a, b, lower - 0.001) <= 0.1 < p_above(a, b, lower + 0.001)
