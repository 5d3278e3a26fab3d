r"""What a response answers, so that answers can be compared: by scorers with a reference, by cascades with each other.

The answer is looked for as the JSON field `answer`, `\boxed{}`, "answer is", and the last line, in that order.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from router.types import to_json


def response_text(payload: Mapping[str, Any]) -> str:
    """The first choice's text of an OpenAI-shaped answer; where it calls tools instead, its calls as JSON.

    Empty where there is no choice or no message: some providers leave them out under a content filter.
    """
    choices = payload.get("choices") or [{}]
    message = choices[0].get("message") or {}
    text, calls = message.get("content") or "", message.get("tool_calls")
    return to_json({"tool_calls": calls}) if calls and not text else str(text)


def mean_logprob(payload: Mapping[str, Any]) -> float | None:
    """Mean natural log-probability of the first choice's tokens, at most 0; None where the provider tells none."""
    choices = payload.get("choices") or [{}]
    given = choices[0].get("logprobs")
    tokens = given.get("content") if isinstance(given, Mapping) else None
    values = [token.get("logprob") if isinstance(token, Mapping) else None for token in tokens or ()]
    known = [min(float(value), 0.0) for value in values if isinstance(value, (int, float)) and math.isfinite(value)]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def without_logprobs(payload: Mapping[str, Any]) -> dict[str, Any]:
    """An answer without the log-probabilities of its choices, for a caller who has not asked for them."""
    choices = [{name: part for name, part in one.items() if name != "logprobs"} for one in payload.get("choices") or ()]
    return {**payload, "choices": choices}


@dataclass(frozen=True, slots=True)
class Extracted:
    """The part of a response that claims to be the answer."""

    text: str
    by: Literal["json", "boxed", "phrase", "last line"]
    value: Any = None
    """The JSON value behind `text`, when it was JSON and not a string."""


MOST_CORRECTIONS = 2
"""How often a response may say "the answer is" before the first time counts instead of the last."""

MOST_FIELDS = 100
"""How many `"answer":` are looked at, from the last; a response with more of them has run on."""

MOST_MARKS = 6
"""Signs of Markdown emphasis that are taken off either end of an answer."""

# Models run on: no pattern here may take more than linear time over a run of blanks or digits.
_FIELD = re.compile(r'"answer"\s*:\s*', re.IGNORECASE)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PHRASE = re.compile(
    r"(?:\banswer(?:\s+(?:is|would be|will be))?\s*(?:\*\*\s*)?[:=]|\banswer\s+is\b|####)"
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
    for field in reversed(list(_FIELD.finditer(text))[-MOST_FIELDS:]):
        start = field.end()
        string = _STRING.match(text, start)
        if string:
            return Extracted(_unescaped(string[1]).strip(), "json")
        if text.startswith("'", start):  # no JSON, but clear enough
            return Extracted(text[start:].splitlines()[0].strip().rstrip(","), "json")
        try:
            value, _ = _DECODER.raw_decode(text, start)
            whole = json.dumps(value, ensure_ascii=False)
        except (ValueError, RecursionError):
            continue  # no JSON, or nested deeper than any answer
        return Extracted("", "json") if value is None else Extracted(whole, "json", value)
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
    if not matches:
        return None
    # A model that corrects itself says it twice. One that says it more often has run on into questions of its own.
    return Extracted(_unmarked(matches[-1 if len(matches) <= MOST_CORRECTIONS else 0][1]), "phrase")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("```")]
    return _unmarked(lines[-1]) if lines else ""


def _unmarked(line: str) -> str:
    """Without Markdown emphasis around the whole; a `*` inside (`2*3`) stays."""
    line = line.strip()
    for _ in range(MOST_MARKS):
        if not (len(line) > 2 and line[0] in "*_" and line.rstrip(".")[-1] == line[0]):
            break
        line = line.rstrip(".")[1:-1].strip()
    return line.removesuffix("**").strip()


