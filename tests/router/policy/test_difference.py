"""What changes between two policies is told in words, and what loosens a protection says so."""

# ruff: noqa: E501  each case is a line

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.errors import PolicyError
from router.policy import PolicyFile, load_policy
from router.policy.difference import Difference, as_json, as_markdown, as_text, differences
from router.policy.difference.order import moved
from router.validation import validated

NOW = datetime(2026, 11, 22, tzinfo=UTC)
POLICY = """\
version: 1
models:
  - {id: small, call: fake/small, price: {input: 0.1, output: 0.4}, context: 8000, capabilities: [json], version: v1}
  - {id: mid, call: fake/mid, price: {input: 1, output: 4}, region: eu}
  - {id: large, call: fake/large, price: {input: 3, output: 15}, deployments: [{api_base: "https://a"}, {region: us}]}
tasks:
  qa: {bar: 0.9}
  sum: {bar: {max_drop: 0.02, vs: large, confidence: 0.9}, pass_at: 0.6}
data: {store_text: redacted, keep_days: 30}
learning: {from_feedback: true, explore: 0.05}
breaker: {mode: on, factor: 4, limits: {calls: 100}}
required_tags: [team]
alerts: [{sink: log, on: [budgets, runs]}]
budgets:
  - {name: teams, scope: {team: "*"}, limit_usd: 10, window: day, at: {80%: downgrade, 100%: deny}}
  - {scope: {customer: [acme, beta]}, limit_requests: 1000, window: hour}
rules:
  - {name: home, when: {findings: [pii, secrets]}, candidates: mid, strategy: fixed, data: {regions: eu, log: none}}
  - name: work
    when: {task: qa, tags: {team: [a, b]}, input_tokens: {max: 4000}, not: {language: de}}
    candidates: [small, mid]
    fallback: [large]
    max_cost_usd: 0.05
    max_latency_ms: 2000
    cache: {mode: on, max_error: 0.02, ttl: 24h, tags: [document]}
    canary: {model: large, percent: 5%, rollback: {errors: 5%, quality: 0.8}}
  - {name: night, when: {time: {hours: "22:00-06:00"}}, until: 2026-12-31, candidates: small, strategy: fixed}
  - {name: acme, when: {tags: {customer: acme}}, candidates: large, bar: 0.8}
  - {name: rest, candidates: [large, small], strategy: fixed}
tests:
  - {name: all goes to large, given: {text: hi, at: 2026-11-22T12:00Z}, expect: {rule: rest}}
"""
NIGHT, ACME = re.findall(r"^  - \{name: (?:night|acme).*\n", POLICY, flags=re.MULTILINE)
LOOSENS, TIGHTENS, NEITHER = "loosens", "tightens", None
Compare = Callable[..., Difference]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    def compared(*changes: tuple[str, str], a: str = POLICY, **more: Any) -> Difference:
        b = a
        for old, new in changes:
            assert old in b, old
            b = b.replace(old, new, 1)
        for name, text in (("a.yaml", a), ("b.yaml", b)):
            (tmp_path / name).write_text(text, encoding="utf-8")
        return differences(load_policy(tmp_path / "a.yaml"), load_policy(tmp_path / "b.yaml"), now=NOW, **more)

    return compared


def evidence(folder: Path, model: str, lower: float, task: str = "qa", **more: Any) -> None:
    folder.mkdir(exist_ok=True)
    values = {"version": 1, "task": task, "model": model, "model_version": None, "run_id": "r", "suite_sha256": "s",
              "n": 100, "mean": 0.97, "lower": lower, "confidence": 0.95, "metric": "exact", "scorer": "exact",
              "created": "2026-11-01T00:00:00Z", "expires": None, **more}  # fmt: skip
    (folder / f"{task}--{model}.json").write_text(json.dumps(values), encoding="utf-8")


