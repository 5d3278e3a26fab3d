"""Which rules of two policies may meet the same request, and which meets all that another does."""

from __future__ import annotations

from datetime import datetime

from router.policy.policy import Policy
from router.policy.regions import Box, Reach, Region, Space, both
from router.policy.schema import Rule


class Overlap:
    """Holds rules of two policies against each other; says only what is certain.

    Args:
        a: a policy.
        b: another one, whose budgets count where both have one of the same name.
        now: what had ended by then meets nothing.
    """

    def __init__(self, a: Policy, b: Policy, now: datetime) -> None:
        rules = [*a.rules, *b.rules]
        self._space = Space(rules, {one.name: one for one in (*a.budgets.each, *b.budgets.each)}, now)
        self._reaches = {id(rule): self._space.reach(rule) for rule in rules}

    def apart(self, one: Rule, other: Rule) -> bool:
        """Whether no request meets both."""
        first, second = self._reaches[id(one)], self._reaches[id(other)]
        shared = None if first.box is None or second.box is None else both(first.box, second.box)
        return shared is None or not self._left(shared, (*first.nots, *second.nots))

    def covers(self, wide: Rule, narrow: Rule) -> bool:
        """Whether each request that meets `narrow` meets `wide`."""
        reach = self._reaches[id(narrow)]
        own = [] if reach.box is None else self._left(reach.box, reach.nots)
        return not self._space.without(own, self._reaches[id(wide)])

    def _left(self, box: Box, nots: tuple[Box, ...]) -> Region:
        start = both(self._space.everything, box)
        region: Region = [] if start is None else [start]
        for one in nots:
            region = self._space.without(region, Reach(box=one, nots=()))
        return region
