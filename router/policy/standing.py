"""What a policy says of a model besides how to reach it: owner, card, whether and until when it may be asked."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from router.findings import SECRETS, findings
from router.policy.conditions import moment_from
from router.policy.sections import Section

Status = Literal["approved", "trial", "banned"]


def _printable(value: str) -> str:
    # It is printed in terminals and written into pages: an escape code has no business there.
    if any(unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t" for sign in value):
        raise ValueError("must be text without control characters")
    return value.strip()


def _one_line(value: str) -> str:
    if re.search(r"\s", value) and len(value.splitlines()) > 1:
        raise ValueError("must be one line, such as `search team`")
    return value


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        is_web = False
    if not is_web or re.search(r"\s", value):
        raise ValueError("must be an address such as https://example.com/model-card, without user or password")
    return value


Words = Annotated[str, Field(min_length=1, max_length=4_000), AfterValidator(_printable)]
"""Text for people, also of several lines."""
Owner = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable), AfterValidator(_one_line)]
Sunset = Annotated[datetime | None, BeforeValidator(moment_from, json_schema_input_type=str)]
"""A day, from whose first moment on (UTC), or a moment with its zone."""


class Card(Section):
    """What people should know before they use a model."""

    use: Words | None = None
    """What it is meant for."""
    not_for: Words | None = None
    """What it must not be used for."""
    risk: Words | None = None
    """What may go wrong, and what is done about it."""
    data: Words | None = None
    """What may be sent to it."""
    docs: Annotated[str, Field(max_length=2_000), AfterValidator(_printable), AfterValidator(_address)] | None = None
    """Where more stands."""

    @model_validator(mode="after")
    def _says_something(self) -> Card:
        if not self.model_fields_set:
            raise ValueError("says nothing; give `use`, `not_for`, `risk`, `data` or `docs`, or remove it")
        return self

    @model_validator(mode="after")
    def _keeps_secrets_out(self) -> Card:
        # Held against the card as a whole, so that the message cannot quote what it found.
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None and not findings(value).isdisjoint(SECRETS):
                raise ValueError(f"a key or password stands in `{name}`; take it out, and have it exchanged")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Why a model may not be asked, or not by everybody."""

    status: Status | None
    sunset: datetime | None
    owner: str | None

    def barred(self, now: datetime, *, is_tried: bool) -> str | None:
        """Why the model may not be asked at a moment; None when it may.

        Args:
            now: the moment.
            is_tried: as a canary, as a shadow, or because the request names it.
        """
        if self.status == "banned":
            return self._told("banned")
        if self.sunset is not None and now >= self.sunset:
            return self._told(f"sunset {day_shown(self.sunset)} has passed")
        if self.status == "trial" and not is_tried:
            return self._told("on trial: only as canary or shadow, or by name")
        return None

    def _told(self, why: str) -> str:
        return f"{why}; owner: {self.owner}" if self.owner else why


class Governed(Section):
    """What is said of a model for those who answer for it. Without any of it, the model may be asked."""

    owner: Owner | None = None
    """Team or person that answers for it; named wherever it is refused."""
    status: Status | None = None
    """`banned`: asked by nobody. `trial`: asked only as canary or shadow, or where a request names it. `approved`: as
    without a status, but on record."""
    sunset: Sunset = None
    """From this day or moment on it is asked no more, as if it were banned."""
    card: Card | None = None
    """What people should know of it; changes no decision."""

    @property
    def standing(self) -> Standing | None:
        """What decisions have to heed; None where that is nothing."""
        if self.status in (None, "approved") and self.sunset is None:
            return None
        return Standing(status=self.status, sunset=self.sunset, owner=self.owner)


def day_shown(moment: datetime) -> str:
    """A moment as an author wrote it: a day where it is the first of one."""
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:  # in UTC it lies before the first year, or behind the last
        return moment.isoformat(timespec="minutes")
    return f"{utc:%Y-%m-%d}" if utc.time() == time() else f"{utc:%Y-%m-%dT%H:%MZ}"
