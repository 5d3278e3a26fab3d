"""Files are laid out in one way: nothing that they say is lost, however they were written."""

# ruff: noqa: E501  each case is a line

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.config import read_yaml
from router.errors import PolicyError
from router.policy import shipped_policies
from router.policy.layout import formatted
from router.policy.layout.source import read_source

HERE = Path("p.yaml")


def laid_out(text: str) -> str:
    return formatted(HERE, text.encode()).decode()


CASES = {
    "depth and blanks": ("a:\n    b:   1\n    c:  {d : 2,e: [ 3,4 ]}\n", "a:\n  b: 1\n  c: {d: 2, e: [3, 4]}\n"),
    "lists stand below their key": ("a:\n- b\n-   c: 1\n    d: 2\n- - e\n  - f\n", "a:\n  - b\n  - c: 1\n    d: 2\n  - - e\n    - f\n"),
    "comments behind and before": ("#a\nv: 1    #b\n\n\n\n# c\nw:   # d\n      # e\n   - 1 # f\n   # g\n# h", "#a\nv: 1  #b\n\n# c\nw:  # d\n  # e\n  - 1  # f\n  # g\n# h\n"),
    "comments in brackets": ("a: [x,  # why\n    # and\n    y]  # c\n", "a:  # c\n  - x  # why\n  # and\n  - y\n"),
    "comments below each other": ("a: 1 # b\ncd: 2    # e\n# f\ng: {h: i} # j\nk: l\nmn: o # p\n", "a: 1   # b\ncd: 2  # e\n# f\ng: {h: i}  # j\nk: l\nmn: o  # p\n"),
    "comments in braces": ("a: {b: 1,   # one\n    c: 2}\n", "a:\n  b: 1  # one\n  c: 2\n"),
    "a comment between key and value": ("a:  # why\n  1\nb:\n  # alone\n  2\n", "a: 1  # why\n# alone\nb: 2\n"),
    "a comment behind a dash": ("a:\n  -  # why\n    b: 1\n", "a:\n  # why\n  - b: 1\n"),
    "brackets that fit into a line": ("a: [b,\n  c,\n  {d: e}]\n", "a: [b, c, {d: e}]\n"),
    "brackets that do not": (f"a: {{b: {'x' * 60}, c: [{'y' * 60}]}}\n", f"a:\n  b: {'x' * 60}\n  c: [{'y' * 60}]\n"),
    "a comment moves up with its line": (f"- [{'x' * 60}, {'y' * 60}]  # c\n", f"# c\n- - {'x' * 60}\n  - {'y' * 60}\n"),
    "scalars stay as they are": ("a: 1.10\nb: 0x1F\nc: 2026-12-24T18:00+01:00\nd: yes\ne: 'it''s'\nf: \"\\n\"\ng: ~\n", None),
    "keys in quotes": ('"a b":   1\n80%: 2\n', '"a b": 1\n80%: 2\n'),
    "anchors and aliases": ("a: &x   {b: 1}\nc:   *x\nd: &y\n- 1\ne: [*x,*y]\n", "a: &x {b: 1}\nc: *x\n\nd: &y\n  - 1\n\ne: [*x, *y]\n"),
    "an anchor of an item": ("- &x\n    a: 1\n- *x\n", "- &x\n  a: 1\n- *x\n"),
    "texts over several lines": ("a: |  # kept\n    b\n      c\n\n    d\n\n\nb: >-\n e\n f\nc: one\n      two\nd: \"x\n     y\"\n", "a: |  # kept\n  b\n    c\n\n  d\n\nb: >-\n  e\n  f\n\nc: one\n  two\n\nd: \"x\n  y\"\n"),
    "a text that keeps its last empty lines": ("a: |+\n   b\n\n\n# c\nd: 1\n", "a: |+\n  b\n\n\n# c\nd: 1\n"),
    "a text that begins with blanks": ("a: |4\n      b\n    c\n", "a: |2\n    b\n  c\n"),
    "a text at the end of a file without a last line": ("a: |\n  b", "a: |-\n  b\n"),
    "sections stand apart": ("a: 1\nb: 2\nc:\n  d: 3\n# about e\ne: 4\n", "a: 1\nb: 2\n\nc:\n  d: 3\n\n# about e\ne: 4\n"),
    "the order of keys stays": ("rules: []\nversion: 1\nmodels: []\n", None),
    "the start of a document": ("# a\n---\nb:   1\n", "# a\n---\nb: 1\n"),
    "no line end, or Windows'": ("a:   1\r\nb: 2", "a: 1\nb: 2\n"),
    "a byte order mark": ("\ufeffa: 1\n", "a: 1\n"),
    "comments alone": ("\n\n  # a\n\n\n# b\n\n", "# a\n\n# b\n"),
    "nothing": ("", ""),
    "nothing behind a key": ("a:\n  # c\nb: [x, {y}]\n", "a:\n# c\nb: [x, {y}]\n"),
    "an explicit key": ("? a\n: b\n", "a: b\n"),
    "one value": ("  hello\n", "hello\n"),
    "empty brackets with a comment": ("a: [ # c\n ]\n", None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_one_layout(text: str, expected: str | None) -> None:
    shown = laid_out(text)
    assert expected is None or shown == expected
    if expected is None and "# c" not in text:
        assert shown == text
    assert laid_out(shown) == shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1\nb: 2\n", "p.yaml:2:2: not valid YAML"),
        ("a: 1\na: 2\n", "p.yaml:2:1: key 'a' stands here for the second time"),
        ("a: !x 1\n", "p.yaml:1:4: YAML tag"),
        ("%YAML 1.1\n---\na: 1\n", "left as it is: it has a directive"),
        ("a: {b: c\u2028d,  # e\n  f: g}\n", "left as it is: it has a line separator of Unicode"),
        ("? |\n  a\n: 1\n", "left as it is: it has a key that"),
    ],
)
def test_what_cannot_be_laid_out_is_told(text: str, words: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(words)):
        laid_out(text)


