r"""Finding the answer inside a response: JSON field `answer`, `\boxed{}`, "answer is", last line, in that order."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Extracted:
    """The part of a response that claims to be the answer."""

    text: str
    by: Literal["json", "boxed", "phrase", "last line"]
    value: Any = None
    """The JSON value behind `text`, when it was JSON and not a string."""


_FIELD = re.compile(r'"answer"\s*:\s*', re.IGNORECASE)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PHRASE = re.compile(
    r"(?:\banswer(?:\s+(?:is|would be|will be))?\s*(?:\*\*)?\s*[:=]|\banswer\s+is\b|####)"
    r"\s*(?:\*\*)?[ \t]*:?[ \t]*(\S.*)",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_DECODER = json.JSONDecoder(strict=False)
_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt])')
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def extract(response: str) -> Extracted:
    """The answer in a response. An empty response gives an empty answer."""
    text = response.strip()
    return _json_field(text) or _boxed(text) or _phrase(text) or Extracted(_last_line(text), "last line")


def _json_field(text: str) -> Extracted | None:
    """The last `"answer": ...`, read leniently: models break JSON around it with raw line breaks and LaTeX."""
    for field in reversed(list(_FIELD.finditer(text))):
        rest = text[field.end() :]
        string = _STRING.match(rest)
        if string:
            return Extracted(_unescaped(string[1]).strip(), "json")
        if rest.startswith("'"):  # no JSON, but clear enough
            return Extracted(rest.splitlines()[0].strip().rstrip(","), "json")
        try:
            value, _ = _DECODER.raw_decode(rest)
        except ValueError:
            continue
        if value is None:
            return Extracted("", "json")
        return Extracted(json.dumps(value, ensure_ascii=False), "json", value)
    return None


def _unescaped(literal: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if code[0] == "u" else _ESCAPES.get(code, code)

    return _ESCAPE.sub(one, literal)


def _boxed(text: str) -> Extracted | None:
    starts = list(_BOXED.finditer(text))
    if not starts:
        return None
    start = starts[-1].end()
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if not depth:
            return Extracted(text[start:position].strip(), "boxed")
    return Extracted(text[start:].strip(), "boxed")  # cut off by a token limit


def _phrase(text: str) -> Extracted | None:
    matches = list(_PHRASE.finditer(text))
    return Extracted(_unmarked(matches[-1][1]), "phrase") if matches else None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("```")]
    return _unmarked(lines[-1]) if lines else ""


def _unmarked(line: str) -> str:
    """Without Markdown emphasis around the whole; a `*` inside (`2*3`) stays."""
    line = line.strip()
    while len(line) > 2 and line[0] in "*_" and line.rstrip(".")[-1] == line[0]:
        line = line.rstrip(".")[1:-1].strip()
    return line.removesuffix("**").strip()
