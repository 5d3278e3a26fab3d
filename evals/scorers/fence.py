"""Runs in a Python process of its own, which it fences in before it lets somebody's code run. No imports of ours.

A fence against accidents and careless answers, not a sandbox against an attacker: whoever can run native code in
the process can climb it. It takes away, as far as the system allows:

- time, memory, file size, open files and core dumps (`resource`; memory not on macOS, where the limit is ignored),
- the network: a name space without any interface (`unshare`, where the system lets users do so), and always an
  audit hook that refuses sockets, other processes, native libraries, and files outside of the own directory.

Audit hooks cannot be taken off again (PEP 578), but they only see what goes through Python.
"""

import json
import os
import signal
import sys

REFUSED = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "pty.", "ctypes.",
    "os.kill", "signal.pthread_kill", "ftplib.", "urllib.", "http.", "smtplib.", "webbrowser.", "sqlite3.",
    "syslog.", "fcntl.", "os.putenv", "os.startfile", "mmap.", "gc.get_objects", "sys._getframe.", "sys.remote_exec",
)  # fmt: skip
CHANGING = (
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink",
    "os.truncate", "os.utime", "os.listxattr", "os.setxattr", "shutil.", "os.chflags", "os.removexattr",
)  # fmt: skip


def limit(seconds: float, memory_bytes: int) -> None:
    """Set the limits that the kernel keeps."""
    try:
        import resource
    except ImportError:  # Windows has none of them; the parent's time limit is left
        return
    whole = int(seconds) + 1
    for name, value in (
        ("RLIMIT_CPU", whole),
        ("RLIMIT_AS", memory_bytes),
        ("RLIMIT_FSIZE", 1 << 20),
        ("RLIMIT_NOFILE", 64),
        ("RLIMIT_CORE", 0),
    ):
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, ValueError, OSError):
            continue
    signal.setitimer(signal.ITIMER_REAL, seconds)  # a sleeping process uses no CPU; unhandled, the alarm ends it


def leave_network() -> bool:
    """Enter a network without interfaces; False where the system forbids it."""
    try:
        import ctypes

        new_user, new_net = 0x10000000, 0x40000000
        return bool(ctypes.CDLL(None, use_errno=True).unshare(new_user | new_net) == 0)
    except (OSError, AttributeError, ImportError, TypeError):
        return False


def fence(home: str) -> None:
    """Refuse what Python reports: sockets, processes, native libraries, files elsewhere."""
    own = os.path.realpath(home) + os.sep
    readable = tuple(os.path.realpath(path) + os.sep for path in {sys.prefix, sys.base_prefix, *sys.path} if path)
    readable = (own, *readable, "/usr/share/zoneinfo/")
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def watch(event: str, arguments: tuple) -> None:  # type: ignore[type-arg]
        if event == "open":
            path, mode, flags = (*arguments, None, None)[:3]
            if isinstance(path, int):
                return
            changes = bool((flags or 0) & writing) or any(letter in str(mode or "r") for letter in "wax+")
            where = os.path.realpath(os.fsdecode(path))
            if where == os.devnull or where.startswith(own if changes else readable):
                return
            raise PermissionError(f"files outside of the test's own directory are closed: {where}")
        if event.startswith(CHANGING):
            paths = [os.fsdecode(one) for one in arguments if isinstance(one, (str, bytes))]
            if all((os.path.realpath(path) + os.sep).startswith(own) for path in paths):
                return
            raise PermissionError(f"{event} outside of the test's own directory")
        if event.startswith(REFUSED):
            raise PermissionError(f"{event} is closed to tested code")

    sys.addaudithook(watch)


def main() -> None:
    """Read the program from stdin, run it, and say on the first standard output what came of it."""
    given = json.load(sys.stdin)
    verdict = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what the code prints is nobody's verdict
        os.dup2(nothing, stream)
    limit(given["seconds"], given["memory_bytes"])
    offline = leave_network()
    sys.path = [path for path in sys.path if path and path != os.path.dirname(os.path.abspath(__file__))]
    os.chdir(given["home"])
    fence(given["home"])
    outcome = {"nonce": given["nonce"], "offline": offline, "error": None}
    try:
        exec(compile(given["program"], "<answer and tests>", "exec"), {"__name__": "__main__"})  # noqa: S102
    except BaseException as error:  # noqa: BLE001  also SystemExit: leaving early passes no test
        outcome["error"] = f"{type(error).__name__}: {str(error)[:200]}"
    os.write(verdict, json.dumps(outcome).encode())
    os._exit(0)  # threads and exit handlers of the code have no say


if __name__ == "__main__":
    main()
