"""What a policy says of who has to agree to it: `approvals: {keys: {alice: "ssh-ed25519 AAAA..."}, folder, need}`."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated

from pydantic import Field, model_validator

from router.policy.sections import Name, Section

_KIND = b"ssh-ed25519"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]{0,63}")


class Approvals(Section):
    """Whose signatures a policy's bars need before the policy is served."""

    keys: Annotated[dict[Name, Annotated[str, Field(max_length=1_000)]], Field(min_length=1, max_length=50)]
    """OpenSSH public keys (`ssh-ed25519 AAAA...`) by the name of their owner."""
    folder: Name = "approvals"
    """Directory of the approvals, relative to the file."""
    need: Annotated[int, Field(ge=1)] = 1
    """So many of them have to agree."""

    @model_validator(mode="after")
    def _are_keys(self) -> Approvals:
        # Held against the section as a whole: a private key that was put here by mistake must not be quoted.
        found: dict[bytes, str] = {}
        for name, key in self.keys.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"keys: {name[:20]!r} is no name of letters, digits, dots and underscores")
            if "PRIVATE KEY" in key:
                raise ValueError(f"keys: {name}: a private key; exchange it, and write the public one (KEY.pub)")
            raw = public_bytes(key)
            if raw is None:
                raise ValueError(f"keys: {name}: must be an OpenSSH public key such as `ssh-ed25519 AAAA... {name}`")
            if raw in found:  # one person would be two
                raise ValueError(f"keys: {found[raw]} and {name} have the same key")
            found[raw] = name
        if self.need > len(self.keys):
            raise ValueError(f"need: {self.need} of {len(self.keys)} keys can never agree")
        return self


def public_bytes(key: str) -> bytes | None:
    """The 32 bytes of an OpenSSH ed25519 public key (RFC 8709); None where it is none."""
    parts = key.split()
    if len(parts) < 2 or parts[0].encode() != _KIND:
        return None
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        return None
    head = len(_KIND).to_bytes(4, "big") + _KIND + (32).to_bytes(4, "big")
    return blob[len(head) :] if blob.startswith(head) and len(blob) == len(head) + 32 else None
