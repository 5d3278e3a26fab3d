"""`clearbar policy test`: the tests that a policy brings along, run through the router's own decision."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from router import FakeTransport, Router
from router.cli import main

POLICY = """\
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 2}, context: 1000, capabilities: [json]}
  - {id: large, call: fake/large, price: {input: 5, output: 9}, capabilities: [tools, json]}
tasks: {qa: {bar: 0.9}}
budgets:
  - {name: teams, scope: {team: "*"}, limit_usd: 10, window: day, at: {80%: downgrade, 100%: deny}}
rules:
  - {name: night, when: {time: {hours: "22:00-06:00"}}, candidates: [small], strategy: fixed}
  - {name: tight, when: {budget: {name: teams, used: ">90%"}}, candidates: [small], strategy: fixed}
  - {name: proven, when: {task: qa}, candidates: [small, large]}
  - {when: {tags: {customer: acme, plan: gold}}, candidates: [large], strategy: fixed}
  - {name: all, candidates: [large, small], strategy: fixed, cache: true}
tests:
"""
DAY = "at: 2026-11-22T12:00Z"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `clearbar policy test` on a policy with some tests; code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def command(tests: str, *options: str, policy: str = POLICY) -> tuple[int, str, str]:
        Path("p.yaml").write_text(policy + tests, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["clearbar", "policy", "test", "p.yaml", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return (ended.value.code, *capsys.readouterr())

    return command


def case(given: str, expect: str) -> str:
    """One test of a policy."""
    return f"  - {{given: {{text: Hello, {given}}}, expect: {{{expect}}}}}\n"


EACH = [
    case("at: 2026-11-22T23:00Z", "rule: night, model: small, models: [small]"),
    case(f"{DAY}, team: search, used: {{teams: 95%}}", "rule: tight, refused: false"),
    case(f"{DAY}, task: qa", "rule: proven, refused: true, bar: 0.9, strategy: single, task: qa"),
    case(f"{DAY}, customer: acme, tags: {{plan: gold}}", "rule: rule 4, models: large"),
    case(DAY, "rule: all, models: [large, small], strategy: fixed, cache: true"),
]


@pytest.mark.parametrize("one", EACH)
def test_an_expectation_that_is_met_holds(run: Run, one: str) -> None:
    code, told, _ = run(one)
    assert (code, told.splitlines()[-1]) == (0, "p.yaml: 1 of 1 tests hold, 1 of 5 rules are met")


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        ("tools: true", "models: [large]"),  # the small one lacks them
        ("tools: true, model: small", "rule: pinned, strategy: pinned, refused: true"),
        ("json: true", "models: [large, small]"),
        ("max_tokens: 5000", "models: [large]"),  # they do not fit the small one's context
        ("max_tokens: 10, max_cost_usd: 0.000001", "refused: true"),
        ("team: search, used: {teams: 80%}", "rule: all, model: small"),  # the budget asks for cheaper routes
        ("used: {teams: 95%}", "rule: all, model: large"),  # not this request's account
    ],
)
def test_what_is_given_is_decided_about_as_it_would_be_served(run: Run, given: str, expect: str) -> None:
    code, told, _ = run(case(f"{DAY}, {given}", expect))
    assert code == 0, told


def test_messages_may_stand_in_place_of_a_text(run: Run) -> None:
    parts = "[{type: text, text: What is it?}, {type: image_url, image_url: {url: 'data:,'}}]"
    given = f"{{messages: [{{role: user, content: {parts}}}], {DAY}}}"
    assert run(f"  - {{given: {given}, expect: {{refused: true}}}}\n")[0] == 0  # nobody here sees


def test_a_failure_is_told_with_its_place_what_came_and_why(run: Run) -> None:
    code, told, _ = run(case(f"{DAY}, task: qa", "rule: all, model: small"))
    assert code == 1
    assert told.splitlines()[:3] == [
        "p.yaml:15: failed: test in line 15", "  rule: expected all, came proven", "  model: expected small, came none",
    ]  # fmt: skip
    assert "· small: no evidence" in told


def test_rules_that_no_test_meets_are_told_and_fail_only_where_asked(run: Run) -> None:
    code, told, _ = run("".join(EACH[1:]))
    assert (code, told.splitlines()[0]) == (0, "p.yaml:9: no test meets 'night'")
    assert run("".join(EACH[1:]), "--cover")[0] == 1
    assert run("".join(EACH), "--cover")[0] == 0


def test_a_pinned_model_meets_no_rule(run: Run) -> None:
    _, told, _ = run(case("model: large", "rule: pinned"))
    assert "0 of 5 rules are met" in told


def test_a_policy_without_tests_fails_nothing(run: Run) -> None:
    policy = POLICY.removesuffix("tests:\n")
    assert run("", policy=policy)[0] == 0
    assert run("", "--cover", policy=policy)[0] == 1


def test_json_has_all_of_it(run: Run) -> None:
    code, told, _ = run(EACH[0] + case(DAY, "model: small"), "--json")
    found = json.loads(told)
    assert (code, found["rules"], found["unmet"]) == (1, 5, ["tight", "proven", "rule 4 (line 12)"])
    assert [one["holds"] for one in found["tests"]] == [True, False]
    failed = found["tests"][1]
    assert failed["misses"] == [{"key": "model", "expected": "small", "came": "large"}]
    assert [one["model"] for one in failed["candidates"]] == ["large", "small"]


@pytest.mark.parametrize(
    ("given", "expect", "told"),
    [
        ("task: qa", "rule: prooven", "p.yaml:15:47: rule: no rule is called 'prooven'; did you mean 'proven'?"),
        ("task: qa", "model: smal", "model: no model has the id 'smal'; did you mean 'small'?"),
        ("task: qa", "models: [small, larg]", "models: no model has the id 'larg'; did you mean 'large'?"),
        ("model: lage", "refused: true", "model: no model has the id 'lage'; did you mean 'large'?"),
        ("used: {team: 85%}", "rule: all", "used: no budget is called 'team'; did you mean 'teams'?"),
        ("used: {teams: 0.85}", "rule: all", "must be a share of the limit, such as 85%"),
        ("custmer: acme", "rule: all", "unknown key 'custmer'; did you mean 'customer'?"),
        ("at: 2026-11-22T12:00", "rule: all", "or a moment with its zone"),
        ("customer: a, tags: {customer: b}", "rule: all", "customer is given twice"),
        ("messages: [{role: user, content: Hi}]", "rule: all", "give either `text` or `messages`"),
        ("task: qa", "refused: true, model: small", "`refused: true` means that no model serves"),
        ("task: qa", "model: small, models: [large]", "`model` is the first of `models`"),
        ("task: qa", "", "expects nothing"),
        ("task: qa", "strategy: fxed", "strategy 'fxed': must be 'single', 'cascade', 'fixed'"),
    ],
)
def test_a_mistake_in_a_test_is_one_of_the_file(run: Run, given: str, expect: str, told: str) -> None:
    code, _, error = run(case(given, expect))
    assert code == 3
    assert told in error
    assert len(error.splitlines()) == 1


def test_a_budget_that_depends_on_the_model_has_no_share_yet(run: Run) -> None:
    policy = POLICY.replace("rules:", "  - {name: big, scope: {model: large}, limit_usd: 1, window: day}\nrules:")
    code, _, error = run(case("used: {big: 50%}", "rule: all"), policy=policy)
    assert (code, "depends on the model" in error) == (3, True)


def test_tests_say_what_the_router_does(run: Run) -> None:
    policy = POLICY.replace('when: {time: {hours: "22:00-06:00"}}', "when: {tags: {shift: night}}")
    assert run(case("tags: {shift: night}", "rule: night, model: small"), policy=policy)[0] == 0
    with Router("p.yaml", transport=FakeTransport({"small": "yes"})) as router:
        done = router.complete([{"role": "user", "content": "Hello"}], tags={"shift": "night"})
    assert (done.decision.rule, done.decision.plan) == ("night", ("small",))


def test_tests_change_no_route(tmp_path: Path) -> None:
    from router.policy import load_policy

    versions = []
    for name, text in (("a.yaml", POLICY.removesuffix("tests:\n")), ("b.yaml", POLICY + EACH[0])):
        (tmp_path / name).write_text(text, encoding="utf-8")
        versions.append(load_policy(tmp_path / name).routes_version)
    assert versions[0] == versions[1]
