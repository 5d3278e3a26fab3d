"""The semantic cache of a router: who may be looked up, what is stored, and what each answer teaches.

    found = cache.look_up(request, ruling's caching, ...)
    if found.stored: serve it
    else: call the model, then cache.keep(found, ...) with its answer, or cache.forget(found) if none came

A cache that does not work (a full disk, a damaged file) says so in the log and counts as empty; no request fails.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import OrderedDict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from router.cache.evidence import FEATURES
from router.cache.identity import JUDGE, identity_of
from router.cache.neighbours import Floats
from router.cache.partition import NotAlike, last_text, partition, read_secret
from router.cache.semantic import Decision, SemanticTier
from router.cache.shelf import Label, Shelf, Stored, may_be_kept
from router.cache.vetoes import VERSION as VETOES
from router.cache.vetoes import normal
from router.decisions import Cached
from router.embedding import VERSION as EMBEDDER
from router.embedding import shared
from router.errors import RouterError
from router.policy import Caching
from router.types import Request

log = logging.getLogger(__name__)

REMEMBERED = 4_096
"""Hits that can still teach something when they are rejected."""
IN_MEMORY = 1_000
"""Partitions of which a process holds the entries; the one asked longest ago is read again when it is asked."""
COMPARED = 3
"""Stored answers that a new one is compared with."""
PLAIN = (sqlite3.Error, OSError, RouterError)
"""Failures whose message holds no text of a request."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the cache says about one request; goes back to it with the answer."""

    caching: Caching
    note: Cached
    stored: Stored | None = None
    """What to serve; None: call the model."""
    text: str = ""
    vector: Floats | None = None
    """None: nothing of this request is learned or kept."""
    decision: Decision | None = None


@dataclass(slots=True)
class _Shelved:
    """The part of the shelf that a tier knows, of one partition."""

    last: int = 0
    living: deque[tuple[float, int]] = field(default_factory=deque)
    """When each entry expires, and its number in the tier."""


