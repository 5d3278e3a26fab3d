"""Tests inside a policy: `tests: [{name, given: {text, task, tags, at, used}, expect: {rule, model, refused}}]`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from router.config import Path_, shown, suggestion
from router.policy.caching import Mode, read_mode
from router.policy.conditions import moment_from
from router.policy.sections import Amount, Name, Names, Section, Tokens, one_or_more
from router.types import TAG_NAMES, Request, Tags

REQUEST_ID = "policy-test"
"""The same for all: where a canary draws by request, it always draws the same."""
NO_RULE = ("pinned", "no rule matches")
"""What stands in a decision in place of a rule."""


def _share(value: object) -> object:
    found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a share of the limit, such as 85%")
    return float(found[1]) / 100


def _or_nobody(value: object) -> object:
    return False if value == "false" else value


def _with_roles(value: object) -> object:
    for position, message in enumerate(value if isinstance(value, list) else []):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ValueError(f"message {position + 1} must have a role: {{role: user, content: ...}}")
    return value


Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=str)]
Moment = Annotated[datetime | None, BeforeValidator(moment_from, json_schema_input_type=str)]


class Given(Section):
    """A request, and how things stand when it comes."""

    text: Annotated[str, Field(min_length=1)] | None = None
    """What the user says; or `messages`."""
    messages: Annotated[list[dict[str, Any]], BeforeValidator(_with_roles), Field(min_length=1)] | None = None
    task: Name | None = None
    """The caller's label; without it the artifact guesses, if there is one."""
    model: Name | None = None
    """Pinned by the caller."""
    tags: dict[Name, str] = Field(default={})
    team: Name | None = None
    feature: Name | None = None
    workflow: Name | None = None
    run_id: Name | None = None
    customer: Name | None = None
    agent: Name | None = None
    environment: Name | None = None
    cost_centre: Name | None = None
    bar: Annotated[float, Field(ge=0, le=1)] | None = None
    """As the caller raises it."""
    max_cost_usd: Amount | None = None
    """As the caller limits it."""
    max_tokens: Tokens | None = None
    tools: bool = False
    """Whether the request offers tools."""
    json_: Annotated[bool, Field(alias="json")] = False
    """Whether the request asks for JSON (`response_format`)."""
    stream: bool = False
    at: Moment = None
    """A day (its first moment, UTC) or a moment with its zone; default: when the test runs."""
    used: dict[Name, Share] = Field(default={})
    """Share of a budget that is settled and held on this request's account, by the budget's name; default 0 %."""

    @model_validator(mode="after")
    def _one_text(self) -> Given:
        if (self.text is None) == (self.messages is None):
            raise ValueError("give either `text` or `messages`")
        twice = [name for name in self.tags if name in TAG_NAMES and getattr(self, name) not in (None, self.tags[name])]
        if twice:
            raise ValueError(f"{twice[0]} is given twice, by itself and in `tags`; remove one of the two")
        return self

    def request(self) -> Request:
        """The request."""
        named = {name: value for name in TAG_NAMES if (value := getattr(self, name) or self.tags.get(name)) is not None}
        params: dict[str, Any] = {"max_tokens": self.max_tokens} if self.max_tokens is not None else {}
        params |= {"tools": [{"type": "function", "function": {"name": "any"}}]} if self.tools else {}
        params |= {"response_format": {"type": "json_object"}} if self.json_ else {}
        return Request(
            id=REQUEST_ID,
            messages=tuple(self.messages or [{"role": "user", "content": self.text}]),
            params=params,
            model=self.model,
            task=self.task,
            tags=Tags(**named, extra={name: value for name, value in self.tags.items() if name not in TAG_NAMES}),
            bar=self.bar,
            max_cost_usd=self.max_cost_usd,
            stream=self.stream,
        )


class Expect(Section):
    """What has to come of it; all that is given must be so."""

    rule: Name | None = None
    """By name; `rule 3` where the third has none; `pinned`, or `no rule matches`."""
    model: Name | None = None
    """Asked first."""
    models: Names | None = None
    """The whole plan, in order."""
    strategy: Literal["single", "cascade", "fixed", "pinned", "none"] | None = None
    """What serves: a cascade that no artifact carries serves as `single`."""
    bar: Annotated[float, Field(ge=0, le=1)] | None = None
    task: Name | None = None
    """As labelled or guessed."""
    refused: bool | None = None
    """Whether no model may serve."""
    cache: Annotated[Mode, BeforeValidator(read_mode, json_schema_input_type=Mode | bool)] | None = None

    shadow: Annotated[Name | Literal[False], BeforeValidator(_or_nobody, json_schema_input_type=Name | bool)] | None = (
        None
    )
    """The model in the shadow that is asked after the answer; `false`: none is."""

    @model_validator(mode="after")
    def _says_something(self) -> Expect:
        if not self.model_fields_set:
            raise ValueError("expects nothing; give `rule`, `model`, `models`, `strategy`, `refused` or `cache`")
        if self.refused and (self.model or self.models):
            raise ValueError("`refused: true` means that no model serves; remove `model` and `models`")
        if self.model and self.models and self.models[0] != self.model:
            raise ValueError("`model` is the first of `models`; remove one of the two")
        return self


class Case(Section):
    """One test of the policy."""

    name: Name | None = None
    given: Given
    expect: Expect


Cases = Annotated[
    list[Case], BeforeValidator(one_or_more, json_schema_input_type=Case | list[Case]), Field(max_length=5_000)
]


def strange_names(
    cases: Sequence[Case], *, rules: Collection[str], models: Collection[str], budgets: Mapping[str, bool]
) -> Iterator[tuple[Path_, str]]:
    """Where tests name what the policy does not have, and a line about each.

    Args:
        cases: the tests.
        rules: names of the rules.
        models: ids of the models.
        budgets: names of the budgets, and whether each depends on the model.
    """
    ruled = dict.fromkeys([*rules, *NO_RULE])

    def unless_known(where: Path_, what: str, name: str | None, known: Collection[str]) -> Iterator[tuple[Path_, str]]:
        if name is not None and name not in known:
            yield where, f"{what} {shown(name)}{suggestion(name, list(known))}"

    for i, case in enumerate(cases):
        here: Path_ = ("tests", i)
        expect = (*here, "expect")
        yield from unless_known((*here, "given", "model"), "model: no model has the id", case.given.model, models)
        yield from unless_known((*expect, "rule"), "rule: no rule is called", case.expect.rule, ruled)
        yield from unless_known((*expect, "model"), "model: no model has the id", case.expect.model, models)
        for j, name in enumerate(case.expect.models or ()):
            yield from unless_known((*expect, "models", j), "models: no model has the id", name, models)
        shadow = case.expect.shadow or None
        yield from unless_known((*expect, "shadow"), "shadow: no model has the id", shadow, models)
        for name in case.given.used:
            where = (*here, "given", "used", name)
            yield from unless_known(where, "used: no budget is called", name, list(budgets))
            if budgets.get(name):
                yield where, f"used: budget {shown(name)} depends on the model, which nobody knows before the decision"
