"""Regex, schema, tool calls, overlap and constraints: what counts as right, and what cannot be told."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.scorers import SCORERS, scorer
from evals.scorers.overlap import common_length
from evals.suite import load_suite
from evals.types import EvalError, Scored, Unscored

PERSON = json.dumps(
    {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
)
WEATHER = json.dumps({"name": "weather", "arguments": {"city": "Rome", "days": 3}})
TWO = json.dumps([json.loads(WEATHER), {"name": "stop", "arguments": {}}])


@pytest.mark.parametrize(
    ("name", "options", "response", "reference", "expected"),
    [
        ("regex", {}, "Order A-17 is ready", r"A-\d+", 1.0),
        ("regex", {}, "Order is ready", r"A-\d+", 0.0),
        ("regex", {"pattern": r"code: (\w+)"}, "code: red? No, code: BLUE", "blue", 1.0),
        ("regex", {"pattern": r"code: (\w+)"}, "code: blue? No, code: red", "blue", 0.0),
        ("regex", {"pattern": r"(?P<x>\d) (?P<answer>\w+)"}, "1 yes", "yes", 1.0),
        ("regex", {"pattern": "YES", "flags": "i"}, "yes", "", 1.0),
        ("regex", {"pattern": "yes", "whole": True}, "yes, maybe", "", 0.0),
        ("regex", {"pattern": "a(b)?"}, "a", "b", 0.0),
        ("schema", {}, 'Here: {"name": "Ann", "age": 3}', PERSON, 1.0),
        ("schema", {}, '{"name": "Ann", "age": "three"}', PERSON, 0.0),
        ("schema", {}, "no JSON", PERSON, 0.0),
        ("schema", {"json_schema": {"type": "array", "minItems": "2"}}, "[1, 2]", "", 1.0),
        ("schema", {"json_schema": '{"type": "array", "minItems": 2}'}, "[1]", "", 0.0),
        ("schema", {"bare": True}, 'Here: {"name": "Ann"}', PERSON, 0.0),
        ("schema", {"bare": True}, '```json\n{"name": "Ann"}\n```', PERSON, 1.0),
        ("tool_call", {}, WEATHER, WEATHER, 1.0),
        ("tool_call", {}, f"I will look.\n```json\n{WEATHER}\n```", WEATHER, 1.0),
        ("tool_call", {}, '{"function": {"name": "weather", "arguments": "{\\"city\\": \\"rome\\", \\"days\\": 3}"}}',
         WEATHER, 1.0),
        ("tool_call", {}, f'{{"tool_calls": [{{"type": "function", "function": {WEATHER}}}]}}', WEATHER, 1.0),
        ("tool_call", {}, '{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}', WEATHER, 0.0),
        ("tool_call", {"strict": False}, '{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}', WEATHER, 0.5),
        ("tool_call", {"strict": False}, WEATHER, TWO, 0.5),
        ("tool_call", {}, f'{{"name": "stop"}} and {WEATHER}', TWO, 1.0),
        ("tool_call", {}, f"{WEATHER}{WEATHER}", WEATHER, 0.0),
        ("tool_call", {}, '{"name": "weather", "arguments": "{broken"}', WEATHER, 0.0),
        ("tool_call", {}, "It is sunny.", "[]", 1.0),
        ("tool_call", {}, WEATHER, "[]", 0.0),
        ("token_f1", {}, "The Eiffel Tower!", "eiffel tower", 1.0),
        ("token_f1", {}, "Eiffel", "Eiffel Tower", 2 / 3),
        ("token_f1", {}, "Paris", '["London", "Paris"]', 1.0),
        ("token_f1", {}, "", "Paris", 0.0),
        ("rouge_l", {}, "police kill the gunman", "police killed the gunman", 0.75),
        ("rouge_l", {}, "the gunman kill police", "police killed the gunman", 0.5),
        ("rouge_l", {}, "", "police", 0.0),
        ("spelling", {}, "same  Text", "Same text", 1.0),
        ("spelling", {}, "zzz", "Same text", 0.0),
    ],
)  # fmt: skip
def test_a_response_is_worth(
    name: str, options: dict[str, object], response: str, reference: str, expected: float
) -> None:
    score = scorer(name, **options)(response, reference)
    assert isinstance(score, Scored), score
    assert score.value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "options", "reference", "said"),
    [
        ("regex", {}, "(", "no regular expression"),
        ("regex", {}, "", "no reference"),
        ("schema", {}, "[]", "no JSON Schema"),
        ("schema", {}, '{"type": "thing"}', "no JSON Schema"),
        ("schema", {}, '{"$ref": "https://example.com/s.json"}', "cannot be applied"),
        ("tool_call", {}, "weather", "no JSON of tool calls"),
        ("token_f1", {}, "the", "no reference"),
        ("rouge_l", {}, "...", "no reference"),
        ("spelling", {}, " ", "no reference"),
        ("constraints", {}, "be nice", "reference"),
        ("constraints", {}, '[{"niceness": 3}]', "unknown constraint 'niceness'"),
        ("constraints", {}, '[{"words": "many"}]', "cannot be checked"),
        ("constraints", {}, '[{"json": "yes"}]', "give true or false"),
        ("constraints", {}, '[{"case": "camel"}]', "cannot be checked"),
    ],
)
def test_without_a_usable_reference_nothing_is_scored(
    name: str, options: dict[str, object], reference: str, said: str
) -> None:
    score = scorer(name, **options)('{"name": "x"}', reference)
    assert isinstance(score, Unscored) and said in score.reason, score


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("regex", {"pattern": "("}, "unterminated"),
        ("regex", {"flags": "q"}, "none of i, m, s, x"),
        ("schema", {"json_schema": {"type": "thing"}}, "json_schema"),
        ("code", {}, "allow_code: true"),
    ],
)
def test_a_scorer_that_cannot_work_is_told_before_anything_is_asked(
    name: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(EvalError, match=said):
        scorer(name, **options)


@pytest.mark.parametrize(
    ("constraint", "holds", "breaks"),
    [
        ({"min_words": 3}, "one two three", "one two"),
        ({"max_words": 2}, "don't stop", "one two three"),
        ({"words": 2}, "one two", "one"),
        ({"sentences": 2}, "One. Two!", "One."),
        ({"min_sentences": 2}, "One? Two", "One"),
        ({"paragraphs": 2}, "one\n\ntwo", "one\ntwo"),
        ({"bullets": 2}, "* one\n- two", "one\n* two"),
        ({"max_characters": 3}, "abc", "abcd"),
        ({"min_lines": 2}, "a\nb", "a"),
        ({"min_placeholders": 1}, "Dear [name]", "Dear you"),
        ({"min_capital_words": 1}, "so LOUD", "so loud"),
        ({"include": ["tea", "milk"]}, "Milk in tea.", "steam and milk"),
        ({"include_any": ["tea", "milk"]}, "milk", "steam"),
        ({"exclude": "tea"}, "steam", "Tea!"),
        ({"counts": {"tea": 2}}, "tea, tea", "tea"),
        ({"counts": {"tea": [1, None]}}, "tea, tea", "milk"),
        ({"starts_with": "Dear"}, "dear you", "you"),
        ({"ends_with": "Any questions?"}, "So. Any questions?", "Any questions? No."),
        ({"matches": r"^\d+$"}, "12", "12a"),
        ({"case": "lower"}, "all low.", "Not low"),
        ({"case": "upper"}, "LOUD", "Loud"),
        ({"case": "title"}, "Good Day", "Good day"),
        ({"json": True}, '```json\n{"a": 1}\n```', "a: 1"),
        ({"commas": False}, "no comma", "one, two"),
        ({"title": True}, "<<Title>>\ntext", "Title\ntext"),
        ({"quoted": True}, '"all of it"', '"some" of it'),
        ({"postscript": True}, "Bye.\nP.S. Hello", "Bye."),
        ({"one_of": ["My answer is yes.", "My answer is no."]}, "My answer is no.", "No."),
    ],
)
def test_a_constraint_holds_or_breaks(constraint: dict[str, object], holds: str, breaks: str) -> None:
    judge, reference = scorer("constraints"), json.dumps([constraint])
    assert judge(holds, reference) == Scored(1.0)
    broken = judge(breaks, reference)
    assert isinstance(broken, Scored) and broken.value == 0.0 and next(iter(constraint)) in broken.reason


def test_constraints_count_one_by_one_when_not_strict() -> None:
    reference = json.dumps([{"min_words": 2, "commas": False}, {"case": "upper"}])
    score = scorer("constraints", strict=False)("one two", reference)
    assert isinstance(score, Scored) and score.value == pytest.approx(2 / 3) and "case" in score.reason


@pytest.mark.parametrize(("left", "right", "length"), [("", "ab", 0), ("abcbdab", "bdcaba", 4), ("abc", "abc", 3)])
def test_the_longest_common_subsequence_is_the_textbooks(left: str, right: str, length: int) -> None:
    assert common_length(left, right) == common_length(right, left) == length


def test_a_suite_gives_scorers_their_options(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"prompt": "a", "reference": "b"}\n', encoding="utf-8")
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "version: 1\nname: s\ntasks:\n"
        "  a: {source: q.jsonl, scorer: {name: schema, json_schema: {type: object, minProperties: 1}, bare: true}}\n"
        "  b: {source: q.jsonl, scorer: {name: constraints, strict: false}}\n"
        "  c: {source: q.jsonl, scorer: {name: regex, pattern: 'a|b', flags: i}}\n",
        encoding="utf-8",
    )
    loaded = load_suite(suite)
    assert loaded.scorers["a", ""]('{"x": 1}', "") == Scored(1.0)
    assert loaded.scorers["a", ""]("{}", "") != Scored(1.0)
    assert isinstance(loaded.scorers["c", ""]("B", ""), Scored)


REFERENCES = st.one_of(
    st.text(max_size=60),
    st.sampled_from([PERSON, WEATHER, TWO, "[]", '[{"words": 3, "case": "title"}]', '[{"include": "a"}]', "a(b)?"]),
)


@pytest.mark.parametrize("name", sorted(set(SCORERS) - {"code"}))
@settings(max_examples=60, deadline=None)
@given(response=st.one_of(st.text(max_size=80), st.sampled_from([PERSON, WEATHER, TWO])), reference=REFERENCES)
def test_every_score_is_a_share_or_says_why_not(name: str, response: str, reference: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of strange regular expressions
        score = scorer(name)(response, reference)
    assert isinstance(score, Scored | Unscored)
