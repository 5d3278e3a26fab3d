"""Whether a process that left its name in a shared file is still there."""

from __future__ import annotations

import os
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def this_process() -> str | None:
    """A name that no other process has had since this machine started; None where the system gives none (no /proc)."""
    try:
        return f"{_machine()} {os.getpid()} {_started(os.getpid())}"
    except OSError:
        return None


def is_alive(name: str | None) -> bool | None:
    """Whether the process of that name runs; None where nobody here can tell (another machine or container)."""
    try:
        if name is None or not name.startswith(machine := _machine()):
            return None
        pid, started = name[len(machine) :].split()
    except (OSError, ValueError):
        return None
    try:
        return _started(int(pid)) == started
    except OSError:
        return False


def _machine() -> str:
    """This start of this machine, and the process numbers that are seen here (a container has its own)."""
    return f"{_BOOT.read_text().strip()}/{os.stat('/proc/self/ns/pid').st_ino}"


def _started(pid: int) -> str:
    """When a process started, in clock ticks since the machine did; an ended one whose parent has not heard is gone."""
    state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if state in "ZX":
        raise ProcessLookupError
    return rest[18]
