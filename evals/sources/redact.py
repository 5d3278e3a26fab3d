"""Taking out of recorded text what names a person or opens a door, before it becomes a sample."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from evals.types import EvalError
from router.config import is_secretive

Redaction = Callable[[str], str]

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_LONG_NUMBER = re.compile(r"(?<![\w.])\+?\d(?:[ ()/.-]{0,2}\d){7,}(?!\w)")
_WORD = re.compile(r"[\w+/=.-]{16,}")


def builtin(text: str) -> str:
    """E-mail addresses, long numbers (telephones, cards, accounts) and what looks like a key become `[...]`.

    It knows no names of people and no street addresses; give a function of your own where text may hold them.
    """
    text = _EMAIL.sub("[email]", text)
    text = _WORD.sub(lambda word: "[key]" if is_secretive(word[0]) else word[0], text)
    return _LONG_NUMBER.sub("[number]", text)


def redaction(name: str, folder: Path) -> Redaction:
    """The redaction a suite asks for: `builtin`, `none`, or `FILE.py:FUNCTION` beside the suite.

    Raises:
        EvalError: there is no such file or function, or the file cannot be run.
    """
    if name == "builtin":
        return builtin
    if name == "none":
        return lambda text: text
    file, colon, function = name.rpartition(":")
    if not (colon and file.endswith(".py")):
        raise EvalError(f"redact {name!r}: give `builtin`, `none` or FILE.py:FUNCTION")
    from evals.sources.python import run_file

    found = run_file(folder / file).get(function)
    if not callable(found):
        raise EvalError(f"{folder / file}: defines no function {function!r}")

    def checked(text: str) -> str:
        result = found(text)
        if not isinstance(result, str):
            raise EvalError(f"{folder / file}: {function} gave {type(result).__name__}; it must return text")
        return result

    return checked
