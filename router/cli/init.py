"""`clearbar init`: a first policy."""

from __future__ import annotations

import os
from pathlib import Path

import click

from router.policy import check, load_policy
from router.policy.first import EMBEDDED, from_environment, from_litellm, render


@click.command()
@click.argument("path", default="policies/default.yaml", type=click.Path(path_type=Path))
@click.option("--from-litellm", "config", type=click.Path(path_type=Path), help="Take the models of a litellm config.")
@click.option("--yes", is_flag=True, help="Ask nothing; an existing file is kept and is an error.")
def init(path: Path, config: Path | None, yes: bool) -> None:
    """Write a first policy to PATH from the API keys and servers found, or from a litellm config."""
    if path.exists() and (yes or not click.confirm(f"{path} exists. Replace it?", err=True)):
        raise click.ClickException(f"{path} exists and is kept; move it away or give another path")
    found = from_litellm(config) if config else from_environment(os.environ)
    if not found:
        click.echo("no API key and no local server found: writing a policy for the local models", err=True)
        found = list(EMBEDDED)[::-1]
    for model in found:
        click.echo(f"  {model.id}: {model.where}", err=True)
    if not yes and not click.confirm(f"Write {len(found)} models to {path}?", default=True, err=True):
        raise click.Abort
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(found), encoding="utf-8")
    for finding in check(load_policy(path)):
        click.echo(f"{finding.level}: {finding.text}", err=True)
    click.echo(path)
    if any(model.call.startswith("local/") for model in found):
        click.echo("next: clearbar models pull", err=True)
