"""Which entries of a full store go first: the cheapest to make again and least asked for, of whoever holds the most.

Greedy-Dual-Size-Frequency (Cherkasova 1998, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency
caching policy", HP Laboratories): an entry's worth is

    clock + frequency * cost / size,

with the clock as it stood when the entry was stored or last asked for. The clock moves up to the worth of what goes, so
that what nobody asks for any more goes in the end, however dear it was.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")
LEAST_USD = 1e-6
"""What an answer of a free model, or of one whose price nobody knows, counts for: how often it is asked still tells."""
LEFT = 0.95
"""A full store is emptied down to this share, so that it is not full again at once."""


@dataclass(frozen=True, slots=True)
class Kept(Generic[Key]):
    """What is known of one entry."""

    key: Key
    owner: str
    """Whose it is."""
    size: float
    """Bytes, or 1 where entries are counted."""
    usd: float
    """What it cost to make."""
    hits: int
    """Times it was asked for, the first one included."""
    clock: float

    @property
    def worth(self) -> float:
        """USD per byte above the clock."""
        return self.clock + self.hits * max(self.usd, LEAST_USD) / max(self.size, 1.0)


def victims(kept: Iterable[Kept[Key]], most: float) -> tuple[list[Key], float]:
    """What must go, and where the clock stands then.

    Whoever holds the most loses first, down to the second largest, then the two in turn: so one who floods the store
    evicts only entries of his own, until he holds no more than others do.

    Args:
        kept: all entries of the store.
        most: sum of their sizes that may stay.

    Returns:
        Keys of the least worth, and the highest worth among them (0.0 if nothing must go).
    """
    by_owner: dict[str, list[tuple[float, int, Kept[Key]]]] = {}
    sizes: dict[str, float] = {}
    for number, one in enumerate(kept):
        by_owner.setdefault(one.owner, []).append((one.worth, number, one))
        sizes[one.owner] = sizes.get(one.owner, 0.0) + one.size
    for entries in by_owner.values():
        heapq.heapify(entries)
    largest = [(-size, owner) for owner, size in sizes.items()]
    heapq.heapify(largest)
    total, clock = sum(sizes.values()), 0.0
    gone: list[Key] = []
    while total > most and largest:
        held, owner = heapq.heappop(largest)
        worth, _, one = heapq.heappop(by_owner[owner])
        gone.append(one.key)
        clock, total = max(clock, worth), total - one.size
        if by_owner[owner]:
            heapq.heappush(largest, (held + one.size, owner))
    return gone, clock
