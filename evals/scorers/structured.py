"""Answers that are JSON objects, compared key by key."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from typing import Any

from evals.types import Score, Scored, Scorer, Unscored

_DECODER = jsonlib.JSONDecoder(strict=False)


def json(strict: bool = False) -> Scorer:
    """The share of keys whose values agree, over the keys of both objects.

    Text is compared without regard to case and outer white space, numbers by value (also when one of the two
    is written as text), lists in order. A reference that is no object (a list, a number) is all or nothing.

    Args:
        strict: all or nothing for objects, too.
    """

    def score(response: str, reference: str) -> Score:
        try:
            expected = jsonlib.loads(reference)
        except ValueError:
            return Unscored(f"reference {reference[:60]!r} is not JSON")
        answer = last_json(response, type(expected))
        if answer is None:
            return Scored(0.0, "no JSON of the expected kind in the response")
        if not isinstance(expected, dict):
            return Scored(float(alike(answer, expected)), "")
        if not expected.keys() & answer.keys() and isinstance(answer.get("answer"), dict):
            answer = answer["answer"]
        keys = expected.keys() | answer.keys()
        wrong = sorted(key for key in keys if key not in expected or not alike(answer.get(key), expected[key]))
        value = 1.0 if not keys else (len(keys) - len(wrong)) / len(keys)
        return Scored(float(value == 1.0) if strict else value, f"wrong: {', '.join(wrong)}" if wrong else "")

    return score


def last_json(text: str, kind: type) -> Any:
    """The last complete value of the wanted kind; thinking aloud often holds earlier drafts."""
    found, position = None, 0
    while position < len(text):
        if text[position] not in '{["-0123456789tfn':
            position += 1
            continue
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
            continue
        if isinstance(value, kind):
            found = value
        position = max(end, position + 1)
    return found


def alike(left: Any, right: Any) -> bool:
    """Whether two JSON values mean the same: texts in any case, numbers by value, lists in order."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(alike(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(alike, left, right))
    if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None:
        return left is right
    if isinstance(left, (int, float, str)) and isinstance(right, (int, float, str)):
        a, b = str(left).strip().casefold(), str(right).strip().casefold()
        if a == b:
            return True
        # Only where one side is a number: the texts "007" and "7" are two different codes.
        if isinstance(left, str) and isinstance(right, str):
            return False
        try:
            return float(a) == float(b)
        except ValueError:
            return False
    return False
