"""When two answers are the same answer: what the semantic cache learns its labels from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from router.answers import answer_of, extract, options_of, response_text
from router.cache.certify import JudgeError
from router.cache.vetoes import traits, vetoes
from router.embedding import shared

LIKE = 0.9
"""Cosine from which two longer answers count as the same, unless a number, a negation or another trait differs."""
SHORT = 40
"""Characters of a one-line answer up to which it must be the same letter by letter."""
JUDGE = JudgeError(wrong_called_right=0.1)
"""Declared, not measured: up to one in ten wrong answers may pass as the same. What this judge calls wrong counts as
wrong, which can only make the promise harder to reach."""

_NO_UNIT = re.compile(r"[^a-z%$€£°]")


def identity_of(payload: Mapping[str, Any], prompt: str, others: Iterable[tuple[str, Mapping[str, Any]]] = ()) -> str:
    """Identity of an answer: its own, or that of the first of the others that says the same.

    Args:
        payload: an answer with one choice of text.
        prompt: the question, whose lettered options an answer may name.
        others: identity and payload of answers to compare with, the nearest question's first.
    """
    text = response_text(payload)
    key = _key(text, prompt)
    if key is not None:
        return key.encode(errors="replace").decode()  # lone surrogates have no UTF-8 form, and so no row
    for identity, other in others:
        if identity.startswith("long:") and same(text, response_text(other)):
            return identity
    return f"long:{hashlib.sha256(text.encode(errors='replace')).hexdigest()}"


def same(one: str, other: str) -> bool:
    """Whether two longer answers say the same, as far as vectors and traits tell.

    Answers over the embedder's window (about 190 words) are the same only letter by letter.
    """
    if one.split() == other.split():
        return True
    if vetoes(traits(one), traits(other)):
        return False
    found = shared().embed([one, other])
    return not any(found.truncated) and float(found.vectors[0] @ found.vectors[1]) >= LIKE


def _key(text: str, prompt: str) -> str | None:
    """What a marked or short answer is compared by; None for a text of its own.

    The last line of several answers nothing by itself: "Hope this helps!" ends right and wrong ones.
    """
    answer = answer_of(text, options_of(prompt))
    if not answer.key:
        return None
    found = extract(text)
    is_marked = found.by != "last line"
    is_short = len(text.strip()) <= SHORT and "\n" not in text.strip()
    unit = _NO_UNIT.sub("", found.text.casefold()) if answer.kind == "number" else ""
    return f"{answer.kind}:{answer.key}{unit}" if is_marked or is_short or answer.kind == "choice" else None
