"""Budgets that never stand in the way are told, and names that are a slip."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.policy import load_policy
from router.policy.binding import never_binding, slips

HEAD = """\
version: 1
models:
  - {id: small, call: openai/small, price: {input: 1, output: 2}}
  - {id: near, call: local/near, price: {input: 0, output: 0}}
"""
RULES = "rules: [{candidates: small, strategy: fixed}]\n"


def told(folder: Path, *budgets: str, rules: str = RULES) -> list[str]:
    rows = "".join(f"  - {{{budget}}}\n" for budget in budgets)
    (folder / "p.yaml").write_text(f"{HEAD}budgets:\n{rows}{rules}" if budgets else HEAD + rules)
    policy = load_policy(folder / "p.yaml")
    place = f"{folder / 'p.yaml'}:"
    return [finding.text.removeprefix(place) for finding in [*never_binding(policy), *slips(policy)]]


ALL = "name: all, limit_usd: 50"
IDLE = {
    "within everything": ["name: teams, scope: {team: '*'}, limit_usd: 100", ALL],
    "of one value": ["name: red, scope: {team: red}, limit_usd: 100", ALL],
    "of one of the values that share": [
        "name: red, scope: {team: red}, limit_usd: 100", "name: two, scope: {team: [red, blue]}, limit_usd: 50",
    ],
    "narrower than each": [
        "name: parts, scope: {team: '*', agent: '*'}, limit_usd: 100", "name: teams, scope: {team: '*'}, limit_usd: 50",
    ],
    "one value of each": ["name: red, scope: {team: red}, limit_usd: 9", "name: all, scope: {team: '*'}, limit_usd: 8"],
    "a shorter window": ["name: days, limit_usd: 100, window: day", ALL],
    "a shorter rolling window": [
        "name: h, limit_requests: 9, window: {rolling: 1h}", "name: days, limit_requests: 8, window: {rolling: 24h}",
    ],
    "stopped early": ["name: late, limit_usd: 45", "name: all, limit_usd: 50, at: {80%: deny}"],
    "calls at once": ["name: agents, scope: {agent: '*'}, limit_concurrent: 9", "name: all, limit_concurrent: 8"],
}  # fmt: skip


@pytest.mark.parametrize("budgets", IDLE.values(), ids=IDLE.keys())
def test_a_budget_behind_a_tighter_one_never_binds(tmp_path: Path, budgets: list[str]) -> None:
    (line,) = told(tmp_path, *budgets)
    names = [budget.split(",")[0].removeprefix("name: ") for budget in budgets]
    assert line == (
        f"6:5: budget '{names[0]}' never binds: budget '{names[1]}' counts all of its calls, too, and stops at no more "
        "in no shorter a window; remove it, or lower its limit"
    )


BUSY = {
    "the tighter one is for others": ["limit_usd: 100", "scope: {team: red}, limit_usd: 50"],
    "each value has its own": ["scope: {team: [red, blue]}, limit_usd: 90", "scope: {team: '*'}, limit_usd: 50"],
    "each value, also others": ["scope: {team: '*'}, limit_usd: 90", "scope: {team: [red, blue]}, limit_usd: 50"],
    "a longer window": ["limit_usd: 100, window: month", "limit_usd: 50, window: day"],
    "weeks pass months": ["limit_usd: 100, window: week", "limit_usd: 50, window: month"],
    "another calendar": ["limit_usd: 100, window: day, tz: Asia/Tokyo", "limit_usd: 50, window: month"],
    "another unit": ["limit_tokens: 100", "limit_requests: 50"],
    "told long before": ["limit_usd: 100, at: {10%: notify, 100%: deny}", "scope: {}, limit_usd: 50, window: month"],
    "the tighter one only tells": ["limit_usd: 100", "limit_usd: 50, at: {100%: notify}"],
    "the tighter one may be raised": ["limit_usd: 100", "limit_usd: 50, at: {100%: approve}"],
    "the tighter one lets unknown costs pass": ["limit_usd: 100", "limit_usd: 50, unknown: allow"],
}  # fmt: skip


@pytest.mark.parametrize("budgets", BUSY.values(), ids=BUSY.keys())
def test_a_budget_that_may_bind_is_not_told(tmp_path: Path, budgets: list[str]) -> None:
    named = [f"name: b{i}, {budget}" for i, budget in enumerate(budgets)]
    assert [line for line in told(tmp_path, *named) if "never" in line] == []


CHECKED = {
    "a step behind the last": (
        ["name: a, limit_usd: 9, at: {90%: deny, 100%: notify}"],
        "6:29: budget 'a': its step 100%: notify is never reached: calls are held back from 90% on; remove one of the",
    ),
    "a model that is not there": (
        ["name: a, scope: {model: smal}, limit_usd: 9"],
        "6:15: budget 'a' counts nothing: no model has the id 'smal'; did you mean 'small'?",
    ),
    "a provider that nobody calls": (
        ["name: a, scope: {provider: opnai}, limit_usd: 9"],
        "counts nothing: no model of the policy is called at 'opnai'; did you mean 'openai'?",
    ),
    "a model elsewhere": (
        ["name: a, scope: {model: near, provider: openai}, limit_usd: 9"], "no model of the policy is called at 'open",
    ),
    "a task": (["name: a, scope: {task: qa}, limit_usd: 9"], "`task` is a tag here, which requests carry only if"),
    "a slip of a tag": (["scope: {cost_center: '*'}, limit_usd: 9"], "is not 'cost_centre', which requests have; did"),
    "two of one name": (["name: a, limit_usd: 9", "name: a, limit_requests: 9"], "7:6: the name 'a' stands here for"),
}  # fmt: skip


@pytest.mark.parametrize(("budgets", "line"), CHECKED.values(), ids=CHECKED.keys())
def test_a_budget_that_is_a_slip_says_what_was_meant(tmp_path: Path, budgets: list[str], line: str) -> None:
    (found,) = told(tmp_path, *budgets)
    assert line in found


SHARES = [">100%", ">=101%", ">120%"]


@pytest.mark.parametrize("share", SHARES)
def test_a_share_that_never_comes_is_told(tmp_path: Path, share: str) -> None:
    rule = f"  - {{when: {{budget: {{name: a, used: '{share}'}}}}, candidates: small, strategy: fixed}}\n"
    (line,) = told(tmp_path, "name: a, limit_usd: 9", rules=f"rules:\n{rule}")
    assert line == f"8:13: budget a {share} does not come: calls are held back from 100% on; ask for less"


@pytest.mark.parametrize(
    ("budget", "share"),
    [("limit_usd: 9", ">=100%"), ("limit_usd: 9, at: {100%: notify}", ">120%"), ("limit_usd: 0", ">=100%")],
    ids=["at the limit", "a budget that only tells", "of nothing, all is used"],
)
def test_a_share_that_may_come_is_not_told(tmp_path: Path, budget: str, share: str) -> None:
    rule = f"rules: [{{when: {{budget: {{name: a, used: '{share}'}}}}, candidates: small, strategy: fixed}}]\n"
    assert told(tmp_path, f"name: a, {budget}", rules=rule) == []


SLIPS = {
    "in a condition": ("when: {tags: {custommer: acme}}", "tag 'custommer' is not 'customer'"),
    "in what must not hold": ("when: {not: {tags: {enviroment: dev}}}", "tag 'enviroment' is not 'environment'"),
    "of a session": ("sticky: run_ids", "tag 'run_ids' is not 'run_id'"),
    "of a canary": ("canary: {model: near, percent: 5%, by: customers}", "tag 'customers' is not 'customer'"),
}


@pytest.mark.parametrize(("key", "line"), SLIPS.values(), ids=SLIPS.keys())
def test_a_tag_that_is_nearly_one_of_ours_is_told(tmp_path: Path, key: str, line: str) -> None:
    (found,) = told(tmp_path, rules=f"rules: [{{{key}, candidates: small, strategy: fixed}}]\n")
    assert line in found


@pytest.mark.parametrize("tag", ["plan", "residency", "tier", "user", "model"])
def test_a_tag_of_its_own_is_not_told(tmp_path: Path, tag: str) -> None:
    rules = f"rules: [{{when: {{tags: {{{tag}: x}}}}, candidates: small, strategy: fixed}}]\n"
    assert told(tmp_path, rules=rules) == []


def test_rules_of_one_name_are_told(tmp_path: Path) -> None:
    rule = "{name: chat, when: {task: a}, candidates: small, bar: 0}"
    (line,) = told(tmp_path, rules=f"rules:\n  - {rule}\n  - {rule}\n")
    assert line.startswith("7:6: the name 'chat' stands here for the second time (first in line 6); decisions, tests")
