"""`clearbar policy history`: which versions of a policy were served, and the text of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from router.cli.state import STATE, folder_of, open_ledger
from router.cli.values import minute
from router.spend.versions import Version, Versions
from router.types import to_json

MOST_CHANGES = 3
"""Of each version, so many stand in the list."""


@click.command()
@click.argument("version", required=False)
@click.option("--text", "as_text", is_flag=True, help="Print the files of VERSION as they were.")
@click.option("--policy", type=click.Path(path_type=Path), help="Only of this policy file; default: of all.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="List at most so many.")
@STATE
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def history(
    version: str | None, as_text: bool, policy: Path | None, limit: int, state: Path | None, as_json: bool
) -> None:  # fmt: skip
    """List the versions that were served, the last first; or tell of VERSION (its first digits will do)."""
    from router.policy.kept import absolute

    if as_text and version is None:
        raise click.UsageError("--text needs a VERSION")
    with open_ledger(folder_of(state)) as ledger:
        path = absolute(policy) if policy is not None else None
        found = ledger.versions.of(path)
        if version is not None and not any(one.version.startswith(version) for one in found):
            raise click.ClickException(f"no version {version} is known here; `clearbar policy history` lists them")
        shown = found[:limit]
        if version is not None:
            shown = [one for one in found if one.version.startswith(version)][:1]
        contents = ledger.versions.contents(shown[0]) if version is not None else {}
        changes = [_changes(one, found, ledger.versions) for one in shown] if not as_text else []
    if as_json:
        texts = {name: content.decode(errors="replace") for name, content in contents.items()}
        told = [_told(one, changed, texts or None) for one, changed in zip(shown, changes, strict=True)]
        click.echo(to_json({"versions": told, "older": len(found) - len(shown) if version is None else 0}))
    elif as_text:
        _print(contents)
    else:
        pairs = list(zip(shown, changes, strict=True))
        for line in _lines(pairs) if version is None else _details(*pairs[0]):
            click.echo(line)
        if version is None and len(found) > limit:
            click.echo(f"{len(found) - limit} older; --limit lists more")
        if not found:
            none = "no policy was served" if policy is None else f"{policy} was not served"
            click.echo(f"{none} from this state yet")


def _changes(one: Version, found: list[Version], versions: Versions) -> list[str]:
    """What is not as it was in the version served before it; nothing of the first, and of what was never served."""
    from router.errors import ConfigurationError
    from router.policy.difference import differences
    from router.policy.kept import load_kept

    older = [other for other in found[found.index(one) + 1 :] if other.path == one.path and other.loads]
    if not one.loads or not older:
        return []
    before = older[0]
    pairs = sorted({*one.evidence, *before.evidence})
    changes = [f"evidence {pair}" for pair in pairs if one.evidence.get(pair) != before.evidence.get(pair)]
    if one.artifact_version != before.artifact_version:
        changes.append(f"artifact {one.artifact_version or 'none'}, was {before.artifact_version or 'none'}")
    if one.environment != before.environment:
        changes.append(f"environment {one.environment or 'none'}, was {before.environment or 'none'}")
    try:
        a, b = (load_kept(which, versions.contents(which)) for which in (before, one))
    except ConfigurationError:  # the language has changed since
        return [*changes, "its text"]
    return [*(change.sentence for change in differences(a, b).changes), *changes]


def _told(one: Version, changes: list[str], texts: dict[str, str] | None) -> dict[str, Any]:
    from router.policy.rollback import is_on_disk

    return {
        "version": one.version, "environment": one.environment, "path": str(one.path), "rules": one.rules,
        "models": one.models, "artifact_version": one.artifact_version, "first_us": one.first_us,
        "last_us": one.last_us, "loads": one.loads, "is_on_disk": is_on_disk(one, one.path), "changes": changes,
        "evidence": dict(one.evidence), "files": dict(one.files), **({"texts": texts} if texts else {}),
    }  # fmt: skip


def _lines(pairs: list[tuple[Version, list[str]]]) -> list[str]:
    from router.policy.rollback import is_on_disk

    lines = []
    for path in dict.fromkeys(one.path for one, _ in pairs):
        lines.append(f"{path}:")
        for one, changes in pairs:
            if one.path != path:
                continue
            here = ", on disk now" if is_on_disk(one, path) else ""
            lines.append(f"  {minute(one.last_us)}  {one.version}  {_size(one)}{here}")
            lines += [f"    {change}" for change in changes[:MOST_CHANGES]]
            if (more := len(changes) - MOST_CHANGES) > 0:
                lines.append(f"    and {more} more; `clearbar policy history {one.version}` has all")
    return lines


def _size(one: Version) -> str:
    if not one.loads:
        return "never served; a rollback replaced it"
    said = f"{one.rules} rules, {one.models} models"
    said += f", environment {one.environment}" if one.environment else ""
    said += f", artifact {one.artifact_version}" if one.artifact_version else ""
    return said


def _details(one: Version, changes: list[str]) -> list[str]:
    return [
        f"{one.version} of {one.path}: {_size(one)}",
        f"began to hold {one.loads} times, first {minute(one.first_us)}, last {minute(one.last_us)}",
        *(f"changed: {change}" for change in changes),
        *(f"file {name}: sha256 {digest}" for name, digest in one.files.items()),
        *(f"evidence {pair}: {digest}" for pair, digest in one.evidence.items()),
    ]


def _print(contents: dict[str, bytes]) -> None:
    """One file byte by byte; several with a line before each."""
    for name, content in contents.items():
        if len(contents) > 1:
            click.echo(f"# --- {name}")
        click.echo(content, nl=len(contents) > 1 and not content.endswith(b"\n"))
