"""The litellm transport among other threads, loops, processes and users of litellm."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from litellm_calls import OPENAI_LIKE, Ask
from loopback import (
    Provider,
    cut_stream,
    malformed,
    no_usage,
    reply,
    stall,
    status,
)

from router.errors import (
    ProviderError,
)
from router.transports.litellm import LiteLLMTransport


def test_nothing_is_ever_printed(make: Any, ask: Ask, provider: Provider, capfd: pytest.CaptureFixture[str]) -> None:
    provider.script("small", [reply("x"), status(500), malformed(), cut_stream(), stall(9), no_usage()])
    for stream in (False, False, False, True, False, True):
        with pytest.MonkeyPatch.context():
            try:
                ask(make(stream=stream, timeout_s=0.3))
            except ProviderError:
                pass
    try:
        ask(make(model="nosuch", via=""))
    except ProviderError:
        pass
    assert capfd.readouterr().out == ""


def test_many_threads_share_one_transport(transport: LiteLLMTransport, make: Any, provider: Provider) -> None:
    found: dict[int, str] = {}

    def work(number: int) -> None:
        for turn in range(3):
            answer = transport.send(make(f"thread {number} turn {turn}"))
            assert answer.payload is not None
            found[number * 10 + turn] = answer.payload["choices"][0]["message"]["content"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n * 10 + t: f"thread {n} turn {t}" for n in range(8) for t in range(3)}


@OPENAI_LIKE
@pytest.mark.parametrize("kind", ["chat", "embedding"])
def test_calls_with_different_timeouts_share_a_connection(
    via: str, kind: str, transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    calls = [
        make(via=via, kind=kind, timeout_s=5 + i / 10, **({"input": ["x"]} if kind == "embedding" else {}))
        for i in range(4)
    ]
    transport.send(calls[0])
    # The loops of the tests before this one have filled litellm's cache of clients, which then keeps no new one.
    sys.modules["litellm"].in_memory_llm_clients_cache.flush_cache()
    provider.reset()
    for call in calls:
        transport.send(call)
    # A busy machine may not have given a connection back before the next call; four for four calls would be ours.
    assert len({received.client for received in provider.requests}) < len(calls)
    provider.reset()

    async def run() -> None:
        for call in calls:
            await transport.asend(call)

    asyncio.run(run())
    assert len({received.client for received in provider.requests}) < len(calls)


def test_event_loops_come_and_go(transport: LiteLLMTransport, make: Any) -> None:
    async def run(number: int) -> list[str]:
        answers = await asyncio.gather(*(transport.asend(make(f"loop {number} call {i}")) for i in range(3)))
        return [answer.payload["choices"][0]["message"]["content"] for answer in answers]  # type: ignore[index]

    for number in range(4):
        assert asyncio.run(run(number)) == [f"loop {number} call {i}" for i in range(3)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_opens_connections_of_its_own(
    transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    transport.send(make("parent"))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = transport.send(make("child"))
            os.write(write, answer.payload["choices"][0]["message"]["content"].encode())  # type: ignore[index]
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"child"
    assert transport.send(make("parent again")).payload["choices"][0]["message"]["content"] == "parent again"  # type: ignore[index]
    parent, forked, again = (received.client for received in provider.requests)
    assert forked not in (parent, again)
    os.close(read)
    os.close(write)


def test_litellm_is_imported_on_first_use_without_prices_or_env_files(tmp_path: Any) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-from-a-file-nobody-asked-for\n")
    program = (
        "import sys, os, router.transports.litellm as t; assert 'litellm' not in sys.modules; t._litellm(); "
        "e = os.environ; "
        "print(e.get('OPENAI_API_KEY'), e['LITELLM_LOCAL_MODEL_COST_MAP'], 'LITELLM_MODE' in e)"
    )
    here = os.getcwd()
    environ = {**os.environ, "PYTHONPATH": here}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["None", "True", "False"], done.stderr
