"""Parts of error messages: values that are safe to print, and what was probably meant."""

from __future__ import annotations

import difflib
import re

_KEY_PREFIX = re.compile(r"(sk|pk|rk|gsk|xai|hf|ghp|pplx)[-_](?=.{8})|github_pat_|AIza|AKIA|ASIA|eyJ|Bearer ")


def is_secretive(text: str) -> bool:
    """Whether a text could be an API key: by its prefix, or by a long unbroken mix of letters and digits."""
    return bool(_KEY_PREFIX.match(text)) or any(
        len(part) >= 16 and sum(ch.isdigit() for ch in part) >= 2 and sum(ch.isalpha() for ch in part) >= 2
        for part in re.split(r"[^A-Za-z0-9]", text)
    )


def shown(value: object) -> str:
    """A value of a file for an error message: shortened, and withheld where it could be a key in the wrong place."""
    text = str(value)
    if is_secretive(text):
        return f"{text[:4]!r}…"
    return repr(text if len(text) <= 60 else text[:57] + "...")


def suggestion(given: str, known: list[str] | tuple[str, ...]) -> str:
    """`; did you mean 'x'?`, or the list of what is known, for the end of an error message."""
    close = close_names(given, known)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(sorted(set(known))[:20])}" if known else ""


def close_names(given: str, known: list[str] | tuple[str, ...]) -> list[str]:
    """The known name that was probably meant, or none."""
    return difflib.get_close_matches(given, known, n=1)
