r"""Answers that are mathematics: `\frac{1}{2}` is `0.5`, `(3, \infty)` is not `[3, \infty)`."""

from __future__ import annotations

import re

from evals.scorers.expression import NotSimple, same
from evals.types import Score, Scored, Scorer, Unscored
from router.answers import extract

_CONTROL = {"\b": r"\b", "\f": r"\f", "\t": r"\t", "\r": r"\r", "\v": r"\v"}
"""What JSON made of a LaTeX command whose backslash a model forgot to double (`"\frac"` is a form feed and `rac`)."""

_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\\\(?=[A-Za-z(\[])", r"\\"),
        (r"\\(?:left|right|displaystyle|limits|bigl?|bigr?|Bigl?|Bigr?)(?![A-Za-z])", ""),
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\(?:mathrm|mathbf|operatorname)\s*\{([^{}]*)\}", r"\1"),
        (r"(?<=[\d}\)])\s*\\(?:text|mbox|textrm)\s*\{[^{}]*\}(?:\^\{?\d\}?)?", ""),  # a unit behind a value
        (r"\\(?:text|mbox|textbf|textrm)\s*\{([^{}]*)\}", r"\1"),
        (r"\^\s*\{?\s*\\circ\s*\}?|°|\\?%|\\?\$|\\[()\[\]](?![A-Za-z])", ""),
        (r"\\[,;:! ]|~|\{,\}(?=\d{3})", ""),
        (r"\\(?:cdot|times|ast)(?![A-Za-z])|[×·]", "*"),
        (r"\\div(?![A-Za-z])|÷", "/"),
        (r"[−–]", "-"),
        (r"\*\*", "^"),
        (r"√\s*\(", r"\\sqrt("),
        (r"√\s*(\d+|[A-Za-z])", r"\\sqrt{\1}"),
        (r"π", r"\\pi "),
        (r"∞", r"\\infty "),
        (r"²", "^2"),
        (r"³", "^3"),
        (r"\\le(?:q|qslant)?(?![A-Za-z])|≤", "<="),
        (r"\\ge(?:q|qslant)?(?![A-Za-z])|≥", ">="),
    )
)
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_INTEGER = re.compile(r"[-+]?\d+")
_OPENING, _CLOSING = "([{", ")]}"


def math() -> Scorer:
    """Equal as numbers, formulas, tuples, intervals or sets; anything else as text without white space."""

    def score(response: str, reference: str) -> Score:
        if not reference.strip():
            return Unscored("the sample has no reference")
        answer = extract(response).text
        return Scored(float(equivalent(answer, reference)), f"answered {answer[:80]!r}")

    return score


def equivalent(answer: str, reference: str) -> bool:
    r"""Whether two answers mean the same.

    >>> equivalent(r"$\frac{3}{4}$", "0.75"), equivalent("x = 5", "5"), equivalent("[1,2)", "(1,2)")
    (True, True, False)
    """
    left, right = _clean(answer), _clean(reference)
    if "=" in left and "=" not in right and not re.search("[<>]", left):
        left = left.rpartition("=")[2].strip()  # "x = 5", "2 + 3 = 5"
    return bool(left) and _equal(left, right)


def _clean(text: str) -> str:
    text = "".join(_CONTROL.get(ch, ch) for ch in text).strip().strip("`").strip()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = text.strip().rstrip(".").strip()
    return _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)


def _equal(left: str, right: str) -> bool:
    if _squeezed(left) == _squeezed(right):
        return True
    if _INTEGER.fullmatch(left) and _INTEGER.fullmatch(right):
        return int(left) == int(right)  # exact also beyond the digits of a float
    (left_kind, left_parts), (right_kind, right_parts) = _parts(left), _parts(right)
    if len(left_parts) > 1 or len(right_parts) > 1:
        if left_kind != right_kind or len(left_parts) != len(right_parts):
            return False
        return (
            _equal_sets(left_parts, right_parts)
            if left_kind in ("{}", "", "cup")
            else _equal_lists(left_parts, right_parts)
        )
    try:
        return same(left, right)
    except NotSimple:
        return False


def _equal_lists(left: list[str], right: list[str]) -> bool:
    return all(_equal(a, b) for a, b in zip(left, right, strict=True))


def _equal_sets(left: list[str], right: list[str]) -> bool:
    rest = list(right)
    for item in left:
        found = next((other for other in rest if _equal(item, other)), None)
        if found is None:
            return False
        rest.remove(found)
    return True


def _parts(text: str) -> tuple[str, list[str]]:
    r"""Brackets and comma-separated items; `""` without brackets (a list in any order), `cup` for a union."""
    unions = text.replace("∪", r"\cup").split(r"\cup")
    if len(unions) > 1:
        return "cup", [part.strip() for part in unions]
    text = text.replace(r"\{", "{").replace(r"\}", "}").strip()
    kind, inside = "", text
    if len(text) > 1 and text[0] in _OPENING and text[-1] in _CLOSING and _is_one_group(text):
        kind, inside = text[0] + text[-1], text[1:-1]
    items, depth, start = [], 0, 0
    for position, ch in enumerate(inside):
        depth += (ch in _OPENING) - (ch in _CLOSING)
        if ch == "," and depth == 0:
            items.append(inside[start:position].strip())
            start = position + 1
    return kind, [*items, inside[start:].strip()]


def _is_one_group(text: str) -> bool:
    depth = 0
    for position, ch in enumerate(text):
        depth += (ch in _OPENING) - (ch in _CLOSING)
        if depth == 0:
            return position == len(text) - 1
    return False


def _squeezed(text: str) -> str:
    return "".join(text.split())
