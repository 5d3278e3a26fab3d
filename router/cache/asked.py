"""One request as the semantic cache sees it, what is found for it, and why that may not be served."""

from __future__ import annotations

import time
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass

from router.answers import response_text
from router.cache.alone import echoed
from router.cache.near_flights import NearFlight
from router.cache.neighbours import Floats
from router.cache.semantic import Decision
from router.cache.shelf import Stored
from router.decisions import Cached
from router.policy import Caching
from router.types import Request


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A request that may be looked up, as the cache sees it."""

    request: Request
    caching: Caching
    partition: str
    text: str
    vector: Floats
    is_cut: bool
    """The vector stands for the beginning of the text only: nothing of this request is learned or kept."""

    @property
    def may_fly(self) -> bool:
        """Whether it may wait for one under way, and others for it. A stream ends when its reader likes."""
        request = self.request
        return self.caching.mode == "on" and not self.is_cut and not request.stream and request.cache.is_ordinary


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the cache says about one request; goes back to it with the answer."""

    note: Cached
    stored: Stored | None = None
    """What to serve; None: call the model."""
    asked: Asked | None = None
    """None: the request is refused."""
    decision: Decision | None = None
    """None: nothing was proposed, so the answer teaches nothing."""
    ahead: Future[None] | None = None
    """Not decided yet: a question like it is under way, and when this is done it should be asked again."""
    flight: NearFlight | None = None
    """Others may wait for this request."""


def objection(stored: Stored | None, asked: Asked, clearing: Collection[str]) -> str | None:
    """Why an answer that is alike may not serve this request; None: it may."""
    if stored is None:
        return "the stored answer is gone"
    if stored.model not in clearing and stored.model not in asked.caching.source_models:
        return f"{stored.model} wrote it and does not clear the bar now"
    if echoed(response_text(stored.payload), stored.question, asked.text):
        return "its answer names what only its own question names"
    most_s = asked.request.cache.max_age_s
    if most_s is not None and time.time() - stored.created_s > most_s:
        return f"it is older than max-age {most_s:g} s"
    return None