Kind = Literal["choice", "number", "json", "text", "long", "none"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a response in a form that is equal where two answers say the same."""

    key: str
    """Equal keys are equal answers; empty when the response holds none."""
    kind: Kind
    """`long`: a text without a short answer in it, which only agrees with a text that means the same."""
    number: float | None = None
    """The value of a `number`."""
    prose: str = ""
    """What it says where that is a sentence or more, whose words may differ from those of another that means it."""


SENTENCE = 60
"""Characters from which a response's last line is a sentence, not a short answer."""
LONG = 300
"""Characters from which a response without a marked answer is a text of its own, not an answer to compare."""

_OPTION = re.compile(r"^[^\S\n]*\(?([A-P])[.):]\s+(.*)$", re.MULTILINE)
_LETTER_SAID = re.compile(r"answer\s*(?:(?:is|:)\s*)?(?::\s*)?(?:\*+\s*)?[(\[{$]?\\?(?:text\{)?\(?([A-P])\b(?!['’])")
_LETTER_FIRST = re.compile(r"^[(\[*\s]*([A-P])(?:[).:*\]\s]|$)")
_LETTER_MARKED = re.compile(r"\(([A-P])\)")
_NUMBER = re.compile(r"[-+−]?\s?[$€£]?\s?(\d[\d,]*(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)\s*(?:%|\\%|[a-zA-Z°. ]{0,24})")
_PLAIN_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}")
_DECORATION = re.compile(r"\\(?:left|right|displaystyle|text|mathrm|mathbf|[!,;: ])")
_PAIRS = {'"': '"', "'": "'", "`": "`", "$": "$"}


def options_of(prompt: str) -> dict[str, str]:
    """The lettered options that a prompt lists (`A. ...`, `B) ...`): letter to text; empty when it lists none."""
    found = dict(_OPTION.findall(prompt))
    return found if {"A", "B"} <= found.keys() else {}


def answer_of(response: str, options: dict[str, str] | None = None) -> Answer:
    """The comparable answer of a response.

    Args:
        response: the model's whole text.
        options: of `options_of(prompt)`; where there are some, the answer is one of their letters.
    """
    if options:
        return _choice(response, options)
    found = extract(response)
    if not found.text:
        # An empty field is an answer; an empty response is none.
        return Answer("''", "text") if found.by == "json" else Answer("", "none")
    if found.by == "json" and isinstance(found.value, (dict, list)):
        return Answer(json.dumps(found.value, sort_keys=True, ensure_ascii=False), "json")
    if found.by == "last line" and len(response.strip()) > LONG:
        return Answer(" ".join(response.split()).casefold(), "long", prose=response.strip())
    text = _bare(found.text)
    number = _value(text)
    if number is not None:
        return Answer(f"{number:.10g}", "number", number)
    return Answer(_flat(text) or "''", "text", prose=text if found.by == "last line" and len(text) > SENTENCE else "")


def _choice(response: str, options: dict[str, str]) -> Answer:
    found = extract(response)
    text = _bare(found.text)
    first = _LETTER_FIRST.match(text)
    if found.by in ("json", "boxed") and first and first[1] in options:
        return Answer(first[1], "choice")
    for pattern in (_LETTER_SAID, _LETTER_MARKED):
        said = [letter for letter in pattern.findall(response) if letter in options]
        if said:
            # As in `extract`: saying it often means that the model has run on.
            return Answer(said[-1 if len(said) <= MOST_CORRECTIONS else 0], "choice")
    if first and first[1] in options and len(text) < LONG:
        return Answer(first[1], "choice")
    folded = text.casefold().rstrip(".")
    for letter, option in options.items():
        if folded and folded == option.strip().rstrip(".").casefold():
            return Answer(letter, "choice")
    return Answer("", "none")


def _bare(text: str) -> str:
    """Without the brackets and quotes that stand around the whole answer."""
    text = text.strip().removeprefix("\\(").removesuffix("\\)").strip()
    if len(text) > 1 and not text.endswith(".."):
        text = text.rstrip(".") if text.count(".") == 1 else text
    while len(text) > 1 and _PAIRS.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text


def _value(text: str) -> float | None:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    try:
        value = float(match[1].replace(",", ""))
    except ValueError:
        return None
    return -value if text.lstrip()[0] in "-−" else value


def _flat(text: str) -> str:
    """Without what LaTeX and layout add; case stays, since a short answer may be a symbol."""
    text = _PLAIN_FRACTION.sub(r"\1/\2", text)
    return re.sub(r"[\s{}$\\]", "", _DECORATION.sub("", text)).replace('"', "'")
