"""Suites written in Python: a file that defines `suite()`, `samples()` or both. It is run, so run only your own."""

from __future__ import annotations

import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.types import EvalError
from router.config import Document, Path_, Place

Rows = Sequence[tuple[str, Mapping[str, Any]]]


def run_file(path: Path) -> dict[str, Any]:
    """Run a Python file under a name of its own and give what it defines.

    Raises:
        EvalError: it cannot be read or raises; names file and line.
    """
    module = types.ModuleType(f"_suite_{path.stem}")
    module.__file__ = str(path)
    try:
        # Compiled here rather than imported: no stale byte code, nothing on sys.path, no file left behind.
        code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    except OSError as error:
        raise EvalError(f"{path}: cannot be read ({error.strerror})") from error
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise EvalError(f"{path}{line}: not valid Python ({error.args[0]})") from error
    _told(path, "the file", lambda: exec(code, module.__dict__))  # noqa: S102  the user named it to be run
    return module.__dict__


def read_python(path: Path) -> tuple[Document, Rows | None]:
    """A Python suite as the document that a YAML file would give, and the rows of `samples()` if it defines one.

    `suite()` returns what a YAML suite holds. A task without an origin takes the rows of `samples()` that name it
    as `task`, or all when there is one such task. Without `suite()`, each task of the rows is scored by `exact`.

    Raises:
        EvalError: neither function is there, one raises, or returns something else; names file and line.
    """
    defined = run_file(path)
    suite, samples = (_function(defined, name, path) for name in ("suite", "samples"))
    if suite is None and samples is None:
        raise EvalError(f"{path}: defines neither `suite()` nor `samples()`; a Python suite needs one of them")
    rows: Rows | None = None
    if samples is not None:
        start = f"{path}:{samples.__code__.co_firstlineno}"
        given = _told(path, "samples()", lambda: list(samples()))
        for number, row in enumerate(given, start=1):
            if not isinstance(row, Mapping):
                raise EvalError(f'{start}: samples() gave {type(row).__name__} as row {number}; give {{"prompt": ...}}')
        rows = [(f"{start} row {number}", row) for number, row in enumerate(given, start=1)]
    if suite is None:
        tasks = dict.fromkeys(str(row.get("task", path.stem)) for _, row in rows or ())
        values: Any = {"version": 1, "name": path.stem, "tasks": {task: {"scorer": "exact"} for task in tasks}}
        line = samples.__code__.co_firstlineno if samples else 1
    else:
        values, line = _told(path, "suite()", suite), suite.__code__.co_firstlineno
    if not isinstance(values, Mapping):
        raise EvalError(f"{path}:{line}: suite() gave {type(values).__name__}; return a dict shaped like a YAML suite")
    places: dict[Path_, Place] = {}
    text = _as_text(values, (), (line, 1), places)
    if rows is not None:
        for entry in text["tasks"].values() if isinstance(text.get("tasks"), dict) else ():
            if isinstance(entry, dict) and not entry.keys() & {"source", "hub", "ledger", "generate"}:
                entry["generate"] = "samples"
    return Document(path, text, places, ""), rows


def rows_of_task(rows: Rows, task: str, is_only: bool) -> Rows:
    """The rows of one task: those that name it; rows without a name belong to the only task there is."""
    return [row for row in rows if row[1].get("task", task if is_only else None) == task]


def _function(defined: Mapping[str, Any], name: str, path: Path) -> Any:
    found = defined.get(name)
    if found is not None and not isinstance(found, types.FunctionType):
        raise EvalError(f"{path}: {name!r} is {type(found).__name__}; define a plain function `def {name}():`")
    return found


def _told(path: Path, what: str, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f"{path}:{lines[-1]}" if lines else str(path)
        raise EvalError(f"{place}: {what} raised {type(error).__name__}: {error}") from error


def _as_text(value: Any, where: Path_, place: Place, places: dict[Path_, Place]) -> Any:
    """Values as a YAML reader gives them: scalars are text, which the schema converts."""
    places[where] = place
    if isinstance(value, Mapping):
        return {str(key): _as_text(item, (*where, str(key)), place, places) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_text(item, (*where, index), place, places) for index, item in enumerate(value)]
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)
