"""What a policy says of a model in the shadow, and what commands and decisions tell of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from loopback import Provider, reply, status
from shaded import HI, LONG, POLICY, SHADOW, Make, rows

from router.cli import cli
from router.errors import PolicyError
from router.facts import differences
from router.policy import load_policy
from router.reproduce import reproduce
from router.shadows import SUFFIX
from router.trial_run import try_policy


def test_the_same_decision_comes_out_again(make: Make, tmp_path: Path) -> None:
    one = make((SHADOW, "    shadow: {model: new, percent: 40%, by: customer}\n"))
    for number in range(8):
        done = one.complete(HI, customer=f"c{number}")
        assert reproduce(done.id, one.ledger, tmp_path / "state", tmp_path / "p.yaml").is_same
    drawn = json.loads(next(row for row in rows(one, "single") if "shadow" in row["decision"])["decision"])
    assert drawn["shadow"] == {"name": "chat/new", "model": "new"}
    assert differences({**drawn, "shadow": None}, drawn) == [f"shadow: None then, {drawn['shadow']} now"]
    row = rows(one)[0]
    told = reproduce(row["id"], one.ledger, tmp_path / "state", tmp_path / "p.yaml")
    assert (told.is_same, told.why) == (
        None,
        f"it is the shadow of {row['id'].removesuffix(SUFFIX)}: nothing was decided",
    )


def test_the_command_lists_and_forgets(make: Make, provider: Provider, tmp_path: Path) -> None:
    at, run = ["--state", str(tmp_path / "state")], CliRunner().invoke
    one = make()
    assert "no shadow has been drawn" in run(cli, ["policy", "shadow", "status", *at]).output
    provider.script("new", [*[reply("one two three")] * 9, reply("four"), status(500)])
    for _ in range(11):
        one.complete(HI)
        assert one._shadows.settle(30)
    one.complete(LONG)
    assert one._shadows.settle(30)
    lines = run(cli, ["policy", "shadow", "status", *at]).output.splitlines()
    assert lines[0].startswith("chat/new: 11 requests since 20")
    assert lines[1:3] == [
        "  without an answer: 1 (ProviderUnavailableError 1)",
        "  the same answer: 90.0% of 10 (95 %: 55.5% to 99.7%)",
    ]
    assert lines[3].startswith("  cost: 3.87 times that of what was served (95 %: 3.")
    assert lines[3].endswith(": $0.000232 against $0.000060")
    assert lines[-2:] == ["  drawn and not asked: 1", "    1: about N tokens do not fit its context of N"]
    (told,) = json.loads(run(cli, ["policy", "shadow", "status", "--json", *at]).output)["shadows"]
    assert (told["n"], told["same"]["n"], told["cost"]["n"]) == (11, 10, 10)
    assert run(cli, ["policy", "shadow", "reset", "chat/new", *at]).exit_code == 0
    again = run(cli, ["policy", "shadow", "reset", "chat/new", *at])
    assert (again.exit_code, "no shadow is called 'chat/new'" in again.output) == (1, True)
    assert len(rows(one)) == 11  # what was paid stays in the books


def test_past_decisions_tell_of_their_shadows(make: Make, tmp_path: Path) -> None:
    one = make()
    done = one.complete(HI)
    assert one._shadows.settle(30)
    at = ["--state", str(tmp_path / "state")]
    assert "shadow: new is drawn" in CliRunner().invoke(cli, ["explain", "--id", done.id, *at]).output
    told = CliRunner().invoke(cli, ["explain", "--id", done.id + SUFFIX, *at]).output
    assert f"in the shadow of {done.id}" in told
    assert "new (shadow)" in told


@pytest.mark.parametrize(
    ("shadow", "told"),
    [
        ("{model: nwe, percent: 5%}", "shadow: no model has the id 'nwe'; did you mean 'new'?"),
        ("{model: new, percent: 0}", "percent '0': must be a share such as 5%, above 0 and up to 100"),
        ("{model: new}", "key 'percent' is missing; add it"),
        ("{model: new, percent: 5%, rollback: {}}", "unknown key 'rollback'"),
        ("{model: old, percent: 5%}", "shadow: 'old' is the rule's only candidate, and nothing is learned"),
        ("new", "shadow 'new': must be such as {model: MODEL, percent: 5%}"),
    ],
)
def test_each_mistake_is_one_line_with_its_remedy(tmp_path: Path, shadow: str, told: str) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.replace(SHADOW, f"    shadow: {shadow}\n"), encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load_policy(tmp_path / "p.yaml")
    assert len(caught.value.problems) == 1, caught.value.problems
    assert told in caught.value.problems[0]


def test_a_shadow_moves_no_routes(tmp_path: Path) -> None:
    versions = []
    for text in (POLICY, POLICY.replace(SHADOW, "")):
        (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
        versions.append(load_policy(tmp_path / "p.yaml"))
    assert versions[0].routes_version == versions[1].routes_version
    assert versions[0].version != versions[1].version


def test_a_policys_tests_say_whose_shadow_is_asked(tmp_path: Path) -> None:
    cases = """
tests:
  - {given: {text: hi}, expect: {shadow: new}}
  - {given: {text: hi}, expect: {shadow: false}}
  - {given: {text: hi, model: old}, expect: {shadow: false}}
  - {given: {text: hi, model: old}, expect: {shadow: new}}
"""
    (tmp_path / "p.yaml").write_text(POLICY + cases, encoding="utf-8")
    tried = try_policy(load_policy(tmp_path / "p.yaml"), None, datetime.now(UTC))
    assert [[miss.shown() for miss in one.misses] for one in tried] == [
        [], ["shadow: expected false, came new"], [], ["shadow: expected new, came false"],
    ]  # fmt: skip
    (tmp_path / "p.yaml").write_text(POLICY + cases.replace("shadow: new", "shadow: nwe", 1), encoding="utf-8")
    with pytest.raises(PolicyError, match="shadow: no model has the id 'nwe'; did you mean 'new'"):
        load_policy(tmp_path / "p.yaml")
