"""A YAML file as its author wrote it: every value with its own characters, and every comment with its place.

PyYAML reads it, and with it whatever `router.config` reads; its events know values and where they stand, but no
comments. Those are what remains between tokens. (Libraries for round trips were tried and lose the comments inside
`[...]` and `{...}`, which policies are full of.)
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(slots=True)
class Node:
    """A value, or a key."""

    kind: Literal["scalar", "alias", "map", "list"]
    start: int
    """Index of its first character; of a collection without brackets, of its first key or item."""
    end: int = 0
    """Index after its last one."""
    props: str = ""
    """Its anchor, with a blank after it."""
    raw: str = ""
    """A scalar or alias as it was written."""
    value: str = ""
    style: str = ""
    is_flow: bool = False
    """Whether it stands in brackets."""
    column: int = 0
    items: list[Node] = field(default_factory=list)
    """Of a list; of a map, keys and values in turn."""

    def has_long_text(self) -> bool:
        """Whether any text in it takes several lines."""
        return "\n" in self.raw or any(one.has_long_text() for one in self.items)


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment, from its `#` on."""

    start: int
    text: str
    line: int
    column: int
    is_alone: bool
    """Whether nothing stands before it in its line."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a file has."""

    root: Node | None
    comments: list[Comment]
    begins: int | None
    """Index of `---`, where it is written."""
    lines: list[int]
    """Index of the first character of each line."""
    blank: frozenset[int]
    """Lines with nothing in them that are no part of a text."""
    dashes: list[int]
    """Index of every `-` of a list."""
    starts: list[int]
    """Index of everything that has characters of its own, in order."""

    def line(self, index: int) -> int:
        """The line of a character, from 0."""
        return bisect_right(self.lines, index) - 1

    def dash(self, item: Node) -> int:
        """Where an item of a list begins: at its dash, if it has one."""
        place = bisect_left(self.dashes, item.start) - 1
        return self.dashes[place] if place >= 0 else item.start

    def next_start(self, index: int) -> int | float:
        """Where the first thing at or after a character begins."""
        place = bisect_left(self.starts, index)
        return self.starts[place] if place < len(self.starts) else float("inf")


class StrangeError(ValueError):
    """The file has something that this layout has no place for."""


def read_source(text: str) -> Source:
    """Take a file apart that is valid YAML, with plain ends of lines.

    Raises:
        StrangeError: it begins with a directive such as `%YAML`.
        ValueError: it is no YAML.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        tokens = list(yaml.scan(text, Loader=loader))
    except yaml.YAMLError as error:
        raise ValueError("no YAML") from error
    if any(isinstance(token, yaml.DirectiveToken) for token in tokens):
        raise StrangeError("a directive (%...); remove it")
    lines = [0, *(found.end() for found in re.finditer("\n", text))]
    spans = [(token.start_mark.index, token.end_mark.index) for token in tokens]
    scalars = [token for token in tokens if isinstance(token, yaml.ScalarToken)]
    dashes = [token.start_mark.index for token in tokens if isinstance(token, yaml.BlockEntryToken)]
    values = {begin for begin, end in spans if begin < end and text[begin] not in ":,]}?-"}
    begins = next((one.start_mark.index for one in tokens if isinstance(one, yaml.DocumentStartToken)), None)
    return Source(
        root=_tree(yaml.parse(text, Loader=loader), iter(scalars), dashes, text),
        comments=list(_comments(text, [span for span in spans if span[0] < span[1]], lines)),
        begins=begins,
        lines=lines,
        blank=_blank(text, lines, scalars),
        dashes=dashes,
        starts=sorted({*values, *dashes, *(token.start_mark.index for token in scalars)}),
    )


def _tree(events: Any, scalars: Iterator[Any], dashes: list[int], text: str) -> Node | None:
    import yaml

    top = Node("list", 0)
    stack = [top]
    for event in events:
        start, end = event.start_mark.index, event.end_mark.index
        props = f"&{event.anchor} " if getattr(event, "anchor", None) else ""
        if isinstance(event, yaml.AliasEvent):
            stack[-1].items.append(Node("alias", start, end, raw=text[start:end]))
        elif isinstance(event, yaml.ScalarEvent):
            node = Node("scalar", start, end, props, value=event.value, style=event.style or "")
            if event.value or event.style:  # what is left out has no token
                token = next(scalars)
                node.end = token.end_mark.index
                node.raw = text[token.start_mark.index : node.end]
            stack[-1].items.append(node)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            kind: Literal["map", "list"] = "map" if isinstance(event, yaml.MappingStartEvent) else "list"
            node = Node(kind, start, props=props, is_flow=bool(event.flow_style), column=_column(text, start))
            stack[-1].items.append(node)
            stack.append(node)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            done = stack.pop()
            done.end = end if done.is_flow else max((one.end for one in done.items), default=done.start)
            if done.props and not done.is_flow and done.items:  # its start is that of the anchor
                dash = bisect_left(dashes, done.start)
                first = done.items[0].start if done.kind == "map" else dashes[dash]
                done.column = _column(text, first)
    return top.items[0] if top.items else None


def _column(text: str, index: int) -> int:
    return index - (text.rfind("\n", 0, index) + 1)


def _comments(text: str, spans: list[tuple[int, int]], lines: list[int]) -> Iterator[Comment]:
    at = 0
    for begin, end in [*spans, (len(text), len(text))]:
        for found in re.finditer(r"#[^\n]*", text[at:begin]):
            start = at + found.start()
            line = bisect_right(lines, start) - 1
            is_alone = not text[lines[line] : start].strip()
            yield Comment(start, found[0].rstrip(), line, start - lines[line], is_alone)
        at = max(at, end)


def _blank(text: str, lines: list[int], scalars: list[Any]) -> frozenset[int]:
    ends = [*lines[1:], len(text)]
    blank = {line for line, (begin, end) in enumerate(zip(lines, ends, strict=True)) if not text[begin:end].strip()}
    for token in scalars:
        raw = text[token.start_mark.index : token.end_mark.index]
        if "\n" in raw:
            kept = raw if token.style in ("|", ">") and "+" in raw.partition("\n")[0] else raw.rstrip()
            first = token.start_mark.line
            blank -= set(range(first, first + kept.count("\n") + 1))
    return frozenset(blank)
