"""A change of a rule's candidates as a unified diff: one line of text, comments and layout untouched."""

from __future__ import annotations

import difflib
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.types import EvalError
from router.config import read_yaml
from router.errors import RouterError

_LIST = re.compile(r"(?P<head>^.*?\bcandidates:[ \t]*)\[(?P<items>[^\[\]#\n]*)\](?P<tail>.*)$", re.DOTALL)
_PLAIN = re.compile(r"[\w.][\w./@+-]*")
"""Names that YAML takes as they are inside brackets."""


def changed_text(path: Path, changes: Mapping[int, Sequence[str]]) -> str:
    """The policy's text with other candidates in some rules, by position.

    Raises:
        EvalError: a rule's list does not stand in brackets on one line, so that an edit might change something else.
    """
    text = path.read_text(encoding="utf-8")
    document = read_yaml(path)
    lines = text.splitlines(keepends=True)
    if {"include", "environments"} & set(document.values):
        raise EvalError(f"{path}: with `include` or `environments`, candidates are changed by hand")
    for position, candidates in changes.items():
        number = document.place_of(("rules", position, "candidates"))[0]
        before = list(_rules(document.values)[position]["candidates"])
        match = _LIST.match(lines[number - 1])
        if match is None or [item.strip().strip("\"'") for item in match["items"].split(",")] != before:
            raise EvalError(f"{path}:{number}: candidates do not stand in brackets on one line; change them by hand")
        lines[number - 1] = f"{match['head']}[{', '.join(map(_written, candidates))}]{match['tail']}"
    changed = "".join(lines)
    _require_only(path, document.values, changed, changes)
    return changed


def unified(path: Path, changed: str) -> str:
    """The difference between a file and its changed text; empty when there is none."""
    before = path.read_text(encoding="utf-8").splitlines(keepends=True)
    name = path.as_posix().lstrip("/")
    return "".join(difflib.unified_diff(before, changed.splitlines(keepends=True), f"a/{name}", f"b/{name}"))


def _require_only(path: Path, before: Any, changed: str, changes: Mapping[int, Sequence[str]]) -> None:
    """Read the changed text back: exactly the rules that were meant may differ."""
    expected = json.loads(json.dumps(before))
    for position, candidates in changes.items():
        _rules(expected)[position]["candidates"] = list(candidates)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        copy.write_text(changed, encoding="utf-8")
        try:
            is_as_meant = json.loads(json.dumps(read_yaml(copy).values)) == expected
        except RouterError:
            is_as_meant = False
    if not is_as_meant:
        raise EvalError(f"{path}: its candidates cannot be edited safely; change them by hand")


def _rules(values: Any) -> Any:
    return values["rules"]


def _written(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
