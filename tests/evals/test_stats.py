"""Bounds: exact where exact figures are published, and honest in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evals.stats import (
    betting_lower,
    clopper_pearson_lower,
    clopper_pearson_upper,
    hoeffding_lower,
    lower_bound,
    paired_bootstrap,
    samples_needed,
    wilson,
)


@pytest.mark.parametrize(("n", "confidence"), [(1, 0.95), (10, 0.95), (59, 0.95), (299, 0.99)])
def test_all_right_has_a_closed_form(n: int, confidence: float) -> None:
    # P(all n right) = rate^n, so the bound is the n-th root of 1 - confidence.
    assert clopper_pearson_lower(n, n, confidence) == pytest.approx((1 - confidence) ** (1 / n), abs=1e-9)
    assert clopper_pearson_upper(0, n, confidence) == pytest.approx(1 - (1 - confidence) ** (1 / n), abs=1e-9)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Two-sided 95 % Clopper-Pearson intervals as R's binom.test prints them.
        (10, 100, 0.04900469, 0.1762226),
        (682, 925, 0.7076683, 0.7654066),
        (5, 10, 0.1870860, 0.8129140),
        (1, 10, 0.002528579, 0.4450161),
    ],
)
def test_clopper_pearson_matches_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    assert clopper_pearson_lower(successes, n, 0.975) == pytest.approx(low, abs=1e-6)
    assert clopper_pearson_upper(successes, n, 0.975) == pytest.approx(high, abs=1e-6)


def test_clopper_pearson_solves_its_equation_to_nine_digits() -> None:
    bound = clopper_pearson_lower(45, 60, 0.95)
    tail = sum(math.comb(60, k) * bound**k * (1 - bound) ** (60 - k) for k in range(45, 61))
    assert tail == pytest.approx(0.05, abs=1e-9)


def test_nothing_right_proves_nothing() -> None:
    assert clopper_pearson_lower(0, 50) == 0.0
    assert clopper_pearson_upper(50, 50) == 1.0


def test_wilson_matches_a_published_example() -> None:
    # 17 of 20 and 850 of 1,000 are both 85 %, and not the same news.
    few, many = wilson(17, 20), wilson(850, 1000)
    assert (few.low, few.high) == (pytest.approx(0.6396, abs=1e-4), pytest.approx(0.9476, abs=1e-4))
    assert (many.low, many.high) == (pytest.approx(0.8265, abs=1e-4), pytest.approx(0.8708, abs=1e-4))


def test_wilson_stays_inside_zero_and_one() -> None:
    assert wilson(10, 10).high == 1.0
    assert 0.72 < wilson(10, 10).low < 0.73
    assert wilson(0, 10).low == pytest.approx(0.0, abs=1e-12)


def test_samples_needed_matches_the_table_of_no_failures() -> None:
    assert [samples_needed(bar) for bar in (0.8, 0.9, 0.95, 0.99)] == [14, 29, 59, 299]
    for bar in (0.5, 0.75, 0.9, 0.97):
        n = samples_needed(bar)
        assert clopper_pearson_lower(n, n) >= bar > (clopper_pearson_lower(n - 1, n - 1) if n > 1 else 0)


def test_no_number_of_samples_proves_certainty() -> None:
    with pytest.raises(ValueError, match="no number of samples"):
        samples_needed(1.0)


@pytest.mark.parametrize("shape", ["uniform", "beta", "coin", "often"])
def test_the_betting_bound_holds_as_often_as_it_says(shape: str) -> None:
    random = np.random.default_rng(3)
    draw, mean = {
        "uniform": (lambda: random.random(50), 0.5),
        "beta": (lambda: random.beta(8, 2, 50), 0.8),
        "coin": (lambda: (random.random(50) < 0.5).astype(float), 0.5),
        "often": (lambda: (random.random(50) < 0.9).astype(float), 0.9),
    }[shape]
    missed = sum(betting_lower(list(draw()), 0.9) > mean for _ in range(400))
    assert missed <= 400 * 0.1 + 3 * math.sqrt(400 * 0.1 * 0.9)


def test_the_exact_bound_holds_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    missed = sum(clopper_pearson_lower(int(random.binomial(40, 0.85)), 40, 0.9) > 0.85 for _ in range(500))
    assert missed <= 500 * 0.1 + 3 * math.sqrt(500 * 0.1 * 0.9)


def test_betting_beats_hoeffding_where_scores_vary_little() -> None:
    scores = [0.9, 0.8] * 50
    assert betting_lower(scores) > hoeffding_lower(0.85, 100) + 0.05


def test_the_promise_is_exact_for_pass_fail_and_by_betting_for_graded_scores() -> None:
    assert lower_bound([1.0] * 59) == clopper_pearson_lower(59, 59)
    assert lower_bound([1.0] * 58 + [0.5]) == betting_lower([1.0] * 58 + [0.5])


def test_the_bootstrap_is_paired_and_repeatable() -> None:
    a, b = [1.0] * 8 + [0.0] * 12, [1.0] * 6 + [0.0] * 14
    interval = paired_bootstrap(a, b, seed=1, draws=2_000)
    assert interval.value == pytest.approx(0.1)
    assert 0.0 <= interval.low <= 0.1 <= interval.high <= 0.3
    assert interval == paired_bootstrap(a, b, seed=1, draws=2_000)


@pytest.mark.parametrize(
    "call",
    [
        lambda: clopper_pearson_lower(1, 0),
        lambda: clopper_pearson_lower(3, 2),
        lambda: clopper_pearson_lower(1, 2, 1.0),
        lambda: betting_lower([]),
        lambda: betting_lower([float("nan")]),
        lambda: paired_bootstrap([1.0], []),
    ],
)
def test_impossible_figures_are_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]
