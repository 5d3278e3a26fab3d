"""Models on this machine, with the real engine and the smallest real weights."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from router.errors import (
    ConfigurationError,
    ContextTooLongError,
    ModelNotFoundError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    WeightsError,
)
from router.transports import catalogue, local, local_server, weights
from router.transports.litellm import LiteLLMTransport
from router.transports.local import LocalTransport, stop_servers
from router.types import Call, Deployment, Reply

NAME = "smollm2-135m"
VERSION = catalogue.CATALOGUE[NAME].version
DEADLINE_S = 60.0
"""For what must happen at some time; no test says how soon."""


def needs_engine(test: Any) -> Any:
    reason = 'needs the engine for local models; run: pip install "clearbar[local]"'
    return pytest.mark.weights(pytest.mark.skipif(not local_server.has_engine(), reason=reason)(test))


def needs_model(test: Any) -> Any:
    reason = f"needs the weights of {NAME}; run: clearbar models pull {NAME}"
    return needs_engine(pytest.mark.skipif(not weights.is_pulled(NAME), reason=reason)(test))


@pytest.fixture(autouse=True)
def own_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Servers of this test's own, ended with it; the weights stay where they are."""
    monkeypatch.setenv("CLEARBAR_MODELS", str(weights.models_dir()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CLEARBAR_LOCAL_THREADS", "1")
    yield tmp_path / "cache" / "clearbar" / "servers"
    stop_servers()


@pytest.fixture
def transport() -> Iterator[LocalTransport]:
    inner = LiteLLMTransport()
    yield LocalTransport(inner)
    inner.close()


class Recorder:
    """An inner transport that sends nothing and keeps the call it was given."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def send(self, call: Call) -> Reply:
        self.calls.append(call)
        return Reply(payload={"id": "1", "choices": [], "system_fingerprint": "b0-unknown"})

    async def asend(self, call: Call) -> Reply:
        return self.send(call)

    def close(self) -> None:
        raise AssertionError("the inner transport belongs to who made it")


def a_call(text: str = "Name three colours.", *, model: str = f"local/{NAME}", **changes: Any) -> Call:
    given: dict[str, Any] = {
        "request_id": "r",
        "model": "small",
        "deployment": Deployment(call=model, region="here"),
        "kind": "chat",
        "messages": ({"role": "user", "content": text},),
        "params": {"max_tokens": 8, "temperature": 0},
        "timeout_s": 120.0,
    }
    return Call(**{**given, **changes})


def states(folder: Path) -> list[local_server.ServerState]:
    return [state for path in folder.glob("*.json") if (state := local_server.read_state(path))]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_ended(pid: int) -> None:
    ends = time.monotonic() + DEADLINE_S
    while is_running(pid):
        assert time.monotonic() < ends, f"process {pid} still runs"
        time.sleep(0.05)


# One call


@needs_model
def test_an_answer_has_usage_and_the_version_of_the_weights(transport: LocalTransport) -> None:
    payload = transport.send(a_call()).payload
    assert payload is not None
    assert payload["choices"][0]["message"]["content"]
    assert payload["choices"][0]["finish_reason"] == "length"
    assert payload["usage"]["completion_tokens"] == 8
    assert payload["usage"]["prompt_tokens"] > 10
    assert payload["model"] == NAME
    assert payload["system_fingerprint"] == VERSION


@needs_model
def test_a_stream_has_usage_and_the_version_in_every_chunk(transport: LocalTransport) -> None:
    params = {"max_tokens": 8, "temperature": 0, "stream_options": {"include_usage": True}}
    reply = transport.send(a_call(stream=True, params=params))
    assert reply.chunks is not None
    chunks = list(reply.chunks)  # type: ignore[arg-type]
    assert {chunk["system_fingerprint"] for chunk in chunks} == {VERSION}
    assert chunks[-1]["usage"]["completion_tokens"] == 8
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])


async def _both(transport: LocalTransport) -> tuple[Reply, list[Any]]:
    whole = await transport.asend(a_call())
    stream = await transport.asend(a_call(stream=True))
    return whole, [chunk async for chunk in stream.chunks]  # type: ignore[union-attr]


@needs_model
def test_an_event_loop_gets_the_same_answers(transport: LocalTransport) -> None:
    whole, chunks = asyncio.run(_both(transport))
    assert whole.payload is not None
    assert whole.payload["system_fingerprint"] == VERSION
    streamed = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert streamed
    assert {chunk["system_fingerprint"] for chunk in chunks} == {VERSION}


@needs_model
@pytest.mark.parametrize("begun", [False, True], ids=["before its first chunk is read", "in the middle"])
def test_a_closed_stream_frees_the_server(transport: LocalTransport, begun: bool) -> None:
    reply = transport.send(a_call(stream=True, params={"max_tokens": 3_000, "temperature": 0}))
    if begun:
        next(reply.chunks)  # type: ignore[arg-type]
    reply.chunks.close()  # type: ignore[union-attr]
    assert transport.send(a_call()).payload is not None


@needs_model
def test_a_prompt_longer_than_the_context_is_told_as_such(transport: LocalTransport) -> None:
    with pytest.raises(ContextTooLongError):
        transport.send(a_call("word " * 5_000))


@needs_model
def test_reproducible_servers_reuse_no_prompt(transport: LocalTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    def cached_tokens() -> int:
        payload = transport.send(a_call()).payload
        assert payload is not None
        return int(payload["usage"]["prompt_tokens_details"]["cached_tokens"])

    assert (cached_tokens(), cached_tokens() > 0) == (0, True)
    monkeypatch.setenv("CLEARBAR_LOCAL_REPRODUCIBLE", "1")
    assert (cached_tokens(), cached_tokens()) == (0, 0)


# What is forwarded


@needs_model
def test_the_inner_transport_gets_an_openai_call_to_loopback() -> None:
    inner = Recorder()
    transport = LocalTransport(inner)
    call = a_call(params={"temperature": 0.5, "seed": 3})
    assert transport.send(call).payload == {"id": "1", "choices": [], "system_fingerprint": VERSION}
    transport.close()

    (forwarded,) = inner.calls
    assert forwarded.deployment.call == f"openai/{NAME}"
    assert str(forwarded.deployment.api_base).startswith("http://127.0.0.1:")
    assert forwarded.deployment.region == "here"
    assert (forwarded.params, forwarded.messages, forwarded.model) == (call.params, call.messages, call.model)
    assert 0 < forwarded.timeout_s <= call.timeout_s
    variable = str(forwarded.deployment.api_key_env)
    assert variable.startswith("CLEARBAR_LOCAL_KEY_")
    assert len(os.environ[variable]) >= 32


@needs_model
def test_the_key_is_for_the_users_eyes_only(own_servers: Path) -> None:
    LocalTransport(Recorder()).send(a_call())
    (state_file,) = own_servers.glob("*.json")
    assert state_file.stat().st_mode & 0o777 == 0o600
    assert own_servers.stat().st_mode & 0o777 == 0o700


@needs_model
def test_the_path_of_a_gguf_file_serves_as_a_name(tmp_path: Path) -> None:
    own, inner = tmp_path / "my-model.gguf", Recorder()
    own.symlink_to(weights.path_of(NAME))
    payload = LocalTransport(inner).send(a_call(model=f"local/{own}")).payload
    assert payload is not None
    assert payload["system_fingerprint"] == VERSION
    assert inner.calls[0].deployment.call == "openai/my-model"


@needs_model
def test_a_start_does_not_block_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    start = local._start

    def noted(*args: Any) -> local_server.ServerState:
        threads.append(threading.current_thread())
        return start(*args)

    monkeypatch.setattr(local, "_start", noted)
    asyncio.run(LocalTransport(Recorder()).asend(a_call()))
    assert threads
    assert threads[0] is not threading.main_thread()


@needs_model
def test_time_that_the_start_used_up_is_a_timeout_that_costs_nothing() -> None:
    inner = Recorder()
    with pytest.raises(ProviderTimeoutError, match=r"loading the model took more than 0\.001 s") as caught:
        LocalTransport(inner).send(a_call(timeout_s=0.001))
    assert caught.value.is_billed is False
    assert not inner.calls
    assert LocalTransport(inner).send(a_call()).payload


# Servers


PROGRAM = """
import sys
from router.transports.local import LocalTransport
from router.types import Call, Deployment, Reply
class Inner:
    def send(self, call):
        print(call.deployment.api_base)
        return Reply(payload={})
LocalTransport(Inner()).send(Call(request_id="r", model="m", deployment=Deployment(call=sys.argv[1]), kind="chat",
                                  messages=(), params={}, timeout_s=120.0))
"""


@needs_model
def test_processes_that_start_at_once_share_one_server(own_servers: Path) -> None:
    root = str(Path(__file__).parents[3])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, f"local/{NAME}"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )
        for _ in range(3)
    ]
    addresses = {process.communicate(timeout=DEADLINE_S)[0].strip() for process in processes}
    inner = Recorder()
    LocalTransport(inner).send(a_call())
    assert addresses == {inner.calls[0].deployment.api_base}
    assert len(states(own_servers)) == 1


@needs_model
def test_a_server_that_was_killed_is_replaced(transport: LocalTransport, own_servers: Path) -> None:
    transport.send(a_call())
    (before,) = states(own_servers)
    os.kill(before.pid, signal.SIGKILL)
    wait_until_ended(before.pid)
    assert transport.send(a_call()).payload
    (after,) = states(own_servers)
    assert after.pid != before.pid


@needs_model
def test_a_server_that_dies_under_a_call_is_an_error_that_may_be_retried(own_servers: Path) -> None:
    class Murderer(LiteLLMTransport):
        victims = 0

        def send(self, call: Call) -> Reply:
            if not self.victims:
                self.victims = states(own_servers)[0].pid
                os.kill(self.victims, signal.SIGKILL)
                wait_until_ended(self.victims)
            return super().send(call)

    inner = Murderer()
    transport = LocalTransport(inner)
    with pytest.raises(ProviderUnavailableError) as caught:
        transport.send(a_call())
    assert caught.value.retryable
    assert transport.send(a_call()).payload
    inner.close()


@needs_model
def test_an_unused_server_ends_itself_and_takes_its_state_along(own_servers: Path) -> None:
    LocalTransport(Recorder(), idle_s=0.1).send(a_call())
    ends = time.monotonic() + DEADLINE_S
    while list(own_servers.glob("*.json")):
        assert time.monotonic() < ends
        time.sleep(0.05)


@needs_model
def test_stopping_ends_every_server_and_tells_their_models(own_servers: Path) -> None:
    LocalTransport(Recorder()).send(a_call())
    (state,) = states(own_servers)
    assert stop_servers() == [NAME]
    wait_until_ended(state.pid)
    assert stop_servers() == []


@needs_model
def test_a_state_file_that_cannot_be_read_is_replaced(own_servers: Path) -> None:
    transport = LocalTransport(Recorder())
    transport.send(a_call())
    (state_file,) = own_servers.glob("*.json")
    first = states(own_servers)[0].pid
    state_file.write_text("{")
    transport.send(a_call())
    assert len(states(own_servers)) == 1
    wait_until_ended(first)


# What the user must mend


def test_missing_weights_name_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLEARBAR_MODELS", str(tmp_path / "nothing"))
    with pytest.raises(WeightsError) as caught:
        LocalTransport(Recorder()).send(a_call())
    assert str(caught.value).endswith(f"clearbar models pull {NAME}")


def test_a_missing_engine_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"")
    monkeypatch.setattr(local, "has_engine", lambda: False)
    with pytest.raises(WeightsError) as caught:
        LocalTransport(Recorder()).send(a_call(model=f"local/{own}"))
    assert str(caught.value).endswith('pip install "clearbar[local]"')


@needs_engine
def test_a_file_that_is_no_model_is_told_with_the_engines_own_words(tmp_path: Path, own_servers: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"no model at all" * 1_000)
    with pytest.raises(WeightsError, match=r"no server could be started for .*own\.gguf: .*Failed to init") as caught:
        LocalTransport(Recorder()).send(a_call(model=f"local/{own}"))
    assert str(own_servers) in str(caught.value)


def test_embeddings_are_refused_before_anything_starts() -> None:
    with pytest.raises(ModelNotFoundError, match="chat requests only, not embedding"):
        LocalTransport(Recorder()).send(a_call(kind="embedding", messages=(), params={"input": "x"}))


@pytest.mark.parametrize("given", ["0", "-1", "many", ""])
def test_a_wrong_number_of_threads_is_told(given: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"")
    monkeypatch.setattr(local, "has_engine", lambda: True)
    monkeypatch.setenv("CLEARBAR_LOCAL_THREADS", given)
    with pytest.raises(ConfigurationError, match="CLEARBAR_LOCAL_THREADS is"):
        LocalTransport(Recorder()).send(a_call(model=f"local/{own}"))


def test_one_core_is_left_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLEARBAR_LOCAL_THREADS")
    for cores, threads in [(1, 1), (2, 1), (8, 7)]:
        monkeypatch.setattr(local, "_cores", lambda cores=cores: cores)
        assert local._threads() == threads


# The server's own rules


@pytest.mark.parametrize(("processing", "deferred", "busy"), [("0", "0", False), ("1", "0", True), ("0", "2", True)])
def test_requests_in_work_or_waiting_make_a_server_busy(processing: str, deferred: str, busy: bool) -> None:
    page = (
        "# TYPE llamacpp:requests_processing gauge\n"
        f"llamacpp:requests_processing {processing}\nllamacpp:requests_deferred {deferred}\n"
    )
    assert local_server._is_busy(page) is busy


MINE = local_server.ServerState(name="m", url="http://127.0.0.1:1", key="k", pid=1, version="v")


def test_a_server_at_work_is_not_unused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, busy = tmp_path / "state.json", iter([True, True, False])
    path.write_text(json.dumps(asdict(MINE)))
    monkeypatch.setattr(local_server, "POLL_S", 0.0)
    local_server._watch(path, MINE, -1.0, lambda: next(busy))
    assert not path.exists()
    assert not list(busy)


def test_a_server_ends_when_its_state_file_is_anothers(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps(asdict(replace(MINE, pid=2))))
    local_server._watch(path, MINE, 1_000.0, lambda: False)
    assert path.exists()
