"""Checkable instructions: `at least 200 words`, `three bullets`, `no commas`. In the manner of IFEval (2311.07911)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from evals.types import Score, Scored, Scorer, Unscored

_WORD = re.compile(r"\w+(?:['’\-]\w+)*")
_BULLET = re.compile(r"^\s*(?:[*+\-•]|\d+[.)])\s+\S", re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?:\s+|$)")
_PARAGRAPH = re.compile(r"\n\s*\n")
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]+\]")
_TITLE = re.compile(r"<<[^<>\n]+>>")

Check: TypeAlias = Callable[[str, Any], bool]


def constraints(strict: bool = True) -> Scorer:
    """Every constraint of the reference holds for the whole response.

    The reference is a JSON list of objects, each with one or more constraints by name, such as
    `[{"min_words": 50}, {"include": ["tea", "milk"]}, {"case": "lower"}]`; `CHECKS` has all names.

    Args:
        strict: all or nothing; otherwise the share of constraints that hold.
    """

    def score(response: str, reference: str) -> Score:
        try:
            wanted = list(_wanted(reference))
        except (ValueError, RecursionError) as error:
            return Unscored(f"reference {reference[:60]!r}: {error}")
        broken = []
        for name, value in wanted:
            try:
                holds = CHECKS[name](response.strip(), value)
            except (TypeError, ValueError, KeyError, AttributeError, re.error) as error:
                return Unscored(f"constraint {name}: {json.dumps(value)[:60]} cannot be checked ({error})")
            if not holds:
                broken.append(f"{name} {json.dumps(value, ensure_ascii=False)[:60]}")
        share = (len(wanted) - len(broken)) / len(wanted)
        reason = f"broken: {'; '.join(broken)}" if broken else ""
        return Scored(float(not broken) if strict else share, reason)

    return score


def _wanted(reference: str) -> Iterator[tuple[str, Any]]:
    given = json.loads(reference)
    given = [given] if isinstance(given, dict) else given
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) and one for one in given):
        raise ValueError("not a JSON list of constraints")
    for one in given:
        for name, value in one.items():
            if name not in CHECKS:
                raise ValueError(f"unknown constraint {name!r}; constraints are {', '.join(sorted(CHECKS))}")
            yield name, value


def words(text: str) -> int:
    """Number of words; `don't` and `well-known` are one each."""
    return len(_WORD.findall(text))


def sentences(text: str) -> int:
    """Number of sentences: runs of text up to `.`, `!` or `?` before white space, plus a rest without one."""
    return sum(1 for piece in _SENTENCE_END.split(text) if _WORD.search(piece))


def bullets(text: str) -> int:
    """Number of lines that start with a bullet or a number."""
    return len(_BULLET.findall(text))


def paragraphs(text: str) -> int:
    """Number of blocks between empty lines; a line of `***` or `---` separates, too."""
    parts = _PARAGRAPH.split(re.sub(r"^\s*(?:\*\*\*|---)\s*$", "\n", text, flags=re.MULTILINE))
    return sum(1 for part in parts if part.strip())


def _times(text: str, phrase: str) -> int:
    """How often a phrase stands in a text as whole words, in any case."""
    if not phrase.strip():
        raise ValueError("an empty phrase")
    edge_before = r"(?<!\w)" if phrase[0].isalnum() else ""
    edge_behind = r"(?!\w)" if phrase[-1].isalnum() else ""
    return len(re.findall(f"{edge_before}{re.escape(phrase)}{edge_behind}", text, re.IGNORECASE))


def _listed(value: Any) -> list[str]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise TypeError("give a text or a list of texts")
    return found


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError("give a whole number")
    return value


def _yes(value: Any, holds: bool) -> bool:
    """`true` asks for it, `false` for its opposite."""
    if not isinstance(value, bool):
        raise TypeError("give true or false")
    return holds is value


def _cased(text: str, case: Any) -> bool:
    letters = "".join(ch for ch in text if ch.isalpha())
    kinds = {"lower": str.lower, "upper": str.upper}
    if case == "title":
        return all(word[0].isupper() for word in _WORD.findall(text) if word[0].isalpha())
    return bool(letters) and kinds[case](text) == text


def _is_json(text: str) -> bool:
    lines = text.splitlines()
    if len(lines) > 2 and lines[0].startswith("```") and lines[-1].strip() == "```":
        text = "\n".join(lines[1:-1])
    try:
        return isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False


def _phrase_counts(text: str, wanted: Mapping[str, Any]) -> bool:
    """`{"tea": 2}` exactly twice; `{"tea": [2, null]}` at least twice."""
    for phrase, given in wanted.items():
        low, high = given if isinstance(given, list) else (given, given)
        times = _times(text, phrase)
        if (low is not None and times < _count(low)) or (high is not None and times > _count(high)):
            return False
    return True


def _ended(text: str) -> str:
    return text.rstrip().rstrip("\"'*_`").casefold()


def _bounds(name: str, count: Callable[[str], int]) -> dict[str, Check]:
    return {
        name: lambda text, value: count(text) == _count(value),
        f"min_{name}": lambda text, value: count(text) >= _count(value),
        f"max_{name}": lambda text, value: count(text) <= _count(value),
    }


CHECKS: Mapping[str, Check] = {
    **_bounds("words", words),
    **_bounds("sentences", sentences),
    **_bounds("paragraphs", paragraphs),
    **_bounds("bullets", bullets),
    **_bounds("characters", len),
    **_bounds("lines", lambda text: sum(1 for line in text.splitlines() if line.strip())),
    **_bounds("placeholders", lambda text: len(_PLACEHOLDER.findall(text))),
    **_bounds("capital_words", lambda text: sum(1 for word in _WORD.findall(text) if word.isupper())),
    "include": lambda text, value: all(_times(text, phrase) for phrase in _listed(value)),
    "include_any": lambda text, value: any(_times(text, phrase) for phrase in _listed(value)),
    "exclude": lambda text, value: not any(_times(text, phrase) for phrase in _listed(value)),
    "counts": lambda text, value: _phrase_counts(text, dict(value)),
    "starts_with": lambda text, value: text.casefold().startswith(tuple(one.casefold() for one in _listed(value))),
    "ends_with": lambda text, value: _ended(text).endswith(tuple(_ended(one) for one in _listed(value))),
    "matches": lambda text, value: re.search(value, text) is not None,
    "case": _cased,
    "json": lambda text, value: _yes(value, _is_json(text)),
    "commas": lambda text, value: _yes(value, "," in text),
    "title": lambda text, value: _yes(value, _TITLE.search(text) is not None),
    "quoted": lambda text, value: _yes(value, len(text) > 1 and text[0] in '"“' and text[-1] in '"”'),
    "postscript": lambda text, value: _yes(value, re.search(r"^\s*P\.?\s?S\.?", text, re.MULTILINE) is not None),
    "one_of": lambda text, value: any(one.casefold() in text.casefold() for one in _listed(value)),
}
"""By name: what the value asks of the text. `words`, `min_words`, `max_words` and so on take whole numbers;
`json`, `commas`, `title` (`<<so>>`), `quoted` and `postscript` take true or false."""