CASES: dict[str, tuple[str, str, str, str | None]] = {
    "a bar lowered": ("qa: {bar: 0.9}", "qa: {bar: 0.8}", "task 'qa': bar lowered from 0.9 to 0.8; it holds in 'work'", LOOSENS),
    "a bar raised": ("qa: {bar: 0.9}", "qa: {bar: 0.95}", "bar raised from 0.9 to 0.95", TIGHTENS),
    "a confidence lowered": ("qa: {bar: 0.9}", "qa: {bar: {min: 0.9, confidence: 0.8}}", "confidence of the bar 0.9 lowered from 0.95 to 0.8", LOOSENS),
    "a larger drop": ("max_drop: 0.02", "max_drop: 0.05", "worse by more: at most 0.05 instead of 0.02 below large", LOOSENS),
    "another kind of bar": ("{max_drop: 0.02, vs: large, confidence: 0.9}", "0.7", "bar changes from at most 0.02 below large to 0.7", NEITHER),
    "an answer clears earlier": ("pass_at: 0.6", "pass_at: 0.5", "an answer clears from 0.5 on, before 0.6", LOOSENS),
    "a metric": ("qa: {bar: 0.9}", "qa: {bar: 0.9, metric: exact}", "evidence by exact alone counts (any counted)", TIGHTENS),
    "a task comes": ("tasks:\n", "tasks:\n  new: {bar: 0.5}\n", "task 'new': new, with the bar 0.5", NEITHER),
    "a price rises": ("input: 3,", "input: 3.6,", "model 'large': input dearer: $3 to $3.60 per million tokens (+20 %); asked in 'work', 'acme' and 'rest'", NEITHER),
    "a price falls": ("output: 15}", "output: 7.5}", "output cheaper: $15 to $7.50 per million tokens (-50 %)", NEITHER),
    "a price gets unknown": ("price: {input: 1, output: 4}, ", "", "price unknown now (it was $1 in, $4 out per million tokens)", LOOSENS),
    "a price to come": ("{input: 1, output: 4}", "[{input: 1, output: 4}, {input: 2, output: 4, effective: 2027-01-01}]", "price from 2027-01-01 on: $2 in, $4 out", NEITHER),
    "another model behind an id": ("call: fake/mid", "call: fake/mid-2", "model 'mid': another model answers under this name: fake/mid-2 instead of fake/mid", NEITHER),
    "a smaller context": ("context: 8000", "context: 4000", "context window 4,000 tokens, before 8,000 tokens", NEITHER),
    "another region": ("region: eu}", "region: us}", "region us instead of eu", NEITHER),
    "vouched for as local": ("region: eu}", "region: local}", "vouched for as local now", LOOSENS),
    "a deployment goes": (", {region: us}]", "]", "not served by fake/large us any more", NEITHER),
    "capabilities": ("[json]", "[json, tools]", "model 'small': can tools now", NEITHER),
    "evidence of any version": (", version: v1", "", "evidence for any version counts (it was v1 alone)", LOOSENS),
    "an unused model comes": ("tasks:", "  - {id: new, call: fake/new}\ntasks:", "model 'new': new: fake/new, price unknown; no rule asks it", NEITHER),
    "a model banned": ("region: eu}", "region: eu, status: banned}", "model 'mid': banned: nobody asks it", TIGHTENS),
    "a model's end": ("region: eu}", "region: eu, sunset: 2027-01-01}", "model 'mid': ends on 2027-01-01", TIGHTENS),
    "a model's owner": ("region: eu}", "region: eu, owner: search}", "model 'mid': `owner` is search now", NEITHER),
    "text is kept as it is": ("store_text: redacted", "store_text: full", "data: text is kept as it is, for 30 days (before: text is kept, redacted)", LOOSENS),
    "text is kept for longer": ("keep_days: 30", "keep_days: 90", "text is kept for 90 days instead of 30", LOOSENS),
    "text of one task alone": ("keep_days: 30", "keep_days: 30, tasks: qa", "text is kept of task qa instead of all tasks", TIGHTENS),
    "feedback bars nobody": ("{from_feedback: true, explore: 0.05}", "{}", "feedback does not bar models below the bar any more", LOOSENS),
    "more is explored": ("explore: 0.05", "explore: 0.1", "10 % of the requests explore, before 5 %", NEITHER),
    "the breaker only looks on": ("{mode: on,", "{mode: shadow,", "runs that run away are written down, and not stopped", LOOSENS),
    "the breaker waits longer": ("factor: 4", "factor: 5", "runs may be 5 times as large as usual, before 4 times", LOOSENS),
    "a run may call more often": ("calls: 100", "calls: 200", "runs are stopped at calls 200 instead of 100", LOOSENS),
    "a required tag goes": ("required_tags: [team]\n", "", "budgets: requests need not carry team any more", LOOSENS),
    "an alert is not told": ("[budgets, runs]", "[budgets]", "alerts: 'log' is not told of runs any more", LOOSENS),
    "a sink goes": ("alerts: [{sink: log, on: [budgets, runs]}]\n", "", "'log' is not told any more", LOOSENS),
    "a limit raised": ("limit_usd: 10,", "limit_usd: 12.5,", "budget 'teams': limit raised from $10 to $12.50 a day (+25 %)", LOOSENS),
    "a limit lowered": ("limit_usd: 10,", "limit_usd: 5,", "limit lowered from $10 to $5 a day (-50 %)", TIGHTENS),
    "a longer window": ("window: day", "window: week", "$10 a week instead of $10 a day", TIGHTENS),
    "a shorter window": ("window: day", "window: hour", "$10 an hour instead of $10 a day", LOOSENS),
    "more at once": ("limit_usd: 10, window: day", "limit_usd: 100, window: month", "$100 a month instead of $10 a day; up to $100 may go in one day", LOOSENS),
    "one limit for all": ('scope: {team: "*"}', "scope: {}", "is about everything, before about each team", TIGHTENS),
    "fewer are limited": ('scope: {team: "*"}', "scope: {team: a}", "is about team a, before about each team", LOOSENS),
    "a step goes": ("80%: downgrade, ", "", "does not do so any more at 80 %: goes to cheaper models", LOOSENS),
    "a step comes later": ("80%: downgrade", "95%: downgrade", "goes to cheaper models at 95 % instead of 80 %", LOOSENS),
    "nothing is stopped": ("100%: deny", "100%: notify", "stops nothing any more", LOOSENS),
    "unknown costs pass": ("window: day,", "window: day, unknown: allow,", "calls whose worst case nobody knows go through now", LOOSENS),
    "a budget renamed": ("name: teams", "name: groups", "budget 'groups': was called 'teams'", NEITHER),
    "a budget goes": ("  - {scope: {customer: [acme, beta]}, limit_requests: 1000, window: hour}\n", "", "removed (it was 1,000 requests an hour for customer acme and beta together; refuses at 100 %)", LOOSENS),
    "a rule renamed": ("name: acme", "name: the acme account", "rule 'the acme account': was called 'acme'", NEITHER),
    "a rule goes": (NIGHT, "", "rule 'night': removed; it was for 22:00-24:00 00:00-06:00 UTC, until the end of 2026-12-31; 'acme' and 'rest' may take them", NEITHER),
    "a rule with a bar goes": (ACME, "", "rule 'acme': removed; it was for customer: acme; 'rest' may take them; lost: the bar (0.8)", LOOSENS),
    "a data rule goes": (POLICY[POLICY.index("  - {name: home") : POLICY.index("  - name: work")], "", "lost: only in eu, no text is kept", LOOSENS),
    "a rule comes": (NIGHT, "  - {name: b, when: {task: qa}, candidates: small, strategy: fixed}\n" + NIGHT, "rule 'b': new, for qa: asks small", NEITHER),
    "a new rule without a bar in front": ("  - name: work\n", "  - {name: b, when: {task: qa}, candidates: small, strategy: fixed}\n  - name: work\n", "rule 'b': takes requests before 'work' and 'acme' do; they are not held to: the bar of task 'qa' (0.9) and the bar of task 'qa' (0.8)", LOOSENS),
    "a dead rule": ("tests:", "  - {name: late, when: {task: x}, candidates: small, strategy: fixed}\ntests:", "is never reached", NEITHER),
    "more requests": ("team: [a, b]", "team: [a, b, c]", "rule 'work': meets more requests: also team c", NEITHER),
    "fewer requests": ("max: 4000", "max: 2000", "meets fewer requests: 0 to 2,000 tokens instead of 0 to 4,000 tokens", NEITHER),
    "other requests": ("team: [a, b]", "team: [a, c]", "meets other requests: also team c; not team b any more", NEITHER),
    "an exception goes": (", not: {language: de}", "", "meets more requests: also those with language de", NEITHER),
    "a rule ends sooner": ("until: 2026-12-31", "until: 2026-12-24", "meets fewer requests: until the end of 2026-12-24 instead of until the end of 2026-12-31", NEITHER),
    "a data rule is met by fewer": ("[pii, secrets]", "[pii]", "rule 'home': meets fewer requests: not findings key, password or private_key any more; what does not meet it is not held to: only in eu, no text is kept", LOOSENS),
    "a candidate joins": ("[small, mid]", "[small, mid, large]", "rule 'work': asks large too", NEITHER),
    "a candidate leaves": ("[small, mid]", "[small]", "asks mid no more", NEITHER),
    "another order": ("[large, small]", "[small, large]", "rule 'rest': asks them in another order: small, large", NEITHER),
    "no fallback": ("    fallback: [large]\n", "", "falls back on nobody any more (it was large)", NEITHER),
    "no promise": ("candidates: large, bar: 0.8", "candidates: large, strategy: fixed", "asks in a fixed order now (large): no bar holds, no evidence is needed", LOOSENS),
    "a promise": ("[large, small], strategy: fixed", "[large, small], bar: 0.8", "instead of a fixed order", TIGHTENS),
    "a rule's own bar": ("    fallback: [large]\n", "    bar: 0.7\n    fallback: [large]\n", "has a bar of its own now: 0.7 instead of the task's 0.9", LOOSENS),
    "a request may cost more": ("max_cost_usd: 0.05", "max_cost_usd: 0.06", "at most $0.06 instead of $0.05", LOOSENS),
    "a request may cost anything": ("    max_cost_usd: 0.05\n", "", "one request may cost anything (it was at most $0.05)", LOOSENS),
    "a request may take longer": ("2000", "3000", "models may take 3,000 ms instead of 2,000 ms", LOOSENS),
    "nobody": ("candidates: mid, strategy: fixed, data: {regions: eu, log: none}", "data: {refuse: no, log: none}", "refuses its requests: no", TIGHTENS),
    "data may leave": ("data: {regions: eu, log: none}", "data: {regions: [eu, us], log: none}", "data goes only to eu or us instead of eu", LOOSENS),
    "text may be kept": (", log: none}", "}", "text may be kept, as `data.store_text` says", LOOSENS),
    "alike answers are not served": ("mode: on, m", "mode: shadow, m", "cache shadow instead of on", NEITHER),
    "more errors of the cache": ("max_error: 0.02", "max_error: 0.1", "of alike answers at most 10 % may be wrong, before 2 %", LOOSENS),
    "answers of other documents": (", tags: [document]", "", "stored answers may serve another document", LOOSENS),
    "stored for longer": ("ttl: 24h", "ttl: 7d", "stored answers serve for 7 days, before 1 day", NEITHER),
    "a larger trial": ("percent: 5%", "percent: 20%", "large on trial for 20 % instead of 5 %", LOOSENS),
    "a shadow": ("candidates: large, bar: 0.8", "candidates: large, bar: 0.8, shadow: {model: mid, percent: 5%}", "mid is asked in the shadow, too: 5 % of the requests", LOOSENS),
    "a trial that ends later": ("rollback: {errors: 5%", "rollback: {errors: 10%", "the trial ends at 10 % errors, before at 5 %", LOOSENS),
    "a trial that may be slow": ("quality: 0.8}}", "quality: 0.8, latency_ms: 3000}}", "the trial ends on answers that take longer than 3,000 ms, before nothing", TIGHTENS),
    "a trial without a bar": (", quality: 0.8", "", "the trial ends below a mean score of nothing, before 0.8", LOOSENS),
    "a rule that refuses comes": (NIGHT, "  - {name: no, when: {language: fi}, data: {refuse: no one speaks it}}\n" + NIGHT, "rule 'no': new, for language fi: asks nobody; refused: no one speaks it", TIGHTENS),
    "a key without words of its own": ("max_cost_usd: 0.05", "max_cost_usd: 0.05\n    sticky: run_id", "rule 'work': `sticky` is {by: run_id} now", NEITHER),
    "a test goes": (POLICY[POLICY.index("tests:") :], "", "tests: removed: 'all goes to large'", LOOSENS),
    "a test asks something else": ("expect: {rule: rest}", "expect: {model: large}", "tests: 'all goes to large' expect something else", NEITHER),
    "an artifact": ("data:", "artifact: learned\ndata:", "learned plans out of the artifact learned", NEITHER),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "words", "effect"), CASES.values(), ids=CASES.keys())
