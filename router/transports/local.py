"""Calls to models on this machine: finds or starts a server for the model, and lets another transport talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from router.errors import ConfigurationError, ModelNotFoundError, ProviderError, ProviderTimeoutError, WeightsError
from router.transports import catalogue, weights
from router.transports.base import Transport
from router.transports.local_server import ServerState, has_engine, read_state
from router.types import Call, Deployment, Reply

START_TIMEOUT_S = 120.0
"""Bound of one start: a cold disk may need a minute for a gigabyte."""
STOP_TIMEOUT_S = 10.0
INSTALL = 'pip install "clearbar[local]"'


class LocalTransport:
    """Serves `local/NAME`, NAME being a name of the catalogue or the path of a `.gguf` file.

    All processes of a user on one machine share one server per model and settings. It ends itself when unused.

    Environment:
        CLEARBAR_LOCAL_THREADS: threads per model; default one less than the cores, at least 1, because on a busy
            machine a thread too many costs more than it brings.
        CLEARBAR_LOCAL_REPRODUCIBLE: `1` computes every prompt from its start, so that equal requests at
            temperature 0 get equal answers. Not the default: with the beginning of the last prompt kept, a short
            question after the same 460-token instructions takes 0.2 s instead of 2.9 s (135M model, 1 thread).
    """

    def __init__(self, inner: Transport, *, context: int = 4096, idle_s: float = 300.0) -> None:
        """Make a transport; nothing is started yet.

        Args:
            inner: speaks OpenAI's protocol to the server; it stays the caller's to close.
            context: tokens of prompt and answer together.
            idle_s: seconds without use after which a server ends itself.
        """
        self._inner, self._context, self._idle_s = inner, context, idle_s

    def send(self, call: Call) -> Reply:
        """Send one call, after starting the model's server if there is none.

        Raises:
            WeightsError: the weights or the engine are missing; names the command that mends it.
            ProviderError: as the inner transport; a retry after a server's death starts a new one.
        """
        started = time.monotonic()
        server, state_file = self._server(call)
        try:
            reply = self._inner.send(_forwarded(call, server, state_file, started))
        finally:
            _touch(state_file)
        if reply.payload is not None:
            return replace(reply, payload=_stamped(reply.payload, server.version))
        return replace(reply, chunks=_Chunks(reply.chunks, server.version, state_file))

    async def asend(self, call: Call) -> Reply:
        """Send one call without blocking the event loop, also not by a start; as `send`."""
        started = time.monotonic()
        server, state_file = await asyncio.to_thread(self._server, call)
        try:
            reply = await self._inner.asend(_forwarded(call, server, state_file, started))
        finally:
            _touch(state_file)
        if reply.payload is not None:
            return replace(reply, payload=_stamped(reply.payload, server.version))
        return replace(reply, chunks=_AsyncChunks(reply.chunks, server.version, state_file))

    def close(self) -> None:
        """Nothing to let go of: servers are shared and end when unused (`stop_servers` ends them at once)."""

    def _server(self, call: Call) -> tuple[ServerState, Path]:
        """A living server for the call's model, and its state file, freshly touched."""
        name = call.deployment.call.partition("/")[2]
        if call.kind != "chat":
            raise ModelNotFoundError(
                f"{call.deployment.call}: local models answer chat requests only, not {call.kind}", model=call.model
            )
        gguf = weights.path_of(name)
        if not has_engine():
            raise WeightsError(f"{call.deployment.call}: the engine for local models is not installed. Run: {INSTALL}")
        settings = {
            "name": name if name in catalogue.CATALOGUE else gguf.stem,
            "threads": _threads(),
            "context": self._context,
            "idle": self._idle_s,
            "reproducible": os.environ.get("CLEARBAR_LOCAL_REPRODUCIBLE") == "1",
        }
        state_file = _servers_dir() / f"{_key_of(gguf, settings)}.json"
        try:
            state_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with weights.file_lock(state_file.with_suffix(".lock")):
                state = read_state(state_file)
                if state is None or not _is_alive(state):
                    state = _start(gguf, weights.version_of(name), settings, state_file)
                _touch(state_file)
        except OSError as error:
            raise WeightsError(
                f"{call.deployment.call}: {state_file.parent} cannot be used ({error.strerror or error}); "
                "set XDG_CACHE_HOME to a folder of yours that can be written"
            ) from error
        return state, state_file


def stop_servers() -> list[str]:
    """End all local model servers of this user on this machine; returns the names of their models."""
    stopped = []
    for state_file in sorted(_servers_dir().glob(f"{_machine()}-*.json")):
        # Taking the file away is the signal: a pid may by now belong to someone else.
        with weights.file_lock(state_file.with_suffix(".lock")):
            state = read_state(state_file)
            state_file.unlink(missing_ok=True)
        if state is None:
            continue
        ends = time.monotonic() + STOP_TIMEOUT_S
        while _is_alive(state) and time.monotonic() < ends:
            time.sleep(0.05)
        stopped.append(state.name)
    return stopped


def _servers_dir() -> Path:
    return weights.cache_dir() / "servers"


