"""The pieces that the schema of a policy file is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from router.config import is_secretive, shown, suggestion


def one_or_more(value: object) -> object:
    """`x` means `[x]`."""
    return value if isinstance(value, list) else [value]


def _no_secret(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) or is_secretive(value):
        raise ValueError("must be the NAME of an environment variable (such as OPENAI_API_KEY), not the key itself")
    return value


def _can_be_a_folder(value: str) -> str:
    if "\0" in value or any(len(part.encode("utf-8", "replace")) > 255 for part in value.split("/")):
        raise ValueError("cannot be the name of a folder")
    return value


Name = Annotated[str, Field(min_length=1, max_length=200)]
Folder = Annotated[Name, AfterValidator(_can_be_a_folder)]
"""A folder beside the file; it need not exist."""
Names = Annotated[
    list[Name], BeforeValidator(one_or_more, json_schema_input_type=Name | list[Name]), Field(min_length=1)
]
Amount = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=30)]
"""USD. The bound keeps every product with a token count within the ledger's integers."""
Tokens = Annotated[int, Field(ge=1, le=100_000_000)]
EnvironmentName = Annotated[str, AfterValidator(_no_secret)]


class Section(BaseModel):
    """A part of a policy file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=False)


_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds(value: object) -> object:
    """A time such as 90s, 30m, 24h or 7d as seconds; a number stays as it is.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, (int, float)):
        return value
    found = re.fullmatch(r"(\d{1,6})\s*([smhd])", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a time such as 90s, 30m, 24h or 7d")
    return int(found[1]) * _SECONDS[found[2]]


Seconds = Annotated[float, BeforeValidator(seconds, json_schema_input_type=str)]
"""Seconds, written 90s, 30m, 24h or 7d."""


def suggested(known: Sequence[str], what: str) -> Callable[[object], object]:
    """A validator that lets known words pass, and names the closest one of another."""

    def check(value: object) -> object:
        if value not in known:
            raise ValueError(f"no {what} is called {shown(value)}{suggestion(str(value), list(known))}")
        return value

    return check


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, KeyError, OSError):
        raise ValueError("must be an IANA time zone such as UTC or Europe/Berlin") from None
    return value


Zone = Annotated[Name, AfterValidator(_known_zone)]
"""An IANA time zone."""
