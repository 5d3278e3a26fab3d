"""When two answers in prose say the same: by the cosine of their vectors, from a threshold that outcomes tell.

Only for answers without a short answer in them that could be compared, and only in artifacts that were trained with
an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.answers import Answer
from router.predict.labels import Floats
from router.predict.meaning import embed

Vectors = NDArray[np.floating[Any]]
LEAST_PAIRS = 200
"""Pairs of answers to one question that a threshold needs."""
LEAST_TOLD = 0.005
"""Nats that agreement must tell about both answers clearing; below it, nothing is joined."""
THRESHOLDS = np.arange(0.4, 0.99, 0.02)
PAIR_QUERIES = 400
"""Questions whose answers the threshold is fitted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """Joins answers in prose that say the same."""

    threshold: float
    """Cosine from which on they do."""

    def joined(self, numbers: Sequence[int], answers: Sequence[Answer]) -> list[int]:
        """Numbers of equal answers (-1 for none) with those of like prose made one, in order of appearance.

        Raises:
            WeightsError: the embedder is missing or damaged.
        """
        places = [place for place, answer in enumerate(answers) if answer.prose]
        if len(places) < 2:
            return list(numbers)
        vectors, _ = embed([answers[place].prose for place in places])
        return self.join(numbers, places, vectors)

    def join(self, numbers: Sequence[int], places: Sequence[int], vectors: Vectors) -> list[int]:
        """The same of vectors that are known, shape (len(places), 384).

        What is like a third answer is like each other, too.
        """
        found = list(numbers)
        alike = vectors @ vectors.T >= self.threshold
        for one, other in zip(*np.nonzero(np.triu(alike, 1)), strict=True):
            kept, gone = found[places[one]], found[places[other]]
            if kept != gone:
                found = [kept if number == gone else number for number in found]
        order = {number: place for place, number in enumerate(dict.fromkeys(n for n in found if n >= 0))}
        return [order.get(number, -1) for number in found]


def fit_likeness(rows: Sequence[tuple[Sequence[int], Vectors]], quality: Floats) -> Likeness | None:
    """The threshold at which agreement tells most about both answers clearing; None where it tells next to nothing.

    Args:
        rows: for each question, which models answered in prose, and their answers' vectors.
        quality: shape (n, m), in [0, 1].
    """
    cosines: list[Vectors] = []
    both: list[Floats] = []
    with_pairs = [row for row, (models, _) in enumerate(rows) if len(models) > 1]
    for row in with_pairs[:: max(len(with_pairs) // PAIR_QUERIES, 1)]:
        models, vectors = rows[row]
        one, other = np.triu_indices(len(models), 1)
        own = quality[row, list(models)]
        cosines.append((vectors @ vectors.T)[one, other])
        both.append(own[one] * own[other])
    if sum(map(len, cosines)) < LEAST_PAIRS:
        return None
    cosine, clears = np.concatenate(cosines), np.concatenate(both)
    told = [_information(cosine >= threshold, clears) for threshold in THRESHOLDS]
    best = int(np.argmax(told))
    return Likeness(threshold=float(THRESHOLDS[best])) if told[best] >= LEAST_TOLD else None


def _information(agree: NDArray[np.bool_], clears: Floats) -> float:
    """Nats per pair that agreeing tells about clearing; 0 where it is no good sign.

    What disagreeing tells is left out: it would reward a low threshold, at which a cascade stops at wrong answers.
    """
    share, overall = float(agree.mean()), float(clears.mean())
    if not share or not 0.0 < overall < 1.0:
        return 0.0
    if_agree = float(clears[agree].mean())
    if if_agree <= overall:
        return 0.0
    both = ((if_agree, overall), (1.0 - if_agree, 1.0 - overall))
    return share * float(sum(one * np.log(one / usual) for one, usual in both if one > 0.0))
