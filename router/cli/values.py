"""What several commands read from their options and show, in one way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import click

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Ago(click.ParamType[int]):
    """A length of time such as 90m, 24h, 7d, 4w; in microseconds."""

    name = "LENGTH"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,6})([mhdw])", value)
        if found is None:
            self.fail(f"{value!r} is no length of time; write 90m, 24h, 7d or 4w", param, ctx)
        return int(found[1]) * _SECONDS[found[2]] * 1_000_000


class Moment(click.ParamType[int]):
    """A day or moment in UTC; in microseconds since 1970."""

    name = "MOMENT"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        at: datetime = click.DateTime().convert(value, param, ctx)
        return int(at.replace(tzinfo=UTC).timestamp()) * 1_000_000


class Share(click.ParamType[float]):
    """A share such as 5% or 0.05."""

    name = "SHARE"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([+-]?\d{1,6}(?:\.\d{1,9})?)(\s*%)?", value)
        if found is None:
            self.fail(f"{value!r} is no share; write 5% or 0.05", param, ctx)
        return float(found[1]) / (100 if found[2] else 1)


def minute(at_us: int) -> str:
    """A moment for reading."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")


def named_values(texts: Iterable[str], option: str, form: str = "NAME=VALUE") -> dict[str, str]:
    """NAME=VALUE by name; a value may be empty."""
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise click.BadParameter(f"{text!r} is no {form}", param_hint=option)
        found[name] = value
    return found


def on_screen(text: str) -> str:
    """A text of somebody else's for a terminal: its lines, without signs that a terminal obeys."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "\ufffd" for sign in text)
