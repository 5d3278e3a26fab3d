"""Files in the state folder that hold what people wrote: for their owner's eyes, and where they seem to be."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from router.errors import StoreError

log = logging.getLogger(__name__)


def keep_private(path: Path) -> None:
    """Make an empty file for its owner alone, or take the rights of all others to it away.

    SQLite gives its log beside a file the file's own rights. An existing file is not opened: closing it would let go of
    the locks that this process holds on it.

    Raises:
        StoreError: it is a link, which may lead to where a stranger reads or waits, or cannot be made or mended.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(path):
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            try:
                os.close(os.open(path, flags, 0o600))
            except FileExistsError:
                pass  # another process was first
        _close_to_others(path, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: cannot be made or kept private ({error.strerror}); mend the folder") from error


def keep_folder_private(path: Path) -> None:
    """The same for a folder.

    Raises:
        StoreError: as `keep_private`.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close_to_others(path, 0o700)
    except OSError as error:
        raise StoreError(f"{path}: cannot be made or kept private ({error.strerror}); mend the folder") from error


def _close_to_others(path: Path, mode: int) -> None:
    found = path.lstat().st_mode
    if stat.S_ISLNK(found):
        raise StoreError(f"{path}: is a link, which state files may not be; delete it or give another state folder")
    if os.name == "posix" and stat.S_IMODE(found) & ~mode:
        log.warning("%s could be opened by others (mode %04o); now it is its owner's alone", path, stat.S_IMODE(found))
        path.chmod(mode)
