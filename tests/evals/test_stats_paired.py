"""Comparisons, judges and clusters: as published where figures are published, honest in simulation elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evals.stats import (
    JudgeRecord,
    chance_to_prove,
    clopper_pearson_lower,
    clustered,
    corrected_lower,
    corrected_rate,
    difference_interval,
    holm,
    mcnemar,
    p_above,
    samples_for_power,
    sign_flip_p,
    student_t,
    student_t_quantile,
    successes_needed,
    variances,
)

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
"""Hours of sleep gained by one drug over another (Student 1908): t = 4.0621, two-sided p = 0.002833."""


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (86, 150, 3.716e-05),  # approval of a prime minister (Agresti 1990), exact
        (121, 59, 4.434e-06),
        (2, 1, 1.0),
        (1, 9, 0.0215),  # sign test, n = 10
        (5, 15, 0.0414),  # sign test, n = 20
        (0, 0, 1.0),
    ],
)
def test_mcnemar_matches_published_values(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p, rel=2e-3)
    assert mcnemar(only_b, only_a) == mcnemar(only_a, only_b)


def test_holm_matches_a_published_example() -> None:
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert holm({}) == {} and holm({"one": 0.7}) == {"one": 0.7}


def test_holm_never_exceeds_one() -> None:
    assert max(holm({str(i): 0.9 for i in range(5)}).values()) == 1.0


@pytest.mark.parametrize(
    ("bar", "rate", "n", "right"),
    [(0.8, 0.85, 365, 305), (0.8, 0.9, 82, 72), (0.9, 0.93, 549, 506), (0.9, 0.95, 179, 168), (0.95, 0.97, 601, 580),
     (0.95, 0.99, 124, 122)],
)  # fmt: skip
def test_the_table_of_samples_for_a_bar(bar: float, rate: float, n: int, right: int) -> None:
    assert samples_for_power(bar, rate) == n
    assert successes_needed(bar, n) == right
    assert clopper_pearson_lower(right, n) >= bar > clopper_pearson_lower(right - 1, n)
    assert chance_to_prove(bar, rate, n) >= 0.8 > chance_to_prove(bar, rate, n - 1)


def test_a_bar_just_below_the_rate_needs_more_samples_than_anybody_has() -> None:
    with pytest.raises(ValueError, match="100,000"):
        samples_for_power(0.9, 0.9001)
    with pytest.raises(ValueError, match="must lie above"):
        samples_for_power(0.9, 0.9)


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 12.7062), (2, 4.302653), (10, 2.228139), (29, 2.045230)])
def test_student_t_matches_its_table(degrees: int, quantile: float) -> None:
    assert student_t_quantile(0.975, degrees) == pytest.approx(quantile, abs=1e-5)
    assert student_t(-quantile, degrees) == pytest.approx(0.025, abs=1e-6)


def test_a_mean_of_differences_in_clusters_of_one_is_the_paired_t_test() -> None:
    found = clustered(SLEEP, range(10))
    assert found.mean / found.standard_error == pytest.approx(4.0621, abs=1e-4)
    assert 2 * found.p_above(0.0) == pytest.approx(0.002833, abs=1e-6)
    assert (found.interval().low, found.interval().high) == (
        pytest.approx(0.7001142, abs=1e-6),
        pytest.approx(2.4598858, abs=1e-6),
    )


def test_samples_of_one_document_count_little_more_than_one() -> None:
    scores = [1.0] * 10 + [0.0] * 10 + [1.0] * 10
    documents = [i // 10 for i in range(30)]
    assert clustered(scores, documents).standard_error == pytest.approx(1 / 3)
    assert clustered(scores, range(30)).standard_error == pytest.approx(math.sqrt(2 / 9 / 29))


def test_clusters_that_all_agree_still_leave_doubt() -> None:
    assert clustered([1.0] * 3, range(3)).p_above(0.5) == pytest.approx(0.125)


def test_variance_within_and_between_samples_are_told_apart() -> None:
    random = np.random.default_rng(1)
    truth = random.normal(0, 2, 4_000)
    found = variances([list(random.normal(mean, 1, 3)) for mean in truth])
    assert found.between == pytest.approx(4, rel=0.1) and found.within == pytest.approx(1, rel=0.05)
    assert variances([[1.0], [0.0]]).within is None


def test_the_exact_paired_test_keeps_its_error_at_the_margin() -> None:
    random = np.random.default_rng(2)
    for n, discordant, margin in ((60, 0.2, 0.1), (150, 0.1, 0.05), (150, 0.4, 0.1)):
        steps = random.choice([1, -1, 0], p=[(discordant - margin) / 2, (discordant + margin) / 2, 1 - discordant],
                              size=(400, n))  # fmt: skip
        wrong = sum(p_above((step > 0).astype(float), (step < 0).astype(float), -margin) <= 0.05 for step in steps)
        assert wrong <= 400 * 0.05


def test_a_graded_paired_test_keeps_its_error_at_the_margin() -> None:
    random = np.random.default_rng(3)
    wrong = 0
    for _ in range(500):
        b = random.uniform(0.2, 0.8, 80)
        wrong += p_above(b - 0.05 + random.uniform(-0.1, 0.1, 80), b, -0.05) <= 0.05
    assert wrong <= 500 * 0.05


def test_the_interval_of_a_difference_agrees_with_the_test() -> None:
    a, b = [1.0] * 90 + [0.0] * 10, [1.0] * 80 + [0.0] * 5 + [1.0] * 3 + [0.0] * 12
    interval = difference_interval(a, b, 0.9)
    assert interval.low < interval.value < interval.high
    assert p_above(a, b, interval.low - 0.001) <= 0.05 < p_above(a, b, interval.low + 0.001)


def test_flipping_signs_is_exact_for_few_samples() -> None:
    # All six differences point one way: 2 of 64 sign patterns are as extreme.
    assert sign_flip_p([0.1, 0.2, 0.1, 0.3, 0.2, 0.1]) == pytest.approx(2 / 64, abs=0.006)
    assert sign_flip_p([0.0, 0.0]) == 1.0


def test_rogan_gladen_matches_a_published_example() -> None:
    # 23 of 150 animals positive by a test of sensitivity 0.96 and specificity 0.89: prevalence 5.1 % (epiR, epi.prev).
    judge = JudgeRecord(right_passed=96, right=100, wrong_failed=89, wrong=100)
    assert corrected_rate(23, 150, judge).value == pytest.approx(0.051, abs=5e-4)


def test_a_judge_that_is_never_wrong_changes_nothing() -> None:
    judge = JudgeRecord(right_passed=10**6, right=10**6, wrong_failed=10**6, wrong=10**6)
    assert corrected_rate(90, 100, judge).value == pytest.approx(0.9)
    assert corrected_lower(90, 100, judge, 0.95) == pytest.approx(
        clopper_pearson_lower(90, 100, 1 - 0.05 / 3), abs=1e-4
    )


def test_a_judge_of_ninety_percent_cannot_certify_ninety_five() -> None:
    judge = JudgeRecord(right_passed=90, right=100, wrong_failed=90, wrong=100)
    assert corrected_lower(89, 100, judge) < 0.95


def test_a_judge_no_better_than_a_coin_is_refused() -> None:
    with pytest.raises(ValueError, match="no better than a coin"):
        corrected_rate(5, 10, JudgeRecord(right_passed=50, right=100, wrong_failed=50, wrong=100))


@pytest.mark.parametrize(("rate", "sensitivity", "specificity"), [(0.9, 0.95, 0.9), (0.6, 0.8, 0.85)])
def test_corrected_bounds_hold_as_often_as_they_say(rate: float, sensitivity: float, specificity: float) -> None:
    random = np.random.default_rng(5)
    missed = outside = 0
    for _ in range(400):
        judge = JudgeRecord(right_passed=int(random.binomial(100, sensitivity)), right=100,
                            wrong_failed=int(random.binomial(100, specificity)), wrong=100)  # fmt: skip
        passed = int(random.binomial(200, rate * sensitivity + (1 - rate) * (1 - specificity)))
        missed += corrected_lower(passed, 200, judge) > rate
        interval = corrected_rate(passed, 200, judge)
        outside += not interval.low <= rate <= interval.high
    assert missed <= 400 * 0.05
    assert outside <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)


def test_a_candidate_wrong_on_everything_the_other_had_right_has_an_interval_to_the_end() -> None:
    interval = difference_interval([0.0] * 5, [1.0] * 5)
    assert (interval.value, interval.low) == (-1.0, -1.0)
    assert -1.0 < interval.high < 0.5
