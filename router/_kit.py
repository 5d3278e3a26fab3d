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

from router import entities
from router._books import Books
from router._caches import Caches
from router.cache.aside import Aside
from router.cache.exact import ExactCache
from router.cache.flights import Flights
from router.canaries import Canaries
from router.decide import Ruling, decide
from router.errors import ConfigurationError, PolicyError
from router.pace import RECENT_S, PaceMemory
from router.policy import Policy, load_policy
from router.policy.kept import as_version
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

    def close(self, going_on: Kit | None = None) -> None:
        """Close its files, but none of those that another kit goes on with."""
        if self.books.texts is not None and (going_on is None or going_on.books.texts is not self.books.texts):
            self.books.texts.close()
        self.caches.close(going_on.caches if going_on is not None else None)


def make_kit(path: Path, folder: Path, ledger: Ledger, before: Kit | None = None) -> Kit:
    """Load a policy and make what it asks for.

    Args:
        path: of the policy file.
        folder: of the state: caches and kept texts.
        ledger: where requests are written down, and what was learned from.
        before: the kit that holds, whose memories and open files are taken over as far as they mean the same.

    Returns:
        The kit; the one before if neither policy nor artifact has changed.

    Raises:
        ConfigurationError: the policy or its artifact is wrong, a store cannot be opened, or, with a kit before, a file
            of evidence is broken that was not then.
    """
    policy = load_policy(path)
    if policy.approvals is not None or (before is not None and before.policy.approvals is not None):
        from router.policy.signing import require_approval  # nobody else needs to read keys

        require_approval(policy, before.policy if before is not None else None)
    if before is not None and (broken := set(policy.evidence_problems) - set(before.policy.evidence_problems)):
        raise PolicyError(*sorted(broken))  # at the start it counts as missing; here there is one that holds
    if (asks := policy.names_asked) is not None and (reason := entities.missing()):
        # Without them, what should stay at home would go out.
        raise PolicyError(
            policy.document.problem(("rules", asks, "when"), f"findings: names cannot be found: {reason}")
        )
    trained = _predictor(policy)
    if before is not None:
        if trained is not None and before.predictor is not None and trained.version == before.predictor.version:
            trained = before.predictor  # it remembers which bars it carries
        if policy.version == before.policy.version and trained is before.predictor:
            return before
    if trained is not None:
        from router.learned import certify

        certify(trained, policy)
    ledger.keep_prices(price for prices in policy.prices.values() for price in prices)
    ledger.holds.adopt(policy.budgets.each)
    data, old, tiers = policy.data, before.books if before else None, before.caches if before else None
    has_texts = before is not None and before.policy.data == data
    books = Books(
        ledger=ledger,
        texts=old.texts if old and has_texts else
        open_texts(folder, data.store_text, keep_days=data.keep_days, tasks=data.tasks),
        memory=old.memory if old else Memory(policy.cacheable),
        paces=old.paces if old and old.paces and policy.limits_latency else _pace_memory(ledger, policy),
        till=Till(policy.budgets, ledger.holds) if policy.budgets.each else None,
        breaker=_breaker(folder, ledger, policy),
        sessions=old.sessions if old else Sessions(),
        canaries=Canaries(ledger) if policy.canaries else None,
    )  # fmt: skip
    caches = Caches(
        exact=_exact_cache(folder, policy, tiers),
        alike=_semantic_cache(folder, policy, trained, before),
        policy=policy,
        artifact_version=trained.version if trained else None,
        used=books.used,
        flights=tiers.flights if tiers else Flights(),
        aside=tiers.aside if tiers else Aside(),
    )
    return Kit(policy=policy, predictor=trained, learner=_learner(ledger, policy, before), books=books, caches=caches)


def note(kit: Kit, ledger: Ledger) -> None:
    """Write down which version of the policy holds in this process from now on; what cannot be written is logged."""
    try:
        version, contents = as_version(kit.policy, kit.predictor.version if kit.predictor is not None else None)
        ledger.versions.keep(version, contents)
    except Exception as error:  # noqa: BLE001  whatever it is, the policy serves
        log.warning("version %s of the policy is missing in its history: %s", kit.policy.version, error)


def _predictor(policy: Policy) -> Predictor | None:
    """The trained artifact, if the policy names one."""
    if policy.artifact is None:
        return None  # numpy stays out of a service that has nothing to predict
    from router.predict import Predictor

    return Predictor.load(policy.artifact)


def _exact_cache(folder: Path, policy: Policy, before: Caches | None) -> ExactCache | None:
    """The exact cache, if a rule keeps answers; every key in it names the policy's version, so all may share it."""
    if not policy.caches_exactly:
        return None
    return before.exact if before and before.exact else ExactCache(TextStore(folder / "cache"))


def _semantic_cache(
    folder: Path, policy: Policy, trained: Predictor | None, before: Kit | None
) -> SemanticCache | None:
    """The semantic cache, if a rule asks it and the embedder is there; its absence is said once, in the log."""
    if not policy.caches_alike:
        return None  # numpy stays out of a service that has nothing to predict
    if before is not None and before.caches.alike is not None and (
        (before.policy.routes_version, before.caches.artifact_version, before.policy.matched_tags)
        == (policy.routes_version, trained.version if trained else None, policy.matched_tags)
    ):  # fmt: skip
        return before.caches.alike
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


def _learner(ledger: Ledger, policy: Policy, before: Kit | None) -> Learner | None:
    """What hears feedback, if a rule learns from it."""
    if not policy.learns:
        return None  # the same
    if before is not None and before.learner is not None and before.policy.evidence == policy.evidence:
        return before.learner  # it has read all the feedback there is
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
