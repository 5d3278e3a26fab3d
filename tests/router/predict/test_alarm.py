"""An alarm is false in at most the promised share of cases, and late only by what the drift needs to show."""

from __future__ import annotations

import math

import numpy as np
import pytest

from router.predict.alarm import ALPHA, Watch, watch


def raised_at(scores: list[float], promise: float) -> int | None:
    state = Watch()
    for number, score in enumerate(scores, 1):
        state = state.hear(score, promise)
        if state.raised:
            return number
    return None


def false_alarms(streams: int, length: int, quality: float, promise: float) -> float:
    random = np.random.default_rng(1)
    found = [
        raised_at((random.random(length) < quality).astype(float).tolist(), promise) is not None for _ in range(streams)
    ]
    return float(np.mean(found))


def test_a_promise_that_just_holds_raises_no_more_false_alarms_than_said() -> None:
    assert false_alarms(200, 500, 0.9, 0.9) <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / 200) ** 0.5


@pytest.mark.long
@pytest.mark.parametrize("promise", [0.6, 0.9, 0.98])
def test_of_2000_streams_without_drift_at_most_alpha_alarm(promise: float) -> None:
    assert false_alarms(2_000, 2_000, promise, promise) <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / 2_000) ** 0.5


def test_graded_scores_that_hold_the_promise_raise_few_alarms() -> None:
    random = np.random.default_rng(2)
    found = [raised_at(random.beta(9, 1, 500).tolist(), 0.9) is not None for _ in range(100)]
    assert np.mean(found) <= 0.1


def test_a_drift_is_noticed_as_fast_after_a_long_good_time() -> None:
    random = np.random.default_rng(3)
    delays: dict[int, list[int]] = {100: [], 2_000: []}
    for good, found in delays.items():
        for _ in range(30):
            chances = np.r_[np.full(good, 0.95), np.full(1_000, 0.75)]
            at = raised_at((random.random(len(chances)) < chances).astype(float).tolist(), 0.9)
            assert at is not None and at > good
            found.append(at - good)
    early, late = np.median(delays[100]), np.median(delays[2_000])
    assert late < 1.5 * early + 20 and late < 150


def test_good_answers_never_ruin_the_gambler() -> None:
    state = watch([(0.0, 0.9)] * 2 + [(1.0, 0.9)] * 1_000)
    assert state.e_value > 0.1 and not state.raised


def test_the_cusum_warns_before_the_alarm() -> None:
    random = np.random.default_rng(4)
    leads = []
    for _ in range(20):
        state, warned_at = Watch(), None
        for score in (random.random(2_000) < np.r_[np.full(1_000, 0.93), np.full(1_000, 0.8)]).astype(float):
            state = state.hear(float(score), 0.9)
            assert state.log_cusum >= state.log_wealth - 1e-9
            warned_at = state.n if warned_at is None and state.warns else warned_at
        assert state.raised and not state.warns
        leads.append(state.n - (warned_at or state.n))
    assert np.median(leads) > 10


def test_a_raised_alarm_stays_as_it_is() -> None:
    state = watch([(0.0, 0.9)] * 50)
    assert state.raised and state.n < 20
    assert state.hear(1.0, 0.9) is state


def test_each_answer_is_held_against_its_own_promise() -> None:
    mixed = watch([(0.5, 0.4), (0.5, 0.6)] * 100)
    assert not mixed.raised
    assert mixed.mean == 0.5 and mixed.promise == pytest.approx(0.5)


@pytest.mark.parametrize(("score", "promise", "alpha"), [(1.2, 0.9, 0.05), (0.5, 0.0, 0.05), (0.5, 0.9, 1.0)])
def test_values_out_of_range_are_refused(score: float, promise: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Watch().hear(score, promise, alpha)


def test_an_empty_watch_knows_nothing() -> None:
    assert (Watch().mean, Watch().promise, Watch().e_value) == (None, None, 1.0)


def drop_raised_at(random: np.random.Generator, length: int, plan: float, other: float, share: float) -> int | None:
    """After how many scored answers a drop of at most 0.03 raises an alarm; None: never."""
    state = Watch()
    for number in range(length):
        is_other = bool(random.random() < share)
        right = float(random.random() < (other if is_other else plan))
        state = state.hear_drop(right, 0.03, share, is_other=is_other)
        if state.raised:
            return number + 1
    return None


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_drop_that_just_holds_raises_no_more_false_alarms_than_said(share: float) -> None:
    random, streams = np.random.default_rng(3), 300
    false = [drop_raised_at(random, 1_000, 0.87, 0.9, share) is not None for _ in range(streams)]
    assert np.mean(false) <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / streams) ** 0.5


def test_a_drop_that_is_too_deep_is_found() -> None:
    random = np.random.default_rng(4)
    found = [drop_raised_at(random, 2_000, 0.7, 0.9, 0.2) for _ in range(20)]
    assert None not in found


def test_where_the_plan_asks_the_other_model_nothing_is_lost() -> None:
    state = Watch().hear_drop(0.0, 0.03, 0.0, is_other=True)
    assert (state.e_value, state.mean, state.promise) == (1.0, 0.0, -0.03)
    doubting = Watch()
    for _ in range(5):
        doubting = doubting.hear_drop(0.0, 0.03, 0.5, is_other=False)
    assert doubting.hear_drop(0.0, 0.03, 0.0, is_other=True).log_wealth < doubting.log_wealth


@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("is_other", [True, False])
def test_no_answer_ruins_the_gambler_however_small_the_share(score: float, is_other: bool) -> None:
    state = Watch()
    for _ in range(200):
        state = state.hear_drop(1.0, 0.03, 0.01, is_other=True).hear_drop(0.0, 0.03, 0.01, is_other=False)
        assert math.isfinite(state.log_wealth)
    assert math.isfinite(Watch(shortfall=1e6).hear_drop(score, 0.03, 0.01, is_other=is_other).log_wealth)


@pytest.mark.parametrize(("score", "drop", "share"), [(1.2, 0.03, 0.1), (0.5, 0.0, 0.1), (0.5, 0.03, 1.0)])
def test_a_drop_out_of_range_is_refused(score: float, drop: float, share: float) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Watch().hear_drop(score, drop, share, is_other=False)
