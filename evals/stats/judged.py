"""A pass rate as a judge saw it, corrected for the judge's own mistakes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from evals.stats.bounds import Interval
from router.bounds import check_confidence, check_counts, clopper_pearson_lower, clopper_pearson_upper


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRecord:
    """How a judge did on answers that people had labelled."""

    right_passed: int
    """Right answers that it passed."""
    right: int
    """Right answers."""
    wrong_failed: int
    """Wrong answers that it failed."""
    wrong: int
    """Wrong answers."""

    def __post_init__(self) -> None:
        check_counts(self.right_passed, self.right, 0.5)
        check_counts(self.wrong_failed, self.wrong, 0.5)

    @property
    def sensitivity(self) -> float:
        """Share of right answers that it passes."""
        return self.right_passed / self.right

    @property
    def specificity(self) -> float:
        """Share of wrong answers that it fails."""
        return self.wrong_failed / self.wrong


def corrected_rate(passed: float, n: int, judge: JudgeRecord, confidence: float = 0.95) -> Interval:
    """True pass rate behind a judged one (Rogan and Gladen 1978), with a two-sided interval, for display.

    The interval (Lang and Reiczigel 2014, Preventive Veterinary Medicine 113) counts the uncertainty of the judge's
    sensitivity and specificity, too.

    Args:
        passed: answers that the judge passed; repeats of a sample count in shares.
        n: answers judged.
        judge: its record on labelled answers.
        confidence: coverage of the interval, approximately.

    Raises:
        ValueError: the judge does no better than a coin on the labelled answers.

    >>> judge = JudgeRecord(right_passed=95, right=100, wrong_failed=80, wrong=100)
    >>> round(corrected_rate(80, 100, judge).value, 3)
    0.8
    """
    check_counts(passed, n, confidence)
    _check_tells(judge.sensitivity, judge.specificity)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, size = (passed + z * z / 2) / (n + z * z), n + z * z
    sensitivity, n_right = (judge.right_passed + 1) / (judge.right + 2), judge.right + 2
    specificity, n_wrong = (judge.wrong_failed + 1) / (judge.wrong + 2), judge.wrong + 2
    if sensitivity + specificity <= 1:
        return Interval(_corrected(passed / n, judge.sensitivity, judge.specificity), 0.0, 1.0)
    centre = (rate + specificity - 1) / (sensitivity + specificity - 1)
    by_right = sensitivity * (1 - sensitivity) / n_right
    by_wrong = specificity * (1 - specificity) / n_wrong
    shift = 2 * z * z * (centre * by_right - (1 - centre) * by_wrong)
    variance = rate * (1 - rate) / size + centre**2 * by_right + (1 - centre) ** 2 * by_wrong
    half = z * math.sqrt(variance) / (sensitivity + specificity - 1)
    low, high = (min(1.0, max(0.0, centre + shift + side * half)) for side in (-1, 1))
    return Interval(_corrected(passed / n, judge.sensitivity, judge.specificity), low, high)


def corrected_lower(passed: int, n: int, judge: JudgeRecord, confidence: float = 0.95) -> float:
    """One-sided lower bound of the true pass rate behind a judged one, to promise.

    Guaranteed rather than tight: exact bounds of the judged rate, of the sensitivity (from above) and of the
    specificity (from below), each at a third of the error. 0 where the judge may be no better than a coin; no more
    than the judged rate where that contradicts the record (more passed than the sensitivity allows).

    >>> judge = JudgeRecord(right_passed=195, right=200, wrong_failed=190, wrong=200)
    >>> round(corrected_lower(190, 200, judge), 3)
    0.904
    """
    each = part_of_error(confidence)
    return lower_behind(clopper_pearson_lower(passed, n, each), judge, each)


def part_of_error(confidence: float) -> float:
    """The confidence that each of three bounds needs, so that all hold together with the one given (Bonferroni)."""
    check_confidence(confidence)
    return 1 - (1 - confidence) / 3


def lower_behind(rate: float, judge: JudgeRecord, each: float) -> float:
    """Lower bound of the true pass rate behind a lower bound of the judged one; `each` is from `part_of_error`."""
    sensitivity = clopper_pearson_upper(judge.right_passed, judge.right, each)
    specificity = clopper_pearson_lower(judge.wrong_failed, judge.wrong, each)
    if sensitivity + specificity <= 1 or rate + specificity <= 1:
        return 0.0
    return rate if rate > sensitivity else _corrected(rate, sensitivity, specificity)


def upper_behind(rate: float, judge: JudgeRecord, each: float) -> float:
    """Upper bound of the true pass rate behind an upper bound of the judged one: the lower one of the fail rate."""
    mirrored = JudgeRecord(
        right_passed=judge.wrong_failed, right=judge.wrong, wrong_failed=judge.right_passed, wrong=judge.right
    )
    return 1 - lower_behind(1 - rate, mirrored, each)


def labels_needed(rate: float, bar: float, confidence: float = 0.95) -> int | None:
    """Fewest labelled wrong answers, all failed by the judge, with which a judged rate could hold a bar.

    With every right answer passed and all w wrong ones failed, the bound behind a lower bound `rate` is
    1 - (1 - rate) / (e / 3)^(1 / w), where e is the error; that reaches the bar from w = ln(e / 3) / ln((1 - rate) /
    (1 - bar)) on.

    Args:
        rate: lower bound of the judged pass rate at `part_of_error(confidence)`.
        bar: to hold.
        confidence: of the bar.

    Returns:
        The number; None when no number would do, because the judged rate itself is too low or of too few answers.

    >>> labels_needed(0.95, 0.9), labels_needed(0.89, 0.9)
    (6, None)
    """
    each = part_of_error(confidence)
    if rate >= 1:
        return 1
    if rate <= bar:
        return None
    return max(1, math.ceil(math.log(1 - each) / math.log((1 - rate) / (1 - bar)) - 1e-9))


def _corrected(rate: float, sensitivity: float, specificity: float) -> float:
    _check_tells(sensitivity, specificity)
    return min(1.0, max(0.0, (rate + specificity - 1) / (sensitivity + specificity - 1)))


def _check_tells(sensitivity: float, specificity: float) -> None:
    if sensitivity + specificity <= 1:
        raise ValueError(
            f"sensitivity {sensitivity:.3f} and specificity {specificity:.3f} add up to at most 1: the judge tells "
            "right from wrong no better than a coin; change the judge or its rubric"
        )
