"""A promised operating point keeps its bar as often as it says; too little evidence promises nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from router.predict.guarantee import Promise, Shortfall, certify_drop, certify_min
from router.predict.promises import Asked, HeldOut, Point, Promises

Array = NDArray[np.float64]
TRUTH = np.array([0.70, 0.80, 0.86, 0.88, 0.90, 0.91])
"""True mean quality of six operating points, cheapest first; the reference's is 0.90."""
COST = np.array([0.05, 0.1, 0.2, 0.4, 0.7, 0.9])
"""USD per query; the reference's is 1."""


def drawn(random: np.random.Generator, n: int, *, is_graded: bool = False) -> tuple[Array, Array, Array]:
    """Quality of each point and of the reference, and cost of each point, of n queries.

    Each point answers as the reference does but for a share of queries that grows toward the cheapest.
    """
    reference = (random.random(n) < 0.9).astype(float)
    depth = random.random((len(TRUTH), n))
    loses = (reference == 1) & (depth < (0.92 - TRUTH)[:, None] / 0.9)
    wins = (reference == 0) & (depth < 0.02 / 0.1)
    quality = np.where(loses, 0.0, np.where(wins, 1.0, reference))
    if is_graded:
        quality, reference = 0.25 + quality / 2, 0.25 + reference / 2
    return quality, reference, np.repeat(COST[:, None], n, axis=1)


def drop(quality: Array, reference: Array, cost_usd: Array, max_drop: float, **more: float) -> Promise | Shortfall:
    full = np.ones(len(reference))
    return certify_drop(
        quality, reference, max_drop, 0.9, cost_usd=cost_usd, reference_cost_usd=full,
        label_cost_usd=more.get("label_cost_usd"),
    )  # fmt: skip


def broken(runs: int, n: int, *, is_graded: bool) -> dict[str, float]:
    """Share of runs whose promised point truly breaks its bar, and how often anything was promised."""
    random = np.random.default_rng(n)
    # Point 2 lies just below either bar: the likeliest false promise.
    means = 0.25 + TRUTH / 2 if is_graded else TRUTH
    bar, allowed = (0.69, 0.0125) if is_graded else (0.87, 0.03)
    found = {"min broken": 0, "min promised": 0, "drop broken": 0, "drop promised": 0}
    for _ in range(runs):
        quality, reference, cost = drawn(random, n, is_graded=is_graded)
        full = 0.25 + 0.9 / 2 if is_graded else 0.9
        for name, result, least in (
            ("min", certify_min(quality, bar, 0.9, cost_usd=cost), bar),
            ("drop", drop(quality, reference, cost, allowed), full - allowed),
        ):
            if isinstance(result, Promise):
                found[f"{name} promised"] += 1
                found[f"{name} broken"] += bool(means[result.point] < least)
    return {name: count / runs for name, count in found.items()}


@pytest.mark.parametrize("is_graded", [False, True], ids=["right or wrong", "graded"])
@pytest.mark.parametrize("n", [60, 400])
def test_a_promise_is_broken_no_more_often_than_it_says(n: int, is_graded: bool) -> None:
    found = broken(100, n, is_graded=is_graded)
    assert found["min broken"] <= 0.1 + 0.06 and found["drop broken"] <= 0.1 + 0.06


@pytest.mark.long
@pytest.mark.parametrize("is_graded", [False, True], ids=["right or wrong", "graded"])
@pytest.mark.parametrize("n", [30, 120, 400, 1_500])
def test_a_promise_is_broken_no_more_often_than_it_says_in_1000_runs(n: int, is_graded: bool) -> None:
    found = broken(1_000, n, is_graded=is_graded)
    # Three standard errors of a share of 0.1 in 1,000 runs.
    assert max(found["min broken"], found["drop broken"]) <= 0.1 + 0.03
    assert n < 1_500 or min(found["min promised"], found["drop promised"]) > 0.7


def test_enough_evidence_promises_the_cheapest_point_that_keeps_the_bar() -> None:
    quality, reference, cost = drawn(np.random.default_rng(0), 4_000)
    result = drop(quality, reference, cost, 0.03)
    assert isinstance(result, Promise)
    assert (result.point, result.cost_usd, result.saving) == (3, pytest.approx(0.4), pytest.approx(0.6))
    assert -0.03 <= result.lower < result.mean
    least = certify_min(quality, 0.87, 0.9, cost_usd=cost)
    assert isinstance(least, Promise)
    assert least.point == 3 and least.saving is None and 0.87 <= least.lower < least.mean


