"""Answers that a regular expression recognises."""

from __future__ import annotations

import re
from collections import deque

from evals.types import EvalError, Score, Scored, Scorer, Unscored
from router.answers import extract

Flags = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}


def regex(pattern: str | None = None, flags: str = "", whole: bool = False) -> Scorer:
    """A regular expression is found in the response, and what it captures is the reference.

    Without `pattern` each sample's reference is the expression. With one, its group `answer` (or its first group)
    must equal the reference, white space and case aside; an expression without groups is enough by itself. Where
    it matches several times the last match counts: models think aloud before they answer.

    Args:
        pattern: a Python regular expression. It is trusted: one that backtracks without end hangs the run.
        flags: any of `i` (case), `m` (lines), `s` (dot takes line breaks), `x` (verbose).
        whole: the expression must match the extracted answer as a whole.

    Raises:
        EvalError: `pattern` or `flags` cannot be used.
    """
    unknown = sorted(set(flags) - set(Flags))
    if unknown:
        raise EvalError(f"regex flags {flags!r}: {unknown[0]!r} is none of {', '.join(Flags)}")
    options = re.NOFLAG
    for letter in flags:
        options |= Flags[letter]
    fixed: re.Pattern[str] | None = None
    if pattern is not None:
        try:
            fixed = re.compile(pattern, options)
        except re.error as error:
            raise EvalError(f"regex pattern {pattern[:60]!r}: {error}") from error

    def score(response: str, reference: str) -> Score:
        try:
            expression = fixed or re.compile(reference, options)
        except re.error as error:
            return Unscored(f"reference {reference[:60]!r} is no regular expression ({error})")
        if fixed is None and not reference:
            return Unscored("the sample has no reference")
        found = _last(expression, response, whole)
        if found is None:
            return Scored(0.0, f"no match in {response.strip()[-80:]!r}")
        if fixed is None or not expression.groups:
            return Scored(1.0, f"matched {found[0][:80]!r}")
        captured = found["answer"] if "answer" in expression.groupindex else found[1]
        return Scored(float(_plain(captured or "") == _plain(reference)), f"captured {(captured or '')[:80]!r}")

    return score


def _last(expression: re.Pattern[str], response: str, whole: bool) -> re.Match[str] | None:
    if whole:
        return expression.fullmatch(extract(response).text)
    return next(iter(deque(expression.finditer(response), maxlen=1)), None)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
