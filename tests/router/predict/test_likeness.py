"""Answers in prose: joined where they say the same, where training was told to look."""

from __future__ import annotations

import numpy as np
import pytest
from paraphrases import CAUSES, FRAMES, explanations

from router.answers import answer_of
from router.embedding import missing
from router.predict import Predictor
from router.predict.artifact import Artifact
from router.predict.cascade import Choice
from router.predict.evaluate import Comparison, TrainReport
from router.predict.likeness import LEAST_PAIRS, Likeness, fit_likeness
from router.predict.train import train

needs_embedder = pytest.mark.skipif(missing() is not None, reason="the extra `embed` is not installed")
EAST, NEAR_EAST, NORTH = [1.0, 0.0], [0.8, 0.6], [0.0, 1.0]


@pytest.mark.parametrize(
    ("response", "is_prose"),
    [
        ("It was late because a storm had closed the harbour, which nobody had foreseen.", True),
        ("A storm. " * 60, True),
        ("A storm", False),
        ("The answer is: a storm had closed the harbour, which nobody at all had foreseen.", False),
        ('{"answer": "a storm had closed the harbour, which nobody at all in the town had foreseen"}', False),
        ("Adding both numbers up, one digit after the other,\n12345", False),
        ("", False),
    ],
)
def test_only_a_sentence_without_a_marked_answer_is_prose(response: str, is_prose: bool) -> None:
    assert bool(answer_of(response).prose) is is_prose


def test_like_answers_get_one_number_and_what_is_like_a_third_is_alike_too() -> None:
    vectors = np.array([EAST, NEAR_EAST, NORTH])
    assert Likeness(threshold=0.7).join([0, 1, 2, -1], [0, 1, 2], vectors) == [0, 0, 1, -1]
    assert Likeness(threshold=0.9).join([0, 1, 2, -1], [0, 1, 2], vectors) == [0, 1, 2, -1]
    assert Likeness(threshold=0.5).join([0, 1, 2, -1], [0, 1, 2], vectors) == [0, 0, 0, -1]


def test_answers_that_are_no_prose_keep_their_own_numbers() -> None:
    assert Likeness(threshold=0.7).join([0, 1, 2, 1], [0, 2], np.array([EAST, NEAR_EAST])) == [0, 1, 0, 1]


def test_the_threshold_lies_where_agreement_tells_and_nowhere_where_it_tells_nothing() -> None:
    random = np.random.default_rng(0)
    cosine = random.uniform(0.3, 1.0, 2 * LEAST_PAIRS)
    rows = [([0, 1], np.array([[1.0, 0.0], [c, np.sqrt(1 - c * c)]])) for c in cosine]
    telling = np.column_stack([cosine > 0.7] * 2).astype(float)
    found = fit_likeness(rows, telling)
    assert found is not None
    assert found.threshold == pytest.approx(0.7, abs=0.03)
    assert fit_likeness(rows, random.permutation(telling)) is None
    assert fit_likeness(rows, 1.0 - telling) is None  # agreement of those who are wrong
    assert fit_likeness(rows[: LEAST_PAIRS - 1], telling) is None


@pytest.fixture(scope="module")
def trained() -> tuple[Artifact, TrainReport]:
    return train(explanations(1_200, seed=1), embedding="local/minilm")


@needs_embedder
def test_a_cascade_gains_on_paraphrases(trained: tuple[Artifact, TrainReport]) -> None:
    plain = train(explanations(1_200, seed=1))
    assert "likeness_threshold" not in plain[0].arrays
    (before, after) = (against_best(report) for _, report in (plain, trained))
    assert after.quality_difference > before.quality_difference - 0.01
    assert after.cost_ratio < before.cost_ratio - 0.05


def against_best(report: TrainReport) -> Comparison:
    """The held-out cascade beside the best constant model."""
    (verdict,) = [one for one in report.verdicts if one.strategy == "cascade"]
    return next(one for one in verdict.comparisons if one.versus == "best constant")


@needs_embedder
def test_a_live_cascade_hears_one_cause_in_two_wordings(trained: tuple[Artifact, TrainReport]) -> None:
    predictor = Predictor(trained[0])
    same, other = ([FRAMES[0].format(cause=CAUSES[0][0]), FRAMES[2].format(cause=CAUSES[n][0])] for n in (0, 4))
    chances = {}
    for said in (same, other):
        climb = predictor.climb(ladder(predictor), np.full(3, 0.8), "Why was the delivery late?", 0, -1)
        for model, response in zip((0, 1), said, strict=True):
            climb.hear(climb.models[model], response, 25)
        chances[said[1]] = climb.chance
    assert chances[same[1]] > chances[other[1]] + 0.1


def ladder(predictor: Predictor) -> Choice:
    """A choice that climbs."""
    found = (predictor.choice(price, 0, -1) for price in predictor.dial(50, "cascade").tolist())
    return next(choice for choice in found if choice is not None and choice.ladder is not None)
