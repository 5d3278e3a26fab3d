"""The words that differences are told in."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import BaseModel

from router.config import is_secretive
from router.policy.difference.told import Effect

MOST_NAMES = 4
NOTHING = "nothing"


def quoted(name: str) -> str:
    """A name as it stands in a sentence."""
    return f"'{name}'"


def several(names: Iterable[str], joined: str = "and", most: int = MOST_NAMES) -> str:
    """`a, b and c`, or `a, b, c, d and 7 more`."""
    listed = list(names)
    if len(listed) > most + 1:
        listed = [*listed[:most], f"{len(listed) - most} more"]
        joined = "and"
    return f" {joined} ".join(filter(None, [", ".join(listed[:-1]), listed[-1]])) if listed else NOTHING


def usd(amount: Decimal) -> str:
    """`$12.50`, `$0.000125`."""
    plain = f"{amount.normalize():,f}"
    whole, _, cents = plain.partition(".")
    return f"${whole}.{cents.ljust(2, '0')}" if cents else f"${whole}"


def percent(before: Decimal | float, after: Decimal | float) -> str:
    """` (+20 %)`; nothing where it would be of nothing."""
    if not before:
        return ""
    change = 100 * (float(after) / float(before) - 1)
    return f" ({change:+,.0f} %)" if abs(change) >= 1 else f" ({change:+.2g} %)"


def plain(value: Any) -> str:
    """Any value of a policy, short; keys and passwords withheld."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, BaseModel):
        return plain(value.model_dump(by_alias=True, exclude_defaults=True))
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {plain(one)}" for key, one in value.items()) + "}" if value else NOTHING
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(map(str, value)) if isinstance(value, (set, frozenset)) else value
        return ", ".join(map(plain, items)) or NOTHING
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, float):
        return f"{value:g}"
    return address(str(value))


def moment(value: datetime) -> str:
    """A day where it begins one, else a minute."""
    is_day = (value.hour, value.minute, value.second) == (0, 0, 0)
    return f"{value:%Y-%m-%d}" if is_day else f"{value:%Y-%m-%d %H:%M %Z}"


def until(value: datetime) -> str:
    """The end of a rule: a day that counts whole is named, not the first moment of the next."""
    day = moment(value - timedelta(days=1))
    return f"until {moment(value)}" if " " in day else f"until the end of {day}"


def address(text: str) -> str:
    """A text without what could be a key, or the password of an address."""
    text = re.sub(r"//[^/@\s]*@", "//…@", text)
    text = f"{text[:4]}…" if is_secretive(text) else text
    return text if len(text) <= 80 else text[:77] + "..."


def seconds(value: float) -> str:
    """`90 s`, `30 min`, `24 h`, `7 days`."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if value >= size and value % size == 0:
            return f"{value / size:g} {unit.removesuffix('s') if value == size else unit}"
    return f"{value:g} s"


def joined_left(before: Sequence[str], after: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is only in the second, and what is only in the first."""
    return [one for one in after if one not in before], [one for one in before if one not in after]


def raised(what: str, before: Any, after: Any, shown: str, *, loose_up: bool) -> tuple[str, Effect]:
    """`limit raised from ...`, where more is looser (or stricter)."""
    is_up = after > before
    return f"{what} {'raised' if is_up else 'lowered'} {shown}", "loosens" if is_up is loose_up else "tightens"


def other_fields(before: BaseModel, after: BaseModel, told: Collection[str]) -> Iterator[str]:
    """A sentence for every key that has no words of its own, so that none is passed over."""
    for name, field in type(after).model_fields.items():
        old, new = getattr(before, name, None), getattr(after, name)
        if name not in told and old != new:
            key = f"`{field.alias or name}`"
            if old in (None, [], {}, ()):
                yield f"{key} is {plain(new)} now"
            elif new in (None, [], {}, ()):
                yield f"{key} is not given any more (it was {plain(old)})"
            else:
                yield f"{key} changes from {plain(old)} to {plain(new)}"