@pytest.mark.parametrize("n", [0, 1, 10, 50])
def test_a_handful_of_labels_promises_nothing_however_good_they_are(n: int) -> None:
    perfect, cost = np.ones((3, n)), np.ones((3, n)) / 2
    missing = []
    for result in (certify_min(perfect, 0.98, 0.9, cost_usd=cost), drop(perfect, np.ones(n), cost, 0.02)):
        assert isinstance(result, Shortfall)
        assert result.labels_missing is not None
        missing.append(n + result.labels_missing)
    # 0.98^114 = 0.09994 is the first below 0.1.
    assert missing == [pytest.approx(114, rel=0.12)] * 2


def test_the_missing_labels_certify_the_point_they_are_for() -> None:
    reference = np.repeat([0.0, 1.0], [15, 135])
    alike = reference.copy()
    alike[[0, 1, 2, 20, 21, 22]] = [1, 1, 1, 0, 0, 0]  # three wins, three losses
    worse = alike.copy()
    worse[30:50] = 0
    quality, cost = np.stack([worse, alike, alike]), np.repeat([[0.1], [0.4], [0.5]], 150, axis=1)
    result = drop(quality, reference, cost, 0.02, label_cost_usd=0.03)
    assert isinstance(result, Shortfall)
    # Point 0 is out of reach; points 1 and 2 need the same labels, and 1 is the cheaper one.
    assert result.point == 1 and result.labels_missing is not None
    assert result.labels_cost_usd == pytest.approx(0.03 * result.labels_missing)
    assert f"about {result.labels_missing} more labels would certify point 1" in result.reason
    random = np.random.default_rng(4)
    passed = 0
    for _ in range(60):
        more = random.integers(0, 150, 150 + result.labels_missing)
        passed += isinstance(drop(quality[:, more], reference[more], cost[:, more], 0.02), Promise)
    assert 0.65 <= passed / 60 <= 0.95  # planned for a chance of 0.8


def test_where_quality_is_too_low_no_number_of_labels_helps_and_none_is_asked_for() -> None:
    quality, _, cost = drawn(np.random.default_rng(5), 300)
    result = certify_min(quality, 0.99, 0.9, cost_usd=cost, label_cost_usd=0.01)
    assert isinstance(result, Shortfall)
    assert (result.point, result.labels_missing, result.labels_cost_usd) == (None, None, None)
    assert "no number of labels at this mean would help" in result.reason


def test_a_point_below_the_first_that_fails_is_not_promised() -> None:
    # The best point is bad and the next is perfect: whoever may skip failures may also wait for luck.
    quality = np.stack([np.ones(500), np.tile([0.0, 1.0], 250)])
    assert isinstance(certify_min(quality, 0.9, 0.9, cost_usd=np.ones((2, 500))), Shortfall)


def test_a_point_that_costs_more_than_the_reference_is_no_saving() -> None:
    quality = np.ones((2, 500))
    result = drop(quality, np.ones(500), np.full((2, 500), 1.5), 0.02)
    assert isinstance(result, Shortfall)
    assert "costs no less than the reference" in result.reason


@pytest.mark.parametrize(
    ("quality", "told"),
    [
        (np.array([0.5]), "must both have shape"),
        (np.array([[1.5]]), r"must lie in \[0, 1\]"),
        (np.array([[np.nan]]), "without NaN"),
    ],
)
def test_outcomes_that_cannot_be_are_refused(quality: Array, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        certify_min(quality, 0.9, 0.9, cost_usd=np.ones((1, 1)))


def test_bars_that_cannot_be_are_refused() -> None:
    ones = np.ones((1, 5))
    with pytest.raises(ValueError, match=r"minimum 1\.0 must lie between 0 and 1"):
        certify_min(ones, 1.0, 0.9, cost_usd=ones)
    with pytest.raises(ValueError, match="max_drop 0 must lie between 0 and 1"):
        drop(ones, ones[0], ones, 0)
    with pytest.raises(ValueError, match="reference has shape"):
        drop(ones, np.ones(4), ones, 0.1)


def test_a_drop_that_a_request_raises_to_a_bar_keeps_both_and_says_so() -> None:
    quality, reference, cost = drawn(np.random.default_rng(0), 2_000)
    promises = Promises(
        models=["large"],
        tasks=["sums"],
        task=np.zeros(2_000, dtype=np.int64),
        quality=reference[:, None],
        cost_usd=np.ones((2_000, 1)),
        ways={"single": HeldOut(prices=np.arange(6.0), quality=quality, cost_usd=cost)},
    )

    def at(minimum: float) -> Point | str:
        return promises.point("single", "sums", Asked(minimum=minimum, max_drop=0.15, versus="large", confidence=0.9))

    loose, raised = at(0.0), at(0.87)
    assert isinstance(loose, Point) and isinstance(raised, Point)
    assert raised.price > loose.price
    assert loose.note.startswith("at most 0.15 below large at confidence 0.9 (held out -0.")
    assert raised.note.startswith(f"{loose.note} and mean quality at least 0.87 at confidence 0.9 (held out 0.")
    assert at(1.0) == "no number of labels proves a mean quality of 1"
