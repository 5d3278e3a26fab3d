"""A policy out of several files and for several environments is one policy, and its mistakes keep their places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from router.errors import PolicyError
from router.policy import Policy, load_policy
from router.policy.load import show_resolved

SHARED = """\
models:
  small: {call: fake/small, price: {input: 1, output: 1}}
tasks: {qa: {bar: 0.5}}
rules:
  - {name: guard, when: {findings: pii}, candidates: small, strategy: fixed, data: {local_only: true}}
  - {when: {task: shared}, candidates: small, strategy: fixed}
"""
MAIN = """\
version: 1
include: shared/rules.yaml
models:
  - {id: large, call: fake/large}
rules:
  - {name: rest, candidates: [small, large], strategy: fixed}
budgets:
  - {name: all, limit_usd: 10}
environments:
  dev:
    models: {small: {call: fake/tiny}}
    rules: {rest: {candidates: small, cache: exact}}
    budgets: {all: {limit_usd: 1}}
  prod: {data: {store_text: redacted}}
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.delenv("CLEARBAR_ENV", raising=False)

    def written(*changes: tuple[str, str]) -> Path:
        texts = {tmp_path / "p.yaml": MAIN, tmp_path / "shared" / "rules.yaml": SHARED}
        for path, text in texts.items():
            for old, new in changes:
                text = text.replace(old, new, 1)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path / "p.yaml"

    return written


def said(policy: Policy) -> tuple[list[str], str, int, bool, str]:
    rest = policy.rules[-1]
    return (
        rest.candidates,
        policy.models["small"].call,
        policy.budgets.each[0].limit,
        rest.cache.keeps,
        policy.data.store_text,
    )


def test_included_rules_stand_first(write: Write) -> None:
    policy = load_policy(write())
    assert [policy.rule_name(i) for i in range(3)] == ["guard", "rule 2 (rules.yaml line 6)", "rest"]
    assert list(policy.models) == ["small", "large"]
    assert [path.name for path in policy.files] == ["p.yaml", "rules.yaml"]


def test_a_changed_include_is_another_version(write: Write) -> None:
    before = load_policy(write()).version
    assert load_policy(write(("bar: 0.5", "bar: 0.6"))).version != before


