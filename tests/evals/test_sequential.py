"""Races: they end early, and their error does not grow with the number of looks."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from evals.sequential import BAR_SHARE, LOST_POWER, Race, Races
from evals.stats import anytime_lower, clopper_pearson_lower, log_wealth, successes_needed
from evals.stats.planned import provable_rate

RUNS = 10_000


@functools.cache
def boundary(mean: float, alpha: float, looks: int) -> NDArray[np.int64]:
    """Fewest successes of 0, 1, .. looks answers that refute a mean; looks + 1 where none do."""
    fewest, least = [looks + 1], 0
    for n in range(1, looks + 1):
        while least <= n and log_wealth({1.0: least, 0.0: n - least}, mean) < -math.log(alpha):
            least += 1
        fewest.append(least if least <= n else looks + 1)
    return np.array(fewest)


def paths(rate: float, looks: int, runs: int, seed: int) -> NDArray[np.int64]:
    """Successes after 0, 1, .. looks answers: array of shape (runs, looks + 1)."""
    answers = np.random.default_rng(seed).random((runs, looks)) < rate
    return np.concatenate([np.zeros((runs, 1), int), answers.cumsum(axis=1)], axis=1)


@pytest.mark.parametrize("bar", [0.3, 0.5, 0.9, 0.95])
def test_a_candidate_at_the_bar_is_held_by_luck_no_oftener_than_it_says(bar: float) -> None:
    held = (paths(bar, 600, RUNS, seed=1) >= boundary(bar, 0.05, 600)).any(axis=1)
    assert held.mean() <= 0.05


@pytest.mark.parametrize("bar", [0.5, 0.9])
def test_a_planned_end_keeps_the_error_too(bar: float) -> None:
    held = paths(bar, 400, RUNS, seed=2) >= np.array(Race(["it"], bar=bar, size=400).holds_at)
    assert held.any(axis=1).mean() <= 0.05


@pytest.mark.parametrize("bar", [0.5, 0.9])
def test_promises_beside_the_bar_keep_the_error_together_with_the_bar(bar: float) -> None:
    rate, size = bar - 0.002, 400
    seen = paths(rate, size, RUNS, seed=8)
    # What is promised lies above the rate if the bar is held, or if the bound beside it has passed the rate.
    held = (seen >= np.array(Race(["it"], bar=bar, size=size).holds_at)).any(axis=1)
    passed = (seen >= boundary(rate, (1 - BAR_SHARE) * 0.05, size)).any(axis=1)
    assert (held | passed).mean() <= 0.05


@pytest.mark.parametrize("bar", [0.3, 0.8])
def test_giving_up_costs_a_good_candidate_at_most_a_tenth(bar: float) -> None:
    size = 300
    race, good = Race(["it"], bar=bar, size=size), paths(provable_rate(bar, size), size, RUNS, seed=9)
    given_up = np.arange(size + 1) - good >= np.array(race.leaves_at)
    would_pass = (good >= np.array(race.holds_at)).any(axis=1)
    assert (would_pass & given_up.any(axis=1)).mean() <= LOST_POWER


def test_a_fixed_size_bound_looked_at_after_every_answer_would_not() -> None:
    fixed = np.array([999] + [successes_needed(0.9, n) or 999 for n in range(1, 401)])
    assert (paths(0.9, 400, 2_000, seed=3) >= fixed).any(axis=1).mean() > 0.15


@pytest.mark.parametrize("bar", [0.3, 0.9])
def test_a_candidate_at_the_bar_is_dropped_by_luck_no_oftener_than_it_says(bar: float) -> None:
    wrong = np.arange(601) - paths(bar, 600, RUNS, seed=4)
    assert (wrong >= boundary(1 - bar, 0.05, 600)).any(axis=1).mean() <= 0.05


@pytest.mark.parametrize("size", [None, 300])
def test_a_race_decides_exactly_at_its_boundary(size: int | None) -> None:
    limits = boundary(0.7, 0.05, 300) if size is None else np.array(Race(["it"], bar=0.7, size=size).holds_at)
    for path in paths(0.78, 300, 20, seed=5):
        race = Race(["it"], bar=0.7, size=size)
        crossed = np.flatnonzero(path >= limits)
        for n in range(1, 301):
            if not race.next():
                break
            race.add("it", float(path[n] - path[n - 1]))
        if race.verdicts()["it"] == "held":
            assert n - 1 == crossed[0] or n == crossed[0]
        elif race.verdicts()["it"] == "not enough evidence" and size is None:
            assert not len(crossed)


def test_graded_scores_at_the_bar_are_held_no_oftener_than_it_says() -> None:
    random = np.random.default_rng(6)
    held = 0
    for scores in random.beta(6, 2, (200, 150)):
        race = Race(["it"], bar=0.75)
        for score in scores:
            race.add("it", float(score))
        held += race.verdicts()["it"] == "held"
    assert held <= 200 * 0.05


@pytest.mark.parametrize("rate", [0.01, 0.5, 0.9, 0.99])
def test_the_lower_bound_holds_at_every_moment_at_once(rate: float) -> None:
    # The bound stands above the rate exactly when the wealth against the rate has crossed.
    ever = (paths(rate, 200, RUNS, seed=7) >= boundary(rate, 0.05, 200)).any(axis=1)
    assert ever.mean() <= 0.05
    assert anytime_lower({1.0: 150, 0.0: 50}) < clopper_pearson_lower(150, 200) < 0.75


def test_a_clear_case_ends_soon_and_the_dearer_are_not_needed() -> None:
    race = Race(["small", "middle", "large"], bar=0.8)
    asked = 0
    while race.next():
        for candidate in race.next():
            race.add(candidate, 0.0 if candidate == "small" else 1.0)
            asked += 1
    assert race.verdicts() == {"small": "failed", "middle": "held", "large": "not needed"}
    assert asked < 100
    assert race.lower("middle") >= 0.8


def test_with_the_goal_all_everyone_gets_a_verdict() -> None:
    race = Race(["small", "large"], bar=0.8, goal="all")
    while race.next():
        for candidate in race.next():
            race.add(candidate, 1.0)
    assert set(race.verdicts().values()) == {"held"}


def test_who_can_no_longer_pass_at_the_planned_end_leaves() -> None:
    race = Race(["it"], bar=0.9, size=40)
    assert race.holds_at[40] == 40
    race.add("it", 1.0)
    assert race.next() == ("it",)
    race.add("it", 0.0)
    assert race.next() == () and race.verdicts() == {"it": "not enough evidence"}


def test_a_planned_end_adds_the_power_of_the_exact_test() -> None:
    planned, endless = Race(["it"], bar=0.8, size=60), Race(["it"], bar=0.8)
    for turn in range(60):
        for race in (planned, endless):
            race.add("it", float(turn % 15 != 0))
    assert planned.verdicts() == {"it": "held"} and endless.verdicts() == {"it": "not enough evidence"}
    assert planned.lower("it") >= 0.8 > endless.lower("it")


def test_an_answer_that_comes_home_late_never_takes_a_proof_back() -> None:
    race = Race(["it"], bar=0.5)
    while race.next():
        race.add("it", 1.0)
    for _ in range(20):
        race.add("it", 0.0)
    assert race.verdicts() == {"it": "held"} and race.lower("it") == 0.5


def test_a_bar_of_one_is_refuted_by_a_single_mistake_and_never_held() -> None:
    race = Race(["it"], bar=1.0)
    for _ in range(500):
        race.add("it", 1.0)
    assert race.next() == ("it",)
    race.add("it", 0.99)
    assert race.verdicts() == {"it": "failed"}


def test_races_know_only_the_tasks_with_a_bar_and_want_all_of_the_others() -> None:
    races = Races.of({"qa": (0.5, 0.95)}, ["small", "large"])
    for _ in range(20):
        races.add("qa", "small", 1.0)
        races.add("chat", "small", 1.0)
    assert not races.wants("qa", "small") and not races.wants("qa", "large")
    assert races.wants("chat", "small") and races.wants("none", "large")
    assert races.verdicts("qa") == {"small": "held", "large": "not needed"}
    assert 0.7 < races.lower("chat", "small") < 1


def test_a_bar_of_zero_decides_nothing() -> None:
    races = Races.of({"qa": (0.0, 0.95)}, ["small"])
    races.add("qa", "small", 1.0)
    assert races.wants("qa", "small")


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_a_score_outside_zero_to_one_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        Race(["it"], bar=0.5).add("it", score)
