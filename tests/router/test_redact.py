"""What is taken out of recorded text, what stays, and how long it may take."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.redact import builtin, cleaned

KEY = "sk-abcdef1234567890abcdef"


def test_the_redaction_takes_addresses_numbers_and_keys_and_leaves_the_rest() -> None:
    text = f"Ask ada.b@example.co.uk or 020 7946 0958, key {KEY}, in 2026: 3.14159 and 1,000 words."
    assert builtin(text) == "Ask [email] or [number], key [key], in 2026: 3.14159 and 1,000 words."
    assert builtin("020\u20117946\u20110958 or 020\u00a07946\u202f0958") == "[number] or [number]"
    assert builtin("a@b.co+d@e.fr") == "[email][email]"
    assert builtin("a user@host and @ada") == "a user@host and @ada"
    assert builtin(builtin(text)) == builtin(text)


LONG = [
    "a" * 300_000, "@" * 300_000, "a@" * 150_000, "1 " * 150_000 + "x", "1-" * 150_000, "a.@b-." * 50_000,
    "1" * 300_000 + "x", "+" * 300_000, "[" * 300_000, "[" * 900 + "]" * 900,
]  # fmt: skip


@pytest.mark.parametrize("built", LONG, ids=range(len(LONG)))
def test_no_text_is_built_so_that_reading_it_takes_squared_time(built: str) -> None:
    (message,) = cleaned([{"role": "user", "content": built}])  # read letter by letter again, this takes minutes
    assert message["role"] == "user"


def test_messages_keep_their_shape() -> None:
    arguments = '{"to": "ada\\u0040example.org", "phone": 442079460958, "n": 3}'
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [
            {"type": "text", "text": "I am ada@example.org"},
            {"type": "image_url", "image_url": {"url": "https://example.org/ada.png"}},
        ]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_A1b2C3d4E5f6G7h8", "type": "function",
             "function": {"name": "mail", "arguments": arguments}},
        ]},
        {"role": "tool", "tool_call_id": "call_A1b2C3d4E5f6G7h8", "content": "sent"},
    ]  # fmt: skip
    user, assistant, tool = cleaned(messages)
    assert user["content"] == [{"type": "text", "text": "I am [email]"}, {"type": "text", "text": "[image_url]"}]
    call = assistant["tool_calls"][0]
    assert call["id"] == tool["tool_call_id"] == "id_1"
    assert (user["role"], call["type"]) == ("user", "function")
    assert json.loads(call["function"]["arguments"]) == {"to": "[email]", "phone": "[number]", "n": 3}
    assert messages[0]["content"][0]["text"] == "I am ada@example.org"


def test_an_answer_in_json_stays_json_and_untouched_json_stays_as_it_was_written() -> None:
    found = '{"content": [{"type": "address", "text": "ada@example.org", "account": 4420794609}]}'
    assert json.loads(cleaned(found)) == {"content": [{"type": "address", "text": "[email]", "account": "[number]"}]}
    assert cleaned('{ "a":1 ,"b": [2.50]}') == '{ "a":1 ,"b": [2.50]}'
    assert cleaned("[not json] ada@example.org") == "[not json] [email]"
    assert cleaned({"ada@example.org": True}) == {"[email]": True}
