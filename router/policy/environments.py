"""A policy as one of its `environments` changes it.

Works on values as they were read, before the schema looks at them, and keeps the place of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from router.config import Document, Path_, Place, shown, suggestion
from router.errors import PolicyError

_NAMED = {"models": "id", "rules": "name", "budgets": "name"}
"""Lists whose items an environment changes by name."""


def changed(document: Document, environment: str) -> Document:
    """The document with an environment's changes: mappings key by key, everything else replaced.

    Raises:
        PolicyError: there is no such environment, or it changes what is not there.
    """
    known = document.values.get("environments")
    if not isinstance(known, dict) or environment not in known:
        names = list(known) if isinstance(known, dict) else []
        told = f"no environment is called {shown(environment)} (CLEARBAR_ENV){suggestion(environment, names)}"
        raise PolicyError(document.problem(("environments",), told))
    here: Path_ = ("environments", environment)
    changes = known[environment]
    if not isinstance(changes, dict):
        raise PolicyError(document.problem(here, f"environment {shown(environment)}: must be keys and values"))
    for key in ("version", "include", "environments"):
        if key in changes:
            raise PolicyError(document.problem((*here, key), f"{key} cannot differ by environment; remove it"))
    values = dict(document.values)
    position: dict[tuple[str, str], int] = {}
    for key, change in changes.items():
        if key in _NAMED:
            values[key] = _renamed(document, (*here, key), values.get(key), change, position)
        else:
            values[key] = _merged(values.get(key), change)
    places, origins = _moved(document, here, position)
    text = f"{document.text}\n# environment {environment}"
    return replace(document, values=values, places=places, origins=origins, text=text)


def _moved(
    document: Document, here: Path_, position: Mapping[tuple[str, str], int]
) -> tuple[dict[Path_, Place], dict[Path_, Path]]:
    """Places and origins with those of an environment's changes put where the changes went."""
    moved: dict[Path_, Place] = {}
    replaced: set[Path_] = set()
    for where, place in document.places.items():
        target = where[2:]
        if where[:2] != here or not target:
            continue
        if target[0] in _NAMED:
            if len(target) < 3:
                continue  # a list and its items keep the place where they are written
            target = (target[0], position[str(target[0]), str(target[1])], *target[2:])
        moved[target] = place
        if not isinstance(document.value_at(where), dict):
            replaced.add(target)
    kept = {
        where: place
        for where, place in document.places.items()
        if not any(where[:n] in replaced for n in range(1, len(where)))
    }
    origins = dict(document.origins)
    if origins:
        origins |= dict.fromkeys(moved, document.path)
    return {**kept, **moved}, origins


def _renamed(
    document: Document, here: Path_, items: Any, change: Any, position: dict[tuple[str, str], int]
) -> list[Any]:
    """A list whose items are changed by name."""
    key = str(here[-1])
    by = _NAMED[key]
    if not isinstance(change, Mapping):
        raise PolicyError(document.problem(here, f"{key}: must be changes by {by}, such as {{NAME: {{key: value}}}}"))
    listed = list(items) if isinstance(items, list) else []
    names = [item.get(by) if isinstance(item, dict) else None for item in listed]
    for name, one in change.items():
        if name not in names:
            known = [known for known in names if isinstance(known, str)]
            told = f"{key}: none has the {by} {shown(name)}{suggestion(name, known)}"
            raise PolicyError(document.problem((*here, name), told))
        if not isinstance(one, Mapping):
            raise PolicyError(document.problem((*here, name), f"{shown(name)}: must be keys and values to change"))
        place = position[key, name] = names.index(name)
        listed[place] = _merged(listed[place], one)
    return listed


def _merged(before: Any, change: Any) -> Any:
    if not isinstance(before, dict) or not isinstance(change, dict):
        return change
    return {**before, **{key: _merged(before.get(key), value) for key, value in change.items()}}
