"""Files that are exchanged whole: whoever reads meets the old one or the new one, also after a power cut."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def exchange(place: Path, content: bytes) -> None:
    """Exchange a file's content; what is behind a link is exchanged there, and its mode and owner stay.

    Raises:
        OSError: it cannot be written.
    """
    # Of its own, for two processes may do this at the same time.
    new, file = prepared(place, content, f".{os.getpid()}")
    try:
        os.replace(new, file)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    settle(file.parent)


def prepared(place: Path, content: bytes, mark: str = "") -> tuple[Path, Path]:
    """A new file beside the one that it will replace, and that one, behind any link.

    Args:
        place: of the file, which need not exist.
        content: of the new one.
        mark: in the new one's name; without one, only one process may prepare this file at a time.

    Raises:
        OSError: it cannot be written.
    """
    file = Path(os.path.realpath(place))
    new = file.with_name(f".{file.name}{mark}.new")
    like = file.stat() if file.exists() else None
    write_new(new, content, like.st_mode & 0o7777 if like is not None else 0o644)
    if like is not None and hasattr(os, "chown"):
        with contextlib.suppress(PermissionError):
            os.chown(new, like.st_uid, like.st_gid)
    return new, file


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that nobody else writes; one that was left by a process that died goes.

    Raises:
        OSError: it cannot be written.
    """
    path.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.chmod(mode)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def settle(folder: Path) -> None:
    """Have a folder's entries reach the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
