"""`clearbar policy canary`: how models on trial fare, and starting one again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import minute


@click.group()
def canary() -> None:
    """Models on trial: how they fare, and starting one again."""


@canary.command()
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def status(ctx: click.Context, state: Path | None, as_json: bool) -> None:
    """List canaries: 0 all go on, 1 one was rolled back."""
    from router.canaries import Canaries

    with open_ledger(folder_of(state)) as ledger:
        found = Canaries(ledger).standing()
    if as_json:
        click.echo(json.dumps({"canaries": found}))
    for one in [] if as_json else found:
        click.echo(f"{one['name']}: {'rolled back' if one['why'] else 'goes on'}, since {minute(one['started_us'])}")
        if one["errors"]:
            click.echo(f"  {one['errors']['n']} requests, {one['errors']['share']:.1%} without its answer")
        if one["quality"]:
            click.echo(f"  {one['quality']['n']} scores, mean {one['quality']['mean']:.3f}")
        if one["latency"]:
            click.echo(f"  {one['latency']['n']} answers, {one['latency']['share']:.1%} too late")
        if one["why"]:
            click.echo(f"  {one['why']}; start it again with: clearbar policy canary reset {one['name']!r}")
    if not found and not as_json:
        click.echo("no canary has been asked")
    ctx.exit(1 if any(one["why"] for one in found) else 0)


@canary.command()
@click.argument("name")
@STATE
def reset(name: str, state: Path | None) -> None:
    """Forget how a canary fared, so that it starts again; NAME as `status` lists it."""
    from router.canaries import Canaries

    with open_ledger(folder_of(state)) as ledger:
        if not Canaries(ledger).reset(name):
            raise click.ClickException(f"no canary is called {name!r}; `clearbar policy canary status` lists them")
    click.echo(f"{name}: starts again")
