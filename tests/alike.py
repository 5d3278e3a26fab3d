"""For tests of the semantic cache: questions that are alike, a model that knows all answers, routers that learn."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import router
from router.types import Call

POLICY = """
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 4}}
  - {id: large, call: fake/large, price: {input: 10, output: 40}}
rules:
  - {when: {task: cheap}, candidates: [small], strategy: fixed, cache: CACHE}
  - {when: {task: dear}, candidates: [large], strategy: fixed, cache: CACHE}
  - {when: {task: any}, candidates: [small, large], bar: 0, cache: CACHE}
  - {when: {task: exact}, candidates: [small], strategy: fixed, cache: exact}
"""

ON = "{mode: on, max_error: 0.3, confidence: 0.8}"

TOPICS = {
    "return a pair of shoes": "Code 11", "change my delivery address": "Code 12", "cancel the subscription": "Code 13",
    "reset a forgotten password": "Code 14", "find the nearest shop": "Code 15", "order a replacement card": "Code 16",
    "talk to a human being": "Code 17", "pay by bank transfer": "Code 18",
}  # fmt: skip

WAYS = (
    "How do I {}?", "how can I {}", "I want to {}", "Please tell me how to {}", "What must I do to {}?",
    "I would like to {}, how does it work?", "Is there a way to {}?", "Could you help me {}?", "help me {} please",
    "what are the steps to {}", "Explain how to {}", "how to {}", "I need to {}", "Can I {} with you?",
    "I am trying to {}", "What is the way to {}?", "Hello, how do I {}?", "hey, can you tell me how to {}",
    "I wonder how to {}", "Hi! I'd like to {}.",
)  # fmt: skip

STREAM = [(way.format(topic), answer) for way in WAYS for topic, answer in TOPICS.items()]


def by_topic(call: Call) -> str:
    """A model that always knows."""
    text = str(call.messages[-1]["content"])
    return next((answer for topic, answer in TOPICS.items() if topic in text), "Code 99")


def ask(text: str, *before: Mapping[str, str]) -> list[Mapping[str, str]]:
    return [*before, {"role": "user", "content": text}]


Make = Callable[..., router.Router]


def routers(tmp_path: Path) -> Iterator[Make]:
    """What makes routers over one folder; closes them."""
    made: list[router.Router] = []

    def build(cache: str = ON, state: str = "state", **replies: Any) -> router.Router:
        path = tmp_path / f"policy{len(made)}.yaml"
        path.write_text(POLICY.replace("CACHE", cache), encoding="utf-8")
        transport = router.FakeTransport({"small": by_topic, "large": by_topic, **replies})
        made.append(router.Router(path, tmp_path / state, transport))
        return made[-1]

    yield build
    for one in made:
        one.close()


def learn(one: router.Router, task: str = "cheap", rounds: int = 1, **options: Any) -> list[router.Completion]:
    """Ask the whole stream; in later rounds with another full stop, so that nothing is the same request."""
    return [
        one.complete(ask(text + "." * round_), task=task, **options) for round_ in range(rounds) for text, _ in STREAM
    ]


def rows(folder: Path, query: str, *values: Any) -> list[Any]:
    with sqlite3.connect(folder / "state/semantic.sqlite3") as connection:
        return connection.execute(query, values).fetchall()
