"""An answer that came once has a certificate of its own."""

from __future__ import annotations

import numpy as np
import pytest

from router.cache.evidence import FEATURES
from router.cache.strata import SUPPORTERS, Strata

ONCE = np.zeros(len(FEATURES))
TWICE = np.eye(len(FEATURES))[SUPPORTERS] * np.log(2)


def learn(strata: Strata, features: np.ndarray, size: int = 400) -> None:
    for _ in range(size):
        strata.of(features).propose(0.001)
        strata.of(features).label(0.001, wrong=False)
    strata.update()


@pytest.mark.parametrize(("learned", "other"), [(ONCE, TWICE), (TWICE, ONCE)])
def test_labels_of_the_one_kind_permit_nothing_of_the_other(learned: np.ndarray, other: np.ndarray) -> None:
    strata = Strata(0.05)
    learn(strata, learned)
    assert strata.of(learned).threshold > 0
    assert strata.of(other).threshold == 0


def test_both_bounds_together_are_the_tasks() -> None:
    strata = Strata(0.05)
    for features, hits in ((ONCE, 1), (TWICE, 3)):
        learn(strata, features)
        for _ in range(hits):
            strata.of(features).serve(0.001)
    once, twice = (one.standing() for one in strata.all)
    both = strata.standing()
    assert (both.hits, both.labels) == (4, 800)
    assert both.wrong_upper == pytest.approx((once.wrong_upper + 3 * twice.wrong_upper) / 4)
    assert once.wrong_upper > twice.wrong_upper  # the smaller share of the risk, so the wider bound


def test_what_came_once_keeps_a_strict_promise_where_the_policys_is_lax() -> None:
    once, twice = Strata(0.4).all
    assert (once.max_error, twice.max_error) == (0.1, 0.4)


def test_a_withdrawal_is_of_both() -> None:
    strata = Strata(0.05)
    for features in (ONCE, TWICE):
        learn(strata, features)
    strata.withdraw()
    strata.update()
    assert [one.threshold for one in strata.all] == [0, 0]
