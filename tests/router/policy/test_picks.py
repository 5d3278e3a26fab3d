"""Candidates by pattern, capability, tag or region are written out at load; an entry that picks nobody is an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from router.errors import PolicyError
from router.policy import Policy, load_policy

MODELS = """\
version: 1
models:
  - {id: gpt-small, call: fake/a, capabilities: [tools, vision], tags: {tier: cheap, by: x}, region: us}
  - {id: gpt-large, call: fake/b, capabilities: [tools], tags: {tier: dear}, region: eu}
  - {id: other, call: fake/c, tags: {tier: cheap}, region: eu, deployments: [{}, {region: us}]}
  - {id: "odd*", call: fake/d}
rules:
"""
Load = Callable[[str], Policy]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(rule: str) -> Policy:
        (tmp_path / "p.yaml").write_text(f"{MODELS}  - {{{rule}, strategy: fixed}}\n", encoding="utf-8")
        return load_policy(tmp_path / "p.yaml")

    return loaded


@pytest.mark.parametrize(
    ("candidates", "names"),
    [
        ("gpt-*", ["gpt-small", "gpt-large"]),
        ("[other, 'gpt-?????']", ["other", "gpt-small", "gpt-large"]),
        ("['gpt-[l]*']", ["gpt-large"]),
        ("[gpt-large, '*']", ["gpt-large", "gpt-small", "other", "odd*"]),
        ("'odd*'", ["odd*"]),  # an id comes before a pattern
        ("{capability: vision}", ["gpt-small"]),
        ("{capability: [tools, vision]}", ["gpt-small"]),
        ("{tag: {tier: cheap}}", ["gpt-small", "other"]),
        ("{tag: {tier: [cheap, dear], by: x}}", ["gpt-small"]),
        ("{region: eu}", ["gpt-large"]),  # of `other`, one deployment is elsewhere
        ("{region: [eu, us], tag: {tier: cheap}}", ["gpt-small", "other"]),
        ("[{capability: vision}, {region: eu}]", ["gpt-small", "gpt-large"]),
    ],
)
def test_who_is_picked_and_in_which_order(load: Load, candidates: str, names: list[str]) -> None:
    assert load(f"candidates: {candidates}").rules[0].candidates == names
    assert load(f"candidates: other, fallback: {candidates}").rules[0].fallback == names


@pytest.mark.parametrize(
    ("candidates", "told"),
    [
        ("['gpt-*', 'claude-*']", "8:28: candidates: no model's id is like 'claude-*'; known are gpt-small, gpt-large"),
        ("{capability: hearing}", "8:6: candidates: no model is picked by capability hearing; known are"),
        ("{tag: {tier: free}, region: eu}", "candidates: no model is picked by tier: free, region eu; known are"),
        ("{region: us, capability: json}", "candidates: no model is picked by capability json, region us; known"),
        ("{}", "candidates: picks by `capability`, `tag` or `region`, such as"),
        ("{capabilty: vision}", "8:19: unknown key 'capabilty'; did you mean 'capability'?"),
        ("[gpt-smal]", "8:19: candidates: no model has the id 'gpt-smal'; did you mean 'gpt-small'?"),
    ],
)
def test_each_mistake_is_one_line_with_place_value_and_remedy(load: Load, candidates: str, told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load(f"candidates: {candidates}")
    assert len(caught.value.problems) == 1, caught.value.problems
    assert told in caught.value.problems[0]


def test_a_pattern_and_what_it_stands_for_are_the_same_routes(load: Load) -> None:
    written, pattern = load("candidates: [gpt-small, gpt-large]"), load("candidates: gpt-*")
    assert written.routes_version == pattern.routes_version
    assert written.version != pattern.version
