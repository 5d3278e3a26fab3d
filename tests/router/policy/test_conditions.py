"""What rules may ask of a request besides task, tags and size: when each holds, and when it is asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from router.errors import PolicyError
from router.policy import Policy, Traits, load_policy
from router.types import Request, Tags

HEAD = """\
version: 1
models: {m: {call: fake/m}}
budgets:
  - {name: teams, scope: {team: '*'}, limit_usd: 10}
  - {name: dear, scope: {model: m}, limit_usd: 10}
rules:
"""
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)  # a Wednesday
Load = Callable[[str], Policy]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(rule: str) -> Policy:
        (tmp_path / "p.yaml").write_text(f"{HEAD}  - {{{rule}, candidates: m, strategy: fixed}}\n", encoding="utf-8")
        return load_policy(tmp_path / "p.yaml")

    return loaded


def said(content: Any, **more: Any) -> Request:
    return Request(id="r", messages=({"role": "user", "content": content},), **more)


def part(kind: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": "look"}, {"type": kind}]


@pytest.mark.parametrize(
    ("when", "request_", "holds"),
    [
        ("language: de", said("Wie wird das Wetter morgen?"), True),
        ("language: [fr, en]", said("Wie wird das Wetter morgen?"), False),
        ("language: unknown", said("def f(x): return x + 1"), True),
        ("modality: image", said(part("image_url")), True),
        ("modality: image", said("only words"), False),
        ("modality: text", said("only words"), True),
        ("modality: text", said(part("input_audio")), False),
        ("modality: [audio, video]", said(part("input_audio")), True),
        ("modality: file", said(part("document")), True),
        ("tools: true", said("hi", params={"tools": [{}]}), True),
        ("tools: yes", said("hi"), False),
        ("tools: false", said("hi"), True),
        ("findings: pii", said("mail me: ann@example.com"), True),
        ("findings: secrets", said("mail me: ann@example.com"), False),
        ("findings: [card, iban]", said("4111 1111 1111 1111"), True),
        ("findings: pii", said("hi", params={"user": "ann@example.com"}), True),
        ("findings: pii", said([{"type": "text", "text": "tel. +49 30 1234567"}]), True),
        ("not: {language: de}", said("Wie wird das Wetter morgen?"), False),
        ("not: {language: de}", said("What is the weather like in the north?"), True),
        ("not: {tools: true, language: de}", said("Wie wird das Wetter morgen?"), True),
        ("not: [{tags: {team: a}}, {tags: {team: b}}]", said("hi", tags=Tags(team="b")), False),
        ("not: [{tags: {team: a}}, {tags: {team: b}}]", said("hi", tags=Tags(team="c")), True),
        ("not: {task: t}", said("hi"), False),
    ],
)
def test_what_a_request_is_like(load: Load, when: str, request_: Request, holds: bool) -> None:
    policy = load(f"when: {{{when}}}")
    assert (policy.table.match(Traits(request_, task="t", now=NOON)) == 0) is holds


@pytest.mark.parametrize(
    ("time", "now", "holds"),
    [
        ("days: mon-fri", NOON, True),
        ("days: [sat, sun]", NOON, False),
        ("days: fri-mon", datetime(2026, 11, 29, tzinfo=UTC), True),
        ("hours: 08:00-12:00", NOON, False),
        ("hours: 12:00-12:01", NOON, True),
        ("hours: [08:00-10:00, 11:00-24:00]", NOON, True),
        ("hours: 22:00-06:00", datetime(2026, 11, 25, 23, 59, tzinfo=UTC), True),
        ("hours: 22:00-06:00", datetime(2026, 11, 25, 5, 59, tzinfo=UTC), True),
        ("hours: 22:00-06:00", NOON, False),
        ("hours: 13:00-14:00, tz: Europe/Berlin", NOON, True),
        ("hours: 13:00-14:00, tz: Europe/Berlin", datetime(2026, 7, 1, 12, tzinfo=UTC), False),  # summer time
        ("days: wed, hours: 12:00-13:00, tz: Pacific/Auckland", NOON, False),  # Thursday there
    ],
)
def test_the_clock_of_a_time_zone(load: Load, time: str, now: datetime, holds: bool) -> None:
    policy = load(f"when: {{time: {{{time}}}}}")
    assert (policy.table.match(Traits(said("hi"), task=None, now=now)) == 0) is holds


@pytest.mark.parametrize(
    ("dates", "now", "holds"),
    [
        ("from: 2026-11-25", datetime(2026, 11, 25, tzinfo=UTC), True),
        ("from: 2026-11-25", datetime(2026, 11, 24, 23, 59, tzinfo=UTC), False),
        ("until: 2026-11-25", datetime(2026, 11, 25, 23, 59, tzinfo=UTC), True),
        ("until: 2026-11-25", datetime(2026, 11, 26, tzinfo=UTC), False),
        ("from: 2026-11-25T13:00+01:00, until: 2026-11-25T14:00+01:00", NOON, True),
        ("until: 2026-11-25T12:00Z", NOON, False),
    ],
)
def test_a_dated_rule_matches_between_its_dates(load: Load, dates: str, now: datetime, holds: bool) -> None:
    assert (load(dates).table.match(Traits(said("hi"), task=None, now=now)) == 0) is holds


@pytest.mark.parametrize(
    ("used", "share", "holds"),
    [(">80%", 0.81, True), (">80%", 0.8, False), (">=80%", 0.8, True), ("<50%", 0.2, True), ("<=50%", None, False)],
)
def test_how_much_of_a_budget_is_used(load: Load, used: str, share: float | None, holds: bool) -> None:
    policy = load(f"when: {{budget: {{name: teams, used: '{used}'}}}}")
    traits = Traits(said("hi"), task=None, now=NOON, used=lambda name: share)
    assert (policy.table.match(traits) == 0) is holds
    assert traits.asked == {"used": {"teams": share}}


def test_what_is_dear_to_know_is_asked_last_and_once(tmp_path: Path) -> None:
    rule = "  - {when: {tags: {team: %s}, language: en, findings: pii}, candidates: m, strategy: fixed}\n"
    (tmp_path / "p.yaml").write_text(HEAD + rule % "a" + rule % "b", encoding="utf-8")
    policy = load_policy(tmp_path / "p.yaml")
    other = Traits(said("hi", tags=Tags(team="c")), task=None, now=NOON)
    assert policy.table.match(other) is None
    assert other.asked == {}
    mine = Traits(said("This is for the team.", tags=Tags(team="b")), task=None, now=NOON)
    policy.table.match(mine)
    assert mine.asked == {"language": "en", "findings": []}


def test_what_an_earlier_decision_saw_is_not_worked_out_again(load: Load) -> None:
    policy = load("when: {findings: email, budget: {name: teams, used: '>50%'}}")
    told = {"findings": ["email"], "used": {"teams": 0.6}}
    assert policy.table.match(Traits(said("[email]"), task=None, now=NOON, told=told)) == 0


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("when: {language: deutsch}", "7:13: language 'deutsch': no language is called 'deutsch'"),
        ("when: {modality: picture}", "modality 'picture': must be 'text', 'image', 'audio', 'video' or 'file'"),
        ("when: {tools: perhaps}", "tools 'perhaps': must be a valid boolean"),
        ("when: {findings: pi}", "no finding is called 'pi'; did you mean 'pii'?"),
        ("when: {time: {}}", "7:13: time: needs `days`, `hours` or both"),
        ("when: {time: {days: monday}}", "'monday' must be a day or days such as mon, fri or mon-fri"),
        ("when: {time: {hours: 8-18}}", "'8-18' must be a span such as 08:00-18:00"),
        ("when: {time: {hours: 08:00-25:00}}", "a span has two different times from 00:00 to 24:00"),
        ("when: {time: {days: mon, tz: Berlin}}", "tz 'Berlin': must be an IANA time zone"),
        ("when: {budget: {name: team, used: '>1%'}}", "no budget is called 'team'; did you mean 'teams'?"),
        ("when: {budget: {name: dear, used: '>1%'}}", "budget 'dear' depends on the model"),
        ("when: {budget: {name: teams, used: 80%}}", "used '80%': must compare a share of the limit, such as"),
        ("when: {not: {langage: de}}", "unknown key 'langage'; did you mean 'language'?"),
        ("when: {nott: {language: de}}", "unknown key 'nott'; did you mean 'not'?"),
        ("from: tomorrow", "7:6: from 'tomorrow': must be a day such as 2026-12-31 (UTC), or a moment with its zone"),
        ("until: 2026-12-31T18:00", "must be a day such as 2026-12-31 (UTC), or a moment with its zone"),
        ("from: 2026-12-31, until: 2026-12-01", "`until` lies before `from`: the rule would never match"),
        ("frm: 2026-12-31", "unknown key 'frm'; did you mean 'from'?"),
    ],
)
def test_each_mistake_is_one_line_with_place_value_and_remedy(load: Load, rule: str, told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load(rule)
    assert len(caught.value.problems) == 1, caught.value.problems
    assert told in caught.value.problems[0]


def test_a_stored_answers_key_changes_with_the_clock_and_the_budget(load: Load) -> None:
    policy = load("until: 2026-11-25, when: {time: {hours: 08:00-13:00}, budget: {name: teams, used: '>80%'}}")
    now = Traits(said("hi"), task=None, now=NOON, used=lambda name: 0.9)
    later = Traits(said("hi"), task=None, now=NOON.replace(hour=13, day=26), used=lambda name: 0.1)
    assert (policy.table.standing(now), policy.table.standing(later)) == ((True, True, True), (False, False, False))


def test_conditions_are_shown_in_words(load: Load) -> None:
    rule = load(
        "when: {task: t, language: de, tools: no, findings: pii, time: {days: mon-tue, hours: 08:00-09:30}, "
        "budget: {name: teams, used: '>80%'}, not: {modality: image}}"
    ).rules[0]
    assert rule.when.shown() == [
        "t", "language de", "findings pii", "without tools", "mon,tue 08:00-09:30 UTC", "budget teams >80%",
        "not (modality image)",
    ]  # fmt: skip
