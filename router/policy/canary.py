"""What a rule says of a model on trial: `canary: {model, percent, by, rollback: {errors, quality, latency_ms}}`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from router.policy.sections import Section
from router.policy.trial import Percent, Trial


class Rollback(Section):
    """When a canary ends by itself. Each is watched by a sequential test that errs with a chance of at most 0.05."""

    errors: Percent = 0.05
    """More of its requests than this end without an answer of its."""
    quality: Annotated[float, Field(gt=0, le=1)] | None = None
    """The mean score that feedback gives its answers is below this."""
    latency_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None = None
    """More than 5 % of its answers take longer. Streams are left out: they end when their reader likes."""


class Canary(Trial):
    """A model that is given a share of a rule's requests before anybody has evidence for it."""

    rollback: Rollback = Rollback()

    def shown(self) -> str:
        """In words."""
        return f"canary: {self.share()}"
