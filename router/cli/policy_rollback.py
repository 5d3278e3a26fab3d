"""`clearbar policy rollback`: an older version's text goes back into its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.types import to_json

if TYPE_CHECKING:
    from router.policy import Policy


@click.command()
@click.argument("version", required=False)
@click.option("--policy", type=click.Path(path_type=Path), help="Policy file; default as for the library.")
@STATE
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def rollback(version: str | None, policy: Path | None, state: Path | None, dry_run: bool, as_json: bool) -> None:
    """Write the text of VERSION back to its files; default: the last one served that is not on disk."""
    from router.policy import find_policy
    from router.policy.rollback import carry_out, plan

    path = find_policy(policy)
    with open_ledger(folder_of(state)) as ledger:
        what = plan(ledger.versions, path, version)
        artifact = _artifact(what.policy)  # a text whose artifact cannot be read would serve nowhere
        unserved = carry_out(what, ledger) if not dry_run else None
    notes = what.differences(artifact)
    if as_json:
        click.echo(to_json({
            "path": str(path), "to": what.target.version, "version": what.policy.version, "artifact_version": artifact,
            "written": [] if dry_run else list(what.writes), "would_write": list(what.writes) if dry_run else [],
            "kept": unserved.version if unserved else None, "differences": notes,
        }))  # fmt: skip
        return
    if unserved is not None:
        click.echo(f"the text that was there was never served; it is kept as {unserved.version}")
    for name in what.writes:
        click.echo(f"{path.parent / name}: {'would hold' if dry_run else 'holds'} the text of {what.target.version}")
    if not what.writes:
        click.echo(f"{path}: holds the text of {what.target.version} already")
    if what.policy.version != what.target.version:
        click.echo(f"but it is version {what.policy.version}: only the text comes back")
    for note in notes:
        click.echo(f"  {note}")
    if not dry_run:
        click.echo("routers with reload_s load it by themselves; others by reload() or at their next start")


def _artifact(policy: Policy) -> str | None:
    if policy.artifact is None:
        return None
    from router.predict import Predictor

    return Predictor.load(policy.artifact).version
