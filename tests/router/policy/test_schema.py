"""A routing table that is wrong says where and how; one that is right means what it says."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from router.errors import PolicyError
from router.policy import Policy, load_policy, shipped_policies

GOOD = """\
version: 1
models:
  - id: small
    call: fake/small
    price: {input: 0.1, output: 0.2}
  - id: large
    call: fake/large
    price: {input: 1, output: 2}
tasks:
  qa: {bar: 0.8}
rules:
  - when: {task: qa}
    candidates: [small, large]
    fallback: [large]
  - candidates: [large]
    strategy: fixed
"""
SECRET = "sk-proj-ABCDEFG1234567890abcdefg"


def load(path: Path, *changes: tuple[str, str]) -> Policy:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return load_policy(path)


# What is changed, and what is said: place, the value or key, the remedy.
MODEL, BAR, WHEN, LAST = "call: fake/small", "{bar: 0.8}", "{task: qa}", "strategy: fixed"
MISTAKES = {
    "misspelt key at the top": ("rules:", "ruels:", "11:1: unknown key 'ruels'; did you mean 'rules'?"),
    "misspelt key of a model": ("call: fake/s", "cal: fake/s", "4:5: unknown key 'cal'; did you mean 'call'?"),
    "misspelt key of a price": ("input: 0.1", "inptu: 0.1", "5:13: unknown key 'inptu'; did you mean 'input'?"),
    "misspelt key of a task": (BAR, "{bar: 0.8, pas_at: 0}", "10:18: unknown key 'pas_at'; did you mean 'pass_at'?"),
    "misspelt key of a bar": (BAR, "{bar: {min: 0.8, confidense: 0.9}}", "unknown key 'confidense'; did you mean"),
    "misspelt condition": (WHEN, "{taks: qa}", "12:12: unknown key 'taks'; did you mean 'task'?"),
    "misspelt bound of a size": (WHEN, "{input_tokens: {mx: 3}, task: qa}", "unknown key 'mx'; did you mean 'max'?"),
    "misspelt key of a rule": ("fallback:", "fallbak:", "14:5: unknown key 'fallbak'; did you mean 'fallback'?"),
    "misspelt key of data": (LAST, LAST + "\ndata: {store_txt: none}", "17:8: unknown key 'store_txt'; did you mean"),
    "misspelt key of a deployment": (MODEL, MODEL + "\n    deployments: [{cal: x}]", "5:20: unknown key 'cal'; did"),
    "no version": ("version: 1\n", "", "1:1: key 'version' is missing; add it"),
    "version 2": ("version: 1", "version: 2", "1:1: version '2': this clearbar reads version 1"),
    "no call": (MODEL, "region: eu", "3:5: key 'call' is missing; add it"),
    "rules as a mapping": ("rules:\n  - when", "rules:\n    when", "not valid YAML"),
    "a model that is a word": ("- id: large", "- oops\n  - id: large", "6:5: models 'oops': must be keys and values"),
    "a task that is a number": (BAR, "0.8", "10:3: qa '0.8': must be keys and values"),
    "a price that is a number": ("price: {input: 0.1, output: 0.2}", "price: 0.1", "5:5: price '0.1': must be keys"),
    "no candidates key": ("candidates: [small, large]", "strategy: fixed", "key 'candidates' is missing; add it, or"),
    "refused but asked": ("[small, large]", "small\n    data: {refuse: no}", "asks nobody; remove the rule's models"),
    "refused and somewhere": (
        "candidates: [small, large]", "data: {refuse: no, local_only: true}", "give one of them"
    ),
    "no candidates": ("[small, large]", "[]", "13:5: candidates: must not be empty"),
    "a value left out": (WHEN, "{task: }", "12:12: key 'task' has no value; give it one, or remove it"),
    "a key left empty": (LAST, LAST + "\nartifact:", "17:1: key 'artifact' has no value"),
    "unknown candidate": ("[small, large]", "[smal, large]", "13:18: candidates: no model has the id 'smal'; did you"),
    "unknown fallback": ("fallback: [large]", "fallback: larg", "14:5: fallback: no model has the id 'larg'; did you"),
    "unknown task": (WHEN, "{task: q}", "12:12: task 'q' has no bar: give the rule one or add it under `tasks`"),
    "rule for everything without a bar": ("    strategy: fixed\n", "", "15:5: a rule that matches every task needs"),
    "the same id twice": ("tasks:\n", "  - {id: small, call: x}\ntasks:\n", "9:6: model id 'small' stands here for"),
    "bar above 1": (BAR, "{bar: 1.2}", "10:8: bar '1.2': must be less than or equal to 1"),
    "bar below 0": (BAR, "{bar: -1}", "10:8: bar '-1': must be greater than or equal to 0"),
    "bar in percent": (BAR, "{bar: 80%}", "10:8: bar '80%': must be a number"),
    "bar that is no number": (BAR, "{bar: nan}", "10:8: bar 'nan': must be"),
    "bar without min": (BAR, "{bar: {confidence: 0.9}}", "10:8: bar: needs `min`"),
    "confidence in percent": (BAR, "{bar: {min: 0.8, confidence: 95}}", "confidence '95': must be less than 1"),
    "negative price": ("input: 0.1", "input: -0.1", "5:13: input '-0.1': must be greater than or equal to 0"),
    "price that is no number": ("input: 0.1", "input: NaN", "5:13: input 'NaN': must be a finite number"),
    "infinite price": ("input: 0.1", "input: Infinity", "5:13: input 'Infinity': must be a finite number"),
    "price with a sign": ("input: 0.1", "input: $0.1", "5:13: input '$0.1': must be a number such as 0.15, without"),
    "absurd price": ("input: 0.1", "input: 1e999999", "5:13: input '1e999999': must be less than or equal to 10000"),
    "price without output": ("{input: 0.1, output: 0.2}", "{input: 0.1}", "5:5: key 'output' is missing; add it"),
    "day that does not exist": ("0.2}", "0.2, effective: 2026-13-01}", "effective '2026-13-01': must be a valid date"),
    "day written another way": ("0.2}", "0.2, effective: 01/02/2026}", "must be a day such as 2026-01-31"),
    "day as a bare number": ("0.2}", "0.2, effective: 20260131}", "must be a day such as 2026-01-31"),
    "two prices from one day": (
        "{input: 0.1, output: 0.2}", "[{input: 1, output: 1}, {input: 2, output: 2}]", "5:5: price: two prices are",
    ),
    "context with a unit": (MODEL, MODEL + "\n    context: 128k", "5:5: context '128k': must be a whole number"),
    "context of nothing": (MODEL, MODEL + "\n    context: 0", "5:5: context '0': must be greater than or equal to 1"),
    "misspelt strategy": (LAST, "strategy: fxed", "16:5: strategy 'fxed': must be 'single', 'cascade' or 'fixed'"),
    "misspelt cache": (LAST, LAST + "\n    cache: exakt", "17:5: cache 'exakt': must be false, exact, shadow, true"),
    "bounds the wrong way round": (WHEN, "{task: qa, input_tokens: {min: 9, max: 3}}", "max 3 is below min 9"),
    "size that is a number": (WHEN, "{task: qa, input_tokens: 5}", "input_tokens '5': must be keys and values"),
    "tags as a list": (WHEN, "{task: qa, tags: [team]}", "12:22: tags: must be keys and values"),
    "rules that are a word": (GOOD[GOOD.index("rules:") :], "rules: all\n", "11:1: rules 'all': must be a"),
    "a webhook without a place": (LAST, LAST + "\nalerts: [{sink: webhook}]", "a sink webhook needs url_env"),
    "a URL in place of its name": (
        LAST, LAST + "\nalerts: [{sink: slack, url_env: 'https://x/y'}]", "must be the NAME of an environment variable",
    ),
    "a mail address of a log": (LAST, LAST + "\nalerts: [{sink: log, to: a@b.c}]", "to belongs to email, not to log"),
    "two logs": (LAST, LAST + "\nalerts: [{sink: log}, {sink: log}]", "two sinks are called 'log'"),
    "a breaker that breaks a little": (LAST, LAST + "\nbreaker: soft", "17:1: breaker 'soft': must be 'off', 'shadow'"),
    "no latency": (LAST, LAST + "\n    max_latency_ms: 0", "max_latency_ms '0': must be greater than or equal to 1"),
    "cache with a strange key": (LAST, LAST + "\n    cache: {max_eror: 1}", "17:13: unknown key 'max_eror'; did"),
    "cache that errs always": (LAST, LAST + "\n    cache: {max_error: 1}", "max_error '1': must be less than or equal"),
    "cache for a while": (LAST, LAST + "\n    cache: {ttl: long}", "17:13: ttl 'long': must be a time such as 90s"),
    "a promise of the exact cache": (LAST, LAST + "\n    cache: {mode: exact, max_error: 0.1}", "belong to `mode:"),
    "cache in a strange mode": (LAST, LAST + "\n    cache: {mode: shade}", "17:13: mode 'shade': must be 'off', 'ex"),
    "a bar of both kinds": (BAR, "{bar: {min: 0.8, max_drop: 0.1, vs: large}}", "10:8: bar: give either `min` or"),
    "a drop from nothing": (BAR, "{bar: {max_drop: 0.1}}", "10:8: bar: `max_drop` and `vs` go together: {max_drop"),
    "vs without a drop": (BAR, "{bar: {vs: large}}", "10:8: bar: `max_drop` and `vs` go together"),
    "a drop from an unknown model": (BAR, "{bar: {max_drop: 0.1, vs: larg}}", "10:29: vs: no model has the id 'larg'"),
    "a drop of nothing": (BAR, "{bar: {max_drop: 0, vs: large}}", "max_drop '0': must be greater than 0"),
    "a drop in percent": (BAR, "{bar: {max_drop: 2%, vs: large}}", "max_drop '2%': must be a number"),
    "a rule's drop from an unknown model": (WHEN, WHEN + "\n    bar: {max_drop: 0.1, vs: lrge}", "13:26: vs: no model"),
    "misspelt store_text": (LAST, LAST + "\ndata: {store_text: all}", "must be 'none', 'redacted' or 'full'"),
    "text kept for no time": (LAST, LAST + "\ndata: {store_text: full, keep_days: 0}", "greater than or equal to 1"),
    "text kept for ever": (LAST, LAST + "\ndata: {keep_days: forever}", "keep_days 'forever': must be a whole number"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "told"), MISTAKES.values(), ids=MISTAKES.keys())
def test_each_mistake_is_one_line_with_place_value_and_remedy(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load(tmp_path / "p.yaml", (old, new))
    assert len(caught.value.problems) == 1, caught.value.problems
    line = caught.value.problems[0]
    assert line.startswith(f"{tmp_path / 'p.yaml'}:")
    assert told in line
    assert "\n" not in line
    assert "pydantic" not in line
    assert "instance of" not in line


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(MODEL, f"{MODEL}\n    api_key_env: {SECRET}", id="as the name of a variable"),
        pytest.param(MODEL, f"{MODEL}\n    api_key: {SECRET}", id="as the value of an unknown key"),
        pytest.param(LAST, f"{LAST}\n{SECRET}: x", id="as a key"),
        pytest.param(LAST, f"{LAST}\n{SECRET}: x\n{SECRET}: x", id="as a key, twice"),
        pytest.param("[small, large]", f"[{SECRET}, large]", id="as a candidate"),
        pytest.param(WHEN, f"{{task: {SECRET}}}", id="as a task"),
        pytest.param(LAST, f"strategy: {SECRET}", id="as a strategy"),
        pytest.param(BAR, f"{{bar: {SECRET}}}", id="as a bar"),
        pytest.param("fake/small", f"!{SECRET} x", id="as a tag"),
        pytest.param("fake/small", f"*{SECRET}", id="as an alias"),
        pytest.param("version: 1", f"version: {SECRET}", id="as the version"),
        pytest.param("input: 0.1", f"input: {SECRET}", id="as a price"),
        pytest.param("tasks:\n", f"  - {SECRET}\ntasks:\n", id="as a model"),
    ],
)
def test_a_key_pasted_into_the_file_is_never_printed(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load(tmp_path / "p.yaml", (old, new))
    assert SECRET not in str(caught.value)
    assert SECRET[8:] not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["AKIAIOSFODNN7EXAMPLE", "hf_ABCDEFGHIJKLMNOP", "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "a b"]
)
def test_only_the_name_of_a_variable_may_stand_for_a_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(PolicyError, match="must be the NAME of an environment variable"):
        load(tmp_path / "p.yaml", (MODEL, f"{MODEL}\n    api_key_env: {key}"))


def test_several_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        load(tmp_path / "p.yaml", ("input: 0.1", "input: x"), (BAR, "{bar: 2}"), (LAST, "strategy: x"))
    assert [line.split(":")[1] for line in caught.value.problems] == ["5", "10", "16"]


@pytest.mark.parametrize("text", ["", "- a\n", "abc\n", "# no\n", "null\n"])
def test_a_file_without_keys_says_what_is_expected(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(PolicyError, match=r"p\.yaml:1:1: expected keys and values at the top, such as `version: 1`"):
        load_policy(tmp_path / "p.yaml")


def test_numbers_keep_every_digit(tmp_path: Path) -> None:
    policy = load(tmp_path / "p.yaml", ("input: 0.1,", "input: 1.10,"))
    assert str(policy.prices["small"][0].input) == "1.10"


@pytest.mark.parametrize("word", ["no", "No", "off", "OFF", "false", "False", '"false"'])
def test_every_way_to_write_no_turns_the_cache_off(tmp_path: Path, word: str) -> None:
    assert not load(tmp_path / "p.yaml", (LAST, f"{LAST}\n    cache: {word}")).caches_exactly


@pytest.mark.parametrize(
    ("word", "mode"),
    [("exact", "exact"), ("shadow", "shadow"), ("true", "on"), ("on", "on"), ("{max_error: 0.05}", "shadow")],
)
def test_the_cache_has_four_modes(tmp_path: Path, word: str, mode: str) -> None:
    policy = load(tmp_path / "p.yaml", (LAST, f"{LAST}\n    cache: {word}"))
    assert policy.rules[-1].cache.mode == mode
    assert policy.caches_exactly
    assert policy.caches_alike == (mode != "exact")


def test_the_cache_may_be_tuned(tmp_path: Path) -> None:
    tuned = "{mode: on, max_error: 0.05, confidence: 0.9, ttl: 30m}"
    cache = load(tmp_path / "p.yaml", (LAST, f"{LAST}\n    cache: {tuned}")).rules[-1].cache
    assert (cache.mode, cache.max_error, cache.confidence, cache.ttl) == ("on", 0.05, 0.9, 1800)


def test_turning_the_cache_on_is_no_other_route(tmp_path: Path) -> None:
    shadow = load(tmp_path / "p.yaml", (LAST, f"{LAST}\n    cache: shadow"))
    served = load(tmp_path / "p.yaml", (LAST, f"{LAST}\n    cache: true"))
    other = load(tmp_path / "p.yaml", (LAST, f"{LAST}\n    cache: true"), ("input: 0.1", "input: 0.2"))
    assert shadow.version != served.version
    assert shadow.routes_version == served.routes_version != other.routes_version


def test_models_may_be_a_mapping_from_ids(tmp_path: Path) -> None:
    text = "version: 1\nmodels:\n  a: {call: fake/a}\n  b:\n    call: fake/b\nrules: [{candidates: a, bar: 0}]\n"
    (tmp_path / "p.yaml").write_text(text)
    assert list(load_policy(tmp_path / "p.yaml").models) == ["a", "b"]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        pytest.param("{call: fake/a, contxt: 3}", "3:21: unknown key 'contxt'; did you mean 'context'?", id="typo"),
        pytest.param("{}", "3:3: key 'call' is missing", id="no call"),
        pytest.param("fake/a", "3:3: model 'a': must be keys and values", id="a word"),
        pytest.param("{id: b, call: fake/b}", "3:7: the key 'a' is the id here; remove `id`", id="two ids"),
    ],
)
def test_mistakes_in_a_mapping_of_models_have_their_place(tmp_path: Path, entry: str, told: str) -> None:
    (tmp_path / "p.yaml").write_text(f"version: 1\nmodels:\n  a: {entry}\nrules: [{{candidates: a, bar: 0}}]\n")
    with pytest.raises(PolicyError) as caught:
        load_policy(tmp_path / "p.yaml")
    assert [told in line for line in caught.value.problems] == [True]


def test_deployments_take_from_the_model_what_they_do_not_say(tmp_path: Path) -> None:
    more = "api_key_env: FIRST_KEY\n    region: eu\n    deployments: [{}, {call: fake/two, api_key_env: SECOND_KEY}]"
    one, two = load(tmp_path / "p.yaml", (MODEL, f"{MODEL}\n    {more}")).deployments["small"]
    assert (one.call, one.api_key_env, one.region) == ("fake/small", "FIRST_KEY", "eu")
    assert (two.call, two.api_key_env, two.region) == ("fake/two", "SECOND_KEY", "eu")


def test_prices_may_be_a_list_with_days(tmp_path: Path) -> None:
    prices = "[{input: 1, output: 2}, {input: 3, output: 4, effective: 2026-01-31}]"
    held = load(tmp_path / "p.yaml", ("{input: 0.1, output: 0.2}", prices)).prices["small"]
    assert [(price.input, price.effective) for price in held] == [(Decimal(1), None), (Decimal(3), date(2026, 1, 31))]


def test_one_name_means_a_list_of_one(tmp_path: Path) -> None:
    policy = load(tmp_path / "p.yaml", ("[small, large]", "small"), (MODEL, f"{MODEL}\n    capabilities: tools"))
    assert policy.rules[0].candidates == ["small"]
    assert policy.models["small"].capabilities == ["tools"]


def test_every_shipped_policy_loads() -> None:
    paths = sorted(shipped_policies().rglob("*.yaml"))
    assert paths
    for path in paths:
        if "rules:" in path.read_text():
            load_policy(path)