def test_a_change_is_told(compare: Compare, old: str, new: str, words: str, effect: str | None) -> None:
    told = {change.sentence: change.effect for change in compare((old, new)).changes}
    found = [sentence for sentence in told if words in sentence]
    assert found, told
    assert told[found[0]] == effect


@pytest.mark.parametrize("part", ["canary", "shadow"])
def test_a_model_on_trial_is_asked_where_it_is_on_trial(compare: Compare, part: str) -> None:
    model = ("tasks:", "  - {id: new, call: fake/new}\ntasks:")
    rule = ("candidates: large, bar: 0.8", f"candidates: large, bar: 0.8, {part}: {{model: new, percent: 5%}}")
    told = [change.sentence for change in compare(model, rule).changes]
    assert "model 'new': new: fake/new, price unknown; asked in 'acme'" in told


SAME = {
    "comments": ("version: 1", "# why\nversion: 1  # and so on"),
    "layout": ("qa: {bar: 0.9}", "qa:\n    bar:\n      min: 0.9\n      confidence: 0.95"),
    "the order of keys": ("{name: rest, candidates: [large, small], strategy: fixed}", "{strategy: fixed, candidates: [large, small], name: rest}"),
    "the order of tasks": ("  qa: {bar: 0.9}\n  sum: {bar: {max_drop: 0.02, vs: large, confidence: 0.9}, pass_at: 0.6}\n", "  sum: {bar: {max_drop: 0.02, vs: large, confidence: 0.9}, pass_at: 0.6}\n  qa: {bar: 0.9}\n"),
    "a default that is written down": ("name: rest,", "name: rest, buffer: false, cache: false,"),
    "groups of findings written out": ("[pii, secrets]", "[secrets, email, phone, card, iban, ssn]"),
    "a value written otherwise": ("limit_usd: 10,", "limit_usd: 10.00,"),
    "the order of candidates where the cheapest serves": ("[small, mid]", "[mid, small]"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), SAME.values(), ids=SAME.keys())
