"""What a `Router` is made of beside its stores; each part is loaded only where the policy asks for it."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import ConfigurationError
from router.pace import RECENT_S, PaceMemory
from router.policy import Policy
from router.spend.ledger import Ledger

if TYPE_CHECKING:
    from router.cache.tier import SemanticCache
    from router.predict import Predictor
    from router.predict.learner import Learner
    from router.spend.runs import Breaker

log = logging.getLogger(__name__)


def predictor(policy: Policy) -> Predictor | None:
    """The trained artifact, if the policy names one; it knows already which of the policy's bars it carries."""
    if policy.artifact is None:
        return None  # numpy stays out of a service that has nothing to predict
    from router.learned import certify
    from router.predict import Predictor

    trained = Predictor.load(policy.artifact)
    certify(trained, policy)
    return trained


def semantic_cache(folder: Path, policy: Policy, trained: Predictor | None) -> SemanticCache | None:
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


def learner(ledger: Ledger, policy: Policy) -> Learner | None:
    """What hears feedback, if a rule learns from it."""
    if not policy.learns:
        return None  # the same
    from router.predict.learner import Learner

    return Learner(ledger, policy.evidence)


def pace_memory(ledger: Ledger, policy: Policy) -> PaceMemory | None:
    """What knows how long calls take, if a rule limits latency."""
    if not policy.limits_latency:
        return None
    return PaceMemory(ledger.recent_calls(int((time.time() - RECENT_S) * 1e6)))


def breaker(folder: Path, ledger: Ledger, policy: Policy) -> Breaker | None:
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
