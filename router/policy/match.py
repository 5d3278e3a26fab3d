"""Which rule of the routing table decides about a request.

Rules are compiled once: by their task or one of their tags, so that a request only meets the rules that may be for it,
and into checks in the order of their price, so that the dear ones (counting tokens, reading text) run only where the
others hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from router.findings import NAMES, kinds_of
from router.policy.conditions import COMPARED, DAY_MINUTES, BudgetShare, Clock, Conditions, TokenRange
from router.policy.traits import Traits

if TYPE_CHECKING:
    from router.policy.schema import Rule

Check = Callable[[Traits], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A policy's rules, ready to be matched."""

    checks: tuple[tuple[Check, ...], ...]
    """Of each rule, besides its task."""
    of_task: Mapping[str, tuple[int, ...]]
    """Rules that name tasks, by each of them."""
    of_tag: Mapping[str, Mapping[str, tuple[int, ...]]]
    """Rules without a task that look at tags, by the name and each value of the tag that has the most values."""
    of_all: tuple[int, ...]
    """All others."""
    shifting: tuple[Check, ...]
    """What may hold at one moment and not at another, for the same request."""

    def standing(self, traits: Traits) -> tuple[bool, ...]:
        """How things stand that change with time: part of a stored answer's key, lest it outlive its rule."""
        return tuple(check(traits) for check in self.shifting)

    def match(self, traits: Traits) -> int | None:
        """Position of the first rule whose conditions all hold, or None."""
        for position in self.may_take(traits.task, traits.tags):
            for check in self.checks[position]:
                if not check(traits):
                    break
            else:
                return position
        return None

    def may_take(self, task: str | None, tags: Mapping[str, str]) -> Sequence[int]:
        """Positions of the rules that may be for a request, in order."""
        met = [self.of_all]
        if task is not None and task in self.of_task:
            met.append(self.of_task[task])
        for name, by_value in self.of_tag.items():
            if (value := tags.get(name)) is not None and value in by_value:
                met.append(by_value[value])
        return met[0] if len(met) == 1 else sorted(chain.from_iterable(met))

    def of_tasks(self, tasks: Collection[str]) -> list[int]:
        """Positions of the rules that a request with one of these tasks may meet, whatever its tags, in order."""
        named = (position for task in tasks for position in self.of_task.get(task, ()))
        tagged = (rules for by_value in self.of_tag.values() for rules in by_value.values())
        return sorted({*named, *self.of_all, *chain.from_iterable(tagged)})


def compiled(rules: Sequence[Rule], moments: Sequence[datetime] = ()) -> Table:
    """Rules as they are matched.

    Args:
        rules: in the order of the file.
        moments: from which something else changes than who matches: models are asked no more.
    """
    values: dict[str, set[str]] = defaultdict(set)
    for rule in rules:
        for name, wanted in rule.when.tags.items():
            values[name].update(wanted)
    of_task: dict[str, list[int]] = defaultdict(list)
    of_tag: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    of_all: list[int] = []
    for position, rule in enumerate(rules):
        if rule.when.task is not None:
            for task in set(rule.when.task):
                of_task[task].append(position)
        elif rule.when.tags:
            name = max(rule.when.tags, key=lambda tag: len(values[tag]))
            for value in set(rule.when.tags[name]):
                of_tag[name][value].append(position)
        else:
            of_all.append(position)
    shifting: list[Check] = [_since(moment) for moment in moments]
    for rule in rules:
        shifting += _dated(rule)
        shifting += [check for one in rule.when.each() for check in _moving(one)]
    return Table(
        checks=tuple(tuple(_checks(rule)) for rule in rules),
        of_task={task: tuple(mine) for task, mine in of_task.items()},
        of_tag={name: {value: tuple(mine) for value, mine in each.items()} for name, each in of_tag.items()},
        of_all=tuple(of_all),
        shifting=tuple(shifting),
    )


def _checks(rule: Rule) -> list[Check]:
    cheap, dear = _by_price(rule.when)
    nots = [_by_price(one) for one in rule.when.not_]
    nots = [([*_of_task(one), *few], many) for one, (few, many) in zip(rule.when.not_, nots, strict=True)]
    return [*_dated(rule), *cheap, *dear, *(_none_of([*few, *many]) for few, many in nots)]


def _of_task(conditions: Conditions) -> list[Check]:
    if conditions.task is None:
        return []
    tasks = frozenset(conditions.task)
    return [lambda traits: traits.task in tasks]


def _none_of(checks: Sequence[Check]) -> Check:
    return lambda traits: not all(check(traits) for check in checks)


def _by_price(conditions: Conditions) -> tuple[list[Check], list[Check]]:
    """Checks of what is read off the request, and of what has to be worked out."""
    cheap = [_tag(name, frozenset(values)) for name, values in conditions.tags.items()]
    if conditions.tools is not None:
        cheap.append(_tools(conditions.tools))
    if conditions.modality is not None:
        cheap.append(_modality(frozenset(conditions.modality)))
    dear = _moving(conditions)
    if conditions.input_tokens is not None:
        dear.append(_size(conditions.input_tokens))
    if conditions.language is not None:
        dear.append(_language(frozenset(conditions.language)))
    if conditions.findings is not None:
        dear.append(_findings(conditions.findings))
    return cheap, dear


def _moving(conditions: Conditions) -> list[Check]:
    clock, share = conditions.time, conditions.budget
    return [*([_clock(clock)] if clock else []), *([_budget(share)] if share else [])]


def _dated(rule: Rule) -> list[Check]:
    begin, end = rule.from_, rule.until
    checks: list[Check] = []
    if begin is not None:
        checks.append(_since(begin))
    if end is not None:
        checks.append(_before(end))
    return checks


def _since(begin: datetime) -> Check:
    return lambda traits: traits.now >= begin


def _before(end: datetime) -> Check:
    return lambda traits: traits.now < end


def _tag(name: str, values: frozenset[str]) -> Check:
    return lambda traits: traits.tags.get(name) in values


def _tools(wanted: bool) -> Check:
    return lambda traits: traits.has_tools is wanted


def _modality(wanted: frozenset[str]) -> Check:
    return lambda traits: not wanted.isdisjoint(traits.modalities)


def _language(wanted: frozenset[str]) -> Check:
    return lambda traits: traits.language in wanted


def _findings(named: Sequence[str]) -> Check:
    wanted = kinds_of(named)
    if wanted.isdisjoint(NAMES):
        return lambda traits: not wanted.isdisjoint(traits.findings)
    return lambda traits: not (wanted.isdisjoint(traits.findings) and wanted.isdisjoint(traits.names))


def _size(size: TokenRange) -> Check:
    return lambda traits: size.min <= traits.input_tokens and (size.max is None or traits.input_tokens <= size.max)


def _clock(clock: Clock) -> Check:
    days, zone = frozenset(clock.days), clock.tz
    is_in = bytearray(DAY_MINUTES)
    for begin, end in clock.hours:
        is_in[begin:end] = b"\1" * (end - begin)

    def is_within(traits: Traits) -> bool:
        day, minute = traits.clock(zone)
        return day in days and bool(is_in[minute])

    return is_within


def _budget(share: BudgetShare) -> Check:
    compare, least = COMPARED[share.used[0]], share.used[1]

    def is_so(traits: Traits) -> bool:
        used = traits.used(share.name)
        return used is not None and compare(used, least)

    return is_so
