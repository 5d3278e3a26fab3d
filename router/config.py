"""YAML files that people edit: read with the line of every value, and the words in which mistakes quote them.

Scalars stay text here (so `1.10` keeps its digits and `no` is no surprise); a pydantic schema converts
them (`validation.py`). Tags, duplicate keys and files built to explode are refused before anything is made of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from router.errors import PolicyError
from router.plain_files import read_plain

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_ALIASES = 1_000
MOST_COMPARED = 500
"""Known names among which the one that was meant is looked for."""
MAX_VALUES = 200_000
"""Counting every value behind an alias again: a file of aliases to aliases must not grow without bound."""

Place = tuple[int, int]
"""Line and column, both from 1."""
Path_ = tuple[str | int, ...]
"""Keys and list positions from the top of the file to a value."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file's values as plain dict, list, str and None, and where each one stands."""

    path: Path
    values: Any
    places: Mapping[Path_, Place]
    """Place of each value, by its path; a mapping's entry has its key's place."""
    text: str
    origins: Mapping[Path_, Path] = field(default_factory=dict)
    """Of paths whose values stand in another file: which."""
    sources: tuple[tuple[Path, str], ...] = ()
    """The files that it was read from, and their text."""
    raw: bytes = b""
    """The file as it was read."""

    def problem(self, where: Path_, message: str) -> str:
        """One line for a mistake at (or nearest above) a path."""
        line, column = self.place_of(where)
        return f"{self.file_of(where)}:{line}:{column}: {_in_a_line(message)}"

    def file_of(self, where: Path_) -> Path:
        """The file in which the value of a path stands."""
        longest = next((where[:n] for n in range(len(where), 0, -1) if where[:n] in self.origins), None)
        return self.path if longest is None else self.origins[longest]

    def place_of(self, where: Path_) -> Place:
        """The place of a path, or of what is nearest above it."""
        while where and where not in self.places:
            where = where[:-1]
        return self.places.get(where, (1, 1))

    def without_value(self) -> list[Path_]:
        """Keys and list items that stand in the file with nothing behind them."""
        return [where for where in self.places if where and self.value_at(where) is None]

    def value_at(self, where: Path_) -> Any:
        """The value of a path that is there."""
        value = self.values
        for step in where:
            value = value[step]
        return value


def read_yaml(path: str | Path, content: bytes | None = None) -> Document:
    """Read a YAML file.

    Args:
        path: of the file.
        content: what stands in it, where it is not to be read from disk.

    Raises:
        PolicyError: the file is missing, unreadable, no YAML, or breaks one of the limits above.
    """
    path = Path(path)
    try:
        raw = read_plain(path, MAX_BYTES + 1) if content is None else content
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        name, why = str(path), getattr(error, "strerror", None) or error
        name = name if name.isprintable() else repr(name)
        raise PolicyError(f"{name}: cannot be read ({why}); give the path of a YAML file") from error
    if len(raw) > MAX_BYTES:
        raise PolicyError(f"{path}: too many bytes; a policy file may have at most {MAX_BYTES:,}. Split it")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise PolicyError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from error
    return replace(_Builder(path, text).document(), raw=raw)


