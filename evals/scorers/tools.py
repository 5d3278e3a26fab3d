"""Answers that call a tool: the right function with the right arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evals.scorers.structured import alike
from evals.types import Score, Scored, Scorer, Unscored

_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class _ToolCall:
    name: str
    arguments: Mapping[str, Any]


def tool_call(strict: bool = True) -> Scorer:
    """The tool calls of the response are those of the reference, by name and arguments, in any order.

    Both sides are JSON: one call or a list, as `{"name", "arguments"}`, as OpenAI's `{"function": {...}}` (whose
    arguments are JSON text) or under `tool_calls`. The reference `[]` means that no call is right. Values are
    compared as the scorer `json` does.

    Args:
        strict: all or nothing. Otherwise each call counts by its share of right arguments, a call of the wrong
            tool or too much counts 0, and the score is the mean over the longer of the two lists.
    """

    def score(response: str, reference: str) -> Score:
        try:
            expected = _calls(json.loads(reference))
        except (ValueError, RecursionError):
            expected = None
        if expected is None:
            return Unscored(f"reference {reference[:60]!r} is no JSON of tool calls")
        made = _made(response)
        if not expected and not made:
            return Scored(1.0, "no call, as expected")
        pairs = _paired(expected, made)
        value = sum(share for _, share in pairs) / max(len(expected), len(made))
        wrong = [name for name, share in pairs if share < 1]
        reason = f"wrong: {', '.join(wrong)}" if wrong else ""
        if len(made) != len(expected):
            reason = f"{len(made)} calls instead of {len(expected)}" + (f"; {reason}" if reason else "")
        value = min(1.0, value)
        return Scored(float(value == 1.0) if strict else value, reason)

    return score


def _paired(expected: list[_ToolCall], made: list[_ToolCall]) -> list[tuple[str, float]]:
    """Each expected call with its best match among the calls that are left."""
    rest, pairs = list(made), []
    for call in expected:
        shares = [(_share(call, other), -place) for place, other in enumerate(rest) if other.name == call.name]
        share, place = max(shares, default=(0.0, 1))
        if place <= 0:
            del rest[-place]
        pairs.append((call.name, share))
    return pairs


def _share(expected: _ToolCall, made: _ToolCall) -> float:
    keys = expected.arguments.keys() | made.arguments.keys()
    right = sum(
        key in expected.arguments and key in made.arguments and alike(made.arguments[key], expected.arguments[key])
        for key in keys
    )
    return right / len(keys) if keys else 1.0


def _made(response: str) -> list[_ToolCall]:
    """All calls in a text, in order: whole JSON values that have the shape of a call."""
    found: list[_ToolCall] = []
    position = 0
    while position < len(response):
        if response[position] not in "{[":
            position += 1
            continue
        try:
            value, end = _DECODER.raw_decode(response, position)
        except (ValueError, RecursionError):
            position += 1
            continue
        found += _calls(value) or []
        position = end
    return found


def _calls(value: Any) -> list[_ToolCall] | None:
    """The calls of a JSON value; None when it has no such shape."""
    if isinstance(value, Mapping):
        for key in ("tool_calls", "calls"):
            if isinstance(value.get(key), list):
                return _calls(value[key])
        call = _one(value)
        return None if call is None else [call]
    if isinstance(value, list):
        calls = [_one(item) if isinstance(item, Mapping) else None for item in value]
        known = [call for call in calls if call is not None]
        return known if len(known) == len(calls) else None
    return None


def _one(value: Mapping[str, Any]) -> _ToolCall | None:
    inner = value.get("function", value.get("function_call", value))
    if isinstance(inner, str):  # {"function": "name", "arguments": {...}}
        inner = {"name": inner, "arguments": value.get("arguments", value.get("parameters"))}
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        return None
    given = inner.get("arguments", inner.get("parameters", inner.get("args", inner.get("input"))))
    if isinstance(given, str):
        try:
            given = json.loads(given or "{}", strict=False)
        except (ValueError, RecursionError):
            given = {"": given}  # unreadable arguments equal no others
    if given is None:
        given = {}
    return _ToolCall(inner["name"], given) if isinstance(given, Mapping) else None
