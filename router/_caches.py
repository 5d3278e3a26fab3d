"""The caches before a call, as one policy asks for them, and one request's visit there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from router.cache.aside import Aside
from router.cache.exact import Entry, ExactCache, exact_key
from router.cache.flights import LEASE_S, Flights
from router.cache.lifetime import lifetime_s
from router.decide import Ruling
from router.policy import Policy, Traits
from router.spend.ledger import Ledger
from router.types import Request, Wait

if TYPE_CHECKING:
    from concurrent.futures import Future

    from router.cache.asked import Found
    from router.cache.shelf import Stored
    from router.cache.tier import SemanticCache
    from router.policy.traits import UsedOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Caches:
    """The tiers, and who is under way to them."""

    exact: ExactCache | None
    """None: no rule keeps answers."""
    alike: SemanticCache | None
    """None: no rule asks it, or its embedder is missing."""
    policy: Policy
    artifact_version: str | None
    used: Callable[[Request], UsedOf]
    """How much is used of the budgets that a request is booked on; rules may look at that."""
    flights: Flights
    aside: Aside

    def fingerprint(self, request: Request) -> str | None:
        """What identical requests share; None for one that has no JSON form."""
        traits = Traits(request, task=None, now=datetime.now(UTC), used=self.used(request))
        return exact_key(
            request,
            policy_version=self.policy.version,
            artifact_version=self.artifact_version,
            tags=self.policy.matched_tags,
            standing=self.policy.table.standing(traits),
        )

    def reject(self, decision_id: str, ledger: Ledger) -> None:
        """Forget a wrong answer: what the request left, and the entry that it was served from."""
        row = ledger.request(decision_id) or {}
        key, source = row.get("cache_key"), None
        if row.get("cache") == "semantic":
            source = json.loads(row["decision"])["semantic"]["entry"]
        if key and self.exact is not None:
            if row["cache"] == "exact" and (entry := self.exact.get(key)):
                source = entry.request_id
            self.exact.drop(key)
        if self.alike is not None:
            self.aside.settle()  # what it left may not be stored yet
            self.alike.reject(decision_id, source)

    def close(self, going_on: Caches | None = None) -> None:
        """Close the files, but none of those that other caches go on with."""
        if going_on is None or going_on.aside is not self.aside:
            self.aside.close()
        if self.exact is not None and (going_on is None or going_on.exact is not self.exact):
            self.exact.close()
        if self.alike is not None and (going_on is None or going_on.alike is not self.alike):
            self.alike.close()


class Visit:
    """One request at the caches: what it may take from them, and what its answer leaves there.

    Args:
        caches: of the policy that holds for the request.
        request: that looks for an answer.
        started_s: when it began, on `time.monotonic()`'s clock.
        is_async: beside an event loop, which the semantic cache's work must not hold up.
    """

    def __init__(self, caches: Caches, request: Request, started_s: float, *, is_async: bool) -> None:
        self._caches, self._request, self._started_s = caches, request, started_s
        self._aside = caches.aside if is_async else None
        self.outcome: Literal["miss", "exact", "semantic", "off"] = "off"
        """As the ledger knows it."""
        self.key = caches.fingerprint(request) if caches.exact is not None else None
        self._keeper: ExactCache | None = None
        self._hides_hits = False
        self._ttl_s = 0.0
        self._found: Found | None = None

    def boarded(self) -> AbstractContextManager[Future[None] | None]:
        """Be the first of identical requests under way, or learn whom to wait for."""
        # A stream ends when its reader likes; nobody waits for that.
        waits = self._request.cache.is_ordinary and not self._request.stream
        return self._caches.flights.boarded(self.key if waits else None)

    def look_up(self) -> Entry | None:
        """The answer to the same request, if there is one and it may serve."""
        control, exact = self._request.cache, self._caches.exact
        if exact is None or self.key is None or control.no_cache:
            return None
        entry = exact.get(self.key)
        if entry is None or not entry.is_within(control.max_age_s) or (entry.wait_s and self._request.stream):
            return None
        return entry

    def follow(self, ruling: Ruling) -> None:
        """Take what the rule says of keeping answers."""
        self._hides_hits = ruling.caching.hide_hits
        if self._caches.exact is not None and ruling.caching.keeps:
            self.outcome, self._ttl_s = "miss", lifetime_s(ruling.caching, self._request)
            self._keeper = None if self._request.cache.no_store else self._caches.exact

    def ask_alike(self, ruling: Ruling, patience_s: float) -> Generator[Wait, Any, Found | None]:
        """Ask the semantic cache, once a question like it that is under way has its answer; None: it is not asked."""
        cache, decision, caching = self._caches.alike, ruling.decision, ruling.caching
        if cache is None or not caching.looks_alike or not decision.plan:
            return None
        if caching.hide_hits and self._request.stream:
            return None
        until_s = time.monotonic() + min(patience_s, 2 * LEASE_S)
        costs = {candidate.model: candidate.expected_cost_usd for candidate in decision.candidates}
        look_up = partial(
            cache.look_up, self._request, caching, task=decision.task.task, clearing=ruling.clearing,
            saves_usd=costs.get(decision.plan[0]),
        )  # fmt: skip
        found: Found | None = None
        for is_patient in (True, False):
            work, left_s = partial(look_up, is_patient=is_patient), max(0.0, min(LEASE_S, until_s - time.monotonic()))
            if self._aside is None:
                found = work()
            else:
                found = yield from self._aside.result(work, seconds=left_s, unused=cache.forget)
            if found is None or found.ahead is None:
                break
            yield Wait(until=found.ahead, seconds=max(0.0, min(LEASE_S, until_s - time.monotonic())))
        if found is not None and found.stored is None:
            self._found = found
        return found

    def wait_s(self, stored: Stored, ledger: Ledger) -> float:
        """How long an answer out of the semantic cache pretends to take."""
        if not self._hides_hits:
            return 0.0
        made = ledger.request(stored.request_id)
        return made["latency_s"] if made else 0.0

    def keep(self, model: str, payload: Mapping[str, Any], cost_usd: Decimal | None) -> None:
        """Leave a whole answer where that is allowed."""
        if self._keeper is not None and self.key is not None:
            wait_s = time.monotonic() - self._started_s if self._hides_hits else 0.0
            self._keeper.put(
                self.key, Entry(model, payload, self._request.id, wait_s=wait_s), expire_s=self._ttl_s,
                tags=self._request.tags, cost_usd=cost_usd,
            )  # fmt: skip
        if self._caches.alike is not None and self._found is not None:
            self._tell(partial(self._caches.alike.keep, self._found, model, payload, cost_usd=cost_usd))

    def leave(self) -> None:
        """Go without an answer that could be kept."""
        if self._caches.alike is not None and self._found is not None:
            self._tell(partial(self._caches.alike.forget, self._found))

    def _tell(self, hear: partial[None]) -> None:
        self._found = None
        if self._aside is None:
            hear()
        else:
            self._aside.soon(hear)
