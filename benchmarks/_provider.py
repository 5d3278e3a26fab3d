"""An OpenAI-compatible provider on 127.0.0.1 that answers everything after a fixed delay, in a process of its own.

As little work as possible a request (no framework, one canned answer), so that a benchmark measures its clients.

    python benchmarks/_provider.py [--delay-ms 100] [--echo]    # prints its port, serves until standard input ends

With --echo the answer is the name of the model that was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def reply(text: str) -> bytes:
    """A whole HTTP response with a completion in it."""
    answer = json.dumps(
        {
            "id": "chatcmpl-benchmark",
            "object": "chat.completion",
            "created": 1_750_000_000,
            "model": "benchmark",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13},
        }
    ).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer


REPLY = reply("Paris")


@contextmanager
def provider(delay_ms: float = 100.0, *, echo: bool = False) -> Iterator[str]:
    """Start the provider; gives its base URL, and ends it afterwards."""
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        "--delay-ms",
        str(delay_ms),
        *(["--echo"] if echo else []),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.stdin.close()


class Answers(asyncio.Protocol):
    """One connection: whole requests in, the canned answer out after the delay."""

    def __init__(self, delay_s: float, echo: bool) -> None:
        self._delay_s, self._echo, self._given = delay_s, echo, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._given += data
        while (end := self._given.find(b"\r\n\r\n")) >= 0:
            head = self._given[:end].lower()
            place = head.find(b"content-length:")
            length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self._given) < end + 4 + length:
                return
            body, self._given = self._given[end + 4 : end + 4 + length], self._given[end + 4 + length :]
            answer = reply(json.loads(body)["model"]) if self._echo else REPLY
            asyncio.get_running_loop().call_later(self._delay_s, self._answer, answer)

    def _answer(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(delay_s: float, echo: bool) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answers(delay_s, echo), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-ms", type=float, default=100.0)
    parser.add_argument("--echo", action="store_true")
    given = parser.parse_args()
    asyncio.run(serve(given.delay_ms / 1000, given.echo))
