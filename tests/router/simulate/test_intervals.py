"""Intervals for the next requests: exact where nothing moves, never empty where little was seen, and held."""

from __future__ import annotations

import numpy as np
import pytest

from router.simulate.intervals import next_ratio, next_share

ALONE = np.arange


def test_nothing_that_changes_is_no_change_for_certain() -> None:
    found = next_ratio(np.zeros(50), np.ones(50), ALONE(50), 1.0, bound=1.0)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_a_price_that_rises_for_everybody_rises_for_everybody_to_come() -> None:
    paid = np.random.default_rng(0).lognormal(size=200)
    found = next_ratio(0.1 * paid, paid, ALONE(200), 1.0)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)


def test_eight_changed_answers_that_scored_alike_promise_no_zero() -> None:
    changed = np.arange(700) < 8
    found = next_ratio(np.zeros(700), np.ones(700), ALONE(700), 1.0, bound=1.0, inner=changed)
    assert found.low is not None
    assert found.high is not None
    assert -0.02 < found.low < -0.003
    assert 0.003 < found.high < 0.02


def test_four_requests_tell_no_interval() -> None:
    found = next_ratio(np.array([1.0, 0, 1, 0]), np.ones(4), ALONE(4), 1.0, bound=1.0)
    assert found.value == 0.5
    assert found.low is None


def test_three_requests_that_all_cost_half_elsewhere_tell_no_interval_either() -> None:
    found = next_ratio(np.full(3, -0.5), np.ones(3), ALONE(3), 1.0)
    assert (found.value, found.low) == (-0.5, None)
    found = next_ratio(np.full(3, -0.5), np.ones(3), ALONE(3), 1.0, is_rerouted=False)
    assert (found.value, found.low) == (-0.5, -0.5), "where nothing goes elsewhere, prices alone have changed"


def test_requests_of_a_run_count_as_one_draw() -> None:
    moved = np.repeat(np.random.default_rng(1).choice([-1.0, 0.0, 1.0], 40), 10)
    alone = next_ratio(moved, np.ones(400), ALONE(400), 1.0, bound=1.0)
    runs = next_ratio(moved, np.ones(400), np.repeat(np.arange(40), 10), 1.0, bound=1.0)
    assert (runs.high or 0) - (runs.low or 0) > 2.5 * ((alone.high or 0) - (alone.low or 0))


def test_more_requests_to_come_are_known_better_but_never_exactly() -> None:
    moved = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], 400)
    widths = [
        (one.high or 0) - (one.low or 0)
        for one in (next_ratio(moved, np.ones(400), ALONE(400), share, bound=1.0) for share in (0.1, 1.0, 1e6))
    ]
    assert widths[0] > 1.5 * widths[1] > 1.5 * 1.3 * widths[2] > 0


@pytest.mark.parametrize(
    ("rate", "size"),
    [(0.02, 400), (0.3, 100), (1.0, 60)],
    ids=["eight of 400 change", "a third of 100", "all of 60"],
)
def test_the_next_requests_cost_what_was_said(rate: float, size: int) -> None:
    draws, held = np.random.default_rng(2), 0
    for _ in range(300):
        before = draws.lognormal(0, 1, (2, size))
        after = np.where(draws.random((2, size)) < rate, draws.lognormal(0.5, 1, (2, size)), before)
        found = next_ratio(after[0] - before[0], before[0], ALONE(size), 1.0)
        came = after[1].sum() / before[1].sum() - 1
        held += (found.low or 0) <= came <= (found.high or 0)
    assert held >= 0.9 * 300


@pytest.mark.parametrize("rate", [0.0, 0.004, 0.2])
def test_the_next_requests_are_denied_as_often_as_was_said(rate: float) -> None:
    draws, held = np.random.default_rng(3), 0
    for _ in range(300):
        here, there = draws.binomial(500, rate, 2)
        found = next_share(int(here), 500, 500)
        held += (found.low or 0) <= there / 500 <= (found.high or 0)
    assert held >= 0.92 * 300


def test_ten_requests_without_a_denial_prove_no_tenth_of_a_percent() -> None:
    assert (next_share(0, 10, 10).high or 0) > 0.05
