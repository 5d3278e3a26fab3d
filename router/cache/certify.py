"""Which would-be hits may be served, so that the share of wrong ones among the hits stays under a promise.

What is assumed: among would-be hits of one predicted probability p of being wrong, the labelled ones (misses, audits)
are wrong as often as the served ones, and the true probability is a *recalibration* of p,

    r(p) = floor + (1 - floor) * sigmoid(logit(E) + shift + slope * (logit(p) - logit(E))),

with unknown floor, shift and slope (a grid of them). p was predicted before its label was seen. Then

    M(theta) = mean over the prior of likelihood(theta') / likelihood(theta)

is a non-negative martingale with mean 1 for the true theta, so by Ville's inequality the set of all theta with
M(theta) < 1 / (1 - confidence) holds the true one at *all* times with that confidence (Robbins 1970; Waudby-Smith and
Ramdas 2024). The bound of wrong hits is the worst of that set; it may be read after every label and for every
threshold at once, so looking often and moving the threshold cost nothing.

A second watch assumes nothing: each audit was drawn by a known chance, and a gambler bets on them that wrong / hits is
over the promise. When her wealth says so, the permission is withdrawn and has to be earned anew (an e-detector,
Shin, Ramdas and Rinaldo 2024; CUSUM form).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

EDGES = np.geomspace(2e-4, 0.6, 41)
"""p is held in bins with these edges; thresholds are edges."""
MIDDLES = np.concatenate([[1.5e-4], np.sqrt(EDGES[1:] * EDGES[:-1]), [0.75]])
RECENT = 1_000
"""Would-be decisions that say what the near future looks like."""
LEAST_AHEAD = 1_000.0
"""Requests the threshold plans for, at least; otherwise as many again as there were."""
LEAST_LABELS = 50
LEAST_AUDIT = 0.02
"""Smallest chance by which a would-be hit is drawn for an audit."""
ALARM = 5_000.0
"""Wealth at which the audits withdraw: a cache just at its promise runs for 5,000 audits on average before that."""
CROSSING = 0.06
"""p at which it is likely to be right; under it less goes wrong than p says."""
STAKES = np.array([0.05, 0.15, 0.4])
"""Shares of her wealth that the gambler stakes, a third of it on each."""


@dataclass(frozen=True, slots=True)
class JudgeError:
    """How often the comparison of two answers errs."""

    wrong_called_right: float = 0.0
    right_called_wrong: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.wrong_called_right and 0 <= self.right_called_wrong and self._seen < 1):
            raise ValueError(f"{self}: the two rates must not be negative and their sum must be under 1")

    @property
    def _seen(self) -> float:
        return self.wrong_called_right + self.right_called_wrong

    def observed(self, rate: Numbers) -> Numbers:
        """What the judge reports where the true rate of wrong answers is `rate`."""
        return self.right_called_wrong + (1 - self._seen) * rate


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the hits so far."""

    threshold: float
    """Largest p that is served now; 0.0: nothing."""
    hits: int
    labels: int
    wrong_estimate: float
    """Share of wrong hits under the most likely recalibration; 0.0 without hits."""
    wrong_upper: float
    """Upper bound of that share; 1.0 without labels."""
    withdrawn: int
    """Times the audits took the permission away."""


