"""Scorers: what counts as the answer, and when it is right."""

from __future__ import annotations

import json

import pytest

from evals.scorers import extract, scorer
from evals.scorers.expression import NotSimple, same
from evals.scorers.math import equivalent
from evals.types import EvalError, Failed, Scored, Unscored


def value(name: str, response: str, reference: str, **options: object) -> float | None:
    score = scorer(name, **options)(response, reference)
    return score.value if isinstance(score, Scored) else None


@pytest.mark.parametrize(
    ("response", "text", "by"),
    [
        ('{"reasoning": "…", "answer": "12"}', "12", "json"),
        ('```json\n{"answer": 12}\n```\nI hope that helps.', "12", "json"),
        ('{"answer": "1"} no, better: {"answer": "2"}', "2", "json"),
        ('{"reasoning": "a raw\nline break", "answer": "x\\"y"}', 'x"y', "json"),
        ('{"answer": null}', "", "json"),
        ('{"answer": ["a", 1]}', '["a", 1]', "json"),
        ("{\"answer\": 'x y',\n}", "'x y'", "json"),
        (r"so we get \boxed{\frac{1}{2}} as wanted", r"\frac{1}{2}", "boxed"),
        (r"\boxed{1} or rather \boxed{2}", "2", "boxed"),
        (r"\boxed{3", "3", "boxed"),
        ("The answer is 42.\nBye", "42.", "phrase"),
        ("Answer: **Paris**", "Paris", "phrase"),
        ("#### 17", "17", "phrase"),
        ("first\n\nlast line\n```", "last line", "last line"),
        ("**bold**", "bold", "last line"),
        ("", "", "last line"),
    ],
)
def test_the_answer_is_found_in_json_then_boxed_then_phrase_then_last_line(response: str, text: str, by: str) -> None:
    found = extract(response)
    assert (found.text, found.by) == (text, by)


def test_json_wins_over_a_box_inside_its_reasoning() -> None:
    assert extract(r'{"reasoning": "\\boxed{3}", "answer": "4"}').text == "4"


@pytest.mark.parametrize(
    ("response", "reference", "expected"),
    [
        ("'a b'", "ab", 1.0),
        ("['a', 'b']", '["a","b"]', 1.0),
        ("`x`", "x", 1.0),
        ("Yes", "yes", 0.0),
        ('"it\'s"', "'it\"s'", 1.0),
        ("ab", "abc", 0.0),
        ("x", "", None),
    ],
)
def test_exact_drops_white_space_and_one_pair_of_quotes(response: str, reference: str, expected: float | None) -> None:
    assert value("exact", response, reference) == expected


def test_loose_exact_ignores_case_and_punctuation() -> None:
    assert value("exact", "New York.", "new york", loose=True) == 1.0
    assert value("exact", "New York.", "new york") == 0.0


@pytest.mark.parametrize(
    ("response", "reference", "expected"),
    [
        ("It is Positive!", "positive", 1.0),
        ("not negative, positive", "positive", 0.0),
        ("I cannot say", "positive", 0.0),
        ("The review was bad.\nnegative", "negative", 1.0),
        ("positively", "positive", 0.0),
        ("x", "neutral", None),
    ],
)
def test_choice_wants_one_label_and_no_other(response: str, reference: str, expected: float | None) -> None:
    assert value("choice", response, reference, choices=["positive", "negative"]) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("The answer is (B).", 1.0),
        ("B", 1.0),
        ("B. because", 1.0),
        ("I think it is (A)\nso (B)", 1.0),
        ("A dog barks", 0.0),
        ("(C)", 0.0),
        ("", 0.0),
    ],
)
def test_choice_without_labels_reads_option_letters(response: str, expected: float) -> None:
    assert value("choice", response, "B") == expected


@pytest.mark.parametrize(
    ("response", "reference", "expected"),
    [
        ("$1,234.50", "1234.5", 1.0),
        ("3 + 4 = 7", "7", 1.0),
        ("−5", "-5", 1.0),
        ("3/4", "0.75", 1.0),
        ("1.5e3", "1500", 1.0),
        ("7 apples.", "7", 1.0),
        ("seven", "7", 0.0),
        ("1,2", "2", 1.0),
        ("7", "seven", None),
        ("1/0", "1", 0.0),
    ],
)
def test_numeric_compares_the_last_number(response: str, reference: str, expected: float | None) -> None:
    assert value("numeric", response, reference) == expected


def test_numeric_tolerances_are_absolute_or_relative() -> None:
    assert value("numeric", "10.4", "10", tolerance=0.5) == 1.0
    assert value("numeric", "104", "100", relative=0.05) == 1.0
    assert value("numeric", "106", "100", relative=0.05) == 0.0


