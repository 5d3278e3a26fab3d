"""Other questions than before are noticed without a label, and what was certified does not serve them."""

from __future__ import annotations

import numpy as np

from router.cache.change import PATIENCE, Change
from router.cache.evidence import FEATURES
from router.cache.score import shipped


def proposals(chance: np.random.Generator, size: int, log_odds: float) -> list[np.ndarray]:
    """Features that the shipped score gives about these log odds of being wrong."""
    rows = np.zeros((size, len(FEATURES)))
    rows[:, 0] = (log_odds + chance.standard_normal(size)) / shipped()[0]
    return list(rows)


def test_the_same_kind_of_questions_is_no_change() -> None:
    chance, alarms = np.random.default_rng(0), 0
    for _ in range(10):
        change = Change()
        for features in proposals(chance, 5_000, -1.0):
            change.note(features)
            alarms += change.is_on
    assert alarms == 0


def test_surer_questions_are_no_change() -> None:
    change, chance = Change(), np.random.default_rng(1)
    for features in [*proposals(chance, 1_000, -1.0), *proposals(chance, 500, -6.0), *proposals(chance, 500, -4.0)]:
        change.note(features)
        assert not change.is_on


def test_more_doubtful_ones_are_noticed_within_some_twenty_and_forgotten_when_they_end() -> None:
    change, chance = Change(), np.random.default_rng(2)
    for features in proposals(chance, 1_000, -3.0):
        change.note(features)
    for features in proposals(chance, 20, 2.0):
        change.note(features)
    assert change.is_on
    for features in proposals(chance, 30, -3.0):
        assert not change.note(features)
    assert not change.is_on


def test_what_goes_on_becomes_the_usual() -> None:
    change, chance = Change(), np.random.default_rng(3)
    for features in proposals(chance, 1_000, -3.0):
        change.note(features)
    stays = [change.note(features) for features in proposals(chance, PATIENCE + 500, 2.0)]
    assert sum(stays) == 1
    assert not change.is_on
