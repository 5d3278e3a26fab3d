"""The reader of YAML files: scalars stay text, every value has its place, nothing explodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.config import MAX_BYTES, Document, is_secretive, read_yaml, shown, suggestion
from router.errors import PolicyError


def read(path: Path, text: str | bytes) -> Document:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path)


def mistake(path: Path, text: str | bytes) -> str:
    with pytest.raises(PolicyError) as caught:
        read(path, text)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0].removeprefix(f"{path}:")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param("price: 1.10", {"price": "1.10"}, id="numbers keep their digits"),
        pytest.param("cache: no", {"cache": "no"}, id="no is the text no"),
        pytest.param(
            "a: 0o17\nb: 1_000\nc: 2026-01-31", {"a": "0o17", "b": "1_000", "c": "2026-01-31"}, id="as written"
        ),
        pytest.param("a:\nb: ~\nc: null", {"a": None, "b": None, "c": None}, id="plain null is nothing"),
        pytest.param('a: "null"\nb: ""', {"a": "null", "b": ""}, id="quoted null is text"),
        pytest.param("a: &x [1, 2]\nb: *x", {"a": ["1", "2"], "b": ["1", "2"]}, id="aliases repeat values"),
        pytest.param("---\na: b\n...\n", {"a": "b"}, id="document marks"),
        pytest.param("\ufeffa: b", {"a": "b"}, id="byte order mark"),
        pytest.param("a: |\n  x\n  y\n", {"a": "x\ny\n"}, id="block text"),
        pytest.param("a: ! x", {"a": "x"}, id="the empty tag"),
        pytest.param("", None, id="empty file"),
        pytest.param("# only words\n", None, id="only a comment"),
    ],
)
def test_values_are_read_as_plain_text_lists_and_mappings(tmp_path: Path, text: str, values: Any) -> None:
    assert read(tmp_path / "p.yaml", text).values == values


def test_each_value_knows_its_line_and_column(tmp_path: Path) -> None:
    document = read(tmp_path / "p.yaml", "version: 1\nrules:\n  - task: a\n  - task:\n      - b\n")
    assert document.places[("rules", 1)] == (4, 5)
    assert document.places[("rules", 1, "task", 0)] == (5, 9)
    assert document.problem(("rules", 1, "nowhere", 3), "x") == f"{tmp_path / 'p.yaml'}:4:5: x"


def test_keys_without_a_value_are_found_at_any_depth(tmp_path: Path) -> None:
    document = read(tmp_path / "p.yaml", "a:\nb: [1, ~]\nc: {d: , e: x}\n")
    assert document.without_value() == [("a",), ("b", 1), ("c", "d")]


@pytest.mark.parametrize(
    ("text", "where", "told"),
    [
        pytest.param("a: !!python/object/apply:os.system [ls]", "1:4: ", "python/object/apply", id="python tag"),
        pytest.param("a: !!str 3", "1:4: ", "is not allowed; write the plain value", id="even a harmless tag"),
        pytest.param("a: !env KEY", "1:4: ", "YAML tag '!env'", id="a tag of one's own"),
        pytest.param("a: 1\nb: 2\na: 3", "3:1: ", "second time (first in line 1)", id="duplicate key"),
        pytest.param("x:\n  a: 1\n  'a': 2", "3:3: ", "second time", id="duplicate key in quotes"),
        pytest.param("a: &x {b: c}\nd:\n  <<: *x", "3:3: ", "merge keys", id="merge key"),
        pytest.param("? [a, b]\n: c", "1:3: ", "a key must be plain text", id="list as key"),
        pytest.param("~: c", "1:1: ", "a key must be plain text", id="null as key"),
        pytest.param("a: 1\n---\nb: 2", "2:1: ", "a second document", id="two documents"),
        pytest.param("a: &x [*x]", "1:8: ", "refers to itself or to nothing", id="recursive alias"),
        pytest.param("a: *x", "1:4: ", "refers to itself or to nothing", id="unknown alias"),
        pytest.param("a: [1\n", "2:1: ", "not valid YAML", id="unclosed list"),
        pytest.param("a:\n\tb: 1", "2:1: ", "not valid YAML", id="tab"),
        pytest.param("a: b: c", "1:5: ", "mapping values are not allowed", id="two colons"),
        pytest.param("a: 1\nbc: \x07", "2:5: ", "not valid YAML", id="control character"),
        pytest.param("a: 1\nb: \xe9".encode("latin-1"), "2: ", "not UTF-8", id="not UTF-8"),
        pytest.param("a: 1".encode("utf-16"), "1: ", "not UTF-8", id="UTF-16"),
        pytest.param("a: " + "[" * 51 + "]" * 51, "1:53: ", "more than 50 levels", id="51 levels"),
        pytest.param("a: " + "[" * 100_000, "1:53: ", "more than 50 levels", id="a hundred thousand levels"),
        pytest.param("a: &x 1\nb: [" + "*x," * 1001 + "]", "2:", "more than 1,000 aliases", id="1,001 aliases"),
        pytest.param("#" * (MAX_BYTES + 1), "", "at most 1,000,000. Split it", id="over a megabyte"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_place(tmp_path: Path, text: str | bytes, where: str, told: str) -> None:
    line = mistake(tmp_path / "p.yaml", text)
    assert line.startswith(where or " ")
    assert told in line
    assert "\n" not in line


def test_exactly_the_limits_are_allowed(tmp_path: Path) -> None:
    read(tmp_path / "p.yaml", "a: " + "[" * 49 + "]" * 49)
    read(tmp_path / "p.yaml", "a: &x 1\nb: [" + "*x," * 1000 + "]")
    read(tmp_path / "p.yaml", "a: 1\n" + "#" * (MAX_BYTES - 5))


def test_aliases_of_aliases_cannot_explode(tmp_path: Path) -> None:
    lines = ["a: &a [" + ",".join("x" * 9) + "]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]" for i in range(12)]
    assert "200,000 values" in mistake(tmp_path / "p.yaml", "\n".join(lines))


@pytest.mark.parametrize("name", ["nosuch.yaml", "."], ids=["missing", "a directory"])
def test_an_unreadable_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(PolicyError, match=r"cannot be read .*; give the path of a YAML file"):
        read_yaml(tmp_path / name)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@,? \n\t~\x00\xe9", max_size=60))
def test_any_text_is_read_or_refused_in_one_line(tmp_path: Path, text: str) -> None:
    try:
        read(tmp_path / "p.yaml", text)
    except PolicyError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-ABCDEFG1234567890abcdefg", "sk-abcdefghijklmnopqrstuvwxyz", "AKIAIOSFODNN7EXAMPLE", "hf_abcdefghijkl",
        "AIzaSyABCDEFGHIJKLMNOPQRSTUVWXYZ0123456", "0123456789abcdef0123456789abcdef", "Bearer abc",
    ],
)  # fmt: skip
def test_what_could_be_a_key_is_never_shown(text: str) -> None:
    assert is_secretive(text)
    assert text not in shown(text)
    assert len(shown(text)) < 10


@pytest.mark.parametrize(
    "text",
    [
        "claude-3-5-sonnet-20241022", "openai/gpt-4o-mini", "OPENAI_API_KEY", "HF_TOKEN_PRODUCTION", "no such thing",
        "http://127.0.0.1:11434/v1", "meta-llama/Llama-3.1-405B-Instruct", "summarise", "skill",
    ],
)  # fmt: skip
def test_ordinary_names_are_shown(text: str) -> None:
    assert shown(text) == repr(text)


def test_a_long_value_is_shortened() -> None:
    assert shown("word " * 100) == repr(("word " * 100)[:57] + "...")


def test_what_is_suggested_is_one_line_without_keys(tmp_path: Path) -> None:
    key = "sk-proj-ABCDEFG1234567890abcdefg"
    assert suggestion("zzz", [key, "a"]) == "; known are a, 'sk-p'…"
    assert key not in suggestion(key[:-1], [key])
    document = read(tmp_path / "p.yaml", "a: 1")
    assert document.problem((), "no \r, \u2028 or \x1b[2J").endswith(":1:1: no \\r, \\u2028 or \\x1b[2J")


def test_a_suggestion_is_the_near_name_or_the_list() -> None:
    assert suggestion("candidate", ["candidates", "cache"]) == "; did you mean 'candidates'?"
    assert suggestion("zzz", ["b", "a", "a"]) == "; known are a, b"
    assert suggestion("zzz", []) == ""
