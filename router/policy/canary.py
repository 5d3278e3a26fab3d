"""What a rule says of a model on trial: `canary: {model, percent, by, rollback: {errors, quality}}`."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from router.policy.sections import Name, Section


def _percent(value: object) -> object:
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,4})?)\s*%?", value) if isinstance(value, str) else None
    if isinstance(value, float):
        return value
    if found is None or not 0 < float(found[1]) <= 100:
        raise ValueError("must be a share such as 5%, above 0 and up to 100")
    return float(found[1]) / 100


Percent = Annotated[float, BeforeValidator(_percent, json_schema_input_type=str | float)]
"""A share, written 5% or 5."""


class Rollback(Section):
    """When a canary ends by itself. Each is watched by a sequential test that errs with a chance of at most 0.05."""

    errors: Percent = 0.05
    """More of its requests than this end without an answer of its."""
    quality: Annotated[float, Field(gt=0, le=1)] | None = None
    """The mean score that feedback gives its answers is below this."""


class Canary(Section):
    """A model that is given a share of a rule's requests before anybody has evidence for it."""

    model: Name
    percent: Percent
    by: Name | None = None
    """The tag whose values are drawn, so that a customer's requests go the same way; requests without it are not
    drawn. None: each request is drawn by itself."""
    rollback: Rollback = Rollback()

    def key(self, rule: str) -> str:
        """What its state is kept under."""
        return f"{rule}/{self.model}"

    def shown(self) -> str:
        """In words."""
        return f"canary: {100 * self.percent:g} % of the requests{f', drawn by {self.by}' if self.by else ''}"

    def draws(self, rule: str, value: str) -> bool:
        """Whether a value of the tag is in its share: always the same, and a larger share keeps who was drawn."""
        hashed = hashlib.blake2b(value.encode("utf-8", "replace"), key=self._key(rule), digest_size=8).digest()
        return int.from_bytes(hashed, "big") < self.percent * 2**64

    def _key(self, rule: str) -> bytes:
        # So that the same customers are not always the first to meet something new.
        return hashlib.blake2b(self.key(rule).encode(), digest_size=32).digest()
