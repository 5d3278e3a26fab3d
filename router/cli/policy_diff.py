"""`clearbar policy diff`: what changes between two routing tables, in words."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.config import shown
from router.errors import ConfigurationError, PolicyError
from router.plain_files import read_plain

if TYPE_CHECKING:
    from router.policy import Policy
    from router.policy.difference import Difference

DIFFERS = 1
MOST_BYTES = 64_000_000
"""Of an artifact's manifest."""


@click.command()
@click.argument("before")
@click.argument("after")
@click.option("--environment", metavar="NAME", help="As they serve there alone; default CLEARBAR_ENV, else all.")
@click.option("--markdown", "as_md", is_flag=True, help="For a pull request's comment.")
@click.option("--json", "as_json_", is_flag=True, help="One JSON object on standard output.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 where the two do not mean the same.")
@click.pass_context
def diff(
    ctx: click.Context, before: str, after: str, environment: str | None, as_md: bool, as_json_: bool, exit_code: bool
) -> None:
    """Say what changes for whom from one policy to another, first what loosens a protection.

    BEFORE and AFTER are files, or REV:PATH as git takes it: clearbar policy diff main:policies/default.yaml
    policies/default.yaml. Comments and layout are no difference.
    """
    from router.policy.difference import as_json, as_markdown, as_text

    if as_md and as_json_:
        raise click.UsageError("--markdown and --json: give one of the two")
    found = compared(before, after, environment)
    if as_json_:
        click.echo(json.dumps(as_json(found)))
    else:
        click.echo((as_markdown if as_md else as_text)(found), nl=False)
    ctx.exit(DIFFERS if exit_code and not found.is_none else 0)


def compared(before: str, after: str, environment: str | None = None) -> Difference:
    """The difference between two policies, each a file or `REV:PATH`.

    Raises:
        ConfigurationError: one of them is not there, or does not load.
    """
    from router.policy.difference import differences, with_environments

    with opened(before, environment) as a, opened(after, environment) as b:
        must_be_known(environment, a.policy, b.policy)
        artifacts = (_trained(a.policy), _trained(b.policy))
        found = differences(a.policy, b.policy, names=(before, after), artifacts=artifacts)
        if environment is None and a.policy.environment is None and b.policy.environment is None:
            each = dict.fromkeys([*a.policy.environments, *b.policy.environments])
            found = with_environments(found, {name: differences(_there(a, name), _there(b, name)) for name in each})
        told = (replace(change, text=b.in_words(a.in_words(change.text))) for change in found.changes)
        return replace(found, changes=tuple(told))


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A policy out of a file or a revision."""

    policy: Policy
    in_words: Callable[[str], str] = str
    """A text with the names that files have for people: a revision's are in a folder that nobody knows."""


@contextmanager
def opened(given: str, environment: str | None = None) -> Iterator[Opened]:
    """A policy out of a file or `REV:PATH`; the files that it was read from are there until the end of the block.

    Raises:
        ConfigurationError: it is not there, or does not load.
    """
    from router.cli.revisions import Revision, is_revision, told_as

    if not is_revision(given):
        yield Opened(policy=_loaded(Path(given), environment))
        return
    revision = Revision(given)
    with tempfile.TemporaryDirectory(prefix="clearbar-diff-") as made:
        folder = Path(made)
        try:
            policy = _loaded(revision.write(folder), environment)
        except PolicyError as error:
            raise told_as(error, revision, folder) from None
        yield Opened(policy=policy, in_words=partial(revision.in_words, folder=folder))


def must_be_known(environment: str | None, *policies: Policy) -> None:
    """See that an environment is one of those that a policy has; one of the two may have none yet.

    Raises:
        ConfigurationError: no policy has any.
    """
    if environment is not None and not any(policy.environments for policy in policies):
        raise ConfigurationError(f"--environment {shown(environment)}: no policy here has `environments`; leave it out")


def _there(side: Opened, environment: str) -> Policy:
    """A policy as it serves in an environment; where it does not know that one, as it stands."""
    from router.policy import load_policy

    return load_policy(side.policy.path, environment) if environment in side.policy.environments else side.policy


def _loaded(path: Path, environment: str | None) -> Policy:
    from router.policy import load_policy
    from router.policy.compose import compose

    # A policy that has no environments yet is the same in each, as it is under CLEARBAR_ENV.
    return load_policy(path, environment if environment is None or compose(path).environments else None)


def _trained(policy: Policy) -> str | None:
    """What tells one artifact from another, without loading it."""
    if policy.artifact is None:
        return None
    try:
        return str(json.loads(read_plain(policy.artifact / "manifest.json", MOST_BYTES))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
