"""Rules that no request ever meets, and parts of rules that none does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from router.config import Path_, shown
from router.policy.finding import Finding, warning
from router.policy.inline_keys import hushed
from router.policy.policy import Policy
from router.policy.regions import MOST_PIECES, Box, Reach, Region, Space, both
from router.policy.schema import Rule

MOST_STEPS = 2_000_000
"""Pieces that are looked at for a whole policy: some seconds."""
MOST_NAMED = 3
MOST_TRIED = 20
"""Rules that are left out one by one, to see whether they are needed to match it all."""


def unreached(policy: Policy, now: datetime) -> Iterator[Finding]:
    """Rules that match nothing, or nothing that the rules before them leave over; only where that is certain.

    Args:
        policy: as loaded.
        now: what had ended by then is told as ended.
    """
    return _Search(policy, now).findings()


class _Search:
    def __init__(self, policy: Policy, now: datetime) -> None:
        self._policy, self._now = policy, now
        self._space = Space(policy.rules, {one.name: one for one in policy.budgets.each}, now)
        self._reaches = [self._space.reach(rule) for rule in policy.rules]
        self._steps = 0

    def findings(self) -> Iterator[Finding]:
        for position, rule in enumerate(self._policy.rules):
            here: Path_ = ("rules", position)
            if rule.until is not None and rule.until <= self._now:
                told = f"{self._name(position)} ended on {_last(rule.until)}; remove it, or give it another `until`"
                yield self._warn((*here, "until"), told)
                continue
            own = self._own(position)
            if not own:
                yield self._never(position, rule)
                continue
            takers, left = self._taken(position, own)
            if self._steps > MOST_STEPS:
                told = f"rules from here on are too many to be held against each other; {position} were"
                yield self._warn(here, told)
                return
            if left is None:
                continue
            if not left:
                told = f"{self._name(position)} is never reached: {self._who(own, takers)} before it; move it up, or"
                yield self._warn(here, f"{told} remove it")
                continue
            yield from self._parts(position, rule, own, left, takers)

    def _own(self, position: int) -> Region:
        """What a rule would match if it were alone."""
        reach = self._reaches[position]
        start = both(self._space.everything, reach.box) if reach.box is not None else None
        region: Region = [start] if start is not None else []
        for one in reach.nots:
            if len(region) > MOST_PIECES:
                break
            region = self._space.without(region, Reach(box=one, nots=()))
        return region

    def _taken(self, position: int, own: Region) -> tuple[list[int], Region | None]:
        """The rules before one that match some of what it does, and what they leave; None: too many pieces to say."""
        takers: list[int] = []
        left = own
        for earlier in self._before(position):
            taken = self._reaches[earlier]
            self._steps += len(left)
            if self._steps > MOST_STEPS or len(left) > MOST_PIECES:
                return takers, None
            if taken.box is None or not any(both(box, taken.box) is not None for box in left):
                continue
            takers.append(earlier)
            self._steps += len(taken.box) * sum(map(len, left))
            left = self._space.without(left, taken)
            if not left:
                break
        return takers, left

    def _before(self, position: int) -> Iterator[int]:
        """Rules before one that may be for the same tasks."""
        tasks, table = self._policy.rules[position].when.task, self._policy.table
        if tasks is None:
            yield from range(position)
            return
        for earlier in table.of_tasks(tasks):
            if earlier >= position:
                return
            yield earlier

    def _parts(self, position: int, rule: Rule, own: Region, left: Region, takers: list[int]) -> Iterator[Finding]:
        """Values that a condition lists, and that the rules before leave nothing of."""
        if not takers:
            return
        for (kind, name), value, cells in self._space.named(rule.when):
            part: Box = {(kind, name): cells}
            self._steps += len(own) + len(left)
            of_it = [piece for box in own if (piece := both(box, part)) is not None]
            if of_it and all(both(box, part) is None for box in left):
                where = ("tags", name) if kind == "tag" else (kind,)
                told = (
                    f"{name or kind} {shown(value)} never comes to {self._name(position)}: {self._who(of_it, takers)}"
                )
                yield self._warn(
                    ("rules", position, "when", *where), f"{told} before it; remove the value, or move the rule up"
                )

    def _who(self, region: Region, takers: list[int]) -> str:
        """Which rules match a region: one that does it alone, if there is one."""
        for earlier in takers:
            if not self._space.without(region, self._reaches[earlier]):
                return f"{self._placed(earlier)} matches all of it"
        some = takers
        for earlier in takers[-MOST_TRIED:]:
            fewer = [one for one in some if one != earlier]
            left = region
            for one in fewer:
                left = self._space.without(left, self._reaches[one])
            some = some if left else fewer
        more = f" and {len(some) - MOST_NAMED} more" if len(some) > MOST_NAMED else ""
        return f"{', '.join(map(self._placed, some[:MOST_NAMED]))}{more} together match all of it"

    def _never(self, position: int, rule: Rule) -> Finding:
        """A rule whose conditions cannot hold together."""
        here: Path_ = ("rules", position, "when")
        reach = self._reaches[position]
        name = self._name(position)
        if reach.box is None or both(self._space.everything, reach.box) is None:
            asked = rule.when.budget
            scope = next((one.scope for one in self._policy.budgets.each if asked and one.name == asked.name), {})
            about = ", ".join(f"{tag}: {' or '.join(values)}" for tag, values in scope.items() if values)
            why = f"{hushed(asked.shown())} never holds" if asked else "its conditions contradict each other"
            if asked and set(scope) & set(rule.when.tags):
                why += f" where the tags are as asked; the budget is about {hushed(about)}"
            return self._warn((*here, "budget"), f"{name} matches nothing: {why}; change or remove it")
        for i, one in enumerate(rule.when.not_):
            words = hushed(", ".join(one.shown()) or "always")
            alone = Reach(box=self._space.box(one), nots=())
            if not self._space.without([reach.box], alone):
                told = f"{name} matches nothing: `not` ({words}) takes away all that it asks for; change one of the two"
                return self._warn((*here, "not", i), told)
        return self._warn(
            (*here, "not"), f"{name} matches nothing: its `not` take away all that it asks for; change or remove some"
        )

    def _name(self, position: int) -> str:
        name = self._policy.rules[position].name
        return f"rule {shown(name)}" if name else "this rule"

    def _placed(self, position: int) -> str:
        """A rule's name and line, for who reads about it elsewhere."""
        policy = self._policy
        name, file, line = policy.rules[position].name, policy.rule_files[position], policy.rule_lines[position]
        where = f"line {line}" if file == policy.path else f"{file.name} line {line}"
        return f"rule {shown(name)} ({where})" if name else f"the rule in {where}"

    def _warn(self, where: Path_, text: str) -> Finding:
        return warning(self._policy, where, text)


def _last(until: datetime) -> str:
    """The last day, or the moment, that a rule held."""
    if until.hour == until.minute == until.second == until.microsecond == 0 and until.utcoffset() == timedelta(0):
        return f"{until - timedelta(days=1):%Y-%m-%d}"
    return f"{until:%Y-%m-%d %H:%M %Z}"
