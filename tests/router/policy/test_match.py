"""The first rule whose conditions all hold decides."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from router.policy import Policy, Traits, load_policy
from router.types import Request, Tags

POLICY = """\
version: 1
models: {m: {call: fake/m}}
rules:
  - {name: task, when: {task: [qa, sum]}, candidates: m, strategy: fixed}
  - {name: team, when: {tags: {team: [a, b], plan: gold}}, candidates: m, strategy: fixed}
  - {name: small, when: {input_tokens: {max: 10}}, candidates: m, strategy: fixed}
  - {name: middle, when: {input_tokens: {min: 11, max: 20}, tags: {team: c}}, candidates: m, strategy: fixed}
  - {name: long, when: {input_tokens: {min: 21}}, candidates: m, strategy: fixed}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    (tmp_path / "p.yaml").write_text(POLICY)
    return load_policy(tmp_path / "p.yaml")


def asked(task: str | None, tags: Tags, size: Callable[[], int]) -> Traits:
    return Traits(Request(id="r", tags=tags), task=task, now=datetime(2026, 11, 22, tzinfo=UTC), size=size)


@pytest.mark.parametrize(
    ("task", "tags", "size", "rule"),
    [
        pytest.param("sum", Tags(), 5, "task", id="one of the tasks"),
        pytest.param("sum", Tags(team="a", extra={"plan": "gold"}), 5, "task", id="the first of two that hold"),
        pytest.param("other", Tags(team="b", extra={"plan": "gold"}), 5, "team", id="every tag holds"),
        pytest.param(None, Tags(team="b"), 10, "small", id="one tag is missing, size at its upper bound"),
        pytest.param(None, Tags(team="c"), 11, "middle", id="size at its lower bound, and a tag"),
        pytest.param(None, Tags(team="d"), 15, None, id="size holds, tag does not"),
        pytest.param(None, Tags(), 21, "long", id="no upper bound"),
    ],
)
def test_the_first_rule_that_holds(policy: Policy, task: str | None, tags: Tags, size: int, rule: str | None) -> None:
    position = policy.table.match(asked(task, tags, lambda: size))
    assert (None if position is None else policy.rules[position].name) == rule


def test_tokens_are_counted_once_and_only_when_a_rule_asks(policy: Policy) -> None:
    counted: list[int] = []

    def count() -> int:
        counted.append(1)
        return 15

    policy.table.match(asked("qa", Tags(), count))
    assert counted == []
    policy.table.match(asked(None, Tags(), count))
    assert counted == [1]


def test_a_rule_without_a_name_is_called_by_its_line(policy: Policy, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.replace("name: task, ", ""))
    assert load_policy(tmp_path / "p.yaml").rule_name(0) == "rule 1 (line 4)"
    assert policy.rule_name(0) == "task"
