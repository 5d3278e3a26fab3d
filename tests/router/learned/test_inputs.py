"""A cascade takes any language, and whatever messages and answers there are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import router
from router.types import to_json

GREETINGS = (
    "Hello, world", "Hallo, Welt", "Bonjour le monde", "Hola, mundo", "Ciao, mondo", "Olá, mundo", "Привет, мир",
    "Привіт, світе", "Witaj, świecie", "Ahoj, světe", "Ahoj, svet", "Helló, világ", "Salut, lume", "Здравей, свят",
    "Здраво, свете", "Pozdrav, svijete", "Γεια σου, κόσμε", "Merhaba dünya", "Salam, dünya", "سلام دنیا",
    "مرحبا بالعالم", "שלום עולם", "नमस्ते दुनिया", "হ্যালো বিশ্ব", "ਸਤ ਸ੍ਰੀ ਅਕਾਲ", "வணக்கம் உலகம்", "హలో ప్రపంచం",
    "ಹಲೋ ವಿಶ್ವ", "ഹലോ വേൾഡ്", "สวัสดีชาวโลก", "ສະບາຍດີຊາວໂລກ", "မင်္ဂလာပါ", "សួស្តី​ពិភពលោក", "Xin chào thế giới",
    "你好，世界", "こんにちは世界", "안녕하세요 세계", "გამარჯობა მსოფლიო", "Բարեւ աշխարհ", "ሰላም ዓለም",
)  # fmt: skip
ODD: dict[str, list[Any]] = {
    "100 KB": [{"role": "user", "content": "What is 123 + 456? " * 5_500}],
    "100 KB without a space": [{"role": "user", "content": "7" * 100_000}],
    "empty": [{"role": "user", "content": ""}],
    "no content": [{"role": "user"}],
    "content of None": [{"role": "assistant", "content": None}, {"role": "user", "content": None}],
    "blanks": [{"role": "user", "content": " \n\t\u200b\u00a0"}],
    "emoji": [{"role": "user", "content": "👩‍👩‍👧‍👦🏳️‍🌈 + 🤖 = ❓" * 50}],
    "lone surrogates and control characters": [{"role": "user", "content": "\ud83d \x00\x1b[31m \ufffe"}],
    "only an image": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}
    ],
    "parts that are none": [{"role": "user", "content": [None, 3, "text", {}, {"type": "text"}]}],
    "a tool's result": [
        {"role": "user", "content": "What is 123 + 456?"},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 123}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "579"},
    ],
    "many turns": [{"role": "user" if n % 2 == 0 else "assistant", "content": f"turn {n}"} for n in range(501)],
}  # fmt: skip

Make = Callable[..., router.Router]


@pytest.mark.parametrize("messages", ODD.values(), ids=ODD)
@pytest.mark.parametrize("task", ["sums", None, "unheard of"])
def test_odd_input_gets_a_decision_and_never_an_exception(make: Make, messages: list[Any], task: str | None) -> None:
    decision = make().explain(messages, task=task)
    if task == "sums":
        assert decision.plan
        assert decision.promise is not None
    json.loads(to_json(decision))


@pytest.mark.parametrize("text", GREETINGS)
def test_forty_languages_get_a_decision(make: Make, text: str) -> None:
    messages = [{"role": "user", "content": text}]
    decision = make().explain(messages, task="sums")
    assert decision.strategy == "cascade"
    assert all(one.predicted_high is not None for one in decision.candidates)
    assert make().explain(messages).rule


def test_forty_languages_are_served_by_a_cascade(folder: Path, tmp_path: Path) -> None:
    replies = {"tiny": "42", "small": "四十二", "large": "42"}
    with router.Router(folder / "policy.yaml", tmp_path / "languages", router.FakeTransport(replies)) as serving:
        for text in GREETINGS:
            done = serving.complete([{"role": "user", "content": text}], task="sums")
            assert done.decision.strategy == "cascade"
            assert done.text


@pytest.mark.parametrize("name", ODD)
def test_odd_input_is_served_by_a_cascade_whatever_the_answers(folder: Path, tmp_path: Path, name: str) -> None:
    replies = {"tiny": "", "small": "🤷 \x00" * 2_000, "large": ["579", '{"answer": [1, {}]}']}
    with router.Router(folder / "policy.yaml", tmp_path / "odd", router.FakeTransport(replies)) as serving:
        done = serving.complete(ODD[name], task="sums")
        assert done.model in {"tiny", "small", "large"}
        assert len(serving.ledger.attempts(done.id)) == len(done.attempts)
