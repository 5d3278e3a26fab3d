"""Going back to the text of an older version: planned first, then written so that no reader meets half of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from router.errors import ConfigurationError, PolicyError
from router.policy.compose import compose, unfinished
from router.policy.exchange import prepared, settle
from router.policy.kept import absolute, as_version, evidence_digests, load_kept, name_of, place_of
from router.policy.load import load_policy
from router.policy.policy import Policy
from router.spend.ledger import Ledger
from router.spend.versions import Version, Versions, digest_of

HISTORY = "`clearbar policy history` lists them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What going back will do."""

    target: Version
    path: Path
    """Of the policy file, as the caller gave it."""
    policy: Policy
    """The older text with the evidence and prices of now, as routers will load it."""
    writes: Mapping[str, bytes]
    """New contents of the files that change, by name; the policy file itself comes last."""
    replaced: Mapping[str, bytes | None]
    """What stands in those files; None: nothing does."""

    def differences(self, artifact_version: str | None) -> list[str]:
        """Why routers will not serve as they did then, a line each: the text alone comes back."""
        then, now = self.target.evidence, evidence_digests(self.policy)
        served = bool(self.target.loads)
        told = [
            f"evidence {pair}: {'is new' if pair not in then else 'is gone' if pair not in now else 'has changed'}"
            for pair in sorted({*then, *now})
            if then.get(pair) != now.get(pair) and served
        ]
        if self.policy.version != self.target.version and not told and served:
            told.append("prices: the price book has changed")
        if artifact_version != self.target.artifact_version and served:
            told.append(f"artifact: is {artifact_version or 'none'} now, was {self.target.artifact_version or 'none'}")
        return told


def plan(versions: Versions, path: Path, wanted: str | None) -> Plan:
    """Find the version, check that its text loads, and say which files change.

    Args:
        versions: the history.
        path: of the policy file.
        wanted: a version, or its first digits; default: the one that was served last, of those whose text is not the
            one on disk; while a rollback has not ended, the version that it was going to.

    Raises:
        ConfigurationError: there is no such version.
        PolicyError: it does not load.
    """
    known = versions.of(absolute(path))
    target = _named(versions, known, wanted or _begun(path), path) or _before(known, path)
    contents = versions.contents(target)
    policy = load_kept(target, contents, path)
    there = {name: _content(place_of(name, path)) for name in sorted(contents, key=lambda name: name == path.name)}
    changed = [name for name in there if there[name] != contents[name]]
    return Plan(
        target=target,
        path=path,
        policy=policy,
        writes={name: contents[name] for name in changed},
        replaced={name: there[name] for name in changed},
    )


def carry_out(plan: Plan, ledger: Ledger) -> Version | None:
    """Write the files: the text that they replace is in the history before the first one is touched.

    Each file is exchanged whole. Of several, those that are included go first, and while they do, the policy does not
    load (a mark stands beside it): routers go on with what they have. A process that dies meanwhile leaves the mark,
    and going back once more ends what it began.

    Returns:
        The version that was replaced, where it was never served: it is in the history now.

    Raises:
        ConfigurationError: a file cannot be written, or has changed since the plan was made.
    """
    unserved = _keep_unserved(plan, ledger.versions)
    mark = unfinished(plan.path)
    with ledger.batch():  # one at a time: this lock ends with its process, however that ends
        for name, digest in plan.target.files.items():
            there = _content(place_of(name, plan.path))
            # Those that were to stay as well: with them, what is written would be of two versions.
            is_same = there == plan.replaced[name] if name in plan.writes else _is_of(there, digest)
            if not is_same:
                raise ConfigurationError(
                    f"{place_of(name, plan.path)}: has changed just now; look at it, and try again"
                )
        fresh: list[tuple[Path, Path]] = []
        try:
            for name, content in plan.writes.items():
                fresh.append(prepared(place_of(name, plan.path), content))
            if len(fresh) > 1 or mark.exists():
                os.replace(*prepared(mark, json.dumps({"to": plan.target.version}).encode()))  # whole, or not at all
                settle(mark.parent)
            for new, file in fresh:
                os.replace(new, file)
                settle(file.parent)
            mark.unlink(missing_ok=True)
            ledger.versions.put_back(plan.target)
        except OSError as error:
            for new, _ in fresh:
                with contextlib.suppress(OSError):
                    new.unlink(missing_ok=True)
            told = "its files are of two versions now" if mark.exists() else "nothing has changed"
            where = error.filename or plan.path
            raise ConfigurationError(
                f"{where}: cannot be written ({error.strerror}); {told}. Mend that, and try again"
            ) from error
    return unserved


def is_on_disk(version: Version, path: Path) -> bool:
    """Whether the files hold this version's text."""
    try:
        there = {name: _content(place_of(name, path)) for name in version.files}
    except ConfigurationError:
        return False
    return all(_is_of(one, version.files[name]) for name, one in there.items())


def _is_of(content: bytes | None, digest: str) -> bool:
    return content is not None and digest_of(content) == digest


def _named(versions: Versions, known: list[Version], wanted: str | None, path: Path) -> Version | None:
    if wanted is None:
        return None
    fitting = [one for one in known if one.version.startswith(wanted)]
    if len(names := {one.version for one in fitting}) > 1:
        raise ConfigurationError(f"{wanted} may be {' or '.join(sorted(names))}; give more of it")
    if fitting:
        return fitting[0]
    others = sorted({str(one.path) for one in versions.named(wanted)})
    told = f"it is one of {', '.join(others)} (give --policy)" if others else HISTORY
    raise ConfigurationError(f"no version {wanted} of {absolute(path)} is known; {told}")


def _before(known: list[Version], path: Path) -> Version:
    for one in known:
        if one.loads and not is_on_disk(one, path):
            return one
    served = any(one.loads for one in known)
    told = "only the text that stands there was" if served else "nothing was"
    raise ConfigurationError(f"no older text of {absolute(path)} is known: {told} served from this state; {HISTORY}")


def _begun(path: Path) -> str | None:
    """Where a rollback was going that has not ended."""
    content = _content(unfinished(path))
    try:
        return str(json.loads(content)["to"]) if content is not None else None
    except (ValueError, TypeError, KeyError):
        return None


def _keep_unserved(plan: Plan, versions: Versions) -> Version | None:
    """Keep the text on disk, if it stands in no version of the history."""
    if all(versions.has(content) for content in plan.replaced.values() if content):
        return None
    try:
        version, contents = as_version(load_policy(plan.path), None)
    except PolicyError:
        # It may be what somebody wants to get away from: kept as it stands, loading or not.
        contents = {name: content for name, content in plan.replaced.items() if content is not None}
        with contextlib.suppress(PolicyError):
            composed = compose(plan.path)
            contents |= {
                name_of(file, plan.path): content
                for file, content in zip(composed.files, composed.contents, strict=True)
            }
        files = {name: digest_of(content) for name, content in sorted(contents.items())}
        name = f"unserved-{hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]}"
        version = Version(
            version=name, environment=None, path=absolute(plan.path), files=files, artifact_version=None, evidence={}
        )
    if any(dict(one.files) == dict(version.files) for one in versions.of(version.path)):
        return None
    version = replace(version, loads=0)
    versions.keep(version, contents)
    return version


def _content(path: Path) -> bytes | None:
    """What stands in a file; None: there is none.

    Raises:
        ConfigurationError: it cannot be read, so nobody knows what would be replaced.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ConfigurationError(f"{path}: is a pipe or a device; put a file in its place")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}), and is not replaced unseen") from error
