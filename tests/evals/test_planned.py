"""Tests with a planned end: their error is exact, and a graded score does not void it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from evals.stats import chance_to_prove
from evals.stats.planned import PlannedTest, crossing_chance, provable_rate, stopping_counts

RUNS = 10_000


def paths(rate: float, looks: int, runs: int, seed: int) -> NDArray[np.int64]:
    """Successes after 0, 1, .. looks answers: array of shape (runs, looks + 1)."""
    answers = np.random.default_rng(seed).random((runs, looks)) < rate
    return np.concatenate([np.zeros((runs, 1), int), answers.cumsum(axis=1)], axis=1)


@pytest.mark.parametrize("size", [14, 30, 59, 200, 600])
@pytest.mark.parametrize("rate", [0.02, 0.5, 0.9])
def test_the_error_is_spent_and_never_overspent(rate: float, size: int) -> None:
    counts = stopping_counts(rate, size, 0.05)
    exact = crossing_chance(counts, rate, 0, 0)
    assert exact <= 0.05
    assert size < 600 or exact > 0.045
    assert (paths(rate, size, RUNS, seed=1) >= np.array(counts)).any(axis=1).mean() <= 0.05 + 3 * (0.05 / RUNS) ** 0.5


def test_a_lower_true_rate_is_refuted_less_often() -> None:
    counts = stopping_counts(0.8, 100, 0.05)
    chances = [crossing_chance(counts, rate, 0, 0) for rate in (0.7, 0.75, 0.8, 0.85)]
    assert chances == sorted(chances)


def test_stopping_early_keeps_nearly_all_the_power_of_one_look_at_the_end() -> None:
    counts = stopping_counts(0.5, 400, 0.05)
    assert crossing_chance(counts, 0.57, 0, 0) > chance_to_prove(0.5, 0.57, 400) - 0.05


def test_the_chance_of_a_crossing_is_the_mean_of_the_two_chances_after_one_more_answer() -> None:
    counts = stopping_counts(0.6, 80, 0.05)
    for n, successes in ((0, 0), (10, 9), (40, 25), (79, 50)):
        after = [crossing_chance(counts, 0.6, n + 1, successes + one) for one in (0, 1)]
        assert crossing_chance(counts, 0.6, n, successes) == pytest.approx(0.4 * after[0] + 0.6 * after[1])


@pytest.mark.parametrize("graded_from", [0, 10, 40])
def test_scores_that_turn_graded_keep_the_error(graded_from: int) -> None:
    random = np.random.default_rng(2)
    proved = 0
    for _ in range(400):
        test = PlannedTest(0.75, 80, 0.05)
        for n in range(80):
            test.add(float(random.random() < 0.75) if n < graded_from else float(random.beta(6, 2)))
        proved += test.has_proved
    assert proved <= 400 * 0.05 + 2 * (400 * 0.05) ** 0.5


def test_graded_scores_above_the_mean_are_proved() -> None:
    test = PlannedTest(0.6, 200, 0.05)
    for _ in range(100):
        test.add(0.8)
    assert test.has_proved


def test_a_proof_comes_at_the_stopping_count_and_stays() -> None:
    test = PlannedTest(0.5, 50, 0.05)
    needed = next(n for n, count in enumerate(test.counts) if count <= n)
    for _ in range(needed - 1):
        test.add(1.0)
    assert not test.has_proved
    test.add(1.0)
    for _ in range(40):
        test.add(0.0)
    assert test.has_proved


def test_the_provable_rate_is_proved_four_times_in_five() -> None:
    assert chance_to_prove(0.8, provable_rate(0.8, 300), 300) == pytest.approx(0.8, abs=0.01)
    assert provable_rate(0.99, 10) == 1.0
