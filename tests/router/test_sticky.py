"""A session keeps its model while that may serve, unless another one saves more than a switch may cost."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import router
from router import FakeTransport
from router.errors import PolicyError, ProviderUnavailableError
from router.policy import load_policy
from router.policy.sticky import Sticky
from router.reproduce import reproduce
from router.sessions import MOST_SESSIONS, Session, Sessions

POLICY = """\
version: 1
models:
  - {id: cheap, call: fake/cheap, price: {input: 1, output: 1}, context: 60}
  - {id: dear, call: fake/dear, price: {input: 2, output: 2}}
rules:
  - {name: chat, candidates: [cheap, dear], bar: 0, sticky: STICKY}
data: {store_text: full}
"""
SHORT = [{"role": "user", "content": "hello"}]
LONG = [{"role": "user", "content": "hello there " * 60}]
Make = Callable[..., router.Router]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    made: list[router.Router] = []

    def build(sticky: str, **replies: Any) -> router.Router:
        (tmp_path / "p.yaml").write_text(POLICY.replace("STICKY", sticky), encoding="utf-8")
        made.append(router.Router(tmp_path / "p.yaml", tmp_path / "state", FakeTransport(replies)))
        return made[-1]

    yield build
    for one in made:
        one.close()


def test_a_session_stays_with_its_model_and_others_do_not(make: Make) -> None:
    serving = make("run_id")
    assert serving.complete(LONG, run_id="a").model == "dear"  # only its context is large enough
    stays = serving.complete(SHORT, run_id="a")
    assert (stays.model, stays.decision.plan) == ("dear", ("dear", "cheap"))
    assert stays.decision.candidates[0].reason == "the session's model"
    assert serving.complete(SHORT, run_id="b").model == "cheap"
    assert serving.complete(SHORT).model == "cheap"


def test_a_model_that_may_not_serve_any_more_is_left(make: Make) -> None:
    serving = make("{by: customer}")
    assert serving.complete(SHORT, customer="a").model == "cheap"
    assert serving.complete(LONG, customer="a").model == "dear"
    assert serving.complete(SHORT, customer="a").model == "dear"


@pytest.mark.parametrize(
    ("switch", "model"), [("never", "dear"), ("cost", "cheap"), ("0.0001", "cheap"), ("1", "dear")]
)
def test_a_cheaper_model_takes_over_where_it_saves_more_than_the_switch(make: Make, switch: str, model: str) -> None:
    serving = make(f"{{by: run_id, switch: {switch}}}")
    serving.complete(LONG, run_id="a")
    assert serving.complete(SHORT, run_id="a").model == model


def test_the_model_that_stepped_in_keeps_the_session(make: Make) -> None:
    serving = make("run_id", cheap=[ProviderUnavailableError("down"), ProviderUnavailableError("down"), "back"])
    assert serving.complete(SHORT, run_id="a", patience_s=0).model == "dear"
    assert serving.complete(SHORT, run_id="a").model == "dear"


def test_a_decision_for_a_session_comes_out_the_same_again(make: Make, tmp_path: Path) -> None:
    serving = make("run_id")
    serving.complete(LONG, run_id="a")
    done = serving.complete(SHORT, run_id="a")
    assert reproduce(done.id, serving.ledger, tmp_path / "state", tmp_path / "p.yaml").is_same


def test_sessions_are_forgotten_when_idle_or_too_many() -> None:
    sessions, one = Sessions(), Session("chat", "a", 60.0)
    sessions.note(one, "dear", now_s=0.0)
    assert (sessions.model(one, 59.0), sessions.model(one, 60.0)) == ("dear", None)
    assert sessions.model(Session("other rule", "a", 60.0), 1.0) is None
    for number in range(MOST_SESSIONS):
        sessions.note(Session("chat", f"b{number}", 60.0), "cheap", now_s=1.0)
    assert sessions.model(one, 1.0) is None


@pytest.mark.parametrize(
    ("switch", "stays", "moves", "switches"),
    [
        ("never", "1", "0", False),
        ("cost", "1", "0.9", True),
        ("cost", "1", "1", False),
        ("cost", None, "0", False),
        ("0.1", "1", "0.9", False),
        ("0.1", "1", "0.8", True),
    ],
)
def test_when_a_session_moves_on(switch: str, stays: str | None, moves: str, switches: bool) -> None:
    sticky = Sticky.model_validate({"by": "run_id", "switch": switch})
    assert sticky.switches(None if stays is None else Decimal(stays), Decimal(moves)) is switches


@pytest.mark.parametrize(
    ("sticky", "told"),
    [
        ("{by: run_id, switch: often}", "must be never, cost, or an amount in USD such as 0.01"),
        ("{by: run_id, idle: long}", "idle 'long': must be a time such as 90s"),
        ("{switch: cost}", "key 'by' is missing; add it"),
        ("run_id, strategy: cascade", "`sticky` keeps one model, and `strategy: cascade` asks several"),
    ],
)
def test_each_mistake_is_one_line_with_its_remedy(tmp_path: Path, sticky: str, told: str) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.replace("STICKY", sticky), encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load_policy(tmp_path / "p.yaml")
    assert len(caught.value.problems) == 1, caught.value.problems
    assert told in caught.value.problems[0]
