"""A process that serves one local model on loopback, in OpenAI's protocol, until nobody has used it for a while.

Run as `python -m router.transports.local_server` by `router.transports.local`, detached from it, because several
processes share one server and loading a model takes seconds. Its address and key stand in a state file; clients
touch that file when they use the server. A server whose state file is gone, or is another's, ends itself.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from router.transports.weights import file_lock, write_atomically

POLL_S = 0.5
"""How often a server looks at its state file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """What a client must know of a running server."""

    name: str
    url: str
    """Without the `/v1` at its end."""
    key: str
    pid: int
    version: str
    """`sha256:` and the first 12 hex digits of the weights."""


def read_state(path: Path) -> ServerState | None:
    """The state in a file, or None if there is none that can be read."""
    try:
        return ServerState(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def has_engine() -> bool:
    """Whether the package that runs local models is installed."""
    return importlib.util.find_spec("xllamacpp") is not None


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Load the model, write the state file, serve until idle.

    Whoever starts this learns from the end of its stdout that loading is over, and from the state file whether it
    went well; what went wrong is on stderr.
    """
    parser = argparse.ArgumentParser(prog="python -m router.transports.local_server")
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--context", type=int, required=True, help="tokens")
    parser.add_argument("--idle", type=float, required=True, help="seconds without use after which the server ends")
    parser.add_argument("--reproducible", action="store_true", help="keep no prompt in the cache between requests")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    key = secrets.token_urlsafe(24)
    engine = _load(given, key)
    mine = ServerState(name=given.name, url=engine.listening_address, key=key, pid=os.getpid(), version=given.version)
    try:
        write_atomically(given.state, json.dumps(asdict(mine)))
        _close_stdout()
        _watch(given.state, mine, given.idle, lambda: _is_busy(engine.handle_metrics()))
    except OSError:
        traceback.print_exc()
    finally:
        if read_state(given.state) == mine:
            given.state.unlink(missing_ok=True)
        # The engine's own end waits for answers in progress, without bound.
        os._exit(0)


def _load(given: argparse.Namespace, key: str) -> Any:
    """Load the model and open the port; the engine's call returns when it can answer."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(given.gguf)
    params.model_alias = {given.name}
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
    params.n_ctx, params.n_parallel = given.context, 1
    # A host cache of whole prompts may grow by gigabytes; the slot still keeps the last prompt's beginning.
    params.cache_ram_mib = 0
    params.cache_prompt = not given.reproducible
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
    params.ui, params.verbosity, params.endpoint_metrics = False, 0, True
    return xllamacpp.Server(params)


def _close_stdout() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _is_busy(metrics: str) -> bool:
    """Whether the engine's Prometheus page tells of requests in work or waiting."""
    return any(float(count) for count in re.findall(r"^\w+:requests_(?:processing|deferred) (\S+)$", metrics, re.M))


def _watch(path: Path, mine: ServerState, idle_s: float, is_busy: Callable[[], bool]) -> None:
    """Return when the state file is gone or another's, or when it was not touched for `idle_s` and nothing runs."""
    while read_state(path) == mine:
        with contextlib.suppress(FileNotFoundError):
            if _idle_s(path) > idle_s and not is_busy():
                # Clients look and touch under this lock: none may find a server here that is about to end.
                with file_lock(path.with_suffix(".lock")):
                    if _idle_s(path) > idle_s:
                        path.unlink()
                        return
        time.sleep(POLL_S)


def _idle_s(path: Path) -> float:
    return time.time() - path.stat().st_mtime


if __name__ == "__main__":
    main()
