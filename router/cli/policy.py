"""`clearbar policy`: a group whose commands live in a file each, `policy_NAME.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from router.cli.lazy import LazyGroup

if TYPE_CHECKING:
    from router.policy import Policy

COMMANDS = {
    "approvals": "router.cli.policy_approve:approvals",
    "approve": "router.cli.policy_approve:approve",
    "canary": "router.cli.policy_canary:canary",
    "check": "router.cli.policy_check:check_command",
    "diff": "router.cli.policy_diff:diff",
    "fmt": "router.cli.policy_fmt:fmt",
    "history": "router.cli.policy_history:history",
    "path": "router.cli.policy_files:path",
    "rollback": "router.cli.policy_rollback:rollback",
    "schema": "router.cli.policy_files:schema",
    "shadow": "router.cli.policy_shadow:shadow",
    "show": "router.cli.policy_show:show",
    "simulate": "router.cli.policy_simulate:simulate",
    "test": "router.cli.policy_test:test",
    "value": "router.cli.policy_value:value",
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def policy() -> None:
    """Routing tables: check, test, show and change them."""


def loaded_policy(path: Path | None, is_shipped: bool) -> Policy:
    """The policy that a command is about: the one that is named, the shipped one, or the one found as a router does.

    Raises:
        ConfigurationError: there is none, or it does not load.
        click.UsageError: two are named.
    """
    from router.policy import find_policy, load_policy, shipped_policies

    if is_shipped and path is not None:
        raise click.UsageError(f"--shipped is about another policy than {path}; give one of them")
    return load_policy(shipped_policies() / "default.yaml" if is_shipped else find_policy(path))
