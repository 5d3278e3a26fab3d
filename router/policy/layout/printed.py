"""How a policy file is laid out.

Two blanks a level, lists indented below their key, one blank between things in brackets, two before a comment behind
something (behind lines of one depth, all below each other), at most one empty line in a row, and one around
each section of several lines. What stands in brackets stays there while it fits into the line and has no comment in it;
else each of its items gets a line, without brackets.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby

from router.policy.layout.source import Comment, Node, Source, StrangeError

WIDTH = 120
STEP = 2
_EMPTY = ("", "")


def printed(source: Source) -> str:
    """The file's text in the one layout.

    Raises:
        StrangeError: a key takes several lines.
    """
    return _Printer(source).document()


class _Printer:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._lines: list[tuple[str, str]] = []
        """What has been printed: each line, and the comment behind it."""
        self._dashes = ""
        """`- ` of items whose first line is still to come."""
        self._comments = source.comments
        self._places = [comment.start for comment in source.comments]
        self._told: set[int] = set()
        self._at = 0
        """The first comment that may still have to be told."""
        self._line = -1
        """The last line of the source that has been told."""
        self._is_header = True
        """Whether no empty line may come next: at the start, and after a key whose value follows."""
        self._keeps_blanks = False
        """Whether an empty line would belong to the text above it."""
        self._kept = -1
        """Where the last such text ends in what is printed."""

    def document(self) -> str:
        root, begins = self._source.root, self._source.begins
        if begins is not None:
            self._lead(begins, 0)
            self._put(0, "---", begins + 3)
            self._is_header = False
        if root is not None:
            self._lead(root.start, 0)
            self._value(root, "", 0, -1, root.start)
        self._lead(float("inf"), 0)
        return "".join(f"{line}\n" for line in _aligned(self._lines))

    def _value(self, node: Node, header: str, indent: int, outer: int, at: int) -> bool:
        """A value behind its key (or, with an empty `header`, its dashes); whether it takes several lines.

        Args:
            node: the value.
            header: the key with its colon.
            indent: column of the key, or of the value where there is none.
            outer: in the source, the column of the collection around it.
            at: in the source, where its key ends.
        """
        text = self._inline(node, len(header) + 1 if header else 0, indent)
        if text is None:
            self._collection(node, header, indent, outer, at)
            return True
        between = self._taken(node.start)
        after = self._behind(node.end)
        if after is None and len(between) == 1 and not between[0].is_alone and "\n" not in text:
            after = between.pop()
        for comment in between:
            self._alone(comment, indent)
        # The token of a text behind `|` goes on over the empty lines below it.
        end = node.end - (len(node.raw) - len(node.raw.rstrip())) if node.style in ("|", ">") else node.end
        self._put(indent, f"{header} {text}".strip(" ") if header else text, end, after)
        if node.style in ("|", ">") and "+" in text.partition("\n")[0]:
            self._keeps_blanks, self._kept = True, len(self._lines)
        return "\n" in text

    def _collection(self, node: Node, header: str, indent: int, outer: int, at: int) -> None:
        """Each item in a line of its own."""
        first = node.items[0].start
        if header or node.props:
            begun = node.start + 1 if node.is_flow or node.props else at
            lines = {self._source.line(at), self._source.line(begun)}
            behind = self._header_comment(first, lines) or (self._behind(node.end) if node.is_flow else None)
            self._put(indent, f"{header} {node.props}".strip(), begun, behind)
            self._is_header = True
        elif node.is_flow and (behind := self._behind(node.end)) is not None:
            self._alone(behind, indent)
        inner = indent + STEP if header else indent
        column = node.column if not node.is_flow else outer
        if node.kind == "map":
            was_long = False
            for position, (key, value) in enumerate(zip(node.items[::2], node.items[1::2], strict=True)):
                was_long = self._entry(key, value, inner, column, outer == -1 and not header, position, was_long)
        else:
            for item in node.items:
                begun = item.start if node.is_flow else self._source.dash(item)
                self._lead(begun, inner)
                self._empty_line(self._source.line(begun))
                self._line = max(self._line, self._source.line(begun))
                self._dashes += "- "
                self._value(item, "", inner + STEP, column, item.start)
        self._trail(node, inner, outer)

    def _entry(
        self, key: Node, value: Node, indent: int, column: int, is_section: bool, position: int, was_long: bool
    ) -> bool:
        """A key and its value; whether they take several lines."""
        top = len(self._lines)
        may_part = top != self._kept  # a text that keeps its last empty lines would get one more
        self._lead(key.start, indent)
        self._empty_line(self._source.line(key.start))
        begun = len(self._lines)
        is_long = self._value(value, self._key(key), indent, column, key.end)
        if is_section and position and (is_long or was_long) and _EMPTY not in self._lines[top:begun] and may_part:
            self._lines.insert(top, _EMPTY)
            self._kept += 1  # it has moved, with everything below
        return is_long

    def _key(self, key: Node) -> str:
        if key.kind not in ("scalar", "alias") or "\n" in key.raw:
            raise StrangeError("a key that is no plain text, or takes several lines")
        # Behind an alias a colon would belong to its name.
        return f"{key.props}{key.raw}{' ' if key.kind == 'alias' else ''}:"

    def _inline(self, node: Node, used: int, indent: int) -> str | None:
        """A value in the line of its key; None where it takes lines of its own."""
        if node.kind in ("scalar", "alias"):
            inner = indent + (STEP if used else 0)
            return node.props + (_block_text(node, inner) if node.style in ("|", ">") else _reindented(node, inner))
        if not node.items:
            return f"{node.props}{'{}' if node.kind == 'map' else '[]'}"
        if not node.is_flow or node.has_long_text() or self._has_comment(node):
            return None
        text = _flow(node)
        return text if indent + used + len(text) <= WIDTH else None

    def _has_comment(self, node: Node) -> bool:
        return bisect_left(self._places, node.start) < bisect_right(self._places, node.end - 1)

    # Comments and empty lines.

    def _taken(self, before: float) -> list[Comment]:
        """The comments that come before a place and have not been told."""
        found = []
        while self._at < len(self._comments) and self._comments[self._at].start < before:
            if self._at not in self._told:
                found.append(self._comments[self._at])
            self._at += 1
        return found

    def _lead(self, before: float, indent: int) -> None:
        for comment in self._taken(before):
            self._alone(comment, indent)

    def _next(self) -> Comment | None:
        while self._at in self._told:
            self._at += 1
        return self._comments[self._at] if self._at < len(self._comments) else None

    def _behind(self, end: int) -> Comment | None:
        """The comment in the line in which something ends, if nothing else stands between."""
        place = bisect_left(self._places, end)
        if place == len(self._comments) or place in self._told:
            return None
        comment = self._comments[place]
        if comment.is_alone or comment.line != self._source.line(end) or comment.start > self._source.next_start(end):
            return None
        self._told.add(place)
        return comment

    def _header_comment(self, first: int, lines: set[int]) -> Comment | None:
        """The comment behind a key whose value follows in lines of its own."""
        comment = self._next()
        if comment is None or comment.is_alone or comment.start > first or comment.line not in lines:
            return None
        self._told.add(self._at)
        return comment

    def _trail(self, node: Node, indent: int, outer: int) -> None:
        """Comments after the last item that stand as deep as the items do."""
        last = self._source.next_start(node.end)
        while (comment := self._next()) is not None:
            if node.is_flow:
                if comment.start >= node.end:
                    return
            elif comment.start > last or node.column <= outer or comment.column < node.column or not comment.is_alone:
                return
            self._told.add(self._at)
            self._alone(comment, indent)

    def _alone(self, comment: Comment, indent: int) -> None:
        self._empty_line(comment.line)
        self._lines.append((f"{' ' * (indent - len(self._dashes))}{comment.text}", ""))
        self._line = max(self._line, comment.line)
        self._is_header = self._keeps_blanks = False

    def _empty_line(self, line: int) -> None:
        """An empty line, if the source has one before a line."""
        has_one = line - 1 > self._line and line - 1 in self._source.blank
        if has_one and not (self._is_header or self._keeps_blanks or self._dashes):
            self._lines.append(_EMPTY)
        self._line = max(self._line, line - 1)

    def _put(self, indent: int, text: str, end: int, behind: Comment | None = None) -> None:
        """A line, or a text of several."""
        before = f"{' ' * (indent - len(self._dashes))}{self._dashes}"
        *lines, last = f"{before}{text}".split("\n")
        self._lines += [*((line, "") for line in lines), (last, behind.text if behind is not None else "")]
        self._dashes = ""
        self._is_header = self._keeps_blanks = False
        self._line = max(self._line, self._source.line(max(end - 1, 0)))


def _aligned(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Lines with their comments; those behind lines of one depth that follow each other stand below each other."""
    for (has_comment, _), group in groupby(
        lines, key=lambda line: (bool(line[1]), len(line[0]) - len(line[0].lstrip(" -")))
    ):
        run = list(group)
        width = max(len(text) for text, _ in run)
        yield from (f"{text:{width}}  {comment}" if has_comment else text for text, comment in run)


