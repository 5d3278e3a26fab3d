"""Answers that are words: equal text, and one label out of a few."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evals.types import Score, Scored, Scorer, Unscored
from router.answers import extract

_NO_REFERENCE = Unscored("the sample has no reference")
_PAIRS = {"'": "'", '"': '"', "`": "`", "“": "”", "‘": "’"}


def exact(loose: bool = False) -> Scorer:
    """Equal after dropping white space and one enclosing pair of quotes or backticks; ' and " are alike.

    Args:
        loose: also ignore upper and lower case and punctuation (for names and short phrases).
    """
    normal = _plain if loose else _bare

    def score(response: str, reference: str) -> Score:
        if not reference:
            return _NO_REFERENCE
        answer = extract(response).text
        return Scored(float(normal(answer) == normal(reference)), f"answered {answer[:80]!r}")

    return score


def contains() -> Scorer:
    """The reference stands in the response as whole words, in any case and punctuation.

    Fits questions with one short answer whose wrong answers are other words; a model that lists every
    possibility would pass, so cap `max_tokens`.
    """

    def score(response: str, reference: str) -> Score:
        if not _plain(reference):
            return _NO_REFERENCE
        found = f" {_plain(reference)} " in f" {_plain(response)} "
        return Scored(float(found), f"answered {response.strip()[:80]!r}")

    return score


def _bare(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and _PAIRS.get(text[0]) == text[-1]:
        text = text[1:-1]
    return "".join(text.split()).replace('"', "'")


def choice(choices: Sequence[str] | None = None) -> Scorer:
    """One label out of a few: the one the answer names.

    Args:
        choices: all labels; a response that names two different ones is wrong. None: single letters A to Z
            where the reference is one, otherwise the whole answer must be the reference.
    """
    known = {label.casefold(): label for label in choices or ()}
    anywhere = re.compile(
        rf"(?<!\w)({'|'.join(re.escape(label) for label in sorted(known, key=len, reverse=True))})(?!\w)", re.IGNORECASE
    )

    def score(response: str, reference: str) -> Score:
        if not reference:
            return _NO_REFERENCE
        if known and reference.casefold() not in known:
            return Unscored(f"reference {reference!r} is not one of {sorted(known.values())}")
        answer = extract(response).text
        if not known:
            chosen = _letter(response, answer) if re.fullmatch("[A-Z]", reference) else _plain(answer)
            expected = reference if re.fullmatch("[A-Z]", reference) else _plain(reference)
            return Scored(float(chosen == expected), f"chose {chosen!r}")
        named = {match.casefold() for match in anywhere.findall(answer)}
        named = named or {match.casefold() for match in anywhere.findall(response)}
        return Scored(float(named == {reference.casefold()}), f"named {sorted(named)}")

    return score


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", " ", text).casefold().split())


def _letter(response: str, answer: str) -> str | None:
    """The option letter an answer starts with or sets apart; `A` and `I` are also words, so not just anywhere."""
    start = re.match(r"\W*(?:option\s+|choice\s+)?\(?([A-Z])\)?(?![\w'])", answer, re.IGNORECASE)
    if start and start[1].isupper():
        return start[1]
    apart = re.findall(r"\(([A-Z])\)", answer) or re.findall(r"\b(?:answer|option|choice)\s+\(?([A-Z])\b", response)
    return apart[-1] if apart else None
