"""`clearbar init`: a first policy."""

from __future__ import annotations

import os
from pathlib import Path

import click

from router.policy import check, load_policy, shipped_policies
from router.policy.first import EMBEDDED, from_environment, from_litellm, render


@click.command()
@click.argument("path", default="policies/default.yaml", type=click.Path(path_type=Path))
@click.option("--from-litellm", "config", type=click.Path(path_type=Path), help="Take the models of a litellm config.")
@click.option("--recipe", help="Write a recipe of policies/README.md; an unknown name lists them.")
@click.option("--yes", is_flag=True, help="Ask nothing; an existing file is kept and is an error.")
def init(path: Path, config: Path | None, recipe: str | None, yes: bool) -> None:
    """Write a first policy to PATH: from the keys and servers found, from a litellm config, or a recipe."""
    if config and recipe:
        raise click.UsageError("give either --from-litellm or --recipe")
    written = _recipe(recipe) if recipe else None
    if path.exists() and (yes or not click.confirm(f"{path} exists. Replace it?", err=True)):
        raise click.ClickException(f"{path} exists and is kept; move it away or give another path")
    if written is None:
        found = from_litellm(config) if config else from_environment(os.environ)
        if not found:
            click.echo("no API key and no local server found: writing a policy for the local models", err=True)
            found = list(EMBEDDED)[::-1]
        for model in found:
            click.echo(f"  {model.id}: {model.where}", err=True)
        if not yes and not click.confirm(f"Write {len(found)} models to {path}?", default=True, err=True):
            raise click.Abort
        written = render(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written, encoding="utf-8")
    policy = load_policy(path)
    for finding in check(policy):
        click.echo(f"{finding.level}: {finding.text}", err=True)
    click.echo(path)
    if any(model.call.startswith("local/") for model in policy.models.values()):
        click.echo("next: clearbar models pull", err=True)


def _recipe(name: str) -> str:
    """The text of a recipe that comes with the package."""
    recipes = {path.stem: path for path in sorted((shipped_policies() / "recipes").glob("*.yaml"))}
    if name not in recipes:
        raise click.UsageError(f"no recipe is called {name!r}; there are {', '.join(recipes)}")
    return recipes[name].read_text(encoding="utf-8")
