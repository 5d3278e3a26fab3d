"""`clearbar alarms`: tasks whose scored answers fall short of what was promised."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.types import to_json

if TYPE_CHECKING:
    from router.predict.alarm import Watch

BAR_FAILED = 1


@click.group()
def alarms() -> None:
    """Tasks whose scored answers fall short of their bar; where the policy learns, they are not routed down."""


@alarms.command(name="list")
@STATE
@click.option("--json", "as_json", is_flag=True, help="A JSON list on standard output.")
@click.pass_context
def list_command(ctx: click.Context, state: Path | None, as_json: bool) -> None:
    """Show every task with scored answers under a bar: 0 no alarm, 1 an alarm."""
    from router.predict.learner import Learner

    with open_ledger(folder_of(state)) as ledger:
        watches = Learner(ledger).now().watches
    if as_json:
        rows = [
            {"task": task, "state": _state(one), "answers": one.n, "mean": one.mean, "promised": one.promise,
             "e_value": one.e_value}
            for task, one in sorted(watches.items())
        ]  # fmt: skip
        click.echo(to_json(rows))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table("task", "state", "scored answers", "mean", "promised", "e-value")
        for task, one in sorted(watches.items()):
            table.add_row(
                task, _state(one), str(one.n), f"{one.mean or 0:.3f}", f"{one.promise or 0:.3f}", f"{one.e_value:.3g}"
            )
        Console().print(table)
    ctx.exit(BAR_FAILED if any(one.raised for one in watches.values()) else 0)


@alarms.command()
@click.argument("task")
@click.option("--note", default="", help="What was found; kept in the ledger.")
@STATE
def ack(task: str, note: str, state: Path | None) -> None:
    """Acknowledge the alarm of TASK: it starts afresh, and the task is routed by its policy again."""
    from router.predict.learner import Learner

    with open_ledger(folder_of(state)) as ledger:
        watches = Learner(ledger).now().watches
        if task not in watches or not watches[task].raised:
            raised = ", ".join(sorted(name for name, one in watches.items() if one.raised)) or "none"
            raise click.BadParameter(f"task {task!r} has no alarm; raised: {raised}", param_hint="TASK")
        ledger.append_acknowledgement(task, note)
    click.echo(f"{task}: acknowledged")


def _state(watch: Watch) -> str:
    return "ALARM" if watch.raised else "warning" if watch.warns else "quiet"
