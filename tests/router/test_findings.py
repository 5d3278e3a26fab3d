"""Personal data and secrets are found by their form, however they are written, and nothing slow can be built."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.findings import findings, found_in, luhn

CARD, IBAN = "4111111111111111", "DE89370400440532013000"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("write to ann.b+c@mail.example.com!", {"email"}),
        ("card 4111 1111 1111 1111, 12/26", {"card"}),
        ("card 4111-1111-1111-1111 12/26", {"card"}),
        ("３７８２ ８２２４６３ １０００５", {"card"}),  # full-width digits
        ("4111\u200b1111\u200b1111\u200b1111", {"card"}),
        ("4111111111111112", set()),
        ("pay to de89 3704 0044 0532 0130 00 today", {"iban"}),
        ("GB82WEST12345698765432", {"iban"}),
        ("DE88370400440532013000", set()),
        ("call +49 (30) 123-4567", {"phone"}),
        ("call (415) 555-2671", {"phone"}),
        ("call 030 / 1234567", {"phone"}),
        ("SSN 123-45-6789", {"ssn"}),
        ("key sk-proj-ABCDEFG1234567890abcdefg", {"key"}),
        ("AKIAIOSFODNN7EXAMPLE", {"key"}),
        ("OPENAI_API_KEY=gsk_abcdefgh1234567890xy", {"key", "password"}),
        ("password: hunter2", {"password"}),
        ('{"client_secret": "a1b2c3d4"}', {"password"}),
        ("postgres://app:s3cret@db/main", {"password"}),
        ("-----BEGIN EC PRIVATE KEY-----", {"private_key"}),
        ("the password is incorrect", set()),
        ("password: str", set()),
        ("scikit-learn-is-good-stuff-123", set()),
        ("sha1 9b5ad71b2ce5302211f9c61530b329a4922fc6a4", set()),
        ("at 2024-01-02 12:33:44, version 1.2.3.4, 1,234,567,890 rows, pi 3.14159265358979", set()),
        ("order 20261122103344", set()),
    ],
)
def test_kinds_of_findings(text: str, kinds: set[str]) -> None:
    assert findings(text) - ({"phone"} if "iban" in kinds else set()) == kinds


@pytest.mark.parametrize(
    "value",
    [
        {"role": "user", "name": "ann@example.com", "content": "hi"},
        {"role": "user", "content": [{"type": "text", "text": f"pay with {CARD}"}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "pay", "arguments": f'{{"iban": "{IBAN}"}}'}}]},
        {"role": "assistant", "tool_calls": [{"function": {"arguments": '{"to": "ann\\u0040example.com"}'}}]},
        {"role": "tool", "content": f'{{"card": {CARD}}}'},
        {"card": int(CARD)},
        {"ann@example.com": 1},
        {"metadata": {"password": "password=hunter2"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/?mail=ann@example.com"}},
    ],
)
def test_everything_that_would_be_sent_is_read(value: Any) -> None:
    assert found_in([value])


def test_encoded_media_is_not_read() -> None:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{CARD}"}}
    sound = {"type": "input_audio", "input_audio": {"format": "wav", "data": CARD}}
    assert found_in([picture, sound]) == frozenset()


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(["ann@example.com", CARD, IBAN, "+49 30 1234567"]))
def test_what_stands_alone_between_other_words_is_found(before: str, after: str, secret: str) -> None:
    assert findings(f"{before}\n| {secret} |\n{after}")


@given(st.from_regex(r"\A\d{12,18}\Z"))
def test_one_wrong_digit_breaks_the_check_sum(digits: str) -> None:
    ascii_digits = "".join(str(int(digit)) for digit in digits)
    right = [check for check in "0123456789" if luhn(ascii_digits + check)]
    assert len(right) == 1


@pytest.mark.parametrize(
    "unit",
    ["1 ", "a.", "+", "(0", "password=", "AB12", "4111 ", "a@a", "x", "\\u0041", "://a:", "A ", "sk-", "DE89 ", "٣"],
)
def test_a_text_that_was_built_to_be_slow_is_not(unit: str) -> None:
    text, seconds = unit * (100_000 // len(unit)), []
    for size in (len(text) // 8, len(text)):
        began = time.thread_time()
        found_in([text[:size]])
        seconds.append(time.thread_time() - began)
    assert seconds[1] < 40 * seconds[0] + 0.05  # 8 times as much, in far less than 64 times the time
