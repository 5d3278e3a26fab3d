"""`clearbar batch`: the queue of requests that can wait."""

from __future__ import annotations

import time
from pathlib import Path

import click

from router.cli.state import STATE
from router.types import to_json


@click.group()
def batch() -> None:
    """Requests that can wait (`router.submit()`), sent through the providers' batch APIs."""


@batch.command()
@click.option("--once", is_flag=True, help="One run, for cron; default: again and again until nothing is open.")
@click.option("--every", "pause_s", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SECONDS",
              help="Between two runs.")  # fmt: skip
@click.option("--policy", "path", type=click.Path(path_type=Path), help="Default as for the library.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object a run on standard output.")
def run(once: bool, pause_s: float, path: Path | None, state: Path | None, as_json: bool) -> None:
    """Settle batches that have ended, send what waits, and ask live what failed or can wait no longer."""
    from router._router import Router

    with Router(path, state) as router:
        while True:
            ran = router.run_batches()
            if as_json:
                click.echo(to_json(ran))
            elif ran.is_busy:
                click.echo("another process is at it")
            else:
                click.echo(f"{ran.sent} sent, {ran.settled} answered by a batch, {ran.live} asked live "
                           f"({ran.failed} failed), {ran.open} open")  # fmt: skip
            if once or not (ran.open or ran.is_busy):
                return
            time.sleep(pause_s)
