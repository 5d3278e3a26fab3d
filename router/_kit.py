"""What belongs to one version of a policy: made whole and exchanged whole; loaded is only what the policy asks for."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router._caches import Caches
from router._journey import Books
from router.cache.aside import Aside
from router.cache.exact import ExactCache
from router.cache.flights import Flights
from router.canaries import Canaries
from router.decide import Ruling, decide
from router.errors import ConfigurationError
from router.pace import RECENT_S, PaceMemory
from router.policy import Policy, load_policy
from router.sessions import Sessions
from router.spend.ledger import Ledger
from router.spend.texts import open_texts
from router.spend.till import Till
from router.stores.disk import TextStore
from router.types import Request
from router.warmth import Memory

if TYPE_CHECKING:
    from router.cache.tier import SemanticCache
    from router.predict import Predictor
    from router.predict.learner import Learner
    from router.spend.runs import Breaker

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """A policy with everything that decides and writes down by it."""

    policy: Policy
    predictor: Predictor | None
    learner: Learner | None
    books: Books
    caches: Caches

    def decide(self, request: Request) -> Ruling:
        """Where a request goes, at this moment."""
        experience = self.learner.now() if self.learner is not None else None
        return decide(
            request, self.policy, self.predictor, datetime.now(UTC), experience, self.books.known(request),
            self.books.squeezed(request),
        )  # fmt: skip

    def heard(self, row: Mapping[str, Any], score: float) -> None:
        """Tell a canary, if one of the policy wrote the answer, what somebody thought of it."""
        name = json.loads(row["decision"] or "{}").get("canary")
        canary = self.policy.canaries.get(name) if name is not None else None
        least = canary.rollback.quality if canary is not None else None
        if canary is None or self.books.canaries is None or least is None or row["model_served"] != canary.model:
            return
        self.books.canaries.heard(name, "quality", score, least)

    def close(self) -> None:
        """Close its files."""
        if self.books.texts is not None:
            self.books.texts.close()
        self.caches.close()


def make_kit(path: Path, folder: Path, ledger: Ledger) -> Kit:
    """Load a policy and make what it asks for.

    Args:
        path: of the policy file.
        folder: of the state: caches and kept texts.
        ledger: where requests are written down, and what was learned from.

    Raises:
        ConfigurationError: the policy or its artifact is wrong, or a store cannot be opened.
    """
    policy = load_policy(path)
    ledger.keep_prices(price for prices in policy.prices.values() for price in prices)
    trained, data = _predictor(policy), policy.data
    ledger.holds.adopt(policy.budgets.each)
    books = Books(
        ledger=ledger,
        texts=open_texts(folder, data.store_text, keep_days=data.keep_days, tasks=data.tasks),
        memory=Memory(policy.cacheable),
        paces=_pace_memory(ledger, policy),
        till=Till(policy.budgets, ledger.holds) if policy.budgets.each else None,
        breaker=_breaker(folder, ledger, policy),
        sessions=Sessions(),
        canaries=Canaries(ledger) if policy.canaries else None,
    )
    caches = Caches(
        exact=ExactCache(TextStore(folder / "cache")) if policy.caches_exactly else None,
        alike=_semantic_cache(folder, policy, trained),
        policy=policy,
        artifact_version=trained.version if trained else None,
        used=books.used,
        flights=Flights(),
        aside=Aside(),
    )
    return Kit(policy=policy, predictor=trained, learner=_learner(ledger, policy), books=books, caches=caches)


def _predictor(policy: Policy) -> Predictor | None:
    """The trained artifact, if the policy names one; it knows already which of the policy's bars it carries."""
    if policy.artifact is None:
        return None  # numpy stays out of a service that has nothing to predict
    from router.learned import certify
    from router.predict import Predictor

    trained = Predictor.load(policy.artifact)
    certify(trained, policy)
    return trained


def _semantic_cache(folder: Path, policy: Policy, trained: Predictor | None) -> SemanticCache | None:
    """The semantic cache, if a rule asks it and the embedder is there; its absence is said once, in the log."""
    if not policy.caches_alike:
        return None  # the same
    from router.embedding import missing

    if reason := missing():
        log.warning("only the same request is served from the cache, none that is alike: %s", reason)
        return None
    from router.cache.tier import SemanticCache

    return SemanticCache(
        folder,
        routes_version=policy.routes_version,
        artifact_version=trained.version if trained else None,
        tags=policy.matched_tags,
    )


def _learner(ledger: Ledger, policy: Policy) -> Learner | None:
    """What hears feedback, if a rule learns from it."""
    if not policy.learns:
        return None  # the same
    from router.predict.learner import Learner

    return Learner(ledger, policy.evidence)


def _pace_memory(ledger: Ledger, policy: Policy) -> PaceMemory | None:
    """What knows how long calls take, if a rule limits latency."""
    if not policy.limits_latency:
        return None
    return PaceMemory(ledger.recent_calls(int((time.time() - RECENT_S) * 1e6)))


def _breaker(folder: Path, ledger: Ledger, policy: Policy) -> Breaker | None:
    """What stops runs, if the policy has it look at them."""
    if policy.breaker.mode == "off":
        return None
    from router.cache.partition import read_secret
    from router.spend.runs import Breaker

    return Breaker(policy.breaker, ledger.runs, read_secret(folder / "runs.key"))


def state_folder(given: str | os.PathLike[str] | None) -> Path:
    """The folder of ledger and caches: argument, else `CLEARBAR_STATE`, else `./.clearbar`.

    Raises:
        ConfigurationError: it is no directory on a local disk.
    """
    folder = given if given is not None else os.environ.get("CLEARBAR_STATE") or ".clearbar"
    if not isinstance(folder, (str, os.PathLike)) or "://" in str(folder):
        raise ConfigurationError(f"state {folder!r} is not supported yet; give a directory on a local disk")
    return Path(folder)
