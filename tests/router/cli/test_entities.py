"""Names of people and places: found by a spaCy pipeline on this machine, asked only where a rule asks."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import router
from router import FakeTransport
from router.entities import MOST_CHARACTERS, named_in
from router.errors import ConfigurationError, PolicyError
from router.policy import check, load_policy

POLICY = """\
version: 1
models: [{id: home, call: fake/home}, {id: away, call: fake/away}]
rules:
  - {name: forms, when: {findings: email}, candidates: home, strategy: fixed}
  - {name: people, when: {findings: [pii, person]}, candidates: home, strategy: fixed}
  - {name: rest, candidates: away, strategy: fixed}
tests:
  - {given: {text: "Write to Ada Lovelace."}, expect: {rule: people}}
  - {given: {text: "Write to the team in Paris."}, expect: {rule: rest}}
"""
needs_spacy = pytest.mark.skipif(find_spec("spacy") is None, reason="pip install 'clearbar[names]'")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "p.yaml").write_text(POLICY, encoding="utf-8")
    return tmp_path / "p.yaml"


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline of our own on disk that knows one person and one town."""
    spacy = pytest.importorskip("spacy")
    made = spacy.blank("en")
    known = [{"label": "PERSON", "pattern": "Ada Lovelace"}, {"label": "GPE", "pattern": "Paris"}]
    made.add_pipe("entity_ruler").add_patterns([*known, {"label": "DATE", "pattern": "today"}])
    made.to_disk(tmp_path / "pipeline")
    monkeypatch.setenv("CLEARBAR_NER", str(tmp_path / "pipeline"))
    return tmp_path / "pipeline"


def test_no_router_starts_that_would_let_names_out(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARBAR_NER", "no_such_pipeline")
    with pytest.raises(
        PolicyError, match=r"p\.yaml:5:20: findings: names cannot be found: (no spaCy pipeline|spaCy is)"
    ):
        router.Router(policy, tmp_path / "state", FakeTransport())
    (told,) = [one.text for one in check(load_policy(policy)) if "findings" in one.text]
    assert "p.yaml:5:20: findings: names cannot be found here, and no router starts" in told
    with pytest.raises(ConfigurationError, match="names of people and places"):
        named_in(["Ada"])


@needs_spacy
def test_who_names_people_stays_at_home(
    policy: Path, tmp_path: Path, pipeline: Path, clearbar: Callable[..., Any]
) -> None:
    with router.Router(policy, tmp_path / "state", FakeTransport()) as serving:
        said = {text: serving.complete([{"role": "user", "content": text}]).decision for text in (
            "Ask Ada Lovelace today.", "Ask \uff21da Love\u200blace.", "Paris today?", "ann@example.com, Ada Lovelace",
        )}  # fmt: skip
    assert [one.rule for one in said.values()] == ["people", "people", "rest", "forms"]
    asked = [one.facts.asked for one in said.values() if one.facts is not None]
    assert [one.get("names") for one in asked] == [["person"], ["person"], ["place"], None]  # the last: nobody asked
    assert "Ada" not in str(asked)
    assert "2 of 2 tests hold" in clearbar("policy", "test", str(policy))
    assert "findings" not in clearbar("policy", "check", str(policy))
    assert "found: person" in clearbar("explain", "Ask Ada Lovelace.", "--policy", str(policy))
    assert "found: place, not pii or person" in clearbar("explain", "Paris?", "--policy", str(policy))


@needs_spacy
def test_names_are_found_wherever_a_long_text_is_cut(pipeline: Path) -> None:
    for before in (MOST_CHARACTERS - 205, MOST_CHARACTERS - 6, MOST_CHARACTERS + 3):
        assert named_in(["a " * (before // 2) + "Ada Lovelace"]) == {"person"}, before
    assert named_in([]) == named_in([""]) == frozenset()


@needs_spacy
def test_a_pipeline_that_finds_no_names_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("spacy").blank("en").to_disk(tmp_path / "blank")
    monkeypatch.setenv("CLEARBAR_NER", str(tmp_path / "blank"))
    with pytest.raises(ConfigurationError, match="finds no names; it has no component `ner`"):
        named_in(["Ada"])
