"""`clearbar spend`: a group whose commands live in a file each, `spend_NAME.py`."""

from __future__ import annotations

import click

from router.cli.lazy import LazyGroup

COMMANDS = {
    "alerts": "router.cli.spend_watch:alerts",
    "anomalies": "router.cli.spend_watch:anomalies",
    "archive": "router.cli.spend_close:archive",
    "close": "router.cli.spend_close:close",
    "coverage": "router.cli.spend_coverage:coverage",
    "focus": "router.cli.spend_focus:focus",
    "estimate": "router.cli.spend_estimate:estimate",
    "forecast": "router.cli.spend_forecast:forecast",
    "import": "router.cli.spend_import:import_",
    "units": "router.cli.spend_units:units",
    "reconcile": "router.cli.spend_reconcile:reconcile",
    "rebuild": "router.cli.spend_coverage:rebuild",
    "report": "router.cli.spend_report:report",
    "watch": "router.cli.spend_watch:watch",
    "savings": "router.cli.spend_savings:savings",
    "statement": "router.cli.spend_statement:statement",
    "verify": "router.cli.spend_close:verify",
}


class WithDefault(LazyGroup):
    """`clearbar spend --by team` is short for `clearbar spend report --by team`."""

    default = "report"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command where none is named."""
        is_named = bool(args) and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if is_named else [self.default, *args])


@click.group(cls=WithDefault, lazy=COMMANDS)
def spend() -> None:
    """Spend: by whom, over time, and what follows from it. Without a command: `report`."""
