"""What another policy is worth is estimated without bias where chance was at work, and said to be unknown elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.predict.value import Scored, value

TRUE = {"small": 0.7, "large": 0.9}


def logs(n: int, seed: int, share: float = 0.4, expected: dict[str, float] | None = None) -> list[Scored]:
    """A policy that asks `small`, and with the given share either of both, seen by one that wants `large`."""
    random = np.random.default_rng(seed)
    chances = {"small": 1 - share / 2, "large": share / 2} if share else {"small": 1.0}
    made = []
    for _ in range(n):
        action = "large" if random.random() < share / 2 else "small"
        score = float(random.random() < TRUE[action])
        made.append(
            Scored(score=score, action=action, chances=chances, wanted="large", expected=expected or TRUE,
                   cost_usd={"small": 1.0, "large": 10.0}[action], expected_cost_usd={"small": 1.0, "large": 8.0})
        )  # fmt: skip
    return made


def test_both_estimates_find_the_truth_though_the_expectations_are_wrong() -> None:
    found = [value(logs(1_000, seed, expected={"small": 0.2, "large": 0.2})) for seed in range(20)]
    assert np.mean([one.doubly_robust.mean for one in found]) == pytest.approx(0.9, abs=0.02)
    assert np.mean([one.inverse_propensity.mean for one in found]) == pytest.approx(0.9, abs=0.02)
    assert np.mean([one.recorded.mean for one in found]) == pytest.approx(0.74, abs=0.02)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    found = [value(logs(400, seed)) for seed in range(60)]
    assert sum(one.doubly_robust.low <= 0.9 <= one.doubly_robust.high for one in found) >= 52
    assert sum(one.difference.low <= 0.16 <= one.difference.high for one in found) >= 52


def test_the_effective_number_counts_what_was_seen() -> None:
    found = value(logs(1_000, 0))
    assert 150 < found.effective_n < 250
    assert found.extrapolated == 0.0 and found.suffices


def test_without_chance_nothing_was_seen_and_it_says_so() -> None:
    found = value(logs(1_000, 0, share=0.0))
    assert (found.effective_n, found.extrapolated, found.suffices) == (0.0, 1.0, False)
    assert (found.worst, found.best) == (0.0, 1.0)
    assert found.doubly_robust.mean == pytest.approx(0.9)


def test_a_policy_that_does_the_same_is_worth_what_was_seen() -> None:
    same = [replace(one, wanted="small") for one in logs(500, 1, share=0.0)]
    found = value(same)
    assert found.doubly_robust.mean == pytest.approx(found.recorded.mean)
    assert found.difference.mean == pytest.approx(0.0)
    assert (found.effective_n, found.cost_usd) == (500.0, pytest.approx(1.0))


def test_equal_scores_leave_an_interval() -> None:
    perfect = [replace(one, score=1.0, wanted="small", expected={"small": 1.0}) for one in logs(100, 2, share=0.0)]
    found = value(perfect)
    assert found.doubly_robust.low < 1.0 and found.doubly_robust.high == 1.0
    assert found.difference.low < 0 < found.difference.high


def test_cost_is_mended_like_quality_and_unknown_where_one_is() -> None:
    found = value(logs(4_000, 3))
    assert found.cost_usd == pytest.approx(10.0, abs=0.3)
    records = logs(100, 3)
    assert value([replace(records[0], cost_usd=None), *records[1:]]).cost_usd is None


def test_the_same_records_give_the_same_value() -> None:
    assert value(logs(200, 5)) == value(logs(200, 5))


def test_impossible_logs_are_refused() -> None:
    with pytest.raises(ValueError, match="no scored request"):
        value([])
    with pytest.raises(ValueError, match="'small' was taken with no chance"):
        value([replace(logs(1, 0, share=0.0)[0], chances={"large": 1.0})])
