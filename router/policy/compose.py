"""A policy out of several files (`include`); `environments.py` changes it for where it serves.

Works on values as they were read, before the schema looks at them, and keeps the place of each.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from router.config import MAX_VALUES, Document, Path_, read_yaml, shown, suggestion
from router.errors import PolicyError
from router.policy.environments import changed

INCLUDED = ("models", "tasks", "rules", "budgets")
"""What an included file may say, beside its `version`."""
MOST_FILES = 20
MOST_ENVIRONMENTS = 50
MOST_CHECKED = 400_000
"""Values of all environments together: each is checked as a policy of its own."""
TRIES, PAUSE_S = 20, 0.05
"""How often, and how far apart, files are read that change meanwhile: a rollback writes them within milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A policy as its schema will see it."""

    document: Document
    files: tuple[Path, ...]
    """The file itself, then what it includes."""
    contents: tuple[bytes, ...]
    """Of each of `files`, as it was read."""
    environments: tuple[str, ...]
    """All that the file names."""

    def of(self, environment: str | None) -> Document:
        """The same for one of the environments, or without any.

        Raises:
            PolicyError: there is no such environment, or it changes what is not there.
        """
        return self.document if environment is None else changed(self.document, environment)


def compose(path: Path, kept: Mapping[Path, bytes] | None = None) -> Composed:
    """Read a policy file and what it includes.

    Args:
        path: of the file.
        kept: what stood in it and in what it includes, where that is not to be read from disk.

    Raises:
        PolicyError: with one line per mistake; also where the files are those of two versions.
    """
    for tries_left in reversed(range(TRIES)):
        composed = _composed(path, kept)
        # One file is read whole or not at all; of several, some may have been written before others.
        if kept is not None or len(composed.files) == 1 or (mixed := _why_mixed(composed)) is None:
            return composed
        if tries_left:
            time.sleep(PAUSE_S)
    raise PolicyError(f"{path}: {mixed}")


def unfinished(path: Path) -> Path:
    """The file that stands beside a policy file while a rollback writes it and what it includes."""
    return path.with_name(f"{path.name}.rollback")


def _composed(path: Path, kept: Mapping[Path, bytes] | None) -> Composed:
    main = _read(path, kept)
    parts: list[Document] = []
    for where, name in _includes(main):
        parts.append(_included(main, where, name, kept))
        if len(main.places) + sum(len(part.places) for part in parts) > MAX_VALUES:
            told = f"include: more than {MAX_VALUES:,} values in all files together; make two policies of it"
            raise PolicyError(main.problem(where, told))
    values = main.values.get("environments") if isinstance(main.values, dict) else None
    names = tuple(values) if isinstance(values, dict) else ()
    document = _joined(main, parts) if parts else main
    if len(names) > MOST_ENVIRONMENTS or len(names) * len(document.places) > MOST_CHECKED:
        told = f"environments: {len(names):,} of {len(document.places):,} values are too many to be checked"
        raise PolicyError(main.problem(("environments",), f"{told}; make files of their own of some"))
    return Composed(
        document=document,
        files=tuple(one.path for one in [main, *parts]),
        contents=tuple(one.raw for one in [main, *parts]),
        environments=names,
    )


def _why_mixed(composed: Composed) -> str | None:
    """Why what was read may be files of two versions; None where all of them stood on disk at one moment."""
    if (mark := unfinished(composed.files[0])).exists():  # looked at between the two readings: it holds for both
        told = "end it with `clearbar policy rollback`, or delete that file if they are as they should be"
        return f"a rollback of its files has not ended ({mark}); {told}"
    for path, content in zip(composed.files, composed.contents, strict=True):
        try:
            if path.read_bytes() == content:
                continue
        except OSError:
            pass
        return f"{path} changes while it is read; try again when all files are written"
    return None


def _read(path: Path, kept: Mapping[Path, bytes] | None) -> Document:
    document = read_yaml(path, kept.get(path) if kept is not None else None)
    # An empty `when: {task: }` would match everything; an author who leaves a value out gets no default by accident.
    if empty := document.without_value():
        raise PolicyError(*(document.problem(where, _no_value(where)) for where in empty))
    return _listed_models(document)


def _no_value(where: Path_) -> str:
    name = where[-1]
    key = f"key {shown(name)}" if isinstance(name, str) else f"item {name + 1} of the list"
    return f"{key} has no value; give it one, or remove it"


def _includes(main: Document) -> Iterator[tuple[Path_, str]]:
    given = main.values.get("include", []) if isinstance(main.values, dict) else []
    names = given if isinstance(given, list) else [given]
    if len(names) > MOST_FILES:
        raise PolicyError(main.problem(("include",), f"include: more than {MOST_FILES} files; join some of them"))
    for position, name in enumerate(names):
        where: Path_ = ("include", position)
        if isinstance(name, str):  # else the schema will say what it has to be
            yield where, name


def _included(main: Document, where: Path_, name: str, kept: Mapping[Path, bytes] | None) -> Document:
    try:
        part = _read(main.path.parent / name, kept)
    except PolicyError as error:
        if "cannot be read" in str(error):
            raise PolicyError(main.problem(where, f"include: {error}")) from error
        raise
    if not isinstance(part.values, dict):
        raise PolicyError(f"{part.path}:1:1: expected keys and values at the top, such as `rules: [...]`")
    known = ["version", *INCLUDED]
    strange = [key for key in part.values if key not in known]
    if strange:
        told = "an included file has only {}; {} belongs in the file that includes it"
        raise PolicyError(
            *(part.problem((key,), told.format(", ".join(known), shown(key)) + _meant(key, known)) for key in strange)
        )
    for key in INCLUDED:
        wanted: type = dict if key == "tasks" else list
        if key in part.values and not isinstance(part.values[key], wanted):
            form = "keys and values" if key == "tasks" else "a list"
            raise PolicyError(part.problem((key,), f"{key}: must be {form}"))
    return part


def _meant(key: str, known: list[str]) -> str:
    hint = suggestion(key, known)
    return hint if "did you mean" in hint else ""


def _joined(main: Document, parts: list[Document]) -> Document:
    """What is included stands before what the file itself says, so that shared rules come first."""
    if not isinstance(main.values, dict):
        return main
    values = dict(main.values)
    places = {where: place for where, place in main.places.items() if where[:1] not in {(key,) for key in INCLUDED}}
    origins: dict[Path_, Path] = {}
    for key in INCLUDED:
        sources = [part for part in [*parts, main] if key in part.values]
        if not sources or not isinstance(main.values.get(key, {} if key == "tasks" else []), dict | list):
            places |= {where: place for where, place in main.places.items() if where[:1] == (key,)}
            continue
        places |= {(key,): sources[-1].places[key,]}
        joined: Any = {} if key == "tasks" else []
        for part in sources:
            if key == "tasks":
                for name in part.values[key]:
                    if name in joined:
                        told = f"task {shown(name)} stands in {origins.get((key, name), main.path)} already"
                        raise PolicyError(part.problem((key, name), told))
                joined |= part.values[key]
            offset = len(joined) if isinstance(joined, list) else 0
            for where, place in part.places.items():
                if where[:1] == (key,) and len(where) > 1:
                    step = where[1] + offset if isinstance(where[1], int) else where[1]
                    places[key, step, *where[2:]] = place
                    if part is not main:
                        origins[key, step] = part.path
            if isinstance(joined, list):
                joined += part.values[key]
        values[key] = joined
    texts = tuple(source for part in [main, *parts] for source in part.sources)
    text = "\n".join(part.text for part in [main, *parts])
    return replace(main, values=values, places=places, text=text, origins=origins, sources=texts)


def _listed_models(document: Document) -> Document:
    """`models: {small: {call: ...}}` means `models: [{id: small, call: ...}]`."""
    values = document.values
    models = values.get("models") if isinstance(values, dict) else None
    if not isinstance(models, dict):
        return document
    for name, body in models.items():
        if isinstance(body, dict) and "id" in body:
            raise PolicyError(
                document.problem(("models", name, "id"), f"the key {shown(name)} is the id here; remove `id`")
            )
        if not isinstance(body, dict):
            raise PolicyError(
                document.problem(
                    ("models", name), f"model {shown(name)}: must be keys and values, such as `{{call: ...}}`"
                )
            )
    order = {name: index for index, name in enumerate(models)}
    listed = [{"id": name, **body} for name, body in models.items()]
    places = {
        (path[0], order[str(path[1])], *path[2:]) if path[:1] == ("models",) and len(path) > 1 else path: place
        for path, place in document.places.items()
    }
    return replace(document, values={**values, "models": listed}, places=places)