def _flow(node: Node) -> str:
    """A value in brackets, in one line."""
    if node.kind in ("scalar", "alias"):
        return f"{node.props}{node.raw}"
    if node.kind == "list":
        return f"{node.props}[{', '.join(map(_flow, node.items))}]"
    pairs = zip(node.items[::2], node.items[1::2], strict=True)
    return f"{node.props}{{{', '.join(_pair(key, value) for key, value in pairs)}}}"


def _pair(key: Node, value: Node) -> str:
    name, text = _flow(key), _flow(value)
    colon = " : " if key.kind == "alias" else ": "
    return f"{name}{colon}{text}" if text else name


def _reindented(node: Node, indent: int) -> str:
    """A text that goes on in further lines, whose depth means nothing."""
    first, *rest = node.raw.split("\n")
    strip = str.lstrip if node.style == '"' else str.strip  # at the end of a line, `\\ ` is a blank that counts
    lines = [strip(line, " \t") for line in rest]
    head = first if node.style == '"' else first.rstrip(" \t") if rest else first
    return "\n".join([head, *(f"{' ' * indent}{line}" if line else "" for line in lines)])


def _block_text(node: Node, indent: int) -> str:
    """A text behind `|` or `>`, whose depth is that of its first line."""
    head, *lines = node.raw.split("\n")
    if not node.raw.endswith("\n"):  # the file ends in it, without the end of a line that a layout has
        head = head.replace("+", "").replace(node.style, f"{node.style}-", 1) if "-" not in head else head
    elif lines:
        lines.pop()
    if "+" not in head.partition("#")[0]:
        while lines and not lines[-1].strip():
            lines.pop()
    shown = next((line for line in lines if line.strip(" ")), "")
    told = next((line for line in node.value.split("\n") if line.strip(" ")), "")
    depth = (len(shown) - len(shown.lstrip(" "))) - (len(told) - len(told.lstrip(" ")))
    head = re.sub(r"\d", str(STEP), head.rstrip(), count=1) if re.match(r"[|>][+-]?\d", head) else head.rstrip()
    return "\n".join([head, *(f"{' ' * indent}{line[depth:]}" if line[depth:] else "" for line in lines)])
