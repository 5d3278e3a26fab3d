"""Approvals on disk: signed, read and checked. The only file that knows `cryptography`, from `clearbar[sign]`.

An approval is a JSON file `DIGEST--NAME.json` with the whole approved content, who approved it, when, a note, and an
ed25519 signature over all of that (RFC 8032). A file's name means nothing: what is in it has to be signed.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.config import shown, suggestion
from router.errors import ConfigurationError, PolicyError
from router.plain_files import read_plain
from router.policy.approvals import Content, canonical, changes, content_of, digest_of, is_content, printable
from router.policy.approving import Approvals, public_bytes
from router.policy.exchange import settle, write_new

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from router.policy.policy import Policy

MOST_BYTES = 4_000_000
"""Of an approval, which holds every rule."""
MOST_FILES = 10_000
_DOMAIN = b"clearbar approval of bars 1\n"
"""Before what is signed, so that a signature made for anything else never passes for an approval."""
_SIGNED = ("version", "by", "at", "note", "content")
MOST_TOLD = 6
"""Changes in the message of a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One file."""

    path: Path
    by: str
    at: str
    """ISO 8601, UTC."""
    note: str
    digest: str
    """Of the content."""
    content: Content
    fault: str | None
    """Why it does not count; None: it does."""


def read_approvals(folder: Path, keys: Mapping[str, str]) -> list[Approval]:
    """All approvals of a folder, the oldest first; what cannot be read is there with its fault.

    Args:
        folder: it need not exist.
        keys: of those who may approve, OpenSSH public keys by name.

    Raises:
        ConfigurationError: `cryptography` is missing, and there is something to check.
    """
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if len(paths) > MOST_FILES:
        raise ConfigurationError(f"{folder}: more than {MOST_FILES:,} files; move the old ones away")
    return sorted((_read(path, keys) for path in paths), key=lambda one: (one.at, one.path.name))


def missing_approval(policy: Policy, approvals: Approvals | None = None) -> str | None:
    """Why a policy's bars are not approved, with what changed and the remedy; None: they are, or need not be.

    Args:
        policy: to be served.
        approvals: whose keys have to agree; default the policy's own.
    """
    asked = approvals or policy.approvals
    if asked is None:
        return None
    content, found = content_of(policy), read_approvals(folder_of(policy), asked.keys)
    agreed = {one.by for one in found if one.fault is None and one.content == content}
    if len(agreed) >= asked.need:
        return None
    told = changes(last_approved(found, asked.need), content)
    more = f"; and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
    faults = [printable(f"{one.path.name}: {one.fault}") for one in found if one.fault is not None][:MOST_TOLD]
    others = [name for name in asked.keys if name not in agreed]
    return (
        f"approvals: these bars are not approved ({len(agreed)} of {asked.need}): {'; '.join(told[:MOST_TOLD])}{more}. "
        f"{' or '.join(others)} may approve: clearbar policy approve {policy.path} --key FILE --by {others[0]}"
        + (f" --environment {policy.environment}" if policy.environment else "")
        + (f". Of no use are {', '.join(faults)}" if faults else "")
    )


def require_approval(policy: Policy, before: Policy | None = None) -> None:
    """Refuse to serve a policy whose bars are not approved.

    Args:
        policy: to be served.
        before: the one that is served now: whom it asks has to agree too, so that nobody lets himself in.

    Raises:
        PolicyError: what changed, who may approve it, and how.
        ConfigurationError: `cryptography` is missing.
    """
    where, told = policy.document, None
    if before is not None and before.approvals is not None and policy.approvals is None:
        without = "approvals: the policy that is served asks for them; only a process that starts anew goes without"
        raise PolicyError(where.problem(("approvals",), without))
    old = before.approvals if before is not None else None
    for asked in (policy.approvals, old):
        if asked is not None and (told := missing_approval(policy, asked)) is not None:
            raise PolicyError(where.problem(("approvals",), told))


def last_approved(found: list[Approval], need: int) -> Content | None:
    """The content that so many have approved last; None: there is none."""
    agreed: dict[str, set[str]] = {}
    last = None
    for one in found:
        if one.fault is None:
            agreed.setdefault(one.digest, set()).add(one.by)
            last = one.content if len(agreed[one.digest]) >= need else last
    return last


def folder_of(policy: Policy) -> Path:
    """Where a policy's approvals are; it need not exist."""
    return policy.path.parent / (policy.approvals.folder if policy.approvals else "approvals")


