"""The semantic cache of a router: who may be looked up, what is stored, and what each answer teaches.

    found = cache.look_up(request, ruling's caching, ...)
    if found.stored: serve it
    else: call the model, then cache.keep(found, ...) with its answer, or cache.forget(found) if none came

A cache that does not work (a full disk, a damaged file) says so in the log and counts as empty; no request fails.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from router.answers import response_text
from router.cache.alone import for_nobody_else
from router.cache.asked import Asked, Found, objection
from router.cache.evidence import FEATURES
from router.cache.exact import owner_of
from router.cache.identity import identity_of
from router.cache.near_flights import NearFlights
from router.cache.partition import NotAlike, last_text, partition, read_secret
from router.cache.promises import Promise
from router.cache.semantic import Decision
from router.cache.shelf import Shelf, may_be_kept
from router.cache.vetoes import VERSION as VETOES
from router.cache.vetoes import normal, traits
from router.decisions import Cached
from router.embedding import VERSION as EMBEDDER
from router.embedding import shared
from router.errors import RouterError
from router.policy import Caching
from router.types import Request

log = logging.getLogger(__name__)

REMEMBERED = 4_096
"""Hits that can still teach something when they are rejected."""
PLAIN = (sqlite3.Error, OSError, RouterError)
"""Failures whose message holds no text of a request."""


class SemanticCache:
    """Looks up what is alike, within a partition; threads may share it, and it is safe to fork."""

    def __init__(
        self, folder: Path, *, routes_version: str, artifact_version: str | None, tags: tuple[str, ...]
    ) -> None:
        """Open the cache of a state folder.

        Args:
            folder: where its file and its key lie.
            routes_version: of the policy.
            artifact_version: of its artifact.
            tags: those that the policy's rules look at.

        Raises:
            StoreError: the file or the key cannot be used.
        """
        self._shelf = Shelf(folder / "semantic.sqlite3")
        self._secret = read_secret(folder / "semantic.key")
        self._routes, self._artifact, self._tags = routes_version, artifact_version, tags
        self._promises: dict[tuple[float, float], Promise] = {}
        self._hits: OrderedDict[str, tuple[Promise, Decision]] = OrderedDict()
        self._flights = NearFlights()

    def look_up(
        self, request: Request, caching: Caching, *, task: str | None, clearing: Collection[str],
        saves_usd: Decimal | None, is_patient: bool = True,
    ) -> Found:  # fmt: skip
        """Decide one request, or say for whom it should wait.

        Args:
            request: as it came.
            caching: what its rule says.
            task: as decided.
            clearing: models whose answers clear the bar that holds for this request.
            saves_usd: what the call is expected to cost.
            is_patient: it has not waited yet.
        """
        try:
            asked = self.asked(request, caching, task)
            if request.cache.no_cache:
                return Found(_refused(caching, "asked for no-cache"), asked=asked)
            with self._shelf.turn():
                if is_patient and (ahead := self._ahead(asked, task or "")):
                    return Found(_refused(caching, "waits for a question like it"), ahead=ahead)
                return self._decide(asked, task or "", clearing, saves_usd)
        except NotAlike as refusal:
            return Found(_refused(caching, str(refusal)))
        except Exception as error:  # noqa: BLE001  a model can still answer
            _tell(error)
            return Found(_refused(caching, "the cache does not work"))

    def keep(self, found: Found, model: str, payload: Mapping[str, Any], *, cost_usd: Decimal | None) -> None:
        """Learn from a model's answer, and store it with what it cost."""
        try:
            self._learn(found, model, payload, cost_usd)
        finally:
            self._land(found)

    def add(
        self, request: Request, caching: Caching, task: str | None, source: str, payload: Mapping[str, Any], *,
        ttl_s: float, cost_usd: Decimal | None,
    ) -> None:  # fmt: skip
        """Store an answer that nobody was asked for, in the place of an older one to the same question.

        Raises:
            NotAlike: no request of this kind is looked up by likeness, or the answer is for nobody else.
            StoreError: it cannot be written.
        """
        asked = self.asked(request, caching, task)
        if asked.is_cut:
            raise NotAlike("its last text is longer than the embedder's window")
        identity = identity_of(payload, asked.text)
        with self._shelf.turn():
            self._shelf.drop_same(asked.partition, asked.text)
            if why := for_nobody_else(request, response_text(payload)):
                raise NotAlike(why)
            self._shelf.add(
                asked.partition, asked.text, asked.vector, identity, source, payload, request.id,
                ttl_s=ttl_s, owner=owner_of(request.tags, self._secret), usd=float(cost_usd or 0),
            )  # fmt: skip

    def forget(self, found: Found) -> None:
        """No answer came that could be compared or kept, or a stored one was not served after all."""
        self._land(found)
        if found.decision is None or found.asked is None:
            return
        try:
            with self._shelf.turn():
                self.promise(found.asked.caching).tier.retract(found.decision)
        except Exception as error:  # noqa: BLE001  the request has a result of its own
            _tell(error)

    def reject(self, request_id: str, entry: str | None = None) -> None:
        """Forget what a request left, and the entry that it was served from, which was wrong.

        Args:
            request_id: whose answer was wrong.
            entry: the request whose answer was served to it, if there is one.
        """
        try:
            with self._shelf.turn():
                for one in (request_id, entry):
                    if one is not None:
                        self._shelf.drop(request_id=one)
                hit = self._hits.pop(request_id, None)
                if hit is not None:
                    promise, decision = hit
                    # It was served and stays so: only the label is new.
                    promise.judge(replace(decision, outcome="miss"), wrong=True, request_id=request_id)
        except PLAIN as error:
            _tell(error)

    def close(self) -> None:
        """Close the file."""
        self._shelf.close()

    def asked(self, request: Request, caching: Caching, task: str | None) -> Asked:
        """A request as it is looked up.

        Raises:
            NotAlike: no request of this kind is.
        """
        text = normal(last_text(request))
        where = partition(
            request, self._secret, task=task, routes_version=self._routes, artifact_version=self._artifact,
            tags=self._tags, epoch=caching.epoch,
        )  # fmt: skip
        embedded = shared().embed([text])
        return Asked(request, caching, where, text, embedded.vectors[0], embedded.truncated[0])

    def _decide(self, asked: Asked, task: str, clearing: Collection[str], saves_usd: Decimal | None) -> Found:
        caching, promise = asked.caching, self.promise(asked.caching)
        promise.take_in(asked.partition)
        decision = promise.tier.lookup(asked.partition, asked.text, asked.vector, task=task, truncated=asked.is_cut)
        stored = promise.stored(decision)
        outcome, reason = decision.outcome, decision.reason
        if decision.entry is not None and (why := objection(stored, asked, clearing)):
            promise.tier.retract(decision)
            # The truth will still be known: what is learned from it must not count as an audit of a hit.
            decision = replace(decision, outcome="miss", audit=None, entry=None)
            outcome, reason, stored = "miss", why, None
        # Half a millisecond, so only where somebody will ask for it.
        bound = promise.tier.standing(task).wrong_upper if stored else None
        note = Cached(
            mode=caching.mode,
            outcome=outcome,
            reason=reason,
            entry=stored.request_id if stored else None,
            similarity=decision.cosine,
            p_wrong=decision.p_wrong,
            max_error=caching.max_error,
            wrong_upper=bound,
            saves_usd=saves_usd if outcome == "hit" else None,
        )
        serves = outcome == "hit" and caching.mode == "on"
        if outcome == "hit":
            promise.ask_for(decision)
        if serves:
            self._hits[asked.request.id] = (promise, decision)
            while len(self._hits) > REMEMBERED:
                self._hits.popitem(last=False)
        if serves or not asked.may_fly:
            return Found(note, stored if serves else None, asked, decision)
        flight = self._flights.lead(asked.partition, asked.vector, traits(asked.text))
        return Found(note, None, asked, decision, flight=flight)

    def _learn(self, found: Found, model: str, payload: Mapping[str, Any], cost_usd: Decimal | None) -> None:
        asked, decision = found.asked, found.decision
        if asked is None or asked.is_cut:
            return
        if asked.request.cache.no_store or not may_be_kept(payload):
            self.forget(found)
            return
        try:
            promise = self.promise(asked.caching)
            identity = identity_of(payload, asked.text, promise.others(decision) if decision else ())
            with self._shelf.turn():
                if decision is not None:
                    promise.judge(decision, wrong=decision.answer != identity, request_id=asked.request.id)
                else:
                    self._shelf.drop_same(asked.partition, asked.text)
                if for_nobody_else(asked.request, response_text(payload)):
                    return
                self._shelf.add(
                    asked.partition, asked.text, asked.vector, identity, model, payload, asked.request.id,
                    ttl_s=asked.caching.ttl, owner=owner_of(asked.request.tags, self._secret), usd=float(cost_usd or 0),
                )  # fmt: skip
        except Exception as error:  # noqa: BLE001  the answer is paid for
            _tell(error)

    def _land(self, found: Found) -> None:
        if found.flight is not None:
            with self._shelf.turn():
                self._flights.land(found.flight)

    def _ahead(self, asked: Asked, task: str) -> Future[None] | None:
        """A question under way whose answer would be served to this one, as far as can be told before it is there."""
        nearest = self._flights.nearest(asked.partition, asked.vector) if asked.may_fly else None
        if nearest is None:
            return None
        one, cosine = nearest
        served = self.promise(asked.caching).tier.would_serve(
            asked.partition, traits(asked.text), asked.vector, other=one.traits, cosine=cosine, task=task
        )
        return one.flight.landed if served else None

    def promise(self, caching: Caching) -> Promise:
        """What keeps the promise that a rule makes."""
        key = (caching.max_error, caching.confidence)
        with self._shelf.turn():
            if key not in self._promises:
                self._promises[key] = Promise(
                    self._shelf,
                    max_error=key[0],
                    confidence=key[1],
                    versions=f"{EMBEDDER} {VETOES} {len(FEATURES)} {self._routes} {self._artifact}",
                    seed=int.from_bytes(self._secret[:8], "big"),
                )
            return self._promises[key]


def _refused(caching: Caching, reason: str) -> Cached:
    return Cached(mode=caching.mode, outcome="refused", reason=reason)


def _tell(error: Exception) -> None:
    reason = f"{type(error).__name__}: {error}" if isinstance(error, PLAIN) else type(error).__name__
    log.warning("the semantic cache does not work (%s); requests are served without", reason)
