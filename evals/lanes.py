"""How many calls may be under way: by provider (a lane), and by money (the purse). One event loop uses them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from decimal import Decimal

from evals.plan import Asks, Job
from evals.types import CALLS_AT_ONCE

FIRST_LIMIT = 8
"""Calls at once with which a lane starts."""
LONGEST_PAUSE_S = 600.0
"""The longest pause a provider may ask for; after it one more call finds out."""


class Lane:
    """The calls to one provider: as many at once as it takes without complaint, and a pause when it asks for one.

    Additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does it: until the first complaint every
    answer raises the limit by one, so that it doubles with each round; from then on by one a round. A complaint
    halves it, but only once for all the calls that were already under way.
    """

    def __init__(self, cap: int) -> None:
        self.jobs: deque[Job] = deque()
        self.limit = float(min(FIRST_LIMIT, cap))
        self.in_flight = 0
        self._cap = cap
        self._is_probing = True
        self._cut_s = self._open_s = float("-inf")

    def next(self, now_s: float) -> Job | None:
        """The next job that may start now, taken out; None when there is none, or it must wait."""
        if not self.jobs or self.in_flight >= int(self.limit) or now_s < self._open_s:
            return None
        return self.jobs.popleft()

    def put_back(self, job: Job) -> None:
        """Give back a job that could not be done now; it is the next one."""
        self.jobs.appendleft(job)

    def pause_s(self, now_s: float) -> float | None:
        """Seconds until a waiting job may start; None when it does not wait for the clock."""
        return self._open_s - now_s if self.jobs and now_s < self._open_s else None

    def note_answer(self) -> None:
        """The provider answered: it takes a little more."""
        self.limit = min(float(self._cap), self.limit + (1.0 if self._is_probing else 1.0 / self.limit))

    def note_complaint(self, started_s: float, now_s: float, retry_after_s: float | None = None) -> None:
        """The provider was overloaded by a call that started then, and may have asked for a pause."""
        if started_s > self._cut_s:
            self.limit, self._is_probing, self._cut_s = max(1.0, self.limit / 2), False, now_s
        if retry_after_s:
            self._open_s = max(self._open_s, now_s + min(retry_after_s, LONGEST_PAUSE_S))


class Purse:
    """What may still be spent: money gone plus the worst case of all calls in flight stays below the cap."""

    def __init__(self, spent: Decimal, cap: Decimal | None) -> None:
        self.spent, self._cap, self._held = spent, cap, Decimal(0)

    def hold(self, amount: Decimal | None) -> bool:
        """Set the most that a call can cost aside, if it fits."""
        if self._cap is not None and self.spent + self._held + (amount or 0) > self._cap:
            return False
        self._held += amount or 0
        return True

    def settle(self, held: Decimal | None, cost: Decimal | None) -> None:
        """Book a call that has come home. A lost call may still be billed: its worst case counts."""
        self._held -= held or 0
        self.spent += (held or 0) if cost is None else cost


def lanes_of(jobs: Sequence[Job], router: Asks, concurrency: int = CALLS_AT_ONCE) -> dict[str, Lane]:
    """One lane for each provider, by candidate; a model on this machine has a lane of its own, with one call at once.

    Args:
        jobs: in the order in which they are asked.
        router: knows where each candidate is served.
        concurrency: calls at once that a hosted provider gets at most.
    """
    lanes: dict[tuple[str, str], Lane] = {}
    by_candidate: dict[str, Lane] = {}
    for job in jobs:
        candidate = job.cell.candidate
        if candidate not in by_candidate:
            place = router.policy.deployments[candidate][0]
            provider = place.call.partition("/")[0]
            is_local = provider == "local"
            key = (place.call if is_local else provider, place.api_base or "")
            cap = 1 if is_local else concurrency
            by_candidate[candidate] = lanes.setdefault(key, Lane(cap))
        by_candidate[candidate].jobs.append(job)
    return by_candidate
