"""`clearbar policy history`: which versions of a policy were served, and the text of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import minute
from router.spend.versions import Version
from router.types import to_json


@click.command()
@click.argument("version", required=False)
@click.option("--text", "as_text", is_flag=True, help="Print the files of VERSION as they were.")
@click.option("--policy", type=click.Path(path_type=Path), help="Only of this policy file; default: of all.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def history(version: str | None, as_text: bool, policy: Path | None, state: Path | None, as_json: bool) -> None:
    """List the versions that were served, the last first; or tell of VERSION (its first digits will do)."""
    from router.policy.kept import absolute

    if as_text and version is None:
        raise click.UsageError("--text needs a VERSION")
    with open_ledger(folder_of(state)) as ledger:
        path = absolute(policy) if policy is not None else None
        found = [one for one in ledger.versions.of(path) if version is None or one.version.startswith(version)]
        if version is not None and not found:
            raise click.ClickException(f"no version {version} is known here; `clearbar policy history` lists them")
        contents = ledger.versions.contents(found[0]) if version is not None else {}
    if as_json:
        texts = {name: content.decode(errors="replace") for name, content in contents.items()}
        shown = found if version is None else found[:1]
        click.echo(to_json({"versions": [_told(one, texts or None) for one in shown]}))
    elif as_text:
        _print(contents)
    else:
        for line in _lines(found) if version is None else _details(found[0]):
            click.echo(line)
        if not found:
            click.echo("no policy was served from this state yet")


def _told(one: Version, texts: dict[str, str] | None) -> dict[str, Any]:
    from router.policy.rollback import is_on_disk

    return {
        "version": one.version, "environment": one.environment, "path": str(one.path), "rules": one.rules,
        "models": one.models, "artifact_version": one.artifact_version, "first_us": one.first_us,
        "last_us": one.last_us, "loads": one.loads, "is_on_disk": is_on_disk(one, one.path),
        "evidence": dict(one.evidence), "files": dict(one.files), **({"texts": texts} if texts else {}),
    }  # fmt: skip


def _lines(found: list[Version]) -> list[str]:
    from router.policy.rollback import is_on_disk

    lines = []
    for path in dict.fromkeys(one.path for one in found):
        lines.append(f"{path}:")
        for one in found:
            if one.path != path:
                continue
            here = ", on disk now" if is_on_disk(one, path) else ""
            lines.append(f"  {minute(one.last_us)}  {one.version}  {_size(one)}{here}")
    return lines


def _size(one: Version) -> str:
    if not one.loads:
        return "never served; a rollback replaced it"
    said = f"{one.rules} rules, {one.models} models"
    said += f", environment {one.environment}" if one.environment else ""
    said += f", artifact {one.artifact_version}" if one.artifact_version else ""
    return said


def _details(one: Version) -> list[str]:
    return [
        f"{one.version} of {one.path}: {_size(one)}",
        f"began to hold {one.loads} times, first {minute(one.first_us)}, last {minute(one.last_us)}",
        *(f"file {name}: sha256 {digest}" for name, digest in one.files.items()),
        *(f"evidence {pair}: {digest}" for pair, digest in one.evidence.items()),
    ]


def _print(contents: dict[str, bytes]) -> None:
    """One file byte by byte; several with a line before each."""
    for name, content in contents.items():
        if len(contents) > 1:
            click.echo(f"# --- {name}")
        click.echo(content, nl=len(contents) > 1 and not content.endswith(b"\n"))
