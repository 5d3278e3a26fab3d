"""What is assumed of the future: more or fewer calls, another price, another model in place of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from router.spend.history import KNOWN, RECENT_DAYS
from router.spend.prices import Price
from router.spend.prices.rerate import usage_in
from router.spend.rollups import Rollups

SAMPLE = 5_000
"""The newest calls of a model, by which another one is compared with it."""
EVERYTHING = ("users", "calls", "requests", "traffic", "prices", "spend")
"""All of it grows alike: that spend follows users one to one is part of the assumption."""
_WORDS = re.compile(r"\s*(\S+(?:=.*?\S)?)\s+([+-]\d+(?:\.\d+)?)\s*%\s*")

Rows = Callable[[str, Sequence[Any]], list[dict[str, Any]]]
"""The ledger's `rows`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """A factor on the spend of whatever has this value; of everything where it names none."""

    name: str | None = None
    """Tag, or `model`."""
    value: str = ""
    factor: float


def lever(text: str) -> Lever:
    """Read `users +30%`, `team=search -10%` or `model=large -50%` (its price, or its calls).

    Raises:
        ValueError: it reads otherwise.
    """
    found = _WORDS.fullmatch(text)
    what, percent = found.groups() if found else ("", "")
    name, equals, value = what.partition("=")
    if found is None or float(percent) <= -100 or (not equals and name not in EVERYTHING):
        raise ValueError(f'{text!r}: write such as "users +30%", "team=search -10%" or "model=large +5%"')
    if equals and name not in KNOWN:
        raise ValueError(f"{text!r}: known are {', '.join(KNOWN)}")
    return Lever(name=name if equals else None, value=value, factor=1 + float(percent) / 100)


def replacement(rows: Rows, model: str, other: str, price: Price) -> tuple[Lever, int]:
    """The factor on a model's spend if the same tokens were another model's, and how many calls say so.

    The other one's answers may be longer or shorter, and its tokenizer may count otherwise: that is not known here.

    Args:
        rows: of the ledger.
        model: policy id of the one that goes.
        other: of the one that comes, for messages.
        price: of the other one.

    Raises:
        ValueError: no call of the model has a known cost.
    """
    calls = rows(
        "SELECT * FROM attempts WHERE model = ? AND cost_pusd > 0 AND input_tokens IS NOT NULL "
        "ORDER BY at_us DESC LIMIT ?",
        (model, SAMPLE),
    )
    if not calls:
        raise ValueError(f"{model}={other}: no call of {model} with a known cost is in the ledger")
    billed = Decimal(sum(row["cost_pusd"] for row in calls)) / 10**12
    would = sum((price.cost(usage_in(row)) for row in calls), Decimal(0))
    return Lever(name="model", value=model, factor=float(would / billed)), len(calls)


def recent_factors(
    rollups: Rollups, names: Sequence[str], levers: Sequence[Lever], now: datetime
) -> Mapping[tuple[str | None, ...], float]:
    """What levers come to, together, for each scope, by what it was made of in the last four weeks.

    Args:
        rollups: of the ledger.
        names: what the scopes are grouped by.
        levers: all of them hold.
        now: the end of the four weeks.

    Returns:
        Factor by scope; a scope that is missing spent nothing.
    """
    if not levers:
        return {}
    read = list(dict.fromkeys([*names, *(one.name for one in levers if one.name)]))
    sums: dict[tuple[str | None, ...], list[float]] = {}
    for row in rollups.by_hour(read, int((now - timedelta(days=RECENT_DAYS)).timestamp() * 1e6)):
        both = sums.setdefault(tuple(row[name] for name in names), [0.0, 0.0])
        both[0] += float(row["cost_usd"])
        both[1] += float(row["cost_usd"]) * _factor(row, levers)
    return {group: after / before for group, (before, after) in sums.items() if before}


def _factor(row: Mapping[str, Any], levers: Sequence[Lever]) -> float:
    made = 1.0
    for one in levers:
        if one.name is None or row.get(one.name) == one.value:
            made *= one.factor
    return made
