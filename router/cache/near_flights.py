"""Questions under way that are alike: the second waits for the first one's answer and is looked up like any other then.

Waiting promises nothing: whether the answer is served is decided when it is there, by the same certificate.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from router.cache.flights import Flight
from router.cache.neighbours import Floats
from router.cache.vetoes import Traits


@dataclass(slots=True, eq=False)
class NearFlight:
    """A question that a model is answering."""

    partition: str
    vector: Floats
    traits: Traits
    flight: Flight = field(default_factory=Flight)


class NearFlights:
    """Questions under way in this process, by partition; their owner locks."""

    def __init__(self) -> None:
        self._under_way: dict[str, list[NearFlight]] = {}

    def lead(self, partition: str, vector: Floats, traits: Traits) -> NearFlight:
        """Start one; it must be told to `land`, however it ends."""
        mine = NearFlight(partition, vector, traits)
        self._under_way.setdefault(partition, []).append(mine)
        return mine

    def nearest(self, partition: str, vector: Floats) -> tuple[NearFlight, float] | None:
        """The most alike one under way and its cosine; what has been for too long, or was before a fork, counts not."""
        living = [one for one in self._under_way.get(partition, ()) if not one.flight.is_over]
        if not living:
            self._under_way.pop(partition, None)
            return None
        self._under_way[partition] = living
        cosines = np.einsum("ij,j->i", np.stack([one.vector for one in living]), vector)
        best = int(cosines.argmax())
        return living[best], float(cosines[best])

    def land(self, mine: NearFlight) -> None:
        """Let all go that wait for it; more than once does no harm."""
        here = self._under_way.get(mine.partition, [])
        if mine in here:
            here.remove(mine)
        if not here:
            self._under_way.pop(mine.partition, None)
        if not mine.flight.landed.done():
            mine.flight.landed.set_result(None)