def test_what_means_the_same_is_no_difference(compare: Compare, old: str, new: str) -> None:
    found = compare((old, new))
    assert found.is_none, as_text(found)
    assert "no difference in meaning" in as_text(found)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("status: banned", "status: approved", "model 'mid': approved (it was banned)"),
        ("status: banned", "status: trial", "on trial: only as canary or shadow, or by name (it was banned)"),
        ("sunset: 2027-01-01", "sunset: 2027-02-01", "ends on 2027-02-01 instead of 2027-01-01"),
        (", sunset: 2027-01-01", "", "does not end any more (it ended on 2027-01-01)"),
    ],
)
def test_a_model_that_may_be_asked_again_loosens(compare: Compare, old: str, new: str, words: str) -> None:
    table = POLICY.replace("region: eu}", "region: eu, status: banned, sunset: 2027-01-01}", 1)
    (found,) = compare((old, new), a=table).changes
    assert words in found.sentence and found.effect == "loosens"


def test_a_rule_that_moves_says_which_rules_it_decides_before(compare: Compare) -> None:
    told = [change.sentence for change in compare((NIGHT + ACME, ACME + NIGHT)).changes]
    assert told == ["rule 'acme': moved: decides before 'night' now"] or told == [
        "rule 'night': moved: 'acme' decides before it now"
    ]


