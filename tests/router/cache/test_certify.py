"""The certified threshold: the promise is kept over many streams, and taken back when audits say so."""

from __future__ import annotations

import numpy as np
import pytest

from router.cache.certify import LEAST_AUDIT, Certifier, JudgeError


def stream(
    certifier: Certifier, true_rate, chance: np.random.Generator, size: int, flips: float = 0.0
) -> tuple[int, int]:
    """Hits and wrong hits when p is drawn and wrong with `true_rate(p)`."""
    hits = wrong_hits = 0
    for number, p in enumerate(np.exp(chance.uniform(np.log(5e-4), 0, size))):
        if number % 100 == 99:
            certifier.update()
        wrong = bool(chance.random() < true_rate(p))
        seen = wrong != bool(chance.random() < flips)
        if not certifier.propose(p):
            certifier.label(p, wrong=seen)
        elif chance.random() < LEAST_AUDIT:
            certifier.label(p, wrong=seen, audit=LEAST_AUDIT)
        else:
            certifier.serve(p)
            hits += 1
            wrong_hits += wrong
    return hits, wrong_hits


CALIBRATIONS = {
    "calibrated": lambda p: p,
    "too sure": lambda p: min(1.0, 2.5 * p),
    "with a floor": lambda p: 0.02 + 0.98 * p,
    "blind": lambda _p: 0.3,
}


def kept(calibration: str, max_error: float, seeds: int, size: int, flips: float = 0.0) -> tuple[int, int]:
    """Streams that kept the promise, and hits in all."""
    good = total = 0
    for seed in range(seeds):
        judge = JudgeError(flips, flips)
        hits, wrong = stream(
            Certifier(max_error, judge=judge), CALIBRATIONS[calibration], np.random.default_rng(seed), size, flips
        )
        good += wrong <= max_error * hits
        total += hits
    return good, total


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_wrong_hits_stay_under_the_promise(calibration: str) -> None:
    good, _ = kept(calibration, 0.05, seeds=8, size=3_000)
    assert good >= 7


@pytest.mark.long
@pytest.mark.parametrize("flips", [0.0, 0.02])
@pytest.mark.parametrize("max_error", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_the_promise_is_kept_in_19_of_20_streams(calibration: str, max_error: float, flips: float) -> None:
    good, _ = kept(calibration, max_error, seeds=40, size=8_000, flips=flips)
    assert good >= 38


def test_a_calibrated_score_serves_and_a_blind_one_nothing() -> None:
    assert kept("calibrated", 0.05, seeds=2, size=3_000)[1] > 1_500
    assert kept("blind", 0.05, seeds=2, size=3_000)[1] == 0


def test_a_noisy_judge_is_corrected_for() -> None:
    good, hits = kept("calibrated", 0.05, seeds=4, size=4_000, flips=0.02)
    assert good == 4
    assert hits > 500


def test_nothing_is_certified_without_labels() -> None:
    certifier = Certifier(0.05)
    assert not certifier.propose(0.001)
    assert certifier.update() == 0.0
    assert certifier.standing().wrong_upper == 1.0


def test_audits_that_turn_bad_withdraw_the_permission_at_once() -> None:
    certifier = Certifier(0.02)
    stream(certifier, CALIBRATIONS["calibrated"], np.random.default_rng(0), 3_000)
    assert certifier.threshold > 0
    audits = 0
    while not certifier.standing().withdrawn and audits < 30:
        audits += 1
        certifier.label(0.001, wrong=True, audit=LEAST_AUDIT)
    assert audits <= 6
    assert certifier.threshold == certifier.update() == 0.0


@pytest.mark.parametrize("max_error", [0, -0.1, 0.6, float("nan")])
def test_a_promise_out_of_range_is_refused(max_error: float) -> None:
    with pytest.raises(ValueError, match="max_error"):
        Certifier(max_error)
