"""`clearbar policy fmt`: the one layout of policy files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from router.errors import ConfigurationError, PolicyError

WOULD_CHANGE = 1
_ENDINGS = (".yaml", ".yml")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--check", "is_check", is_flag=True, help="Write nothing; exit with 1 where a file would change.")
@click.option("--stdout", "to_stdout", is_flag=True, help="Print the one file as it would be, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_context
def fmt(ctx: click.Context, paths: tuple[Path, ...], is_check: bool, to_stdout: bool, as_json: bool) -> None:
    """Lay policy files out in one way; values, comments, quotes and the order of keys stay as they are.

    PATHS are files, or folders with all that is YAML in them; without any, the policy that a router would find, with
    what it includes. Where one file is broken, none is written.
    """
    from router.policy.layout import formatted

    if to_stdout and (is_check or as_json):
        raise click.UsageError("--stdout prints a file alone; remove --check and --json")
    files = list(_files(paths))
    if to_stdout and len(files) != 1:
        raise click.UsageError(f"--stdout is for one file; these are {len(files)}")
    before = {file: _content(file) for file in files}
    after: dict[Path, bytes] = {}
    problems: list[str] = []
    for file, raw in before.items():
        try:
            after[file] = formatted(file, raw)
        except PolicyError as error:
            problems += error.problems
    if problems:
        raise PolicyError(*problems)
    if to_stdout:
        click.echo(after[files[0]], nl=False)
        return
    changed = [file for file in files if after[file] != before[file]]
    for file in [] if is_check else changed:
        _write(file, before[file], after[file])
    if as_json:
        click.echo(json.dumps({"changed": [str(file) for file in changed], "unchanged": len(files) - len(changed)}))
    else:
        for file in changed:
            click.echo(f"{'would change' if is_check else 'changed'} {file}")
        click.echo(
            f"{len(changed)} {'would change' if is_check else 'changed'}, {len(files) - len(changed)} as they were"
        )
    ctx.exit(WOULD_CHANGE if is_check and changed else 0)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Every file once, in the order in which they are named."""
    if not paths:
        from router.policy import find_policy
        from router.policy.compose import compose

        yield from compose(find_policy(None)).files
        return
    seen: set[Path] = set()
    for path in paths:
        found = _below(path) if path.is_dir() else [path]
        if not found:
            raise ConfigurationError(f"{path}: no file in it ends in {' or '.join(_ENDINGS)}")
        for file in found:
            if (real := file.resolve()) not in seen:
                seen.add(real)
                yield file


def _below(folder: Path) -> list[Path]:
    """The YAML files of a folder and of those in it, without hidden ones."""
    found: list[Path] = []
    for inside, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(inside, name) for name in sorted(names) if name.endswith(_ENDINGS) and not name.startswith(".")]
    return found


def _content(file: Path) -> bytes:
    if file.exists() and not file.is_file():
        raise ConfigurationError(f"{file}: is no ordinary file; give one, or a folder")
    try:
        return file.read_bytes()
    except OSError as error:
        raise PolicyError(f"{file}: cannot be read ({error.strerror}); give the path of a YAML file") from error


def _write(file: Path, before: bytes, after: bytes) -> None:
    from router.policy.exchange import exchange

    try:
        if not os.access(file, os.W_OK):  # the folder alone decides whether it could be replaced
            raise PermissionError(13, "it may not be written", str(file))
        if file.read_bytes() != before:
            raise ConfigurationError(f"{file}: has changed just now; look at it, and try again")
        exchange(file, after)
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be written ({error.strerror}); nothing has changed in it") from error
