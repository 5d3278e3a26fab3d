"""Every bound holds as often as it says: 10,000 simulated runs for each number of samples and rate."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from evals.stats import anytime_lower, betting_p, clopper_pearson_lower, clopper_pearson_upper

RUNS = 10_000
SIZES = (14, 30, 59, 200)
RATES = (0.01, 0.5, 0.9, 0.99)


@functools.cache
def lower_bounds(n: int) -> NDArray[np.float64]:
    return np.array([clopper_pearson_lower(successes, n) for successes in range(n + 1)])


@functools.cache
def anytime_bounds(n: int) -> NDArray[np.float64]:
    return np.array([anytime_lower({1.0: successes, 0.0: n - successes}) for successes in range(n + 1)])


def simulated(n: int, rate: float) -> NDArray[np.int64]:
    """Successes in each run: stratified draws, one from each ten-thousandth of the distribution.

    Plain draws can miss a true coverage of 0.9506 (n = 30, rate 0.5) by luck alone.
    """
    strata = (np.arange(RUNS) + np.random.default_rng([n, int(1000 * rate)]).random(RUNS)) / RUNS
    chances = [math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)]
    return np.minimum(np.searchsorted(np.cumsum(chances), strata), n)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rate", RATES)
def test_the_exact_lower_bound_holds_in_95_of_100_runs(n: int, rate: float) -> None:
    assert (lower_bounds(n)[simulated(n, rate)] <= rate).mean() >= 0.95


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rate", RATES)
def test_the_exact_lower_bound_holds_with_a_computed_chance_of_95_percent(n: int, rate: float) -> None:
    # No luck of the draw here: the chance itself, summed over every outcome.
    chances = [math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)]
    assert math.fsum(np.array(chances)[lower_bounds(n) <= rate]) >= 0.95 - 1e-12


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rate", RATES)
def test_the_exact_upper_bound_holds_in_95_of_100_runs(n: int, rate: float) -> None:
    uppers = np.array([clopper_pearson_upper(successes, n) for successes in range(n + 1)])
    assert (uppers[simulated(n, rate)] >= rate).mean() >= 0.95


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rate", RATES)
def test_the_anytime_bound_holds_in_95_of_100_runs(n: int, rate: float) -> None:
    assert (anytime_bounds(n)[simulated(n, rate)] <= rate).mean() >= 0.95


def test_the_anytime_bound_pays_for_its_freedom() -> None:
    assert (anytime_bounds(200)[100:] < lower_bounds(200)[100:]).all()


def graded_misses(n: int, rate: float, runs: int) -> float:
    """Share of runs in which betting refutes the true mean; `betting_lower` errs in no other."""
    random = np.random.default_rng([n, int(1000 * rate), 1])
    scores = random.beta(4 * rate, 4 * (1 - rate), (runs, n))
    return float(np.mean([betting_p(row, rate) <= 0.05 for row in scores]))


@pytest.mark.parametrize("n", SIZES)
def test_the_graded_bound_holds_in_95_of_100_runs(n: int) -> None:
    assert graded_misses(n, 0.9, 1_000) <= 0.05


@pytest.mark.long
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rate", RATES)
def test_the_graded_bound_holds_in_95_of_100_runs_at_full_size(n: int, rate: float) -> None:
    assert graded_misses(n, rate, RUNS) <= 0.05
