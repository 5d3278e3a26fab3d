"""Which redaction a suite asks for; the built-in one is the router's."""

from __future__ import annotations

from pathlib import Path

from evals.types import EvalError
from router.redact import Redaction, builtin


def redaction(name: str, folder: Path) -> Redaction | None:
    """The redaction a suite asks for: `builtin`, `none` (None), or `FILE.py:FUNCTION` beside the suite.

    Raises:
        EvalError: there is no such file or function, or the file cannot be run.
    """
    if name == "builtin":
        return builtin
    if name == "none":
        return None
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