class _Builder:
    """Builds values from YAML's event stream with an explicit stack, so that depth cannot exhaust Python's."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        self.places: dict[Path_, Place] = {}
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.alias_count = 0

    def document(self) -> Document:
        import yaml

        try:
            values = self._build(iter(yaml.parse(self.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            raise PolicyError(f"{self.path}{where}: not valid YAML: {error.problem or error.context}") from error
        except yaml.reader.ReaderError as error:
            before = self.text[: error.position]
            where = f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
            raise PolicyError(f"{self.path}:{where}: not valid YAML: {error.reason}") from error
        return Document(self.path, values, self.places, self.text, sources=((self.path, self.text),))

    def _refuse(self, event: Any, message: str) -> PolicyError:
        mark = event.start_mark
        return PolicyError(f"{self.path}:{mark.line + 1}:{mark.column + 1}: {message}")

    def _build(self, events: Iterator[Any]) -> Any:
        import yaml

        root: list[Any] = []
        # Each open collection: its value, the path to it, the pending key of a mapping, its anchor, its size.
        stack: list[_Open] = [_Open(root, (), None)]
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refuse(event, "a second document ('---'); a policy file holds one")
            elif isinstance(event, yaml.AliasEvent):
                self._add(stack, event, *self._aliased(event))
            elif isinstance(event, yaml.ScalarEvent):
                self._check_tag(event)
                value = None if not event.style and event.value in ("", "~", "null", "Null", "NULL") else event.value
                self._add(stack, event, value, 1)
                if event.anchor:
                    self.anchors[event.anchor] = (value, 1)
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                self._check_tag(event)
                if len(stack) > MAX_DEPTH:
                    raise self._refuse(event, f"nested more than {MAX_DEPTH} levels deep")
                fresh: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
                stack.append(_Open(fresh, self._add(stack, event, fresh, 1), event.anchor))
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                done = stack.pop()
                stack[-1].size += done.size
                if done.anchor:
                    self.anchors[done.anchor] = (done.value, done.size)
        return root[0] if root else None

    def _aliased(self, event: Any) -> tuple[Any, int]:
        """The value behind an alias, and its size."""
        self.alias_count += 1
        if self.alias_count > MAX_ALIASES:
            raise self._refuse(event, f"more than {MAX_ALIASES:,} aliases; write the values out")
        if event.anchor not in self.anchors:
            raise self._refuse(event, f"alias {shown(event.anchor)} refers to itself or to nothing above it")
        return self.anchors[event.anchor]

    def _check_tag(self, event: Any) -> None:
        if event.tag and event.tag != "!":
            raise self._refuse(event, f"YAML tag {shown(event.tag)} is not allowed; write the plain value")

    def _add(self, stack: list[_Open], event: Any, value: Any, size: int) -> Path_:
        """Put a value where it belongs; returns its path."""
        top = stack[-1]
        top.size += size
        if sum(frame.size for frame in stack) > MAX_VALUES:
            raise self._refuse(event, f"more than {MAX_VALUES:,} values once its aliases are followed")
        place = (event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(top.value, list):
            path = (*top.path, len(top.value)) if len(stack) > 1 else ()
            top.value.append(value)
            self.places[path] = place
            return path
        if top.key is None:
            if not isinstance(value, str):
                raise self._refuse(event, "a key must be plain text")
            if value == "<<":
                raise self._refuse(event, "merge keys (<<) are not supported; write the values out")
            if value in top.value:
                first = self.places[(*top.path, value)][0]
                raise self._refuse(event, f"key {shown(value)} stands here for the second time (first in line {first})")
            top.key = value
            self.places[(*top.path, value)] = place
            return (*top.path, value)
        path, top.value[top.key], top.key = (*top.path, top.key), value, None
        return path


@dataclass(slots=True)
class _Open:
    """A collection that is still being filled."""

    value: Any
    path: Path_
    anchor: str | None
    key: str | None = None
    size: int = 0


_KEY_PREFIX = re.compile(r"(sk|pk|rk|gsk|xai|hf|ghp|pplx)[-_](?=.{8})|github_pat_|AIza|AKIA|ASIA|eyJ|Bearer ")


def has_key_prefix(text: str) -> bool:
    """Whether a text begins as the API keys of known providers do."""
    return bool(_KEY_PREFIX.match(text))


def is_secretive(text: str) -> bool:
    """Whether a text could be an API key: by its prefix, or by a long unbroken mix of letters and digits."""
    return has_key_prefix(text) or any(
        len(part) >= 16 and sum(ch.isdigit() for ch in part) >= 2 and sum(ch.isalpha() for ch in part) >= 2
        for part in re.split(r"[^A-Za-z0-9]", text)
    )


def shown(value: object) -> str:
    """A value of a file for an error message: shortened, and withheld where it could be a key in the wrong place."""
    text = str(value)
    if is_secretive(text):
        return f"{text[:4]!r}…"
    return repr(text if len(text) <= 60 else text[:57] + "...")


def double_quoted(text: str) -> str:
    """A text as YAML writes it between double quotes; what shows no sign of its own is escaped."""
    escaped = (f"\\{ch}" if ch in '"\\' else ch if ch.isprintable() else f"\\U{ord(ch):08x}" for ch in text)
    return f'"{"".join(escaped)}"'


def suggestion(given: str, known: list[str] | tuple[str, ...]) -> str:
    """`; did you mean 'x'?`, or the list of what is known, for the end of an error message."""
    close = close_to(given, known[:MOST_COMPARED])
    if close:
        return f"; did you mean {shown(close[0])}?"
    return f"; known are {named(sorted(set(known[:MOST_COMPARED])))}" if known else ""


def named(names: Sequence[str]) -> str:
    """The first of some names, for the end of an error message."""
    return ", ".join(shown(name) if is_secretive(name) else name for name in names[:20])


def withheld(words: str) -> str:
    """Words out of a file for a message; nothing of them where one could be a key."""
    return "..." if any(map(is_secretive, words.split())) else words


def _in_a_line(message: str) -> str:
    """With what is no visible character written out: names may hold line ends and worse."""
    if message.isprintable():
        return message
    return "".join(ch if ch.isprintable() else repr(ch)[1:-1] for ch in message)


def close_to(given: str, known: list[str] | tuple[str, ...]) -> list[str]:
    """The name that was probably meant; empty where none is like it."""
    return difflib.get_close_matches(given[:200], known, n=1)
