"""Files that people put somewhere, read so that nothing odd in their place makes a process wait or swell."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_plain(path: Path, most: int) -> bytes:
    """The first bytes of a file on a disk. Never waits for a pipe, and never reads a device to its end.

    Args:
        path: of the file.
        most: bytes to read at most.

    Raises:
        OSError: it cannot be read, or is a folder, a pipe, a socket or a device.
        ValueError: its name cannot be one (it holds a NUL).
    """
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(number).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "a pipe or a device, not a file on a disk")
        with open(number, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(number)
