from __future__ import annotations

from typing import Any

import pytest

from router.answers import answer_of, extract, options_of, response_text

OPTIONS = {"A": "gross error", "B": "human error", "C": "$0.98"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"reasoning": "2 + 1", "answer": "3"}', "so the answer is 3."),
        ('```json\n{"answer": 1250}\n```', "The answer is 1,250"),
        (r"\boxed{\frac{1}{2}}", r"the answer is $\dfrac{1}{2}$"),
        ('{"answer": "12 meters"}', '{"answer": "12"}'),
        ('{"answer": "-3.50"}', '{"answer": "-3.5"}'),
        ('{"answer": {"b": 1, "a": [2]}}', '{"answer": {"a": [2], "b": 1}}'),
        ("""{"answer": "['a', 'b']"}""", """{"answer": "[\\"a\\",\\"b\\"]"}"""),
        ('{"answer": ""}', """{"answer": "''"}"""),
    ],
)
def test_answers_that_say_the_same_have_the_same_key(one: str, other: str) -> None:
    assert answer_of(one).key == answer_of(other).key != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"answer": "3"}', '{"answer": "4"}'),
        ('{"answer": "3"}', '{"answer": "-3"}'),
        ('{"answer": "try."}', '{"answer": "try!"}'),
        ('{"answer": "ab"}', '{"answer": "AB"}'),
        ('{"answer": ""}', ""),
    ],
)
def test_answers_that_differ_have_different_keys(one: str, other: str) -> None:
    assert answer_of(one).key != answer_of(other).key


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("The answer is (B).", "B"),
        ("Let's see. The answer is **C**", "C"),
        ("(A) is tempting, but the answer is (B). No wait, the answer is (C).", "C"),
        ("The answer is (B).\n\nThe answer is (A).\n\nThe answer is (C).", "B"),
        ('{"answer": "A"}', "A"),
        ("B) human error", "B"),
        ("It must be $0.98", ""),
        ("the answer is $0.98", "C"),
        ("I cannot say.", ""),
        ("", ""),
    ],
)
def test_where_the_prompt_lists_options_the_answer_is_a_letter(response: str, letter: str) -> None:
    assert answer_of(response, OPTIONS).key == letter


def test_options_are_read_off_the_prompt() -> None:
    assert options_of("Which?\nA. gross error\nB) human error\n(C) none") == {
        "A": "gross error",
        "B": "human error",
        "C": "none",
    }
    assert options_of("B. is no first option") == {}
    assert options_of("A plain question") == {}


def test_a_long_text_without_a_marked_answer_is_no_short_answer() -> None:
    assert answer_of("word " * 200).kind == "long"
    assert answer_of("word " * 200 + "\nThe answer is 7").kind == "number"


def test_a_model_that_runs_on_is_taken_at_its_first_word() -> None:
    assert extract("The answer is 1\nThe answer is 2").text == "2"
    assert extract("The answer is 1\nThe answer is 2\nThe answer is 3").text == "1"


def test_tool_calls_are_an_answer() -> None:
    call = {"id": "x", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    assert '"find"' in response_text({"choices": [{"message": {"content": None, "tool_calls": [call]}}]})
    assert response_text({"choices": [{"message": {"content": None}}]}) == ""


@pytest.mark.parametrize("text", ["", "\ud800", "x" * 100_000, "{" * 5_000, "\\boxed{" * 2_000, "🎈" * 500, "$" * 999])
def test_any_text_has_an_answer_or_none(text: str) -> None:
    answer_of(text)
    answer_of(text, OPTIONS)


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": ' + "[" * 100_000,
        '{"answer": ' + '{"a": ' * 20_000,
        '"answer": x ' * 50_000,
        "The answer is " + "1" * 100_000 + "!",
        "The answer is " + "1," * 50_000 + "!",
        "answer" + " " * 50_000 + "x",
        "answer is " + "*" * 500_000,
        "\n" * 200_000 + "?",
    ],
    ids=["brackets", "braces", "fields", "digits", "thousands", "blanks", "stars", "lines"],
)
def test_a_response_that_runs_on_is_read_in_linear_time(text: str) -> None:
    """Anything worse would take minutes here."""
    answer_of(text)
    answer_of(text, OPTIONS)
    options_of(text)


@pytest.mark.parametrize(
    "payload",
    [{}, {"choices": []}, {"choices": None}, {"choices": [{}]}, {"choices": [{"message": None}]}],
)
def test_an_answer_without_a_message_is_an_empty_text(payload: dict[str, Any]) -> None:
    assert response_text(payload) == ""