def test_a_rule_that_moves_past_rules_it_never_meets_changes_nothing(compare: Compare) -> None:
    one, other = (f"  - {{name: {t}, when: {{task: {t}}}, candidates: small, strategy: fixed}}\n" for t in "xy")
    table = POLICY.replace(NIGHT, one + other)
    assert compare((one + other, other + one), a=table).is_none


def test_a_rule_that_moves_before_a_data_rule_loosens_it(compare: Compare) -> None:
    (found,) = compare((NIGHT, ""), ("rules:\n", "rules:\n" + NIGHT)).loosening[:1]
    assert found.sentence == (
        "rule 'night': takes requests before 'home' and 'work' do; they are not held to: only in eu, "
        "no text is kept and the bar of task 'qa' (0.9)"
    )


def test_what_loosens_is_told_first_and_once(compare: Compare) -> None:
    found = compare(("qa: {bar: 0.9}", "qa: {bar: 0.8}"), ("context: 8000", "context: 4000"))
    text = as_text(found)
    assert text.splitlines()[0].endswith("2 changes, 1 loosens a protection")
    assert text.index("! task 'qa': bar lowered") < text.index("Models") and text.count("bar lowered") == 1
    assert as_json(found)["changes"][0] == {"section": "tasks", "about": "task 'qa'", "effect": "loosens",
        "text": "bar lowered from 0.9 to 0.8; it holds in 'work'"}  # fmt: skip