class Certifier:
    """Holds labels and hits of one task, and moves the threshold."""

    def __init__(self, max_error: float, *, confidence: float = 0.95, judge: JudgeError | None = None) -> None:
        """Promise that wrong / hits stays at or under `max_error`, in (0, 0.5], with this confidence."""
        if not 0 < max_error <= 0.5:
            raise ValueError(f"max_error must lie in (0, 0.5], not {max_error!r}")
        if not 0.5 <= confidence < 1:
            raise ValueError(f"confidence must lie in [0.5, 1), not {confidence!r}")
        self.max_error, self.confidence, self._judge = max_error, confidence, judge or JudgeError()
        self._rates, self._log_prior, self._log_wrong, self._log_right = _tables(max_error, self._judge)
        # Far above the promise the recalibration need not fit: those labels are left out.
        self._informative = int(np.searchsorted(EDGES, min(0.5, 10 * max_error)))
        self._last = int(np.searchsorted(EDGES, min(0.5, 8 * max_error), side="right"))
        self._wrong, self._right, self._hits = np.zeros((3, len(MIDDLES)))
        self._recent: deque[int] = deque(maxlen=RECENT)
        self._seen, self._debt, self._lost, self._withdrawn = 0, 0.0, 0.0, 0
        self._wealth = np.ones(len(STAKES))
        self.threshold = 0.0

    def propose(self, p: float) -> bool:
        """Note a would-be answer with this predicted p of being wrong; whether the threshold lets it pass."""
        self._recent.append(_bin(p))
        self._seen += 1
        return p <= self.threshold

    def serve(self, p: float) -> None:
        """Count a hit."""
        self._hits[_bin(p)] += 1

    def unserve(self, p: float) -> None:
        """Take back a hit: the model was called after all; of a hit of a task that was forgotten, nothing is left."""
        self._hits[_bin(p)] = max(0.0, self._hits[_bin(p)] - 1)

    def label(self, p: float, *, wrong: bool, audit: float | None = None) -> None:
        """Take in whether a proposed answer was wrong.

        Args:
            p: as predicted before the label was seen.
            wrong: as the judge says.
            audit: for an audited hit, the chance by which it was drawn; None for a miss.
        """
        (self._wrong if wrong else self._right)[_bin(p)] += 1
        if audit is not None:
            self._watch(wrong, audit)

    def update(self) -> float:
        """Move the threshold to the largest one that the labels allow, and return it.

        Served hits and the coming ones (the recent past as it would be served, for as long again) must together stay
        under the promise, whichever recalibration of the confidence set is true.
        """
        self.threshold = 0.0
        if not self._recent or self._wrong.sum() + self._right.sum() < LEAST_LABELS:
            return 0.0
        rates = self._confident()
        # A trace of a request in every bin: where none has been seen yet, its rate must still keep the promise.
        seen = np.bincount(np.array(self._recent), minlength=len(MIDDLES)) + 0.01
        ahead = seen * (max(LEAST_AHEAD, self._seen) / len(self._recent))
        bad, hits = np.einsum("ij,j->i", rates, self._hits) + self._debt, self._hits.sum()
        for at in range(self._last):
            bad = bad + rates[:, at] * ahead[at]
            hits += ahead[at]
            if bad.max() <= self.max_error * hits:
                self.threshold = float(EDGES[at])
        return self.threshold

    def standing(self) -> Standing:
        """What is known now."""
        hits, labels = self._hits.sum(), int(self._wrong.sum() + self._right.sum())
        upper, estimate = 1.0, 0.0
        if labels and hits:
            upper = min(1.0, float((self._confident() @ self._hits).max() + self._debt) / hits)
            estimate = float(self._rates[self._likelihood().argmax()] @ self._hits) / hits
        return Standing(self.threshold, round(hits), labels, estimate, upper, self._withdrawn)

    def _likelihood(self) -> Numbers:
        part = slice(self._informative)
        # Not `@`, whose threads wait for each other on busy cores.
        wrong: Numbers = np.einsum("ij,j->i", self._log_wrong[:, part], self._wrong[part])
        right: Numbers = np.einsum("ij,j->i", self._log_right[:, part], self._right[part])
        return wrong + right

    def _confident(self) -> Numbers:
        """Rates by bin of every recalibration in the confidence set, shape (m, bins)."""
        likelihood = self._likelihood()
        weighed = likelihood + self._log_prior
        evidence = weighed.max() + math.log(np.exp(weighed - weighed.max()).sum())
        inside: Numbers = self._rates[evidence - likelihood < -math.log(1 - self.confidence)]
        return inside

    def _watch(self, wrong: bool, chance: float) -> None:
        # An audit stands for 1 / chance would-be hits; the scale keeps the wealth positive whatever comes.
        promised = float(self._judge.observed(np.array([self.max_error]))[0])
        self._lost = max(0.0, self._lost + (wrong - promised) / chance)
        odds = (wrong - promised) / promised * min(1.0, LEAST_AUDIT / chance)
        self._wealth = np.maximum(1.0, self._wealth * (1 + STAKES * odds))
        if self._wealth.mean() >= ALARM:
            self.withdraw()

    def withdraw(self) -> None:
        """Serve nothing until new labels allow it."""
        self._debt += self._lost
        self._wrong[:], self._right[:], self._wealth[:] = 0, 0, 1
        self._recent.clear()
        self.threshold, self._lost = 0.0, 0.0
        self._withdrawn += 1


def _bin(p: float) -> int:
    return int(np.searchsorted(EDGES, p))


@lru_cache(maxsize=16)
def _tables(max_error: float, judge: JudgeError) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """`_recalibrations`, and the logarithms of what the judge reports under each; 4.5 MB, which all tasks share."""
    rates, log_prior = _recalibrations(max_error)
    observed = np.clip(judge.observed(rates), 1e-9, 1 - 1e-9)
    return rates, log_prior, np.log(observed), np.log1p(-observed)


def _recalibrations(max_error: float) -> tuple[Numbers, Numbers]:
    """True rates by bin under each recalibration, shape (g, bins), and the logarithm of its prior, shape (g,).

    The prior only says where the bound gets tight soonest; the bound holds for any. Scores fitted to all labels are too
    careful where they are surest, so a slope over 1 is likely, and that the true rate falls under p at about CROSSING.
    """
    floors = np.array([0, 0.0005, 0.001, 0.002, 0.003, 0.0045, 0.0065, 0.009, 0.0125, 0.0175, 0.025, 0.035, 0.05, 0.08,
                       0.12, 0.2, 0.3])  # fmt: skip
    shifts, slopes = np.arange(-1.8, 2.41, 0.15), np.array([0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 1.6, 1.8, 2.1])
    floor, shift, slope = (axis.ravel() for axis in np.meshgrid(floors, shifts, slopes, indexing="ij"))
    pivot = math.log(max_error / (1 - max_error))
    logit = np.log(MIDDLES / (1 - MIDDLES))
    raised = pivot + shift[:, None] + slope[:, None] * (logit - pivot)[None, :]
    rates = floor[:, None] + (1 - floor[:, None]) / (1 + np.exp(-raised))
    likely = (slope - 1) * (pivot - math.log(CROSSING / (1 - CROSSING)))
    log_prior = -0.5 * ((shift - likely) / 0.3) ** 2 - 0.5 * ((slope - 1.35) / 0.2) ** 2
    log_prior = log_prior + np.where(floor == 0, 0.0, math.log(0.2) - floor / 0.005)
    log_prior -= np.log(np.exp(log_prior - log_prior.max()).sum()) + log_prior.max()
    return np.clip(rates, 1e-7, 1 - 1e-7), log_prior
