"""What one request may ask of the cache, in the words of HTTP's Cache-Control (RFC 9111, 5.2.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from router.errors import InvalidRequestError
from router.types import CacheControl

WORDS = "'no-cache', 'no-store' or 'max-age=SECONDS', several with commas between, or a dict such as {'max-age': 60}"


def read_control(given: str | Mapping[str, Any] | CacheControl | None) -> CacheControl:
    """A caller's `cache=` as a value.

    Args:
        given: words as in a header (`"no-cache"`, `"no-store"`, `"max-age=3600"`, with commas between several), or a
            dict with the same names (`{"no-cache": True}`, `{"max-age": 3600}`; underscores do as well).

    Raises:
        InvalidRequestError: another word, or a value that is none; a word that is not known must not be ignored.
    """
    if given is None or isinstance(given, CacheControl):
        return given or CacheControl()
    if isinstance(given, str):
        named: dict[str, Any] = {}
        for part in given.split(","):
            name, is_set, value = part.strip().lower().partition("=")
            named[name] = value.strip() if is_set else True
    elif isinstance(given, Mapping):
        named = {str(name).lower().replace("_", "-"): value for name, value in given.items()}
    else:
        raise InvalidRequestError(f"cache must be {WORDS}; got {type(given).__name__}")
    age_s = named.pop("max-age", None)
    flags = {name: named.pop(name, False) for name in ("no-cache", "no-store")}
    if named or not all(isinstance(flag, bool) for flag in flags.values()):
        raise InvalidRequestError(f"cache must be {WORDS}; got {str(given)[:40]!r}")
    return CacheControl(
        no_cache=flags["no-cache"], no_store=flags["no-store"], max_age_s=None if age_s is None else _seconds(age_s)
    )


def _seconds(value: object) -> float:
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value):
        return float(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9:
        return float(value)
    raise InvalidRequestError(f"cache: max-age must be a number of seconds from 0 on, got {str(value)[:40]!r}")
