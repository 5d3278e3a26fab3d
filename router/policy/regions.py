"""Which requests conditions let through, as sets that can be held against each other.

Every dimension that rules ask about (the task, one tag, the size, one budget, ...) is cut into cells, so that each
condition is a set of whole cells: bits of a number. A box is a set of cells for each dimension that it narrows; a
region is a list of boxes, and holds every request that is in one of them. A request that exists lies in exactly one
cell of each dimension, so what is empty here matches nothing. The other way round need not be true: not every
combination of cells exists.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from router.findings import KINDS, kinds_of
from router.policy.conditions import DAY_MINUTES, Clock, Conditions
from router.spend.budget import Budget

if TYPE_CHECKING:
    from router.policy.schema import Rule

Dimension = tuple[str, str]
"""What is asked, and of which tag, time zone or budget."""
Box = Mapping[Dimension, int]
"""The cells of each dimension that is narrowed, as bits."""
Region = list[Box]

TASK, SIZE, LANGUAGE = ("task", ""), ("input_tokens", ""), ("language", "")
MODALITY, TOOLS, FINDINGS, NOW = ("modality", ""), ("tools", ""), ("findings", ""), ("now", "")
_MEDIA = ("image", "audio", "video", "file")
_CELLS = {"modality": 1 << len(_MEDIA), "findings": 1 << len(KINDS), "tools": 2, "clock": 7 * DAY_MINUTES}
"""How many, where that does not depend on the rules."""
MOST_PIECES = 100
"""What is cut more finely is not taken away, so that work stays bounded: too much is left, never too little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a rule matches: what lies in `box` and in none of `nots`."""

    box: Box | None
    """None: its own conditions contradict each other."""
    nots: tuple[Box, ...]


class Space:
    """The cells of everything that rules ask about.

    Args:
        rules: all whose conditions are to be held against each other.
        budgets: by name; those that are not about a request are not used by it.
        now: the moment before which nothing counts.
    """

    def __init__(self, rules: Sequence[Rule], budgets: Mapping[str, Budget], now: datetime) -> None:
        self._budgets = budgets
        asked = [one for rule in rules for one in rule.when.each()]
        named: dict[Dimension, dict[str, int]] = {}
        for one in asked:
            for dimension, values in _named(one):
                _number(named.setdefault(dimension, {}), values)
            if one.budget is not None and (budget := budgets.get(one.budget.name)) is not None:
                for tag, allowed in budget.scope.items():
                    _number(named.setdefault(("tag", tag), {}), allowed or ())
        self._named = named
        sizes = {point for one in asked if (size := one.input_tokens) for point in _ends(size.min, size.max)}
        self._sizes = sorted(sizes | {0})
        moments = {moment for rule in rules for moment in (rule.from_, rule.until) if moment is not None}
        self._moments = sorted({*moments, now})
        shares: dict[str, set[float]] = {}
        for one in asked:
            if one.budget is not None:
                shares.setdefault(one.budget.name, {0.0}).add(one.budget.used[1])
        self._shares = {name: sorted(points) for name, points in shares.items()}
        self.everything: Box = {NOW: _from(bisect_left(self._moments, now), len(self._moments))}
        """Every request that is still to come."""

    def reach(self, rule: Rule) -> Reach:
        """What a rule matches."""
        box = self.box(rule.when)
        if box is not None and (rule.from_ is not None or rule.until is not None):
            box = both(box, {NOW: self._between(rule.from_, rule.until)})
        nots = (self.box(one) for one in rule.when.not_)
        return Reach(box=box, nots=tuple(one for one in nots if one is not None))

    def named(self, conditions: Conditions) -> Iterator[tuple[Dimension, str, int]]:
        """Each of several values that a condition lists, with its own cells."""
        for dimension, values in _named(conditions):
            for value in dict.fromkeys(values) if len(values) > 1 else ():
                yield dimension, value, 1 << self._named[dimension][value]
        for dimension, given, cells in (
            (MODALITY, conditions.modality, _modality), (FINDINGS, conditions.findings, _findings),
        ):  # fmt: skip
            for value in dict.fromkeys(given) if given is not None and len(given) > 1 else ():
                yield dimension, value, cells((value,))

    def full(self, dimension: Dimension) -> int:
        """All cells of a dimension."""
        kind, name = dimension
        if kind in ("task", "tag", "language"):
            return _from(0, len(self._named[dimension]) + 1)
        if kind == "now":
            return self.everything[NOW]
        if kind == "used":
            return _from(0, 1 + 2 * len(self._shares[name]))
        return _from(0, len(self._sizes) if kind == "input_tokens" else _CELLS[kind])

    def without(self, region: Iterable[Box], taken: Reach) -> Region:
        """What is left of a region when a rule has taken what it matches."""
        if taken.box is None or len(taken.box) + len(taken.nots) > MOST_PIECES:
            return list(region)
        left: Region = []
        for box in region:
            inside = both(box, taken.box)
            if inside is None:
                left.append(box)
                continue
            rest = dict(box)
            for dimension, cells in taken.box.items():
                has = rest.get(dimension)
                has = self.full(dimension) if has is None else has
                if outside := has & ~cells:
                    left.append({**rest, dimension: outside})
                rest[dimension] = has & cells
            left += [back for one in taken.nots if (back := both(inside, one)) is not None]
        return left

    def box(self, conditions: Conditions) -> Box | None:
        """Where all conditions hold; None: nowhere."""
        box: dict[Dimension, int] = {
            dimension: sum(1 << self._named[dimension][value] for value in set(values))
            for dimension, values in _named(conditions)
        }
        if (size := conditions.input_tokens) is not None:
            first, last = _ends(size.min, size.max)[0], _ends(size.min, size.max)[1:]
            stop = bisect_left(self._sizes, last[0]) if last else len(self._sizes)
            box[SIZE] = _from(bisect_left(self._sizes, first), stop)
        if conditions.modality is not None:
            box[MODALITY] = _modality(tuple(conditions.modality))
        if conditions.findings is not None:
            box[FINDINGS] = _findings(tuple(conditions.findings))
        if conditions.tools is not None:
            box[TOOLS] = 0b10 if conditions.tools else 0b01
        if (clock := conditions.time) is not None:
            box["clock", clock.tz] = _minutes(clock)
        if (share := conditions.budget) is not None:
            box["used", share.name] = self._used(share.name, *share.used)
            budget = self._budgets.get(share.name)
            for tag, allowed in budget.scope.items() if budget is not None else ():
                if allowed is not None and not self._narrow(box, ("tag", tag), allowed):
                    return None
        return box if all(box.values()) else None

    def _narrow(self, box: dict[Dimension, int], dimension: Dimension, values: Sequence[str]) -> int:
        cells = sum(1 << self._named[dimension][value] for value in values)
        box[dimension] = box.get(dimension, cells) & cells
        return box[dimension]

    def _between(self, begin: datetime | None, end: datetime | None) -> int:
        first = bisect_left(self._moments, begin) if begin is not None else 0
        return _from(first, bisect_left(self._moments, end) if end is not None else len(self._moments))

    def _used(self, name: str, sign: str, share: float) -> int:
        """Cell 0: not booked on it; then each named share (0 is the first), and what lies above it."""
        points = self._shares[name]
        at = 1 + 2 * bisect_left(points, share)
        above = at + 1 if sign in (">", "<=") else at
        return _from(above, 1 + 2 * len(points)) if sign in (">", ">=") else _from(1, above)


def both(one: Box, other: Box) -> Box | None:
    """What lies in two boxes; None: nothing."""
    few, many = (one, other) if len(one) <= len(other) else (other, one)
    joined = dict(many)
    for dimension, cells in few.items():
        if dimension in joined:
            cells &= joined[dimension]
            if not cells:
                return None
        joined[dimension] = cells
    return joined


def _named(conditions: Conditions) -> list[tuple[Dimension, Sequence[str]]]:
    """Conditions on one value out of many, of which only the named ones matter; cell 0 is every other one, or none."""
    found: list[tuple[Dimension, Sequence[str]]] = [(("tag", name), each) for name, each in conditions.tags.items()]
    found += [(TASK, conditions.task)] if conditions.task is not None else []
    return [*found, (LANGUAGE, conditions.language)] if conditions.language is not None else found


def _number(numbers: dict[str, int], values: Iterable[str]) -> None:
    for value in values:
        numbers.setdefault(value, len(numbers) + 1)


def _ends(least: int, most: int | None) -> list[int]:
    return [least] if most is None else [least, most + 1]


def _from(first: int, stop: int) -> int:
    """The cells from one to another, which is not included."""
    return (1 << stop) - (1 << first) if stop > first else 0


@cache
def _modality(wanted: tuple[str, ...]) -> int:
    """Cell 0: nothing but text; the others: which media it carries, as bits of the cell's number."""
    carried = [place for place, name in enumerate(_MEDIA) if name in wanted]
    return _any(carried, len(_MEDIA)) | ("text" in wanted)


@cache
def _findings(named: tuple[str, ...]) -> int:
    """Which kinds were found, as bits of the cell's number."""
    kinds = kinds_of(named)
    return _any([place for place, kind in enumerate(KINDS) if kind in kinds], len(KINDS))


def _any(places: Sequence[int], count: int) -> int:
    """The cells whose number has one of some bits."""
    wanted = sum(1 << place for place in places)
    return sum(1 << number for number in range(1 << count) if number & wanted)


def _minutes(clock: Clock) -> int:
    day = 0
    for begin, end in clock.hours:
        day |= _from(begin, end)
    return sum(day << (position * DAY_MINUTES) for position in clock.days)
