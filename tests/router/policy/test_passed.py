"""The way of a request through the table, in words: what did not hold of each rule before its own, and what held."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from router.policy import Policy, Traits, load_policy
from router.policy.passed import MOST_NAMED, _said_of, way_of
from router.types import Request, Tags

HEAD = """\
version: 1
models: [{id: small, call: fake/small, price: {input: 1, output: 1}}]
budgets: [{name: teams, scope: {team: "*"}, limit_usd: 10, window: day}]
"""
FRIDAY = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)


def policy_of(tmp_path: Path, *rules: str) -> Policy:
    listed = "".join(f"  - {{{rule}{', ' if rule else ''}candidates: small, strategy: fixed}}\n" for rule in rules)
    path = tmp_path / "p.yaml"
    path.write_text(f"{HEAD}rules:\n{listed}", encoding="utf-8")
    return load_policy(path)


def traits_of(
    text: str = "Please tell me what the weather is like in the north today.", *, task: str | None = None,
    now: datetime = FRIDAY, used: float | None = None, tools: bool = False, image: bool = False, **tags: Any,
) -> Traits:  # fmt: skip
    parts = [{"type": "text", "text": text}, *([{"type": "image_url", "image_url": {"url": "x"}}] if image else [])]
    request = Request(
        id="r", messages=({"role": "user", "content": parts},), params={"tools": [{}]} if tools else {},
        tags=Tags(**tags),
    )  # fmt: skip
    return Traits(request, task=task, now=now, used=lambda _: used)


@pytest.mark.parametrize(
    ("rule", "traits", "why"),
    [
        pytest.param("when: {task: [a, b]}", {"task": "c"}, "task is c, not a or b", id="another task"),
        pytest.param("when: {task: a}", {}, "no task; it wants a", id="no task"),
        pytest.param("when: {tags: {customer: acme}}", {}, "no customer; it wants acme", id="no tag"),
        pytest.param(
            "when: {tags: {customer: acme}}", {"customer": "x"}, "customer is x, not acme", id="another value"
        ),
        pytest.param("when: {tools: true}", {}, "it offers no tools", id="no tools"),
        pytest.param("when: {tools: false}", {"tools": True}, "it offers tools", id="tools"),
        pytest.param("when: {modality: image}", {}, "it carries text, not image", id="no image"),
        pytest.param("when: {modality: text}", {"image": True}, "it carries image, not text", id="an image"),
        pytest.param(
            "when: {time: {hours: 22:00-06:00}}", {},
            "it is fri 14:05, outside 22:00-24:00 00:00-06:00 UTC", id="another hour",
        ),
        pytest.param(
            "when: {time: {days: sat-sun, tz: Asia/Tokyo}}", {},
            "it is fri 23:05, outside sat,sun Asia/Tokyo", id="another day there",
        ),
        pytest.param(
            'when: {budget: {name: teams, used: ">80%"}}', {"used": 0.8, "team": "a"},
            "the budget teams is used to 80%, not >80%", id="money is there",
        ),
        pytest.param(
            'when: {budget: {name: teams, used: ">80%"}}', {}, "it is not booked on the budget teams", id="not booked"
        ),
        pytest.param("when: {input_tokens: {min: 9000}}", {}, r"it has up to \d+ tokens, not 9,000 or more", id="few"),
        pytest.param("when: {input_tokens: {max: 3}}", {}, r"it has up to \d+ tokens, not 0 to 3", id="long"),
        pytest.param("when: {language: [de, fr]}", {}, "language is en, not de or fr", id="another language"),
        pytest.param("when: {findings: pii}", {}, "no findings", id="nothing found"),
        pytest.param(
            "when: {findings: secrets}", {"text": "write to joe@example.org"}, "found: email, not secrets",
            id="something else found",
        ),
        pytest.param("when: {not: {task: a}}", {"task": "a"}, "it may not be so: task is a", id="excluded"),
        pytest.param("when: {not: [{tools: true}, {}]}", {}, "it may not be so: always", id="always excluded"),
        pytest.param("from: 2026-12-01", {}, "it begins on 2026-12-01 00:00 UTC", id="not yet"),
        pytest.param("until: 2026-11-19", {}, "it ended on 2026-11-20 00:00 UTC", id="no more"),
    ],
)  # fmt: skip
def test_the_first_condition_that_does_not_hold_is_told(
    tmp_path: Path, rule: str, traits: dict[str, Any], why: str
) -> None:
    policy = policy_of(tmp_path, rule, "")
    way = way_of(policy, traits_of(**traits))
    (step,) = way.passed
    assert step.place == f"{policy.path}:{policy.rule_lines[0]}"
    assert re.fullmatch(re.escape(why) if "\\d" not in why else why, step.why)
    assert way.met is not None and way.met.why == "it has no conditions"


def test_what_held_of_the_rule_that_took_it_is_told(tmp_path: Path) -> None:
    policy = policy_of(
        tmp_path,
        "name: all of it, from: 2026-01-01, until: 2026-12-31, when: {task: a, tags: {customer: acme}, tools: true, "
        'modality: text, time: {days: fri}, budget: {name: teams, used: ">=10%"}, input_tokens: {min: 1}, '
        "language: en, findings: [pii], not: {task: b}}",
    )
    traits = traits_of(
        "Please tell me when joe@example.org will be back in the office again.", task="a", customer="acme", team="t",
        used=0.5, tools=True,
    )  # fmt: skip
    way = way_of(policy, traits)
    assert way.passed == () and way.met is not None
    for words in (
        "it is after 2026-01-01", "it is before 2027-01-01", "task is a", "customer is acme", "it offers tools",
        "it carries text", "it is fri 14:05, within fri UTC", "the budget teams is used to 50%", "tokens",
        "language is en", "found: email", "not (b)",
    ):  # fmt: skip
        assert words in way.met.why


def test_where_no_rule_is_for_it_all_were_passed(tmp_path: Path) -> None:
    way = way_of(policy_of(tmp_path, "when: {task: a}", "when: {task: b}"), traits_of())
    assert (len(way.passed), way.met) == (2, None)


def test_long_lists_are_cut(tmp_path: Path) -> None:
    names = ", ".join(f"t{i}" for i in range(20))
    (step,) = way_of(policy_of(tmp_path, f"when: {{task: [{names}]}}"), traits_of()).passed
    assert step.why.endswith(f"or t{MOST_NAMED - 1} or {20 - MOST_NAMED} others")


def test_the_words_agree_with_the_table_for_every_kind_of_condition(tmp_path: Path) -> None:
    dice = random.Random(7)
    parts = [
        "task: a", "task: [a, b]", "tags: {customer: acme}", "tags: {customer: [x, acme], team: t}", "tools: true",
        "tools: false", "modality: image", "modality: [text, audio]", "time: {days: mon-thu}",
        "time: {hours: 14:00-15:00}", "budget: {name: teams, used: '<50%'}", "input_tokens: {max: 30}",
        "input_tokens: {min: 30}", "language: en", "language: [de, unknown]", "findings: pii", "findings: [secrets]",
    ]  # fmt: skip

    def conditions() -> str:
        chosen = {part.split(":")[0]: part for part in dice.sample(parts, dice.randint(0, 3))}
        return ", ".join(chosen.values())

    def rule() -> str:
        own, excluded = conditions(), dice.choice(["", f"not: {{{conditions()}}}"])
        dates = dice.choice(["", "", "from: 2026-11-20, ", "until: 2026-11-19, ", "from: 2026-11-21, "])
        return f"{dates}when: {{{', '.join(filter(None, [own, excluded]))}}}"

    policy = policy_of(tmp_path, *(rule() for _ in range(300)))
    held = 0
    for _ in range(40):
        traits = traits_of(
            dice.choice(["hello there", "mail joe@example.org", "Bitte sage mir, wie das Wetter morgen wird. " * 3]),
            task=dice.choice([None, "a", "b"]), used=dice.choice([None, 0.2, 0.9]), tools=dice.random() < 0.5,
            image=dice.random() < 0.3, customer=dice.choice([None, "acme", "x"]), team=dice.choice([None, "t"]),
        )  # fmt: skip
        for position, one in enumerate(policy.rules):
            if one.when.task is not None and traits.task not in one.when.task:
                continue  # the table does not look at it
            holds = all(check(traits) for check in policy.table.checks[position])
            assert all(holds for holds, _ in _said_of(one, traits)) is holds
            held += holds
        way, position = way_of(policy, traits), policy.table.match(traits)
        holding = (i for i, one in enumerate(policy.rules) if all(holds for holds, _ in _said_of(one, traits)))
        assert position == next(holding, None)  # and the table's index leaves no rule out
        assert len(way.passed) == (len(policy.rules) if position is None else position)
    assert held > 100
