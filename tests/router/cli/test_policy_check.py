"""`clearbar policy check` as a build sees it: exit codes and lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOOD = """\
version: 1
models: [{id: small, call: fake/small, price: {input: 1, output: 2}}]
rules: [{candidates: small, strategy: fixed}]
"""
WARNED = GOOD.replace("fake/small,", "fake/small, api_key_env: NOBODY_SETS_THIS_KEY,")
UNPROVED = GOOD.replace("strategy: fixed", "bar: 0.9")


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        pytest.param(GOOD, ["--strict"], 0, id="nothing to say"),
        pytest.param(WARNED, [], 0, id="a warning is no failure"),
        pytest.param(WARNED, ["--strict"], 1, id="unless asked to be"),
        pytest.param(UNPROVED, [], 2, id="a bar without evidence"),
        pytest.param(UNPROVED.replace("fake/small,", "fake/small, api_key_env: NOBODY,"), ["--strict"], 2, id="both"),
        pytest.param(GOOD.replace("rules", "ruels"), ["--strict"], 3, id="a broken file"),
    ],
)
def test_the_exit_code_says_how_bad_it_is(
    clearbar: Callable[..., Any], tmp_path: Path, text: str, arguments: list[str], code: int
) -> None:
    (tmp_path / "p.yaml").write_text(text)
    clearbar("policy", "check", "p.yaml", *arguments, code=code)


def test_the_last_line_says_what_the_exit_code_does(clearbar: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(WARNED)
    assert clearbar("policy", "check", "p.yaml").endswith(": holds\n")
    assert clearbar("policy", "check", "p.yaml", "--strict", code=1).endswith(": it warns\n")


@pytest.mark.parametrize("verb", ["check", "show", "test"])
def test_the_shipped_policy_and_another_are_not_asked_for_at_once(clearbar: Callable[..., Any], verb: str) -> None:
    assert "give one of them" in clearbar("policy", verb, "p.yaml", "--shipped", code=3)


def test_findings_have_a_place_in_the_file(clearbar: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(WARNED)
    told = clearbar("policy", "check", "p.yaml", "--json")
    assert told["warnings"] == ["p.yaml:2:40: model 'small': NOBODY_SETS_THIS_KEY is not set; calls will fail"]


def test_what_is_so_in_one_environment_only_is_told_of_that(
    clearbar: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = "rules: [{name: chat, candidates: small, strategy: fixed}, {candidates: small, strategy: fixed}]"
    changes = (
        "environments: {dev: {rules: {chat: {when: {task: a}}}}, prod: {rules: {chat: {strategy: single, bar: 0.9}}}}"
    )
    (tmp_path / "p.yaml").write_text(
        GOOD.replace("rules: [{candidates: small, strategy: fixed}]", f"{rules}\n{changes}")
    )
    told = clearbar("policy", "check", "p.yaml", "--json", code=2)
    (warning,) = told["warnings"]
    assert "this rule is never reached" in warning
    (missing,) = told["evidence"]
    assert missing.endswith(" (in the environment 'prod')")
    monkeypatch.setenv("CLEARBAR_ENV", "dev")
    assert clearbar("policy", "check", "p.yaml", "--json")["warnings"] == []
