"""The probability that a proposed answer is wrong: one logistic score, shipped with a prior and refitted by labels.

The prior's coefficients were fitted by `benchmarks/cache_prior.py`; `score_prior.json` names their sources. Labels of
the running cache move them: a Gaussian prior around the shipped ones, so few labels change little, thousands decide.
"""

from __future__ import annotations

import json
from collections import deque
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.cache.evidence import FEATURES

Numbers = NDArray[np.float64]

WINDOW = 6_000
"""Labels that a refit looks at, the latest ones."""
REFIT_EVERY = 200
PRECISION = 1.0
"""Of the prior around each shipped coefficient; the constant's is 0.3, because base rates differ most."""
MOST_WEIGHT = 5.0
"""An audited hit stands for 1 / its probability of audit others, up to so many, lest single ones lead the fit."""


class Score:
    """A logistic score over FEATURES."""

    def __init__(self, prior: Numbers | None = None) -> None:
        """Start at the shipped coefficients, or at the ones given."""
        self._prior = shipped() if prior is None else prior
        self.coefficients = self._prior.copy()
        self._labels: deque[tuple[Numbers, float, float]] = deque(maxlen=WINDOW)
        self._new = 0

    def p_wrong(self, features: Numbers) -> float:
        """Probability that the answer is wrong, in (0, 1); after 200 new labels the coefficients are fitted anew."""
        if self._new >= REFIT_EVERY:  # here, so that the labels of an earlier process are fitted once
            self.refit()
        return float(1 / (1 + np.exp(-np.clip(features @ self.coefficients, -30, 30))))

    def learn(self, features: Numbers, *, wrong: bool, probability: float = 1.0) -> None:
        """Take in a label.

        Args:
            features: as they were when the answer was proposed.
            wrong: whether the proposed answer was wrong.
            probability: with which this case was chosen to be labelled.
        """
        self._labels.append((features, float(wrong), min(1 / probability, MOST_WEIGHT)))
        self._new += 1

    def refit(self) -> None:
        """Fit to the labels held."""
        self._new = 0
        if self._labels:
            rows, wrong, weights = (np.array(column) for column in zip(*self._labels, strict=True))
            self.coefficients = fitted(rows, wrong, weights, self._prior, start=self.coefficients)


def fitted(rows: Numbers, wrong: Numbers, weights: Numbers, prior: Numbers, *, start: Numbers) -> Numbers:
    """Most probable coefficients under a Gaussian prior, by Newton's method (iterated weighted least squares).

    Steps are halved until they improve: from a start that is sure and wrong of most labels, whole ones would fly off.

    Args:
        rows: shape (n, 16).
        wrong: shape (n,), 0 or 1.
        weights: shape (n,), positive.
        prior: the prior's mean, shape (16,).
        start: where the iteration starts.
    """
    precision = np.full(len(prior), PRECISION)
    precision[0] = 0.3

    def plausible(at: Numbers) -> float:
        raised = rows @ at
        return float(weights @ (wrong * raised - np.logaddexp(0, raised)) - precision @ (at - prior) ** 2 / 2)

    now = start.copy()
    for _ in range(20):
        p = 1 / (1 + np.exp(-np.clip(rows @ now, -30, 30)))
        slope = rows.T @ (weights * (wrong - p)) - precision * (now - prior)
        spread = (weights * p * (1 - p) + 1e-9)[:, None]
        curve = np.einsum("ij,ik->jk", rows * spread, rows) + np.diag(precision)
        step = np.linalg.solve(curve, slope)
        before = plausible(now)
        while plausible(now + step) < before and np.abs(step).max() >= 1e-4:
            step = step / 2
        now = now + step
        if np.abs(step).max() < 1e-4:
            break
    return now


@cache
def shipped() -> Numbers:
    """The shipped coefficients, in the order of FEATURES."""
    read = json.loads(Path(__file__).with_name("score_prior.json").read_text(encoding="utf-8"))
    coefficients = np.array([read["coefficients"][name] for name in FEATURES])
    coefficients.flags.writeable = False
    return coefficients
