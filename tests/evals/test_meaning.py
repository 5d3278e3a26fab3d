"""The scorer `similarity`, with the real embedder."""

from __future__ import annotations

import sys

import pytest

from evals.scorers import scorer
from evals.types import EvalError, Scored, Unscored
from router.embedding import missing

needs_embedder = pytest.mark.skipif(missing() is not None, reason=missing() or "")


def value(response: str, reference: str) -> float:
    score = scorer("similarity")(response, reference)
    assert isinstance(score, Scored), score
    return score.value


@needs_embedder
def test_other_words_of_the_same_meaning_score_far_above_other_meanings() -> None:
    reference = "The parcel arrives on Monday."
    assert value(reference, reference) == pytest.approx(1, abs=1e-5)
    assert value("Your package will be delivered on Monday.", reference) > 0.6
    assert value("Photosynthesis turns light into sugar.", reference) < 0.2
    assert scorer("spelling")("Your package will be delivered on Monday.", reference).value < 0.5  # type: ignore[union-attr]


@needs_embedder
def test_empty_sides_are_worth_nothing_or_not_scored() -> None:
    assert value("", "a reference") == 0
    assert isinstance(scorer("similarity")("an answer", " "), Unscored)


@needs_embedder
def test_a_long_response_says_how_much_of_it_was_read() -> None:
    score = scorer("similarity")("a cat sat on the mat. " * 200, "a cat sat on the mat")
    assert isinstance(score, Scored)
    assert score.reason.endswith("of the response only the first and last 254 word pieces")


def test_without_the_extra_the_scorer_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(EvalError, match=r"scorer 'similarity'.*pip install 'clearbar\[embed\]'.*`spelling`"):
        scorer("similarity")
