"""A policy with everything that was left out: includes and the environment put in, each default as a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from router.config import Document, double_quoted
from router.policy.schema import PolicyFile
from router.policy.sections import Section

_PLAIN = re.compile(r"[\w./$][\w.*/ +$@%-]*(?<! )")


def resolved(document: Document, file: PolicyFile) -> str:
    """The policy as YAML that loads to the same routes.

    Args:
        document: composed, of the environment that is asked for.
        file: the same, validated.
    """
    values = {key: value for key, value in document.values.items() if key not in ("include", "environments")}
    return "\n".join(_lines(values, file, "")) + "\n"


def _lines(value: Any, section: Any, indent: str) -> Iterator[str]:
    """A mapping's lines: what was written as it was, then what was not."""
    is_section = isinstance(section, Section)
    fields = {field.alias or name: name for name, field in type(section).model_fields.items()} if is_section else {}
    for key, one in value.items():
        yield from _entry(key, one, getattr(section, fields[key]) if is_section else section[key], indent)
    for key, name in fields.items():
        default = getattr(section, name)
        if key not in value and default is not None and key not in ("include", "environments"):
            yield f"{indent}# {key}: {_flow(_plain(default))}"


def _entry(key: str, value: Any, inner: Any, indent: str) -> Iterator[str]:
    is_listed = isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
    if isinstance(value, dict) and value and (isinstance(inner, Section) or _holds_sections(inner)):
        yield f"{indent}{_word(key)}:"
        yield from _lines(value, inner, indent + "  ")
    elif is_listed and isinstance(inner, list) and all(isinstance(one, Section) for one in inner):
        yield f"{indent}{_word(key)}:"
        for one, section in zip(value, inner, strict=True):
            # An item of nothing but defaults would be no item: all of its lines are comments.
            first, *rest = _lines(one, section, indent + "    ") if one else ["{}"]
            yield f"{indent}  - {first.strip()}"
            yield from rest
    else:
        yield f"{indent}{_word(key)}: {_flow(value)}"


def _holds_sections(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(one, Section) for one in value.values())


def _plain(value: Any) -> Any:
    """A default as YAML would say it; of a section, what makes it what it is."""
    if isinstance(value, Section):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return value


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_word(str(key))}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _word(f"{value:g}" if isinstance(value, float) else str(value))


def _word(text: str) -> str:
    is_plain = _PLAIN.fullmatch(text) and text not in ("null", "Null", "NULL")
    return text if is_plain else double_quoted(text)