def test_who_may_serve_is_told_with_the_reason(compare: Compare, tmp_path: Path) -> None:
    evidence(tmp_path / "evidence", "small", 0.92, model_version="v1")
    evidence(tmp_path / "evidence", "mid", 0.95)
    told = [change.text for change in compare(("qa: {bar: 0.9}", "qa: {bar: 0.94}")).changes]
    assert any(re.match(r"small may not serve for task 'qa' any more: below bar 0.94: mean 0.970", one) for one in told)
    assert "mid" not in " ".join(one for one in told if "may" in one)
    told = [change.text for change in compare(("qa: {bar: 0.9}", "qa: {bar: 0.98}")).changes]
    assert "no candidate may serve for task 'qa'; requests go to large" in told


def test_evidence_that_comes_and_goes_is_told(compare: Compare, tmp_path: Path) -> None:
    evidence(tmp_path / "old", "mid", 0.9, expires="2026-11-01T00:00:00Z")
    evidence(tmp_path / "new", "small", 0.93, model_version="v1")
    table = POLICY.replace("version: 1\n", "version: 1\nevidence: old\n", 1)
    told = [change.sentence for change in compare(("evidence: old", "evidence: new"), a=table).changes]
    assert "rule 'work': small may serve for task 'qa' now" in told
    assert "small on task 'qa': measured now: mean 0.97, at least 0.93 on 100 samples" in told
    assert (
        "mid on task 'qa': evidence removed (it was mean 0.97, at least 0.90 on 100 samples, expired 2026-11-01)"
        in told
    )


def test_an_artifact_that_was_trained_again_is_told(compare: Compare) -> None:
    table = POLICY.replace("data:", "artifact: learned\ndata:", 1)
    assert compare(a=table, artifacts=("1", "1")).is_none
    (found,) = compare(a=table, artifacts=("1", "2")).changes
    assert found.text == "the artifact learned was trained again: learned plans may be others"