def approve(policy: Policy, key: Ed25519PrivateKey, by: str, note: str, now: datetime) -> Path:
    """Sign a policy's bars and write the approval.

    Raises:
        ConfigurationError: the policy asks for no approvals, knows nobody of this name, or the key is another's.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    asked = policy.approvals
    if asked is None:
        raise ConfigurationError(f"{policy.path}: asks for no approvals; give `approvals: {{keys: {{NAME: KEY}}}}`")
    if by not in asked.keys:
        raise ConfigurationError(f"{policy.path}: {shown(by)} may not approve{suggestion(by, list(asked.keys))}")
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    if raw != public_bytes(asked.keys[by]):
        owner = next((name for name, one in asked.keys.items() if public_bytes(one) == raw), None)
        whose = f"{owner}'s" if owner else "in no line of `approvals`"
        raise ConfigurationError(f"this key is {whose}, not {by}'s")
    content = content_of(policy)
    signed = {"version": 1, "by": by, "at": now.astimezone(UTC).isoformat(timespec="microseconds"), "note": note,
              "content": content}  # fmt: skip
    signature = base64.b64encode(key.sign(_DOMAIN + canonical(signed))).decode()
    path = folder_of(policy) / f"{digest_of(content)}--{by}.json"
    _write(path, json.dumps({**signed, "digest": digest_of(content), "signature": signature}, indent=1) + "\n")
    return path


def load_key(path: Path, passphrase: bytes | None) -> Ed25519PrivateKey | None:
    """A private key in OpenSSH's format; None: it is protected, and there is no passphrase.

    Raises:
        ConfigurationError: it cannot be read, is no ed25519 key, the passphrase is wrong, or `cryptography` is missing.
    """
    _require()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        content = _bytes(path, 100_000)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: the key cannot be read ({_why(error)})") from None
    if content.startswith((b"ssh-", b"ecdsa-")):
        raise ConfigurationError(f"{path}: a public key; give the private one, {path.stem}")
    is_protected = _is_protected(content)
    if is_protected and passphrase is None:
        return None
    try:
        key = load_ssh_private_key(content, password=passphrase if is_protected else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if is_protected:
            raise ConfigurationError(f"{path}: the passphrase does not open this key") from None
        told = "make one with: ssh-keygen -t ed25519"
        raise ConfigurationError(f"{path}: no private key in OpenSSH's format; {told}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path}: no ed25519 key; make one with: ssh-keygen -t ed25519")
    return key


def _read(path: Path, keys: Mapping[str, str]) -> Approval:
    def faulty(why: str, by: str = "?", at: str = "", note: str = "") -> Approval:
        return Approval(path=path, by=by, at=at, note=note, digest="", content={}, fault=why)

    try:
        kept = json.loads(_bytes(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        return faulty(f"not readable ({_why(error)})")
    if not isinstance(kept, dict) or not {*_SIGNED, "signature"} <= set(kept) or kept["version"] != 1:
        return faulty("no approval that this version knows")
    by, at, note, content = (kept[name] for name in ("by", "at", "note", "content"))
    if not all(isinstance(one, str) for one in (by, at, note, kept["signature"])) or not is_content(content):
        return faulty("no approval that this version knows")
    if by not in keys:
        return faulty(f"{by[:64]!r} may not approve", by[:64], at[:32], note)
    if not _is_signed(kept, keys[by]):
        return faulty(f"its signature is not {by}'s, or what it signs was changed", by, at[:32], note)
    return Approval(path=path, by=by, at=at, note=note, digest=digest_of(content), content=content, fault=None)


def _is_signed(kept: Mapping[str, Any], key: str) -> bool:
    _require()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = public_bytes(key)
    try:
        signature = base64.b64decode(kept["signature"], validate=True)
        message = _DOMAIN + canonical({name: kept[name] for name in _SIGNED})
        Ed25519PublicKey.from_public_bytes(raw or b"").verify(signature, message)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _is_protected(content: bytes) -> bool:
    """Whether a key in OpenSSH's format is encrypted: its cipher is the first text behind the magic word."""
    body = b"".join(line for line in content.splitlines() if not line.startswith(b"-----"))
    try:
        head = base64.b64decode(body[: len(body) // 4 * 4])[:64]
    except (binascii.Error, ValueError):
        return False
    return head.startswith(b"openssh-key-v1\0") and not head[15:].startswith(b"\0\0\0\4none")


def _require() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        told = "approvals need cryptography: pip install 'clearbar[sign]'"
        raise ConfigurationError(told) from error


def _bytes(path: Path, most: int) -> bytes:
    """A file's bytes, also behind a link (that is how clusters mount files)."""
    content = read_plain(path, most + 1)
    if len(content) > most:
        raise ValueError(f"more than {most:,} bytes")
    return content


def _write(path: Path, text: str) -> None:
    """All or nothing, and beside whatever a link of this name points at."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    write_new(fresh, text.encode(), 0o644)
    try:
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    settle(path.parent)


def _why(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)[:80]