@pytest.mark.parametrize("path", sorted(shipped_policies().rglob("*.yaml")), ids=lambda path: path.name)
def test_the_policies_that_come_with_the_package_are_laid_out(path: Path) -> None:
    raw = path.read_bytes()
    assert formatted(path, raw) == raw, "run: clearbar policy fmt policies"


# Any file: values at random, written at random, with comments wherever there may be one.

PLAIN = ["a", "b c", "1.10", "yes", "80%", "x-y", "2026-12-31", "-1", "gpt-4", "é😀"]
QUOTED = ['"a # b"', "'it''s'", '"{x}"', "''", '"\\t\\u00e9"', '"- a: b"']
LONG = [
    "|\n{0}one\n{0}  # no comment\n\n{0}two",
    ">-\n{0}one\n{0}two",
    "|+\n{0}kept\n\n",
    "plain\n{0}goes on",
    '"quoted\n{0}goes on"',
]
KEYS = ["a", "b", "long key", '"quoted: key"', "80%", "c1"]
COMMENTS = ["# why", "#", "#: {a: [", "# é # 'x", "#tight"]


class Writer:
    """Writes values as authors might."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.count = 0

    def among(self, choices: Any) -> Any:
        return self.draw(st.sampled_from(list(choices)))

    def comment(self) -> str:
        self.count += 1
        return f"{self.among(COMMENTS)} {self.count}"

    def rest(self) -> str:
        """What may stand at the end of a line, and below it."""
        text = f"{self.among([' ', '   '])}{self.comment()}" if self.among([False, False, True]) else ""
        text += self.among(["\n", "\n", "\n", "\n\n", "  \n\n\n"])
        while self.among([False, False, False, True]):
            text += " " * self.among(range(7)) + self.comment() + self.among(["\n", "\n\n"])
        return text

    def block(self, depth: int, indent: int) -> str:
        """A collection without brackets, or a scalar, behind `key:` or `-`."""
        kind = self.among(["map", "list", "scalar", "flow"]) if depth else self.among(["scalar", "flow"])
        if kind == "scalar":
            return self.scalar(indent)
        if kind == "flow":
            return f" {self.flow(depth)}{self.rest()}"
        step = self.among([0, 1, 2, 4]) if kind == "list" else self.among([1, 2, 3])
        anchor = self.among(["", "", f" &n{self.count}"])
        if kind == "list":
            return anchor + self.rest() + self.items(depth, max(indent + step, 0))
        return anchor + self.rest() + self.pairs(depth, indent + step)

    def pairs(self, depth: int, indent: int) -> str:
        keys = self.draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True))
        return "".join(f"{' ' * indent}{key}{self.among([':', ' :'])}{self.block(depth - 1, indent)}" for key in keys)

    def items(self, depth: int, indent: int) -> str:
        return "".join(f"{' ' * indent}-{self.block(depth - 1, indent + 1)}" for _ in range(self.among([1, 2, 3])))

    def scalar(self, indent: int) -> str:
        kind = self.among(["plain", "plain", "quoted", "long"])
        if kind != "long":
            return f"{self.among([' ', '  '])}{self.among(PLAIN if kind == 'plain' else QUOTED)}{self.rest()}"
        deeper = " " * (indent + self.among([1, 2, 5]))
        text = self.among(LONG).format(deeper)
        return f" {text}" + (self.rest() if text[0] not in "|>" else "\n")

    def flow(self, depth: int) -> str:
        kind = self.among(["map", "list", "scalar"]) if depth else "scalar"
        if kind == "scalar":
            return str(self.among([*PLAIN, *QUOTED]))
        inner = []
        keys = self.draw(st.lists(st.sampled_from(KEYS), max_size=3, unique=True))
        for key in keys:
            value = self.flow(depth - 1)
            inner.append(f"{key}: {value}" if kind == "map" else value)
        gaps = [self.among(["", " ", "\n     ", f"  {self.comment()}\n      "]) for _ in range(len(inner) + 1)]
        begin, end = "{}" if kind == "map" else "[]"
        return begin + gaps[0] + ",".join(f" {one}{gap}" for one, gap in zip(inner, gaps[1:], strict=True)) + end


@st.composite
def files(draw: st.DrawFn) -> str:
    writer = Writer(draw)
    head = writer.among(["", "", "\n", "# first\n", "# first\n\n---\n"])
    return head + (writer.pairs(3, 0) if draw(st.booleans()) else writer.items(3, 0))


def facts(text: str) -> tuple[str, Counter[str]]:
    """What a file says, and its comments."""
    values = read_yaml(HERE, text.encode()).values
    return json.dumps(values), Counter(comment.text for comment in read_source(text).comments)


@settings(max_examples=150, deadline=None)
@given(text=files())
@example("a:\n    - b\n  # less deep\n    - c\n")
def test_any_file_says_the_same_afterwards_and_stays_as_it_is_then(text: str) -> None:
    try:
        before = facts(text)
    except PolicyError:
        return  # a list at the depth of its item, a comment inside a text: not every file here is one
    shown = laid_out(text)
    assert facts(shown) == before
    assert laid_out(shown) == shown
    assert not re.search(r"\n\n\n", shown) or "|+" in text
    assert all(line == line.rstrip() for line in shown.splitlines()) or "|" in text
