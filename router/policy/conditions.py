"""What a rule may ask of a request: `when: {task, tags, input_tokens, language, modality, ...}`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from router.findings import GROUPS, KINDS
from router.language import LANGUAGES, UNKNOWN
from router.policy.sections import Name, Names, Section, Zone, one_or_more, suggested

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
COMPARED: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
Minutes = tuple[int, int]
"""From and until, in minutes since midnight; until is not included."""


class TokenRange(Section):
    """Bounds on the request's input tokens, both included."""

    min: Annotated[int, Field(ge=0)] = 0
    max: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _right_way_round(self) -> TokenRange:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}")
        return self


def _days(value: object) -> object:
    """`mon-fri` or `[sat, sun]` as positions in the week."""
    found: list[int] = []
    for item in value if isinstance(value, list) else [value]:
        begin, _, end = str(item).lower().replace(" ", "").partition("-")
        if begin not in DAYS or (end or begin) not in DAYS:
            raise ValueError(f"{str(item)[:20]!r} must be a day or days such as mon, fri or mon-fri")
        first, last = DAYS.index(begin), DAYS.index(end or begin)
        found += [day % 7 for day in range(first, last + 1 if last >= first else last + 8)]
    return tuple(sorted(set(found)))


def _hours(value: object) -> object:
    """`08:00-18:00`, or several such spans, as minutes; one that passes midnight becomes two."""
    found: list[Minutes] = []
    for item in value if isinstance(value, list) else [value]:
        span = re.fullmatch(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", str(item))
        if span is None:
            raise ValueError(f"{str(item)[:20]!r} must be a span such as 08:00-18:00 or 22:00-06:00")
        begin, end = int(span[1]) * 60 + int(span[2]), int(span[3]) * 60 + int(span[4])
        if begin >= DAY_MINUTES or end > DAY_MINUTES or int(span[2]) > 59 or int(span[4]) > 59 or begin == end:
            raise ValueError(f"{str(item)[:20]!r}: a span has two different times from 00:00 to 24:00")
        found += [(begin, end)] if begin < end else [(begin, DAY_MINUTES), (0, end)]
    return tuple(found)


class Clock(Section):
    """Days and hours, on the calendar of a time zone; each day counts by itself, also where hours pass midnight."""

    days: Annotated[
        tuple[int, ...], BeforeValidator(_days, json_schema_input_type=str | list[str]), Field(min_length=1)
    ] = tuple(range(7))
    hours: Annotated[
        tuple[Minutes, ...], BeforeValidator(_hours, json_schema_input_type=str | list[str]), Field(min_length=1)
    ] = ((0, DAY_MINUTES),)
    tz: Zone = "UTC"

    @model_validator(mode="after")
    def _says_something(self) -> Clock:
        if not {"days", "hours"} & self.model_fields_set:
            raise ValueError("needs `days`, `hours` or both: {days: mon-fri, hours: 08:00-18:00, tz: Europe/Berlin}")
        return self

    def shown(self) -> str:
        """As an author wrote it, nearly."""
        days = [] if len(self.days) == 7 else [",".join(DAYS[day] for day in self.days)]
        spans = [f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}" for a, b in self.hours]
        return " ".join([*days, *([] if spans == ["00:00-24:00"] else spans), self.tz])


def _share(value: object) -> object:
    """`>80%` as an operator and a share."""
    found = re.fullmatch(r"\s*(>=|<=|>|<)\s*(\d{1,3}(?:\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
    if found is None:
        return value if isinstance(value, tuple) else _refuse('must compare a share of the limit, such as ">80%"')
    return found[1], float(found[2]) / 100


def _refuse(message: str) -> object:
    raise ValueError(message)


class BudgetShare(Section):
    """How much of a budget is used, settled and held together, on the account that the request is booked on."""

    name: Name
    """Of one of the policy's `budgets`."""
    used: Annotated[tuple[str, float], BeforeValidator(_share, json_schema_input_type=str)]
    """`>80%`, `>=`, `<` or `<=`. A request that the budget is not about does not fulfil it."""

    def shown(self) -> str:
        """As an author wrote it, nearly."""
        return f"budget {self.name} {self.used[0]}{self.used[1]:.0%}"


Modality = Literal["text", "image", "audio", "video", "file"]
Language = Annotated[str, BeforeValidator(suggested(sorted({*LANGUAGES, UNKNOWN}), "language"))]
Finding = Annotated[str, BeforeValidator(suggested([*GROUPS, *KINDS], "finding"))]
_SOME = Field(min_length=1)


class Conditions(Section):
    """All that are given must hold, and none means always."""

    task: Names | None = None
    tags: dict[str, Names] = Field(default={})
    input_tokens: TokenRange | None = None
    language: (
        Annotated[list[Language], BeforeValidator(one_or_more, json_schema_input_type=str | list[str]), _SOME] | None
    ) = None
    """ISO 639-1 code of the last user message, or several; `unknown` where it cannot be told."""
    modality: (
        Annotated[list[Modality], BeforeValidator(one_or_more, json_schema_input_type=Modality | list[Modality]), _SOME]
        | None
    ) = None
    """What the request carries, any of them; `text`: nothing but text."""
    tools: bool | None = None
    """Whether the request offers tools to call."""
    findings: (
        Annotated[list[Finding], BeforeValidator(one_or_more, json_schema_input_type=str | list[str]), _SOME] | None
    ) = None
    """`pii`, `secrets` or kinds of them, any of which is in what would be sent."""
    time: Clock | None = None
    budget: BudgetShare | None = None

    def shown(self) -> list[str]:
        """The conditions in words, one each."""
        told = [" or ".join(self.task)] if self.task else []
        told += [f"{name}: {' or '.join(values)}" for name, values in self.tags.items()]
        if size := self.input_tokens:
            told.append(f"{size.min:,} to {'any' if size.max is None else f'{size.max:,}'} tokens")
        for name in ("language", "modality", "findings"):
            if values := getattr(self, name):
                told.append(f"{name} {' or '.join(values)}")
        told += [] if self.tools is None else ["with tools" if self.tools else "without tools"]
        told += [one.shown() for one in (self.time, self.budget) if one is not None]
        return told


class When(Conditions):
    """Conditions of a rule."""

    not_: Annotated[
        list[Conditions],
        BeforeValidator(one_or_more, json_schema_input_type=Conditions | list[Conditions]),
        Field(alias="not"),
    ] = Field(default=[])
    """None of these may hold; each holds when all of its conditions do."""

    def shown(self) -> list[str]:
        """The conditions in words, one each."""
        return [*super().shown(), *(f"not ({', '.join(one.shown()) or 'always'})" for one in self.not_)]

    def each(self) -> list[Conditions]:
        """Its own conditions, and those that may not hold."""
        return [self, *self.not_]


def moment_from(value: object) -> object:
    """A day, or a moment with its zone, as the first moment that counts."""
    return _moment(value, is_end=False)


def moment_until(value: object) -> object:
    """A day, which counts whole, or a moment with its zone, as the first moment that counts no more."""
    return _moment(value, is_end=True)


def _moment(value: object, *, is_end: bool) -> object:
    if isinstance(value, datetime) or value is None:
        return value
    try:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            day = datetime.fromisoformat(value).replace(tzinfo=UTC)
            return day + timedelta(days=1) if is_end else day
        moment = datetime.fromisoformat(str(value)) if re.match(r"\d{4}-\d{2}-\d{2}[T ]", str(value)) else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("must be a day such as 2026-12-31 (UTC), or a moment with its zone: 2026-12-31T18:00+01:00")
    return moment


From = Annotated[datetime | None, BeforeValidator(moment_from, json_schema_input_type=str), Field(alias="from")]
Until = Annotated[datetime | None, BeforeValidator(moment_until, json_schema_input_type=str)]
