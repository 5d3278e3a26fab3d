"""`clearbar policy schema` and `path`: what comes with the package for authors of routing tables."""

from __future__ import annotations

import json

import click

from router.policy import shipped_policies


@click.command()
def schema() -> None:
    """Print the JSON schema of policy files, for editors."""
    from router.policy.editors import editor_schema

    click.echo(json.dumps(editor_schema(), indent=2))


@click.command()
def path() -> None:
    """Print the folder of the policies that come with the package."""
    click.echo(shipped_policies())
