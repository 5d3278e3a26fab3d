"""When two answers are the same answer: what the semantic cache learns its labels from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from router.answers import answer_of, extract, options_of, response_text
from router.cache.certify import JudgeError
from router.cache.vetoes import traits, vetoes
from router.embedding import missing, shared

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


def agree(one: Mapping[str, Any], other: Mapping[str, Any], prompt: str) -> bool | None:
    """Whether two answers to the same question say the same; None where that cannot be told.

    Calls of tools agree by name and arguments, in any order; JSON by its value; marked and short answers as
    `identity_of` has them, but in any case; longer ones by their vectors, where the embedder is installed.

    Args:
        one: an OpenAI-shaped answer.
        other: another one.
        prompt: the question, whose lettered options an answer may name.
    """
    if len(one.get("choices") or ()) != 1 or len(other.get("choices") or ()) != 1:
        return None  # of several choices nobody says which one counts
    calls = [_calls(payload) for payload in (one, other)]
    if any(calls):
        return calls[0] == calls[1]
    texts = [response_text(payload).strip() for payload in (one, other)]
    if not all(texts):
        return None if not any(texts) else False
    if texts[0].split() == texts[1].split():
        return True
    values = [_value(text) for text in texts]
    if all(value is not None for value in values):
        return bool(values[0] == values[1])
    keys = [_key(text, prompt) for text in texts]
    if keys[0] is not None and keys[1] is not None:
        return keys[0].casefold().rstrip(".!") == keys[1].casefold().rstrip(".!")
    if missing():
        return None
    found = shared().embed(texts)
    if any(found.truncated):
        return None
    return not vetoes(traits(texts[0]), traits(texts[1])) and float(found.vectors[0] @ found.vectors[1]) >= LIKE


def _calls(payload: Mapping[str, Any]) -> list[str]:
    """The first choice's calls of tools without their ids, in a form and an order that are equal for equal ones."""
    functions = [
        call.get("function") or {} for call in (payload["choices"][0].get("message") or {}).get("tool_calls") or ()
    ]
    made = [(one.get("name"), one.get("arguments")) for one in functions]
    return sorted(
        json.dumps([name, arguments if (value := _value(arguments or "")) is None else value], sort_keys=True)
        for name, arguments in made
    )


def _value(text: str) -> Any:
    """The object or list that a text is as JSON; None where it is none."""
    try:
        found = json.loads(text) if text.startswith(("{", "[")) else None
    except (ValueError, RecursionError):
        return None
    return found


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
