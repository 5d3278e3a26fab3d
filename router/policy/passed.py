"""Why a request passed by the rules before its own, and why its own took it, in words; worked out only when asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from router.findings import NAMES, kinds_of
from router.policy.conditions import COMPARED, DAYS, Clock, Conditions
from router.policy.policy import Policy
from router.policy.schema import Rule
from router.policy.traits import Traits

MOST_NAMED = 5
"""Of a list of values, so many stand in a line."""
Said = tuple[bool, str]
"""Whether a condition holds, and how things stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rule that a request met on its way."""

    rule: str
    place: str
    """`file:line`."""
    why: str
    """What did not hold; of the rule that took the request, all that did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A request's way through the table."""

    passed: tuple[Step, ...]
    met: Step | None
    """None: no rule is for it."""


def way_of(policy: Policy, traits: Traits) -> Way:
    """The rules that a request passed by, in their order, and the one that took it."""
    position = policy.table.match(traits)
    before = range(len(policy.rules) if position is None else position)
    return Way(
        passed=tuple(_step(policy, i, _obstacle(policy.rules[i], traits)) for i in before),
        met=None if position is None else _step(policy, position, _holding(policy.rules[position], traits)),
    )


def _step(policy: Policy, position: int, why: str) -> Step:
    place = f"{policy.rule_files[position]}:{policy.rule_lines[position]}"
    return Step(rule=policy.rule_name(position), place=place, why=why)


def _obstacle(rule: Rule, traits: Traits) -> str:
    return next((words for holds, words in _said_of(rule, traits) if not holds), "one of its conditions does not hold")


def _holding(rule: Rule, traits: Traits) -> str:
    return "; ".join(words for _, words in _said_of(rule, traits)) or "it has no conditions"


def _said_of(rule: Rule, traits: Traits) -> Iterator[Said]:
    """Of each condition, in the order in which they are looked at."""
    if rule.from_ is not None:
        since = f"{rule.from_:%Y-%m-%d %H:%M %Z}"
        yield (True, f"it is after {since}") if traits.now >= rule.from_ else (False, f"it begins on {since}")
    if rule.until is not None:
        end = f"{rule.until:%Y-%m-%d %H:%M %Z}"
        yield (True, f"it is before {end}") if traits.now < rule.until else (False, f"it ended on {end}")
    yield from _said(rule.when, traits)
    for one in rule.when.not_:
        if all(holds for holds, _ in _said(one, traits)):
            yield False, f"it may not be so: {'; '.join(words for _, words in _said(one, traits)) or 'always'}"
        else:
            yield True, f"not ({', '.join(one.shown())})"


def _said(conditions: Conditions, traits: Traits) -> Iterator[Said]:
    if conditions.task is not None:
        yield _among("task", traits.task, conditions.task)
    for name, values in conditions.tags.items():
        yield _among(name, traits.tags.get(name), values)
    if conditions.tools is not None:
        yield traits.has_tools is conditions.tools, "it offers tools" if traits.has_tools else "it offers no tools"
    if (wanted := conditions.modality) is not None:
        carried = " and ".join(traits.modalities)
        holds = not set(traits.modalities).isdisjoint(wanted)
        yield holds, f"it carries {carried}{'' if holds else f', not {_listed(wanted)}'}"
    if conditions.time is not None:
        yield _on_the_clock(conditions.time, traits)
    if (share := conditions.budget) is not None:
        used = traits.used(share.name)
        if used is None:
            yield False, f"it is not booked on the budget {share.name}"
        else:
            holds = COMPARED[share.used[0]](used, share.used[1])
            asked = f"{share.used[0]}{share.used[1]:.0%}"
            yield holds, f"the budget {share.name} is used to {used:.0%}{'' if holds else f', not {asked}'}"
    if (size := conditions.input_tokens) is not None:
        n, most = traits.input_tokens, size.max
        span = f"{size.min:,} or more" if most is None else f"{size.min:,} to {most:,}"
        holds = size.min <= n and (most is None or n <= most)
        yield holds, f"it has up to {n:,} tokens{'' if holds else f', not {span}'}"
    if (languages := conditions.language) is not None:
        yield _among("language", traits.language, languages)
    if (kinds := conditions.findings) is not None:
        sought = kinds_of(kinds)
        there = [*traits.findings, *(() if sought.isdisjoint(NAMES) else traits.names)]
        found = [kind for kind in there if kind in sought]
        told = f"found: {', '.join(found or there)}" if there else "no findings"
        yield bool(found), told if found or not there else f"{told}, not {_listed(kinds)}"


def _among(name: str, value: str | None, wanted: Sequence[str]) -> Said:
    if value is None:
        return False, f"no {name}; it wants {_listed(wanted)}"
    return value in wanted, f"{name} is {value}{'' if value in wanted else f', not {_listed(wanted)}'}"


def _on_the_clock(clock: Clock, traits: Traits) -> Said:
    day, minute = traits.clock(clock.tz)
    holds = day in clock.days and any(begin <= minute < end for begin, end in clock.hours)
    it_is = f"it is {DAYS[day]} {minute // 60:02}:{minute % 60:02}"
    return holds, f"{it_is}, {'within' if holds else 'outside'} {clock.shown()}"


def _listed(values: Sequence[str]) -> str:
    more = len(values) - MOST_NAMED
    return " or ".join([*values[:MOST_NAMED], *([f"{more} others"] if more > 0 else [])])