@dataclass(slots=True)
class _Promise:
    """One tier for each promise that the policy makes."""

    tier: SemanticTier
    name: str
    known: dict[str, _Shelved] = field(default_factory=dict)
    """By partition, the one asked last at the end."""
    rows: dict[int, int] = field(default_factory=dict)
    """Number in the tier -> number on the shelf."""


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
        self._promises: dict[tuple[float, float], _Promise] = {}
        self._hits: OrderedDict[str, tuple[_Promise, Decision]] = OrderedDict()

    def look_up(
        self, request: Request, caching: Caching, *, task: str | None, clearing: Collection[str],
        saves_usd: Decimal | None,
    ) -> Found:  # fmt: skip
        """Decide one request.

        Args:
            request: as it came.
            caching: what its rule says.
            task: as decided.
            clearing: models whose answers clear the bar that holds for this request.
            saves_usd: what the call is expected to cost.
        """
        try:
            text = normal(last_text(request))
            where = partition(
                request, self._secret, task=task, routes_version=self._routes, artifact_version=self._artifact,
                tags=self._tags,
            )  # fmt: skip
            embedded = shared().embed([text])
            with self._shelf.turn():
                return self._decide(
                    request, caching, where, text, embedded.vectors[0], embedded.truncated[0], task or "", clearing,
                    saves_usd,
                )  # fmt: skip
        except NotAlike as refusal:
            return Found(caching, Cached(mode=caching.mode, outcome="refused", reason=str(refusal)))
        except Exception as error:  # noqa: BLE001  a model can still answer
            _tell(error)
            return Found(caching, Cached(mode=caching.mode, outcome="refused", reason="the cache does not work"))

    def keep(self, found: Found, request: Request, model: str, payload: Mapping[str, Any]) -> None:
        """Learn from a model's answer, and store it."""
        decision, vector = found.decision, found.vector
        if decision is None or vector is None:
            return
        if not may_be_kept(payload):
            self.forget(found)
            return
        try:
            promise = self._promise(found.caching)
            identity = identity_of(payload, found.text, self._others(promise, decision))
            with self._shelf.turn():
                promise.tier.learn(decision, answer=identity)
                self._note(promise, decision, wrong=decision.answer != identity)
                self._shelf.add(
                    decision.partition, found.text, vector, identity, model, payload, request.id,
                    ttl_s=found.caching.ttl,
                )  # fmt: skip
        except Exception as error:  # noqa: BLE001  the answer is paid for
            _tell(error)

    def forget(self, found: Found) -> None:
        """No answer came that could be compared or kept."""
        if found.decision is None or found.stored is not None:
            return
        try:
            with self._shelf.turn():
                self._promise(found.caching).tier.retract(found.decision)
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
                    promise.tier.judge(replace(decision, outcome="miss"), wrong=True)
                    self._note(promise, decision, wrong=True)
        except PLAIN as error:
            _tell(error)

    def close(self) -> None:
        """Close the file."""
        self._shelf.close()

    def _decide(
        self, request: Request, caching: Caching, where: str, text: str, vector: Floats, truncated: bool, task: str,
        clearing: Collection[str], saves_usd: Decimal | None,
    ) -> Found:  # fmt: skip
        promise = self._promise(caching)
        self._take_in(promise, where)
        decision = promise.tier.lookup(where, text, vector, task=task, truncated=truncated)
        outcome, reason = decision.outcome, decision.reason
        stored: Stored | None = None
        why: str | None
        if decision.entry is not None:
            stored = self._shelf.answer(promise.rows[decision.entry])
            if stored is None:
                self._lose(promise, where, decision.entry)
                why = "the stored answer is gone"
            else:
                why = None if stored.model in clearing else f"{stored.model} wrote it and does not clear the bar now"
            if why is not None:
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
        if serves:
            self._hits[request.id] = (promise, decision)
            while len(self._hits) > REMEMBERED:
                self._hits.popitem(last=False)
        kept = None if truncated else vector
        return Found(caching, note, stored if serves else None, text, kept, decision)

    def _promise(self, caching: Caching) -> _Promise:
        key = (caching.max_error, caching.confidence)
        with self._shelf.turn():
            if key not in self._promises:
                seed = int.from_bytes(self._secret[:8], "big")
                # Vectors, traits, features and routes: what a label was learned under, or it says nothing.
                versions = f"{EMBEDDER} {VETOES} {len(FEATURES)} {self._routes} {self._artifact}"
                made = _Promise(
                    SemanticTier(max_error=key[0], confidence=key[1], judge=JUDGE, seed=seed),
                    f"{key[0]:g} {key[1]:g} {versions}",
                )
                for one in self._shelf.labels(made.name, len(FEATURES)):
                    made.tier.recall(one.task, one.p_wrong, one.features, wrong=one.wrong, audit=one.audit)
                self._promises[key] = made
            return self._promises[key]

    def _take_in(self, promise: _Promise, where: str) -> None:
        """What this and other processes stored in a partition since the last time, and what expired."""
        shelved = promise.known.get(where) or _Shelved()
        for one in self._shelf.questions(where, shelved.last):
            number = promise.tier.insert(where, one.text, one.vector.astype(np.float32), one.answer)
            promise.rows[number] = one.id
            shelved.living.append((one.expires_s, number))
            shelved.last = one.id
        now_s = time.time()
        while shelved.living and shelved.living[0][0] <= now_s:
            self._lose(promise, where, shelved.living.popleft()[1])
        promise.known.pop(where, None)
        if shelved.living:
            promise.known[where] = shelved
        else:  # most conversations are asked once and never hold an entry: they leave nothing here
            promise.tier.drop(where)
        if len(promise.known) > IN_MEMORY:
            oldest = next(iter(promise.known))
            for _, number in promise.known.pop(oldest).living:
                promise.rows.pop(number, None)
            promise.tier.drop(oldest)

    def _lose(self, promise: _Promise, where: str, number: int) -> None:
        promise.tier.remove(where, number)
        promise.rows.pop(number, None)

    def _others(self, promise: _Promise, decision: Decision) -> list[tuple[str, Mapping[str, Any]]]:
        """The neighbours' answers, one of each, the proposed one first."""
        nearest: dict[str, int] = {}
        for voter in sorted(decision.voters, key=lambda one: one.answer != decision.answer):
            nearest.setdefault(voter.answer, voter.entry)
        found = []
        for identity, number in list(nearest.items())[:COMPARED]:
            row = promise.rows.get(number)
            stored = self._shelf.answer(row) if row is not None else None
            if stored is not None:
                found.append((identity, stored.payload))
        return found

    def _note(self, promise: _Promise, decision: Decision, *, wrong: bool) -> None:
        if decision.features is None or decision.p_wrong is None:
            return
        self._shelf.add_label(
            promise.name, Label(decision.task, decision.p_wrong, wrong, decision.audit, decision.features)
        )


def _tell(error: Exception) -> None:
    reason = f"{type(error).__name__}: {error}" if isinstance(error, PLAIN) else type(error).__name__
    log.warning("the semantic cache does not work (%s); requests are served without", reason)