@pytest.mark.parametrize(
    ("response", "reference", "expected"),
    [
        ('{"a": 1, "b": "X"}', '{"a": "1", "b": "x"}', 1.0),
        ('Sure: ```json\n{"a": 1, "b": 3}\n```', '{"a": 1, "b": 2}', 0.5),
        ('{"a": 1, "extra": 0}', '{"a": 1}', 0.5),
        ('{"draft": 1} {"a": 1}', '{"a": 1}', 1.0),
        ('{"answer": {"a": 1}}', '{"a": 1}', 1.0),
        ('{"a": "007"}', '{"a": "7"}', 0.0),
        ('{"a": true}', '{"a": 1}', 0.0),
        ('["x", "y"]', '["x", "y"]', 1.0),
        ('["y", "x"]', '["x", "y"]', 0.0),
        ("no json", '{"a": 1}', 0.0),
        ('{"a": 1', '{"a": 1}', 0.0),
        ('{"a": 1}', "not json", None),
    ],
)
def test_json_compares_key_by_key(response: str, reference: str, expected: float | None) -> None:
    assert value("json", response, reference) == expected


def test_strict_json_is_all_or_nothing() -> None:
    assert value("json", '{"a": 1, "b": 3}', '{"a": 1, "b": 2}', strict=True) == 0.0


def test_contains_wants_whole_words() -> None:
    assert value("contains", "The shop is in New York.", "new york") == 1.0
    assert value("contains", "The catalogue", "cat") == 0.0
    assert value("contains", "anything", "…") is None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"$\frac{3}{4}$", "0.75"),
        (r"\dfrac34", "3/4"),
        ("\frac{1}{2}", "1/2"),  # a form feed: the backslash that JSON swallowed
        ("x = 5", "5"),
        (r"2\sqrt{3}", "sqrt(12)"),
        (r"\sqrt[3]{8}", "2"),
        ("x^2+2x+1", "(x+1)^2"),
        (r"5\text{ cm}", "5"),
        (r"\$1,000", "1000"),
        (r"90^\circ", "90"),
        ("10^{-2}", "0.01"),
        (r"\frac{\pi}{2}", "π/2"),
        (r"\text{Tuesday}", "Tuesday"),
        ("1, 2", "2,1"),
        (r"\{1,2\}", "{2, 1}"),
        (r"(-\infty, 3] \cup [5,\infty)", r"[5,\infty)\cup(-\infty,3]"),
        ("3!", "6"),
        (r"\sin^2 x + \cos^2 x", "1"),
        ("|-3|", "3"),
        ("50\\%", "50"),
        ("2**3", "8"),
    ],
)
def test_math_knows_equal_answers(left: str, right: str) -> None:
    assert equivalent(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("[1,2)", "(1,2)"),
        ("(1,2)", "(2,1)"),
        ("12345678901234567", "12345678901234568"),
        ("60 cents", "60"),
        ("yes", "no"),
        ("", "5"),
        ("1/0", "1"),
        ("2^{10^{10^{10}}}", "4"),
        ("(1,2)", "1"),
        ("1,2,2", "1,1,2"),
        ("(" * 60 + "1" + ")" * 60, "1"),
        ("x" * 10_000, "1"),
        ("x+", "x"),
    ],
)
def test_math_knows_different_answers(left: str, right: str) -> None:
    assert not equivalent(left, right)


def test_an_expression_nobody_can_read_says_so() -> None:
    with pytest.raises(NotSimple):
        same("1 +", "1")


def test_every_scorer_survives_odd_responses() -> None:
    odd = [
        "",
        "\x00",
        "{" * 5_000,
        "[" * 5_000,
        "\\boxed{" * 500,
        '"answer": ',
        "9" * 500,
        "((((",
        "1e999",
        "\\frac",
        "$$",
    ]
    references = {"choice": "B", "contains": "b", "exact": "b", "json": '{"a": 1}', "math": "1", "numeric": "1"}
    for name, reference in references.items():
        for response in odd:
            assert isinstance(scorer(name)(response, reference), Scored), (name, response[:20])


def test_an_unknown_scorer_lists_the_known_ones() -> None:
    with pytest.raises(EvalError, match="choice, code, constraints, contains, exact, json, math, numeric, regex"):
        scorer("exakt")


def test_an_option_that_does_not_fit_is_refused() -> None:
    with pytest.raises(EvalError, match="no option 'tolerance'"):
        scorer("exact", tolerance=1)


@pytest.mark.parametrize("bad", [float("nan"), -0.1, 1.1])
def test_a_score_is_never_nan_or_out_of_range(bad: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        Scored(bad)


def test_scores_are_told_apart_by_kind() -> None:
    assert json.dumps([type(s).__name__ for s in (Scored(1.0), Unscored("x"), Failed("y"))])
    assert Scored(1.0) != Unscored("")
