"""`clearbar policy approve` and `clearbar policy approvals`: who agreed to which bars, when."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.errors import ConfigurationError
from router.types import to_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from router.policy import Policy
    from router.policy.signing import Approval

PASSPHRASE = "CLEARBAR_KEY_PASSPHRASE"  # noqa: S105  the name of a variable
NOT_APPROVED = 1
ENVIRONMENT = click.option(
    "--environment", metavar="NAME", help="One of the policy's environments; default CLEARBAR_ENV."
)
PATH = click.argument("path", required=False, type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")


@click.command()
@PATH
@click.option("--key", "key_file", type=click.Path(path_type=Path), help="Your private key, as ssh-keygen makes it.")
@click.option("--by", help="Your name among the policy's `approvals: {keys}`.")
@click.option("--note", default="", help="Why; it is signed, too.")
@ENVIRONMENT
@JSON
@click.pass_context
def approve(
    ctx: click.Context, path: Path | None, key_file: Path | None, by: str | None, note: str, environment: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Show which bars changed since they were approved last; with --key and --by, approve them.

    Without a key nothing is written: 0 they are approved, 1 they are not. The passphrase of a protected key is asked
    for, or read from CLEARBAR_KEY_PASSPHRASE.
    """
    from router.policy.approvals import changes, content_of, digest_of
    from router.policy.signing import approve as sign
    from router.policy.signing import folder_of, last_approved, missing_approval, read_approvals

    if (key_file is None) != (by is None):
        raise click.UsageError("--key and --by go together: whose key it is")
    if len(note) > 2_000 or not note.isprintable():
        raise click.BadParameter("must be one line of at most 2,000 characters", param_hint="--note")
    policy = _asking(path, environment)
    assert policy.approvals is not None  # noqa: S101  else it does not come here
    found = read_approvals(folder_of(policy), policy.approvals.keys)
    content = content_of(policy)
    told = changes(last_approved(found, policy.approvals.need), content)
    written = None
    if key_file is not None and by is not None:
        written = sign(policy, _key(key_file), by, note, datetime.now(UTC))
    missing = missing_approval(policy)
    if as_json:
        click.echo(to_json({
            "policy": str(policy.path), "environment": policy.environment, "digest": digest_of(content),
            "changes": told, "written": str(written) if written else None, "approved": missing is None,
            "missing": missing,
        }))  # fmt: skip
    else:
        for line in told or ["no bar changed since the last approval"]:
            click.echo(line)
        if written is not None:
            click.echo(f"wrote {written}", err=True)
        click.echo("approved" if missing is None else "not approved yet" if written else "not approved", err=True)
    ctx.exit(0 if missing is None or written is not None else NOT_APPROVED)


@click.command()
@PATH
@ENVIRONMENT
@JSON
@click.pass_context
def approvals(ctx: click.Context, path: Path | None, environment: str | None, as_json: bool) -> None:
    """List who approved which bars when, the last first: 0 those that stand there now are approved, 1 they are not."""
    from router.policy.approvals import content_of, digest_of, printable
    from router.policy.signing import folder_of, missing_approval, read_approvals

    policy = _asking(path, environment)
    assert policy.approvals is not None  # noqa: S101  else it does not come here
    found = read_approvals(folder_of(policy), policy.approvals.keys)
    missing, now = missing_approval(policy), digest_of(content_of(policy))
    rows = _rows(found, now)
    if as_json:
        click.echo(to_json({"policy": str(policy.path), "digest": now, "approved": missing is None,
                            "missing": missing, "approvals": rows}))  # fmt: skip
        ctx.exit(0 if missing is None else NOT_APPROVED)
    for row in rows:
        state = f"of no use: {row['fault']}" if row["fault"] else "holds now" if row["holds"] else "another state"
        named = f"{row['at'][:19] or '?'}  {row['by']}  {row['digest'] or row['file']}  {state}"
        # Of a file that nobody signed, these may be anything.
        click.echo(printable(named + (f"  {row['note'][:200]!r}" if row["note"] else "")))
        for line in row["changes"]:
            click.echo(f"    {line}")
    if not rows:
        click.echo("nobody has approved anything yet")
    click.echo(missing or "the bars that stand there now are approved", err=True)
    ctx.exit(0 if missing is None else NOT_APPROVED)


def _rows(found: list[Approval], now: str) -> list[dict[str, Any]]:
    """Approvals, the last first, each with what it changed against the one before of another content."""
    from router.policy.approvals import Content, changes

    rows: list[dict[str, Any]] = []
    last: Content | None = None
    before: Content | None = None
    for one in found:
        if one.fault is None and one.content != last:
            before, last = last, one.content
        told = changes(before, one.content) if one.fault is None else []
        rows.append({
            "at": one.at, "by": one.by, "note": one.note, "digest": one.digest, "file": one.path.name,
            "fault": one.fault, "holds": one.fault is None and one.digest == now, "changes": told,
        })  # fmt: skip
    return rows[::-1]


def _asking(path: Path | None, environment: str | None) -> Policy:
    from router.policy import find_policy, load_policy

    policy = load_policy(find_policy(path), environment)
    if policy.approvals is None:
        told = 'asks for no approvals; give `approvals: {keys: {NAME: "ssh-ed25519 AAAA..."}}`'
        raise ConfigurationError(f"{policy.path}: {told}")
    return policy


def _key(path: Path) -> Ed25519PrivateKey:
    from router.policy.signing import load_key

    given = os.environ.get(PASSPHRASE)
    key = load_key(path, given.encode() if given else None)
    if key is None and sys.stdin.isatty():
        key = load_key(path, click.prompt("passphrase", hide_input=True, err=True).encode())
    if key is None:
        raise ConfigurationError(f"{path}: this key has a passphrase; set {PASSPHRASE}, or run this in a terminal")
    return key
