"""`clearbar policy test` where the policy names an artifact: what it expects and promises decides there, too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from sums import QUESTION

from router import Router
from router.cli import cli

SUM = f'text: "{QUESTION[0]["content"]}"'
TESTS = f"""
tests:
  - name: a sum is asked of the cheap ones first
    given: {{{SUM}, task: sums}}
    expect: {{rule: rule 5, strategy: cascade, models: [small, tiny, large], refused: false}}
  - name: an artifact of one task guesses none
    given: {{{SUM}}}
    expect: {{rule: no rule matches, refused: true}}
  - name: nobody promises so high a bar
    given: {{{SUM}, task: sums, tags: {{kind: high}}}}
    expect: {{strategy: single, bar: 0.99, refused: true}}
  - name: without one of its models there is no plan
    given: {{{SUM}, task: sums, tags: {{kind: part}}}}
    expect: {{strategy: single, models: [large]}}
  - name: the spare one stands by
    given: {{{SUM}, task: sums, tags: {{kind: spared}}}}
    expect: {{rule: rule 1, models: [small, tiny, large, spare]}}
  - name: streams get a single call
    given: {{{SUM}, task: sums, stream: true}}
    expect: {{strategy: single, model: large}}
  - name: held back, streams are cascades
    given: {{{SUM}, task: sums, stream: true, tags: {{kind: held}}}}
    expect: {{strategy: cascade}}
"""


@pytest.fixture
def place(folder: Path, tmp_path: Path) -> Path:
    """A copy of the policy, with its artifact and evidence, and tests."""
    shutil.copytree(folder, tmp_path / "policy")
    with (tmp_path / "policy" / "policy.yaml").open("a", encoding="utf-8") as file:
        file.write(TESTS)
    return tmp_path / "policy"


def run(place: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["policy", "test", str(place / "policy.yaml"), *options], standalone_mode=False)
    return 3 if done.exception is not None else int(done.return_value or 0), str(done.exception or done.output)


def test_tests_are_decided_by_what_the_artifact_expects_and_promises(place: Path) -> None:
    code, told = run(place, "--cover")
    assert (code, told.splitlines()[-1].partition(": ")[2]) == (0, "7 of 7 tests hold, 5 of 5 rules are met"), told


def test_they_say_what_the_router_does(place: Path, tmp_path: Path) -> None:
    told = {one["name"]: one["plan"] for one in json.loads(run(place, "--json")[1])["tests"]}
    with Router(place / "policy.yaml", tmp_path / "state") as router:
        assert list(router.explain(QUESTION, task="sums").plan) == told["a sum is asked of the cheap ones first"]
        high = router.explain(QUESTION, task="sums", tags={"kind": "high"})
        assert list(high.plan) == told["nobody promises so high a bar"] == []


def test_a_policy_whose_artifact_is_gone_or_altered_is_broken(place: Path) -> None:
    file = max((place / "artifact").glob("*.npz"), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[:-9] + b"\0" * 9)
    code, told = run(place)
    assert code == 3 and file.name in told
    shutil.rmtree(place / "artifact")
    assert run(place)[0] == 3


def test_without_the_artifact_the_same_tests_fail(place: Path) -> None:
    text = (place / "policy.yaml").read_text(encoding="utf-8")
    (place / "policy.yaml").write_text(text.replace("artifact: artifact\n", ""), encoding="utf-8")
    code, told = run(place)
    assert code == 1 and "strategy: expected cascade, came single" in told