def _machine() -> str:
    """Marks the machine in file names: a home folder may be shared by several, loopback is not."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _key_of(gguf: Path, settings: Mapping[str, Any]) -> str:
    # The modification time makes new weights under an old name a different model.
    told = json.dumps([str(gguf), gguf.stat().st_mtime_ns, settings], sort_keys=True)
    return f"{_machine()}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def _threads() -> int:
    given = os.environ.get("CLEARBAR_LOCAL_THREADS")
    if given is None:
        return max(1, _cores() - 1)
    if not given.isdecimal() or int(given) < 1:
        raise ConfigurationError(
            f"CLEARBAR_LOCAL_THREADS is {given!r}; set it to a whole number of threads, or unset it"
        )
    return int(given)


def _cores() -> int:
    """Cores this process may use; a container's quota is no part of what Python reports."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(cores, max(1, int(quota) // int(period)))
    return cores


def _is_alive(state: ServerState) -> bool:
    """Whether the process is there and its port answers."""
    try:
        os.kill(state.pid, 0)
        address = urlsplit(state.url)
        socket.create_connection((address.hostname, address.port), timeout=2.0).close()
    except OSError:
        return False
    return True


def _start(gguf: Path, version: str, settings: Mapping[str, Any], state_file: Path) -> ServerState:
    """Start a server and wait until it can answer."""
    state_file.unlink(missing_ok=True)
    log = state_file.with_suffix(".log")
    command = [sys.executable, "-m", "router.transports.local_server"]
    command += [f"--gguf={gguf}", f"--name={settings['name']}", f"--version={version}", f"--state={state_file}"]
    command += [f"--threads={settings['threads']}", f"--context={settings['context']}", f"--idle={settings['idle']}"]
    command += ["--reproducible"] if settings["reproducible"] else []
    # The folder it runs in is on its import path, and must hold no other `router`; ours may not be installed.
    ours = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH")]))}
    with log.open("wb") as told:
        # The shell's only work is to be the parent and to end: init then reaps a dead server, which as a child of
        # ours would stay a zombie with a living pid.
        shell = subprocess.Popen(  # noqa: S603 - no text of others is read as shell code
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=told,
            cwd=state_file.parent,
            env=environment,
            start_new_session=True,
        )
    is_settled = False
    with shell, contextlib.suppress(subprocess.TimeoutExpired):
        # The end of the server's output is the sign: either it is ready or it is dead.
        shell.communicate(timeout=START_TIMEOUT_S)
        is_settled = True
    state = read_state(state_file)
    if state is None:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        reason = said[-1][:300] if said else "it ended without a word; does this CPU have AVX2?"
        if not is_settled:
            reason = f"not ready after {START_TIMEOUT_S:g} s"
        raise WeightsError(f"no server could be started for {gguf}: {reason} (log: {log})")
    return state


def _forwarded(call: Call, server: ServerState, state_file: Path, started: float) -> Call:
    """The call as the inner transport should send it, with what the start left of its time."""
    remaining_s = call.timeout_s - (time.monotonic() - started)
    if remaining_s <= 0:
        late: ProviderError = ProviderTimeoutError(
            f"{call.deployment.call}: loading the model took more than {call.timeout_s:g} s; it is loaded now",
            model=call.model,
        )
        late.is_billed = False  # nothing was sent
        raise late
    # A deployment names the variable that holds a key, never the key.
    variable = f"CLEARBAR_LOCAL_KEY_{state_file.stem.replace('-', '_').upper()}"
    os.environ[variable] = server.key
    deployment = Deployment(
        call=f"openai/{server.name}",
        api_base=f"{server.url}/v1",
        api_key_env=variable,
        region=call.deployment.region,
    )
    return replace(call, deployment=deployment, timeout_s=remaining_s)


def _touch(state_file: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(state_file)


def _stamped(payload: Mapping[str, Any], version: str) -> dict[str, Any]:
    """A shallow copy that says which weights answered, as evidence names them."""
    return {**payload, "system_fingerprint": version}


class _Chunks:
    """A stream of stamped chunks. A class, because closing a generator that has not begun closes nothing."""

    def __init__(self, chunks: Any, version: str, state_file: Path) -> None:
        self._chunks, self._version, self._state_file = chunks, version, state_file

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return self

    def __next__(self) -> Mapping[str, Any]:
        try:
            return _stamped(next(self._chunks), self._version)
        except BaseException:
            _touch(self._state_file)
            raise

    def close(self) -> None:
        """Close the connection; the server stops working on the answer."""
        _touch(self._state_file)
        self._chunks.close()


class _AsyncChunks:
    """As `_Chunks`, for an event loop."""

    def __init__(self, chunks: Any, version: str, state_file: Path) -> None:
        self._chunks, self._version, self._state_file = chunks, version, state_file

    def __aiter__(self) -> AsyncIterator[Mapping[str, Any]]:
        return self

    async def __anext__(self) -> Mapping[str, Any]:
        try:
            return _stamped(await anext(self._chunks), self._version)
        except BaseException:
            _touch(self._state_file)
            raise

    async def aclose(self) -> None:
        """Close the connection; the server stops working on the answer."""
        _touch(self._state_file)
        await self._chunks.aclose()
