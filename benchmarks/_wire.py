"""A transport with as little work a call as possible, so that a benchmark's rate is not bound by a client library."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from typing import Any
from urllib.parse import urlsplit

from router.errors import ProviderUnavailableError
from router.types import Call, Reply

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Wire:
    """OpenAI's chat completions over HTTP/1.1, with connections that stay open; for one event loop, or threads."""

    def __init__(self) -> None:
        self._mine, self._idle = threading.local(), list[Streams]()

    def send(self, call: Call) -> Reply:
        """Send one call on this thread's connection."""
        place = urlsplit(call.deployment.api_base or "")
        try:
            line = getattr(self._mine, "line", None)
            if line is None:
                line = self._mine.line = http.client.HTTPConnection(place.hostname or "", place.port)
            line.request("POST", f"{place.path}/chat/completions", _body(call))
            return Reply(payload=json.loads(line.getresponse().read()))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ProviderUnavailableError(repr(error), model=call.model) from error

    async def asend(self, call: Call) -> Reply:
        """Send one call on a connection that nobody uses."""
        place, body = urlsplit(call.deployment.api_base or ""), _body(call)
        try:
            reader, writer = (
                self._idle.pop() if self._idle else await asyncio.open_connection(place.hostname, place.port)
            )
            head = f"POST {place.path}/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(body)}"
            writer.write(head.encode() + b"\r\n\r\n" + body)
            told = await reader.readuntil(b"\r\n\r\n")
            length = int(told.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            payload = json.loads(await reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise ProviderUnavailableError(repr(error), model=call.model) from error
        self._idle.append((reader, writer))
        return Reply(payload=payload)

    def close(self) -> None:
        """Let go of what an event loop left behind."""
        self._idle.clear()


def _body(call: Call) -> bytes:
    asked: dict[str, Any] = {"model": call.deployment.call.partition("/")[2], "messages": list(call.messages)}
    return json.dumps({**asked, **call.params}).encode()