def test_an_environment_changes_what_it_names_and_nothing_else(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write()
    base, dev, prod = load_policy(path), load_policy(path, "dev"), load_policy(path, "prod")
    assert said(base) == (["small", "large"], "fake/small", 10 * 10**12, False, "none")
    assert said(dev) == (["small"], "fake/tiny", 10**12, True, "none")
    assert said(prod) == (["small", "large"], "fake/small", 10 * 10**12, False, "redacted")
    assert len({base.version, dev.version, prod.version}) == 3
    assert dev.models["small"].price == base.models["small"].price
    monkeypatch.setenv("CLEARBAR_ENV", "dev")
    assert load_policy(path).version == dev.version
    assert load_policy(path).environment == "dev"


def test_a_file_without_environments_passes_the_variable_over(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARBAR_ENV", "anything")
    assert load_policy(write((MAIN[MAIN.index("environments:") :], ""))).environment is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "candidates: small, strategy: fixed, data",
            "candidates: smal, strategy: fixed, data",
            "rules.yaml:5:42: candidates: no model has the id 'smal'",
        ),
        (
            "  - {when: {task: shared}",
            "  - {wen: {task: shared}",
            "rules.yaml:6:6: unknown key 'wen'; did you mean 'when'?",
        ),
        (
            "tasks: {qa",
            "data: {store_text: full}\ntasks: {qa",
            "rules.yaml:3:1: an included file has only version, models",
        ),
        ("include: shared/rules.yaml", "include: shared/rule.yaml", "p.yaml:2:1: include: "),
        ("include: shared", "inclde: shared", "p.yaml:2:1: unknown key 'inclde'; did you mean 'include'?"),
        ("include: shared/rules.yaml", "include: {a: b}", "include"),
        (
            "call: fake/large}",
            "call: fake/large}\n  - {id: small, call: x}",
            "p.yaml:5:6: model id 'small' stands here for the second time",
        ),
        (
            "budgets:\n  - {name: all",
            "tasks: {qa: {bar: 0}}\nbudgets:\n  - {name: all",
            "p.yaml:7:9: task 'qa' stands in",
        ),
        (
            "rules: {rest: {candidates: small",
            "rules: {rset: {candidates: small",
            "p.yaml:12:13: rules: none has the name 'rset'; did you mean 'rest'?",
        ),
        (
            "rules: {rest: {candidates: small",
            "rules: {rest: {candidates: smal",
            "p.yaml:12:20: candidates: no model has the id 'smal'",
        ),
        (
            "models: {small: {call: fake/tiny}}",
            "models: {small: {cal: fake/tiny}}",
            "p.yaml:11:22: unknown key 'cal'; did you mean 'call'?",
        ),
        (
            "models: {small: {call: fake/tiny}}",
            "modles: {}",
            "p.yaml:11:5: unknown key 'modles'; did you mean 'models'?",
        ),
        ("prod: {data: {store_text: redacted}}", "prod: {version: 2}", "version cannot differ by environment"),
        (
            "prod: {data: {store_text: redacted}}",
            "prod: {data: {store_text: all}}",
            "p.yaml:14:17: store_text 'all': must be",
        ),
        ("prod: {data: {store_text: redacted}}", "prod: none", "p.yaml:14:3: prod 'none': must be keys and values"),
        ("budgets: {all: {limit_usd: 1}}", "budgets: [{limit_usd: 1}]", "budgets: must be changes by name, such as"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_with_its_own_file(write: Write, old: str, new: str, told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load_policy(write((old, new)))
    assert len(caught.value.problems) == 1, caught.value.problems
    assert told in caught.value.problems[0]


def test_a_mistake_in_an_environment_that_is_not_served_says_where(write: Write) -> None:
    with pytest.raises(PolicyError, match=r"'nobody'.*\(in the environment 'dev'\)$"):
        load_policy(write(("{candidates: small, cache", "{candidates: nobody, cache")))


def test_an_unknown_environment_is_told_with_the_known_ones(write: Write) -> None:
    with pytest.raises(PolicyError, match=r"no environment is called 'prd'.*did you mean 'prod'"):
        load_policy(write(), "prd")


def test_a_mapping_behind_an_alias_is_changed_in_one_place_only(write: Write) -> None:
    policy = load_policy(
        write(
            ("price: {input: 1, output: 1}", "price: &p {input: 1, output: 1}"),
            ("tasks: {qa", "  third: {call: fake/third, price: *p}\ntasks: {qa"),
            ("{small: {call: fake/tiny}}", "{small: {price: {input: 9}}}"),
        ),
        "dev",
    )
    assert [str(policy.models[name].price[0].input) for name in ("small", "third")] == ["9", "1"]


def test_the_resolved_policy_loads_to_the_same_routes_and_marks_defaults(write: Write, tmp_path: Path) -> None:
    path = write()
    for environment in (None, "dev", "prod"):
        text = show_resolved(path, environment)
        (tmp_path / "again.yaml").write_text(text, encoding="utf-8")
        assert load_policy(tmp_path / "again.yaml").routes_version == load_policy(path, environment).routes_version
    assert "    # max_output_tokens: 4096\n" in text
    assert "    strategy: fixed\n" in text


def test_an_item_of_nothing_but_defaults_is_still_one(write: Write, tmp_path: Path) -> None:
    path = write(("price: {input: 1, output: 1}", "price: {input: 1, output: 1}, deployments: [{}, {region: eu}]"))
    (tmp_path / "again.yaml").write_text(show_resolved(path), encoding="utf-8")
    again = load_policy(tmp_path / "again.yaml")
    assert again.deployments == load_policy(path).deployments


def test_signs_that_do_not_show_are_escaped_in_the_resolved_policy(write: Write, tmp_path: Path) -> None:
    path = write(("- {id: large,", '- {tags: {tier: "\\u0088\\uFEFF\\n\\U0001F600"}, id: large,'))
    (tmp_path / "again.yaml").write_text(show_resolved(path), encoding="utf-8")
    assert load_policy(tmp_path / "again.yaml").models["large"].tags["tier"] == "\x88\ufeff\n\U0001f600"


def test_patterns_are_quoted_in_the_resolved_policy(write: Write, tmp_path: Path) -> None:
    path = write(("candidates: [small, large]", 'candidates: "*"'))
    (tmp_path / "again.yaml").write_text(show_resolved(path), encoding="utf-8")
    assert load_policy(tmp_path / "again.yaml").routes_version == load_policy(path).routes_version
