"""A command group that imports a command when it is asked for, so that `--help` stays fast."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

import click


class LazyGroup(click.Group):
    """Knows its commands by name.

    Args:
        lazy: `module:attribute` of each command, by its name.
        joined_by: entry point group whose commands join this one.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, str], joined_by: str | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._lazy, self._joined_by = lazy, joined_by

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All commands, sorted."""
        joined = entry_points(group=self._joined_by) if self._joined_by else ()
        return sorted({*self._lazy, *(point.name for point in joined)})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Whole first sentences, in as many lines as they take: what is cut off tells least where it is most needed."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(limit=1_000)) for name, one in commands if one])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name in self._lazy:
            module, _, name = self._lazy[cmd_name].partition(":")
            found: click.Command = getattr(importlib.import_module(module), name)
            return found
        for point in entry_points(group=self._joined_by, name=cmd_name) if self._joined_by else ():
            loaded: click.Command = point.load()
            return loaded
        return None
