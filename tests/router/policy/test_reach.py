"""Rules that nothing reaches are told, with the rule that stands before them; and only those."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.policy import Policy, Traits, load_policy
from router.policy.reach import unreached
from router.policy.regions import MOST_PIECES
from router.types import Request, Tags

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)  # a Monday
HEAD = """\
version: 1
models: [{id: small, call: fake/small, price: {input: 1, output: 2}}]
budgets: [{name: teams, scope: {team: [red, blue]}, limit_usd: 10}]
rules:
"""


def loaded(folder: Path, *rules: str) -> Policy:
    rows = (f"  - {{{rule}{', ' if rule else ''}candidates: small, bar: 0}}" for rule in rules)
    (folder / "p.yaml").write_text(HEAD + "\n".join(rows) + "\n")
    return load_policy(folder / "p.yaml")


def told(folder: Path, *rules: str) -> list[str]:
    place = f"{folder / 'p.yaml'}:"
    return [finding.text.removeprefix(place) for finding in unreached(loaded(folder, *rules), NOW)]


DEAD = {
    "after one without conditions": (["name: all", "when: {task: qa}"], "rule 'all' (line 5) matches all of it"),
    "the same again": (["when: {task: qa}", "when: {task: qa}"], "the rule in line 5 matches all of it"),
    "one of two tasks": (["when: {task: [qa, sum]}", "when: {task: sum}"], "the rule in line 5"),
    "more conditions": (["when: {tags: {team: red}}", "when: {task: qa, tags: {team: red}}"], "the rule in line 5"),
    "one of two values": (["when: {tags: {team: [red, blue]}}", "when: {tags: {team: red}}"], "the rule in line 5"),
    "a smaller range": (["when: {input_tokens: {max: 9}}", "when: {input_tokens: {min: 2, max: 9}}"], "line 5"),
    "ranges that join": (
        ["when: {input_tokens: {max: 9}}", "when: {input_tokens: {min: 10}}", "name: rest"],
        "the rule in line 5, the rule in line 6 together match all of it",
    ),
    "with tools and without": (["when: {tools: true}", "when: {tools: false}", "when: {task: a}"], "together"),
    "tasks taken one by one": (["when: {task: a}", "when: {task: b}", "when: {task: [a, b]}"], "together"),
    "a language": (["when: {language: [de, fr]}", "when: {language: de}"], "the rule in line 5"),
    "a kind of finding": (["when: {findings: pii}", "when: {findings: [email, card]}"], "the rule in line 5"),
    "text and everything else": (
        ["when: {modality: text}", "when: {modality: [image, audio, video, file]}", "name: rest"], "together",
    ),
    "pictures among others": (["when: {modality: [image, audio]}", "when: {modality: image}"], "the rule in line 5"),
    "an hour of the day": (
        ["when: {time: {hours: 08:00-18:00}}", "when: {time: {days: mon, hours: 09:00-10:00}}"], "the rule in line 5",
    ),
    "days that make a week": (["when: {time: {days: mon-fri}}", "when: {time: {days: sat-sun}}", ""], "together"),
    "hours past midnight": (
        ["when: {time: {hours: 18:00-08:00}}", "when: {time: {hours: 08:00-18:00}}", ""], "together",
    ),
    "a tighter share of a budget": (
        ['when: {budget: {name: teams, used: ">50%"}}', 'when: {budget: {name: teams, used: ">=80%"}}'], "in line 5",
    ),
    "both sides of a share, for those it is about": (
        ['when: {budget: {name: teams, used: ">50%"}}', 'when: {budget: {name: teams, used: "<=50%"}}',
         'when: {budget: {name: teams, used: "<90%"}}'], "together",
    ),
    "what `not` leaves": (["when: {not: {task: qa}}", "when: {task: qa}", "name: rest"], "together"),
    "as `not` says": (["when: {tools: true, not: {task: qa}}", "when: {tools: true, not: {task: [qa, b]}}"], "line 5"),
    "dates within dates": (
        ["from: 2026-01-01, until: 2026-12-31", "from: 2026-02-01, until: 2026-11-30"], "the rule in line 5",
    ),
    "from the past on": (["from: 2026-01-01", "when: {task: qa}"], "the rule in line 5"),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "who"), DEAD.values(), ids=DEAD.keys())
def test_a_rule_that_nothing_reaches_is_told_with_who_stands_before_it(
    tmp_path: Path, rules: list[str], who: str
) -> None:
    *_, last = told(tmp_path, *rules)
    assert last.startswith(f"{4 + len(rules)}:5: ")
    assert " is never reached: " in last
    assert who in last
    assert last.endswith(" before it; move it up, or remove it")


ALIVE = {
    "another task": ["when: {task: qa}", "when: {task: sum}"],
    "fewer conditions": ["when: {task: qa, tools: true}", "when: {task: qa}"],
    "another value": ["when: {tags: {team: red}}", "when: {tags: {team: blue}}"],
    "no value": ["when: {tags: {team: [red, blue]}}", "when: {not: {tags: {team: [red, blue]}}}"],
    "a gap between ranges": ["when: {input_tokens: {max: 9}}", "when: {input_tokens: {min: 11}}", "name: rest"],
    "another zone": [
        "when: {time: {hours: 08:00-18:00}}", "when: {time: {hours: 09:00-10:00, tz: Europe/Berlin}}",
    ],
    "requests that no budget is about": [
        'when: {budget: {name: teams, used: ">50%"}}', 'when: {budget: {name: teams, used: "<=50%"}}', "name: rest",
    ],
    "exactly the share": [
        'when: {budget: {name: teams, used: ">50%"}}', 'when: {budget: {name: teams, used: "<50%"}}',
        'when: {budget: {name: teams, used: ">=50%"}}',
    ],
    "after one that has ended": ["until: 2026-02-28, when: {task: sum}", "when: {task: qa}"],
    "until one has ended": ["until: 2026-12-31", "name: rest"],
    "before one has begun": ["from: 2026-04-01", "name: rest"],
    "languages that nobody named": ["when: {language: [de, fr]}", "name: rest"],
    "findings of another kind": ["when: {findings: pii}", "when: {findings: secrets}"],
}  # fmt: skip


@pytest.mark.parametrize("rules", ALIVE.values(), ids=ALIVE.keys())
def test_a_rule_that_something_reaches_is_not_told(tmp_path: Path, rules: list[str]) -> None:
    assert [line for line in told(tmp_path, *rules) if "never" in line] == []


NEVER = {
    "a tag and not": ("when: {tags: {team: red}, not: {tags: {team: [red, blue]}}}", "5:32: ", "takes away all that"),
    "several nots": ("when: {tools: true, not: [{task: qa}, {tools: true}]}",
                     "5:44: ", "matches nothing: `not` (with tools) takes away all that it asks for"),
    "nots together": ("when: {task: [a, b], not: [{task: a}, {task: b}]}", "5:27: ", "its `not` take away all"),
    "nothing may hold": ("when: {not: {}}", "5:13: ", "`not` (always) takes away all that it asks for"),
    "a budget of others": (
        'when: {tags: {team: green}, budget: {name: teams, used: ">80%"}}', "5:34: ",
        "budget teams >80% never holds where the tags are as asked; the budget is about team: blue or red",
    ),
    "less than nothing": ('when: {budget: {name: teams, used: "<0%"}}', "5:13: ", "budget teams <0% never holds"),
    "the past": ("until: 2026-02-28", "5:6: ", "this rule ended on 2026-02-28; remove it, or give it another `until`"),
    "a moment ago": ("until: 2026-03-02T09:00+00:00", "5:6: ", "ended on 2026-03-02 09:00 UTC"),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "place", "why"), NEVER.values(), ids=NEVER.keys())
def test_conditions_that_never_hold_are_told_where_they_stand(tmp_path: Path, rule: str, place: str, why: str) -> None:
    (line,) = told(tmp_path, rule)
    assert line.startswith(place)
    assert why in line


PARTS = {
    "a task": (["name: one, when: {task: a}", "when: {task: [a, b]}"], "6:13: task 'a' never comes to this rule"),
    "a tag": (["name: one, when: {tags: {team: red}}", "when: {tags: {team: [red, blue]}}"], "6:20: team 'red' never"),
    "a language": (["name: one, when: {language: de}", "when: {language: [de, fr]}"], "6:13: language 'de' never"),
    "a finding": (["name: one, when: {findings: pii}", "when: {findings: [secrets, card]}"], "6:13: findings 'card'"),
}


@pytest.mark.parametrize(("rules", "what"), PARTS.values(), ids=PARTS.keys())
def test_values_that_another_rule_takes_are_told(tmp_path: Path, rules: list[str], what: str) -> None:
    (line,) = told(tmp_path, *rules)
    assert line.startswith(what)
    assert line.endswith(": rule 'one' (line 5) matches all of it before it; remove the value, or move the rule up")


def test_a_rule_is_named_with_the_file_it_stands_in(tmp_path: Path) -> None:
    (tmp_path / "guards.yaml").write_text("rules: [{name: guard, candidates: small, strategy: fixed}]\n")
    (tmp_path / "p.yaml").write_text(f"include: guards.yaml\n{HEAD}  - {{candidates: small, bar: 0}}\n")
    (finding,) = unreached(load_policy(tmp_path / "p.yaml"), NOW)
    assert "rule 'guard' (guards.yaml line 1) matches all of it" in finding.text


TASKS, TEAMS = ["qa", "sum", None], ["red", "blue", None]
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
CLOCKS = [NOW, datetime(2026, 3, 7, 20, tzinfo=UTC)]  # Monday morning, Saturday night
SIZES = [3, 50, 5_000]
CONDITIONS = st.lists(
    st.sampled_from(
        ["task: qa", "task: [qa, sum]", "tags: {team: red}", "tags: {team: [red, blue]}", "tools: true", "tools: false",
         "modality: text", "modality: image", "input_tokens: {max: 10}", "input_tokens: {min: 11, max: 100}",
         "input_tokens: {min: 101}", "time: {days: mon-fri}", "time: {days: sat-sun}"]
    ), max_size=3, unique_by=lambda one: one.split(":")[0],
).map(", ".join)  # fmt: skip
RULES = st.lists(
    st.tuples(CONDITIONS, st.lists(CONDITIONS, max_size=2)).map(
        lambda pair: f"when: {{{', '.join([*([pair[0]] if pair[0] else []), *_nots(pair[1])])}}}"
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def _nots(each: list[str]) -> list[str]:
    return [f"not: [{', '.join(f'{{{one}}}' for one in each)}]"] if each else []


def requests() -> Iterator[Traits]:
    """One request of each kind that such rules can tell apart."""
    for task, team, tools, media, size, now in itertools.product(
        TASKS, TEAMS, (False, True), ([], [PICTURE], [SOUND]), SIZES, CLOCKS
    ):
        content: Any = [{"type": "text", "text": "hi"}, *media]
        request = Request(
            id="r", messages=({"role": "user", "content": content},), params={"tools": [{}]} if tools else {},
            tags=Tags(team=team),
        )  # fmt: skip
        yield Traits(request, task=task, now=now, size=lambda size=size: size)  # type: ignore[misc]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(RULES)
def test_dead_are_exactly_the_rules_that_no_request_meets(tmp_path: Path, rules: list[str]) -> None:
    policy = loaded(tmp_path, *rules)
    met = {policy.table.match(traits) for traits in requests()}
    dead = {
        int(line.partition(":")[0]) - 5
        for line in told(tmp_path, *rules)
        if "is never reached" in line or "matches nothing" in line
    }
    assert dead == set(range(len(rules))) - met


def test_work_is_bounded_however_finely_rules_cut(tmp_path: Path) -> None:
    cut = ", ".join(f"{{tags: {{team: t{i}, customer: c{i % 7}, feature: f{i % 5}}}}}" for i in range(MOST_PIECES + 50))
    many = [f"when: {{tools: true, not: [{cut}]}}", f"when: {{not: [{cut}]}}", "when: {tags: {team: t1}}"]
    assert told(tmp_path, *many) == []  # nothing is certain, and nothing is told
    crowd = [f"when: {{tags: {{customer: c{i}}}}}" for i in range(2_100)]
    *_, last = told(tmp_path, *crowd)
    assert "rules from here on are too many to be held against each other; " in last
