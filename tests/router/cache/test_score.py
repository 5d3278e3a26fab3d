"""The score: labels overrule where it started."""

from __future__ import annotations

import numpy as np
import pytest

from router.cache.evidence import FEATURES
from router.cache.score import Score

SIZE = 2_000


@pytest.mark.parametrize("constant", [-25.0, 0.0, 25.0])
def test_labels_overrule_a_start_that_is_sure_and_wrong(constant: float) -> None:
    chance = np.random.default_rng(0)
    start = np.zeros(len(FEATURES))
    start[0] = constant
    score = Score(start)
    rows = np.column_stack([np.ones(SIZE), chance.uniform(0, 1, (SIZE, len(FEATURES) - 1))])
    true = 1 / (1 + np.exp(-(2 - 8 * rows[:, 1])))
    for row, rate in zip(rows, true, strict=True):
        score.p_wrong(row)
        score.learn(row, wrong=bool(chance.random() < rate))
    score.refit()
    predicted = np.array([score.p_wrong(row) for row in rows])
    assert np.abs(predicted - true).mean() < 0.06
