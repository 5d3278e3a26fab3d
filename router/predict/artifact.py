"""A trained artifact on disk: `arrays.npz` and `manifest.json`, hashed, free of pickles, written whole or never."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ArtifactError
from router.plain_files import read_plain

FORMAT = 2
"""Version of the format; another one is refused."""
ARRAYS, MANIFEST = "arrays.npz", "manifest.json"
REMEDY = "run: clearbar train --outcomes FILE --out DIR"
MAX_BYTES = 256 << 20
"""No artifact of ours comes near it; a larger file is not read."""

_READS, _PAUSE_S = 20, 0.05
"""How often an artifact is read that is replaced again and again, and the pause in which one replacement ends."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What training found: numbers, and what they are about."""

    manifest: Mapping[str, Any]
    """`models`, `tasks`, `cells`, `table_sha256`, `seed`, `promoted`, `report` and what else is JSON."""
    arrays: Arrays

    @property
    def sha256(self) -> str:
        """Hash of manifest and arrays, 64 hex digits; the time of creation is not part of it."""
        return _manifest_hash({**self.manifest, "arrays_sha256": hashlib.sha256(_packed(self.arrays)).hexdigest()})


def save(artifact: Artifact, directory: str | Path, *, created: str) -> str:
    """Write an artifact; the directory changes only once everything is on disk.

    Args:
        artifact: what to write.
        directory: is made; an older artifact in it is replaced.
        created: ISO time, kept beside the hash and not in it.

    Returns:
        The artifact's sha256.

    Raises:
        ArtifactError: the directory holds something else, or cannot be written.
    """
    directory = Path(directory)
    check_replaceable(directory)
    packed = _packed(artifact.arrays)
    manifest = {**artifact.manifest, "format": FORMAT, "arrays_sha256": hashlib.sha256(packed).hexdigest()}
    manifest["sha256"] = _manifest_hash(manifest)
    manifest["created"] = created
    text = json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise ArtifactError(f"{directory}: cannot be written ({error.strerror}); give another --out") from error
    try:
        _write(fresh / ARRAYS, packed)
        _write(fresh / MANIFEST, text.encode("utf-8"))
        fresh.chmod(0o755)
        if directory.exists():
            # A directory with content cannot be replaced in one step: move the old one aside, then the new one in.
            old = fresh.with_name(fresh.name + ".old")
            os.rename(directory, old)
            os.rename(fresh, directory)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(fresh, directory)
    except OSError as error:
        raise ArtifactError(f"{directory}: cannot be written ({error.strerror}); give another --out") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return str(manifest["sha256"])


def load(directory: str | Path) -> Artifact:
    """Read an artifact and check every byte of it; one that is replaced meanwhile is read again.

    Raises:
        ArtifactError: it is missing, incomplete, altered, or of another version.
    """
    directory = Path(directory)
    for _ in range(_READS):
        before = _identity(directory)
        try:
            return _loaded(directory)
        except ArtifactError:
            # `save` takes two steps, and between them there is no directory.
            time.sleep(_PAUSE_S)
            if _identity(directory) == before:
                raise
    return _loaded(directory)


def _identity(directory: Path) -> tuple[int, int] | None:
    """Which directory stands at a path; None where there is none."""
    try:
        found = directory.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _loaded(directory: Path) -> Artifact:
    if not directory.is_dir():
        what = "is a file, not an artifact directory" if directory.exists() else "no such artifact directory"
        raise ArtifactError(f"{directory}: {what}; {REMEDY}")
    manifest = _read_manifest(directory / MANIFEST)
    packed = _read(directory / ARRAYS)
    if hashlib.sha256(packed).hexdigest() != manifest.get("arrays_sha256"):
        raise ArtifactError(f"{directory / ARRAYS}: altered or cut short (its hash is not the manifest's); {REMEDY}")
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{directory / ARRAYS}: holds something else than plain arrays; {REMEDY}") from error
    return Artifact(manifest=manifest, arrays=arrays)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: not readable as JSON; {REMEDY}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise ArtifactError(f"{path}: artifact format {found!r}, this version reads {FORMAT}; {REMEDY}")
    if _manifest_hash(manifest) != manifest.get("sha256"):
        raise ArtifactError(f"{path}: altered (its content does not match its hash); {REMEDY}")
    return manifest


def _manifest_hash(manifest: Mapping[str, Any]) -> str:
    """Hash of a manifest's content, without the hash itself and the time of creation."""
    content = {key: value for key, value in manifest.items() if key not in ("sha256", "created", "format")}
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(f"{FORMAT}\n{text}".encode()).hexdigest()


def _packed(arrays: Arrays) -> bytes:
    """The arrays as an uncompressed .npz in name order: the same arrays give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(arrays):
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.asarray(arrays[name], order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue())  # ZipInfo's date is 1980, always
    return buffer.getvalue()


def _read(path: Path) -> bytes:
    try:
        content = read_plain(path, MAX_BYTES + 1)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
    if len(content) > MAX_BYTES:
        raise ArtifactError(f"{path}: larger than {MAX_BYTES >> 20} MB, no artifact of ours; {REMEDY}")
    return content


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def check_replaceable(directory: Path) -> None:
    """Whether `save` may write there, before anything is computed.

    Raises:
        ArtifactError: the path is a file, or a directory with other content.
    """
    if directory.is_dir():
        names = {entry.name for entry in directory.iterdir()}
        others = sorted(names - {ARRAYS, MANIFEST}) or sorted(names)
        # Both names together are ours, also when damaged: training again is the remedy we give.
        if names and names != {ARRAYS, MANIFEST}:
            raise ArtifactError(f"{directory}: holds other files ({others[0]}); give an empty or new --out")
    elif directory.exists() or directory.is_symlink():
        raise ArtifactError(f"{directory}: is not a directory; give another --out")
