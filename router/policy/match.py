"""Which rule of the routing table decides about a request.

Rules are compiled once: by task, so that a request only meets the rules that may be for it, and into checks in the
order of their price, so that the dear ones (counting tokens, reading text) run only where the others hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from router.findings import GROUPS
from router.policy.conditions import COMPARED, DAY_MINUTES, BudgetShare, Clock, Conditions, TokenRange
from router.policy.traits import Traits

if TYPE_CHECKING:
    from router.policy.load import Policy
    from router.policy.schema import Rule

Check = Callable[[Traits], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A policy's rules, ready to be matched."""

    checks: tuple[tuple[Check, ...], ...]
    """Of each rule, besides its task."""
    by_task: Mapping[str, tuple[int, ...]]
    """Rules that a task may meet, for the tasks that rules name."""
    for_all: tuple[int, ...]
    """Rules that any other task, or none, may meet."""
    shifting: tuple[Check, ...]
    """What may hold at one moment and not at another, for the same request."""

    def standing(self, traits: Traits) -> tuple[bool, ...]:
        """How things stand that change with time: part of a stored answer's key, lest it outlive its rule."""
        return tuple(check(traits) for check in self.shifting)


def match(policy: Policy, traits: Traits) -> int | None:
    """Position of the first rule whose conditions all hold, or None."""
    table = policy.table
    positions = table.for_all if traits.task is None else table.by_task.get(traits.task, table.for_all)
    for position in positions:
        for check in table.checks[position]:
            if not check(traits):
                break
        else:
            return position
    return None


def compiled(rules: Sequence[Rule], moments: Sequence[datetime] = ()) -> Table:
    """Rules as they are matched.

    Args:
        rules: in the order of the file.
        moments: from which something else changes than who matches: models are asked no more.
    """
    tasks = {task for rule in rules for task in rule.when.task or ()}
    open_to_all = [position for position, rule in enumerate(rules) if rule.when.task is None]
    named: dict[str, list[int]] = {task: [] for task in tasks}
    for position, rule in enumerate(rules):
        for task in set(rule.when.task or ()):
            named[task].append(position)
    shifting: list[Check] = [_since(moment) for moment in moments]
    for rule in rules:
        shifting += _dated(rule)
        shifting += [check for one in rule.when.each() for check in _moving(one)]
    return Table(
        checks=tuple(tuple(_checks(rule)) for rule in rules),
        by_task={task: tuple(sorted([*mine, *open_to_all])) for task, mine in named.items()},
        for_all=tuple(open_to_all),
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
    wanted = frozenset(kind for name in named for kind in GROUPS.get(name, (name,)))
    return lambda traits: not wanted.isdisjoint(traits.findings)


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
