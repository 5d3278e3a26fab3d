"""When two answers are the same answer."""

from __future__ import annotations

from typing import Any

import pytest

from router.cache.identity import identity_of, same
from router.embedding import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason="needs clearbar[embed]")

REFUND = (
    "You can return the shoes within thirty days. Print the label from your account, put it on the box and hand it in "
    "at any post office. The money is back on your card within a week."
)
REWORDED = (
    "You can return the shoes within thirty days. Print the label in your account, put it on the parcel and hand it in "
    "at any post office. Your money is back on your card within a week."
)


def payload(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


def identity(text: str, *others: str, prompt: str = "How?") -> str:
    return identity_of(payload(text), prompt, [(identity_of(payload(one), prompt), payload(one)) for one in others])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("12 km", "12km", id="number with its unit"),
        pytest.param('{"answer": "yes"}', '{"answer":"yes"}', id="JSON"),
        pytest.param("First add.\nThe answer is 4", "We know that\nthe answer is 4", id="marked"),
        pytest.param(REFUND, REFUND.replace(" ", "  "), id="layout"),
        pytest.param(REFUND, REWORDED, id="reworded"),
    ],
)
def test_answers_that_say_the_same(one: str, other: str) -> None:
    assert identity(other, one) == identity(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("12 km", "12 miles", id="unit"),
        pytest.param("Yes, you can.\nHope this helps!", "No, never.\nHope this helps!", id="the same last line"),
        pytest.param(REFUND, REFUND.replace("thirty", "14"), id="number"),
        pytest.param(REFUND, REFUND.replace("You can return", "You can not return"), id="negation"),
        pytest.param(REFUND, "To pay by bank transfer, use the number on the invoice and your name.", id="other"),
        pytest.param("word " * 600 + "a", "word " * 600 + "b", id="too long to compare"),
    ],
)
def test_answers_that_differ(one: str, other: str) -> None:
    assert identity(other, one) != identity(one)


def test_a_choice_is_a_letter_of_the_prompts_options() -> None:
    prompt = "Which one?\nA. red\nB. blue"
    assert identity("B", prompt=prompt) == identity("The answer is (B), because it is blue.", prompt=prompt)


def test_only_longer_answers_are_compared_by_meaning() -> None:
    assert same(REFUND, REWORDED)
    assert identity("Paris", "Rome") != identity("Rome")
