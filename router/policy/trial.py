"""A model that a rule gives a share of its requests: which of them, always the same ones."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from pydantic import BeforeValidator, model_validator

from router.policy.sections import Name, Section
from router.types import Request


def _percent(value: object) -> object:
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,4})?)\s*%?", value) if isinstance(value, str) else None
    if isinstance(value, float):
        return value
    if found is None or not 0 < float(found[1]) <= 100:
        raise ValueError("must be a share such as 5%, above 0 and up to 100")
    return float(found[1]) / 100


Percent = Annotated[float, BeforeValidator(_percent, json_schema_input_type=str | float)]
"""A share, written 5% or 5."""


class Trial(Section):
    """What a canary and a shadow have in common."""

    model: Name
    percent: Percent
    by: Name | None = None
    """The tag whose values are drawn, so that a customer's requests go the same way; requests without it are not
    drawn. None: each request is drawn by itself."""

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError("must be such as {model: MODEL, percent: 5%}")
        return value

    def key(self, rule: str) -> str:
        """What its state is kept under."""
        return f"{rule}/{self.model}"

    def share(self) -> str:
        """In words."""
        return f"{100 * self.percent:g} % of the requests{f', drawn by {self.by}' if self.by else ''}"

    def value(self, request: Request) -> str | None:
        """What of a request is drawn; None: it has no such tag."""
        return request.tags.get(self.by) if self.by else request.id

    def draws(self, rule: str, value: str) -> bool:
        """Whether a value of the tag is in its share: always the same, and a larger share keeps who was drawn."""
        hashed = hashlib.blake2b(value.encode("utf-8", "replace"), key=self._lot(rule), digest_size=8).digest()
        return int.from_bytes(hashed, "big") < self.percent * 2**64

    def _lot(self, rule: str) -> bytes:
        # So that the same customers are not always the first to meet something new.
        return hashlib.blake2b(self._named(rule).encode(), digest_size=32).digest()

    def _named(self, rule: str) -> str:
        """What tells its draws from those of others."""
        return self.key(rule)
