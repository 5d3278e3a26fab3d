"""Counting tokens."""

from __future__ import annotations

import json
import logging
import os
import random
import string
import subprocess
import sys
import threading
from typing import Any

import pytest

from router import tokens
from router.tokens import count_request, count_tokens, estimate_tokens
from router.types import Request


def request(*messages: Any, **params: Any) -> Request:
    return Request(id="r", messages=messages, params=params)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), ("hello world", 2), ("tiktoken is great!", 6), ("2 + 2 = 4", 7), ("お誕生日おめでとう", 9)],
)
def test_counts_are_those_published_for_cl100k_base(text: str, expected: int) -> None:
    assert count_tokens(text) == expected


@pytest.mark.parametrize("text", ["<|endoftext|>", "a <|fim_prefix|> b", "<|endofprompt|>" * 3])
def test_text_that_looks_like_a_control_token_is_plain_text(text: str) -> None:
    assert count_tokens(text) > text.count("<|")


def test_a_lone_surrogate_is_counted_and_not_raised() -> None:
    assert count_tokens("a \ud800 b") >= 3


@pytest.mark.parametrize("unit", ["a", " ", "!", "\n", "1", "\u65e5", "ab", "=-"])
def test_a_megabyte_without_a_break_is_an_upper_bound_and_stays_linear(unit: str) -> None:
    # Without the cuts "a" * 1,000,000 takes hours; with them the pieces bound the work, whatever the machine.
    text = unit * (1_000_000 // len(unit))
    assert max(map(len, tokens._pieces(text))) <= tokens.LONGEST_RUN
    assert 1_000_000 / 140 < count_tokens(text) <= len(text.encode()) + len(text) // tokens.LONGEST_RUN


def test_cutting_long_runs_never_counts_too_few() -> None:
    encoding = tokens._loaded()
    assert encoding is not None
    chance = random.Random(20250101)
    alphabets = [
        string.ascii_lowercase,
        string.digits,
        string.punctuation,
        " ",
        "\n ",
        "\u65e5\u672c\u8a9e",
        "ab",
        "\u00e9\u00fc ",
    ]
    for _ in range(400):
        text = "".join(chance.choice(chance.choice(alphabets)) * chance.choice([1, 1, 300]) for _ in range(12))
        assert count_tokens(text) >= len(encoding.encode_ordinary(text))


def test_ordinary_text_is_counted_exactly() -> None:
    encoding = tokens._loaded()
    assert encoding is not None
    text = (tokens.__doc__ or "") * 50
    assert count_tokens(text) == len(encoding.encode_ordinary(text))


def test_a_request_is_its_texts_plus_four_a_message_plus_three() -> None:
    one, two = {"role": "system", "content": "be brief"}, {"role": "user", "content": "hello world"}
    texts = sum(map(count_tokens, ["system", "be brief", "user", "hello world"]))
    assert count_request(request(one, two)) == texts + 2 * 4 + 3


@pytest.mark.parametrize(
    "addition",
    [
        {"name": "ann"},
        {"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
        {"function_call": {"name": "f", "arguments": "{}"}},
        {"tool_call_id": "call_123"},
        {"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}, "three four"]},
        {"refusal": "no"},
    ],
    ids=lambda value: next(iter(value)),
)
def test_names_tool_calls_and_parts_count(addition: dict[str, Any]) -> None:
    plain = {"role": "user", "content": "x"}
    assert count_request(request({**plain, **addition})) > count_request(request(plain))


@pytest.mark.parametrize("name", ["tools", "functions", "response_format"])
def test_schemas_count_as_compact_json(name: str) -> None:
    schema = [{"type": "function", "function": {"name": "f", "description": "überall"}}]
    compact = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    plain = {"role": "user", "content": "x"}
    assert count_request(request(plain, **{name: schema})) == count_request(request(plain)) + count_tokens(compact)


def test_images_are_left_to_the_providers_own_rule() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    assert count_request(request({"role": "user", "content": [image]})) < 20


@pytest.mark.parametrize(
    ("given", "expected"), [("hello world", 2), (["hello world", "hello"], 3), ([1, 2, 3], 3), ([[1, 2], [3]], 3)]
)
def test_an_embedding_request_is_its_input(given: Any, expected: int) -> None:
    assert count_request(Request(id="r", kind="embedding", params={"input": given})) == expected


@pytest.mark.parametrize("path", [tokens.__file__, __file__])
def test_the_estimate_is_within_a_quarter_of_the_count(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert estimate_tokens(text) == pytest.approx(count_tokens(text), rel=0.25)


def test_without_the_table_bytes_are_counted_and_one_warning_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tokens, "_is_loaded", False)
    monkeypatch.setattr(tokens, "_encoding", None)
    monkeypatch.setattr(tokens, "_table_folder", lambda: None)
    with caplog.at_level(logging.WARNING):
        assert count_tokens("héllo") == 6
        assert count_tokens("abc") == 3
    assert [record.message for record in caplog.records if "pip install" in record.message] == [caplog.messages[0]]
    assert len(caplog.records) == 1


def test_an_altered_table_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "TABLE_SHA256", "0" * 64)
    assert tokens._table_folder() is None


def test_the_environment_is_as_before_and_litellm_is_not_imported(tmp_path: Any) -> None:
    program = (
        "import os, sys; from router.tokens import count_tokens; n = count_tokens('hello world'); "
        "print(n, os.environ.get('TIKTOKEN_CACHE_DIR'), 'litellm' in sys.modules)"
    )
    for given in (None, str(tmp_path)):
        environ = {**os.environ, "PYTHONPATH": os.getcwd()}
        environ.pop("TIKTOKEN_CACHE_DIR", None)
        if given is not None:
            environ["TIKTOKEN_CACHE_DIR"] = given
        done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["2", str(given), "False"]
    assert list(tmp_path.iterdir()) == []


def test_many_threads_load_the_table_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []
    real = tokens._load

    def load() -> Any:
        loads.append(1)
        return real()

    monkeypatch.setattr(tokens, "_is_loaded", False)
    monkeypatch.setattr(tokens, "_encoding", None)
    monkeypatch.setattr(tokens, "_load", load)
    threads = [threading.Thread(target=count_tokens, args=("hello world",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == [1]


@pytest.mark.parametrize("name", ["system", "documents", "extra_body"])
def test_text_in_any_parameter_counts(name: str) -> None:
    long = {"system": "word " * 500, "documents": ["word " * 500], "extra_body": {"system": "word " * 500}}[name]
    assert count_request(request({"role": "user", "content": "hello"}, **{name: long})) > 500


def test_a_forgotten_table_is_loaded_again_also_while_others_count() -> None:
    wrong: list[int] = []

    def count() -> None:
        wrong.extend(found for _ in range(50) if (found := count_tokens("hello world")) != 2)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        tokens.forget_table()
    for thread in threads:
        thread.join()
    assert not wrong
    tokens.forget_table()
    assert count_tokens("tiktoken is great!") == 6
