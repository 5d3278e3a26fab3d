"""Answers that are one number."""

from __future__ import annotations

import math
import re

from evals.types import Score, Scored, Scorer, Unscored
from router.answers import extract

_NUMBER = re.compile(r"(?<![\w.])[-+−]?\s?[$€£]?\s?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+|(?<=\d))(?:[eE][-+]?\d+)?")
_FRACTION = re.compile(r"[-+−]?\d+\s*/\s*\d+")


def numeric(tolerance: float = 1e-6, relative: float = 0.0) -> Scorer:
    """The last number of the answer equals the reference.

    Args:
        tolerance: largest absolute difference that still counts as equal.
        relative: the same as a share of the reference; the larger of both allowances holds.
    """

    def score(response: str, reference: str) -> Score:
        expected = last_number(reference)
        if expected is None:
            return Unscored(f"reference {reference[:40]!r} is not a number")
        found = extract(response)
        answer = last_number(found.text)
        if answer is None:
            return Scored(0.0, f"no number in {found.text[:80]!r}")
        allowed = max(tolerance, relative * abs(expected))
        return Scored(float(abs(answer - expected) <= allowed), f"answered {answer:g}")

    return score


def last_number(text: str) -> float | None:
    """The last number in a text: thousands commas, currency signs, fractions `3/4` and exponents are understood."""
    text = text.strip().rstrip(".")
    if _FRACTION.fullmatch(text):
        over, under = text.replace("−", "-").split("/")
        return float(over) / float(under) if float(under) else None
    found = [match[0] for match in _NUMBER.finditer(text) if any(ch.isdigit() for ch in match[0])]
    if not found:
        return None
    value = float(re.sub(r"[,$€£\s]", "", found[-1]).replace("−", "-"))
    return value if math.isfinite(value) else None
