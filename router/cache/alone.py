"""Answers that nobody else may get: to one person, of a model that declines, or with orders for the next reader.

The exact tier keeps them, for the same request of the same scope. What is recognised here are forms in English, and
costs at worst a hit: an answer that is not kept is asked for again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from router.cache.vetoes import normal
from router.types import Request

_DIGITS = re.compile(r"\d[\d ()/-]*\d")
LONG_NUMBER = 9
"""Digits from which a number is somebody's: of a telephone, an account, a card. A date has eight."""
_MIXED = re.compile(r"\b[A-Za-z]{1,4}[-_ ]?\d{5,}\b")
_GREETED = re.compile(r"(?:hi|hello|hey|dear|thanks|thank you|welcome(?: back)?),? ([A-Z][^\W\d_]+)\b", re.IGNORECASE)
_NAMED = re.compile(
    r"\b(?:i am|i'm|i’m|my name is|this is|call me|it's|regards,?|name:) ([^\W\d_]{2,})(?: ([^\W\d_]{2,}))?",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+")
_WITHIN = re.compile(r"(?<=[^\s.!?:] )[\"'(“]?([A-Z][^\W_]{2,})")
"""A capital inside a sentence: mostly a name."""
_SITE = re.compile(r"[\w@-]+(?:\.[\w@-]+)+")
_THERE = frozenset("there all everyone everybody again for to and friend".split())
_DECLINES = re.compile(
    r"\W{0,9}(?:as an ai\b|"
    r"(?:(?:i['’]?m|i am|we are)? ?(?:very |so |really )?(?:sorry|afraid)|i apologi[sz]e|unfortunately)?"
    r"[^.!?\n]{0,30}\b(?:i|we) "
    r"(?:can['’]t|cannot|can not|won['’]t|will not|am unable to|am not able to|must decline)\b)",
    re.IGNORECASE,
)
_TAKES_OVER = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.!?\n]{0,40}\b(?:instructions?|prompts?|rules|guidelines)\b|<\|im_start\|>"
    r"|\[/?INST\]",
    re.IGNORECASE,
)


def for_nobody_else(request: Request, answer: str) -> str | None:
    """Why an answer is kept for no other question; None: it may be.

    What stands in the conversation before the last text is no secret: all requests of a partition have it.

    Args:
        request: one whose messages are text.
        answer: of a model to it.
    """
    answer, last = normal(answer), normal(" ".join(_texts(request.messages[-1:])))
    if _TAKES_OVER.search(answer) or _TAKES_OVER.search(last):
        return "holds orders for a model"
    if _DECLINES.match(answer):
        return "the model declines"
    shared = normal(" ".join(_texts(request.messages[:-1]))).casefold()
    addresses = [word.strip("<>()[],;:.!?\"'") for word in answer.split() if "@" in word]
    if any(one.casefold() not in shared for one in addresses + _MIXED.findall(answer)):
        return "holds an address or a number of somebody"
    known = {_digits(one) for one in _DIGITS.findall(shared)}
    if any(len(one) >= LONG_NUMBER and one not in known for one in map(_digits, _DIGITS.findall(answer))):
        return "holds an address or a number of somebody"
    if (greeted := _GREETED.match(answer)) and greeted[1][0].isupper() and greeted[1].casefold() not in _THERE:
        return "calls somebody by name"
    names = {name.casefold() for found in _NAMED.findall(last) for name in found if name}
    if any(word[0].isupper() and word.casefold() in names for word in re.findall(r"[^\W\d_]+", answer)):
        return "calls somebody by name"
    return None


def echoed(answer: str, stored: str, asked: str) -> str | None:
    """A name or an address that an answer has from its own question, while the one that is asked does not hold it.

    A planted answer has to come from somewhere; this finds it where its question gave it away.

    Args:
        answer: the stored answer.
        stored: its question.
        asked: the question that it might serve.
    """
    own = {word.casefold() for word in _WORD.findall(stored)} - {word.casefold() for word in _WORD.findall(asked)}
    if not own:
        return None
    named = _WITHIN.findall(answer) + [word for site in _SITE.findall(answer) for word in _WORD.findall(site)]
    return next((word for word in named if word.casefold() in own), None)


def _digits(text: str) -> str:
    return "".join(one for one in text if one.isdigit())


def _texts(messages: tuple[Mapping[str, Any], ...]) -> Iterator[str]:
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            yield content
        for part in content if isinstance(content, (list, tuple)) else ():
            if isinstance(part, Mapping):
                yield str(part.get("text", ""))