def test_names_move_no_cursor_and_call_nobody(compare: Compare) -> None:
    found = compare(("name: acme", r'name: "\e[2J<img>\n# @everyone *rest*"'))
    assert "\x1b" not in as_text(found) and "\x1b" not in as_markdown(found)
    (line,) = [line for line in as_markdown(found).splitlines() if "everyone" in line]
    assert r"\<img\>" in line and "@<!-- -->everyone" in line and r"\*rest\*" in line


def test_passwords_in_addresses_are_withheld(compare: Compare) -> None:
    found = compare(("region: eu}", "region: eu, api_base: 'https://me:hunter2@host/v1'}"))
    assert "hunter2" not in json.dumps(as_json(found)) and "host/v1" in as_text(found)


@pytest.mark.parametrize(
    ("positions", "moves"),
    [([], 0), ([0, 1, 2], 0), ([1, 0], 1), ([3, 0, 1, 2], 1), ([2, 1, 0], 2), ([4, 5, 0, 1, 2, 3], 2)],
)
def test_as_few_as_possible_have_moved(positions: list[int], moves: int) -> None:
    found = moved(positions)
    kept = [position for index, position in enumerate(positions) if index not in found]
    assert len(found) == moves and kept == sorted(kept)


def test_a_shadow_that_changes_says_how(compare: Compare) -> None:
    shadow = ", shadow: {model: mid, percent: 5%}"
    shadowed = POLICY.replace("candidates: large, bar: 0.8", f"candidates: large, bar: 0.8{shadow}")
    for new, told, effect in (
        ("mid, percent: 10%", "mid in the shadow of 10 % of the requests, before 5 % of the requests", LOOSENS),
        ("mid, percent: 5%, by: team", "mid in the shadow of 5 % of the requests, drawn by team, before 5 %", NEITHER),
        ("small, percent: 5%", "small is asked in the shadow, too instead of mid: 5 % of the requests", LOOSENS),
    ):
        (line,) = compare(("mid, percent: 5%", new), a=shadowed).changes
        assert (told in line.text, line.effect) == (True, effect), line
    (line,) = compare((shadow, ""), a=shadowed).changes
    assert (line.text, line.effect) == ("mid is not asked in the shadow any more (5 % of the requests)", TIGHTENS)


OTHERS = ("2", "0.5", "x", "mid", "true", "fixed", "week", ">90%", "7%", "fr", "runs", "notify")
"""What may be written in place of something else."""


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path of a file, from the top."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, one in inner:
        yield (*here, step)
        yield from places(one, (*here, step))


@pytest.mark.parametrize("section", yaml.load(POLICY, Loader=yaml.BaseLoader))
def test_nothing_that_is_taken_out_or_written_otherwise_is_passed_over(tmp_path: Path, section: str) -> None:
    whole = yaml.load(POLICY, Loader=yaml.BaseLoader)
    (tmp_path / "a.yaml").write_text(json.dumps(whole), encoding="utf-8")
    before = load_policy(tmp_path / "a.yaml")
    tried, says = 0, validated(PolicyFile, before.document)
    for where in places(whole[section], (section,)):
        for other in (None, *OTHERS):
            changed = json.loads(json.dumps(whole))
            holder = changed
            for step in where[:-1]:
                holder = holder[step]
            if other is None:
                del holder[where[-1]]
            elif isinstance(holder[where[-1]], str):
                holder[where[-1]] = other
            else:
                break
            (tmp_path / "b.yaml").write_text(json.dumps(changed), encoding="utf-8")
            try:
                after = load_policy(tmp_path / "b.yaml")
            except PolicyError:
                continue
            if validated(PolicyFile, after.document) == says:
                continue
            tried += 1
            assert not differences(before, after, now=NOW).is_none, (where, other)
    assert tried or section == "version"
