"""`clearbar eval`: ask a suite, read the result, turn it into evidence and outcome tables. One file a command."""

from __future__ import annotations

import click

from router.cli.lazy import LazyGroup

COMMANDS = {
    "calibrate": "evals.cli.calibrate:calibrate",
    "compare": "evals.cli.compare:compare",
    "frontier": "evals.cli.frontier:frontier",
    "drift": "evals.cli.drift:drift",
    "judge": "evals.cli.judge:judge",
    "outcomes": "evals.cli.outcomes:outcomes",
    "plan": "evals.cli.plan:plan",
    "propose": "evals.cli.propose:propose",
    "report": "evals.cli.report:report",
    "rescore": "evals.cli.rescore:rescore",
    "run": "evals.cli.run:run",
    "verify": "evals.cli.verify:verify",
}


@click.group(name="eval", cls=LazyGroup, lazy=COMMANDS)
def eval_group() -> None:
    """Measure how well models do, and turn it into evidence."""
