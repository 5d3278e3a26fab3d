"""The one layout of policy files, which keeps what their authors wrote: see `formatted`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from router.config import read_yaml
from router.errors import PolicyError
from router.policy.layout.printed import printed
from router.policy.layout.source import StrangeError, read_source

__all__ = ["formatted"]


def formatted(path: Path, raw: bytes) -> bytes:
    """A YAML file in the one layout: the same values in the same order, every comment, quotes and anchors as they are.

    Args:
        path: for messages.
        raw: what stands in it.

    Raises:
        PolicyError: it is not a YAML file that we read, or cannot be laid out without loss.
    """
    before = read_yaml(path, raw)
    try:
        source = read_source(_with_plain_lines(raw))
        text = printed(source)
        again = read_source(text)
        same = _ordered(read_yaml(path, text.encode()).values) == _ordered(before.values)
    except StrangeError as error:
        raise PolicyError(f"{path}: left as it is: it has {error}") from error
    except (PolicyError, RecursionError, ValueError, LookupError) as error:
        raise PolicyError(_unsafe(path, raw)) from error
    if not same or _comments(again.comments) != _comments(source.comments) or printed(again) != text:
        raise PolicyError(_unsafe(path, raw))
    return text.encode()


def _unsafe(path: Path, raw: bytes) -> str:
    # YAML 1.1 takes these for ends of lines, and most editors do not.
    is_odd = any(sign in raw.decode("utf-8-sig") for sign in "\x85\u2028\u2029")
    why = (
        "it has a line separator of Unicode (U+0085, U+2028 or U+2029); remove it"
        if is_odd
        else ("it could not be laid out without a change of values or comments; please report it")
    )
    return f"{path}: left as it is: {why}"


def _with_plain_lines(raw: bytes) -> str:
    return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _comments(found: list[Any]) -> Counter[str]:
    return Counter(comment.text for comment in found)


def _ordered(value: Any) -> Any:
    """A value that is equal only to what also has its keys in the same order."""
    if isinstance(value, dict):
        return [(key, _ordered(one)) for key, one in value.items()], "map"
    return [_ordered(one) for one in value] if isinstance(value, list) else value
