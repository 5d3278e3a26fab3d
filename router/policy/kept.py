"""Policies as the ledger keeps them: what is written down of one that serves, and one loaded again as it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from router.policy.load import load_policy
from router.policy.policy import Policy
from router.spend.versions import Version, digest_of


def as_version(policy: Policy, artifact_version: str | None) -> tuple[Version, dict[str, bytes]]:
    """What is kept of a policy that begins to hold, and the contents of its files."""
    path = absolute(policy.path)
    names = [name_of(file, policy.path) for file in policy.files]
    contents = dict(zip(names, policy.contents, strict=True))
    version = Version(
        version=policy.version,
        environment=policy.environment,
        path=path,
        files={name: digest_of(content) for name, content in contents.items()},
        artifact_version=artifact_version,
        evidence=evidence_digests(policy),
        rules=len(policy.rules),
        models=len(policy.models),
        loads=1,
    )
    return version, contents


def load_kept(version: Version, contents: Mapping[str, bytes], path: Path | None = None) -> Policy:
    """A policy out of the text that it had; evidence, prices and artifact are those that are there now.

    Args:
        version: as it was kept.
        contents: of its files, by their names.
        path: of the policy file beside which evidence and prices stand; default where it was.

    Raises:
        PolicyError: this release does not load it any more.
    """
    main = path or version.path
    kept = {place_of(name, main): content for name, content in contents.items()}
    return load_policy(main, version.environment or "", kept=kept)


def evidence_digests(policy: Policy) -> dict[str, str]:
    """What the version counts of each evidence, by `task/model`."""
    return {
        f"{task}/{model}": hashlib.sha256(one.model_dump_json().encode()).hexdigest()[:12]
        for (task, model), one in sorted(policy.evidence.items())
    }


def absolute(path: Path) -> Path:
    """A policy's path as the history names it: links in it are not followed, for they may be how it is exchanged."""
    return Path(os.path.abspath(path))


def name_of(file: Path, main: Path) -> str:
    """A file's path from the folder of the policy file that includes it, as `include` has it."""
    return str(file.relative_to(main.parent)) if file.is_relative_to(main.parent) else str(file)


def place_of(name: str, main: Path) -> Path:
    """The file of such a name."""
    return main.parent / name
