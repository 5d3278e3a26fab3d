"""A real OpenAI-compatible provider on 127.0.0.1, whose behaviour is scripted per model.

    provider.script("small", [status(429, retry_after=1), reply("hello")])

Each request to a model takes the next step of its script; when the script is empty, the model echoes.

Usage rule, everywhere: one whitespace-separated word is one token. `prompt_tokens` counts the words of all
message texts, `completion_tokens` the words of the answer (times `n`). `max_tokens` cuts the answer to that
many words and finishes with `length`.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loopback_answers import chunks, completion, embeddings
from loopback_batches import Batches


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a model does with one request. The functions below make them."""

    text: str | None = None
    """The answer; None echoes the last message."""
    message: dict[str, Any] | None = None
    """Further fields of the answer's message, such as `tool_calls`."""
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    """Given instead of the right one."""
    has_usage: bool = True
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent as it is, instead of an answer."""
    delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    cut_after: int | None = None
    """Chunks after which a stream ends."""
    is_clean_cut: bool = False
    """The cut looks like a regular end of the HTTP body."""
    is_silent: bool = False
    """The connection is closed without a single byte."""
    is_body_cut: bool = False
    stall_after: tuple[int, float] | None = None
    """Chunks after which a stream falls silent, and for how many seconds."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Further fields at the top of the answer."""


def reply(text: str, *, finish_reason: str = "stop", usage: dict[str, Any] | None = None, **fields: Any) -> Step:
    """Answer with a text; `fields` are added at the top of the answer."""
    return Step(text=text, finish_reason=finish_reason, usage=usage, fields=fields)


def status(
    code: int,
    *,
    retry_after: float | str | None = None,
    message: str = "the provider says no",
    error: dict[str, Any] | None = None,
) -> Step:
    """Fail with an HTTP status and OpenAI's error body."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    payload = {"error": {"message": message, "type": "error", "param": None, "code": None, **(error or {})}}
    return Step(status=code, headers=headers, body=json.dumps(payload).encode())


def stall(seconds: float, *, after_chunks: int | None = None) -> Step:
    """Stay silent: before the first byte, or in a stream after some chunks; then answer."""
    return Step(delay_s=seconds) if after_chunks is None else Step(stall_after=(after_chunks, seconds))


def cut_stream(after_chunks: int = 2, *, clean: bool = False, text: str = "one two three four five") -> Step:
    """End a stream early. `clean`: as a well-formed HTTP body that only lacks its last chunks."""
    return Step(text=text, cut_after=after_chunks, is_clean_cut=clean)


def malformed(body: bytes = b'{"id": "broken", "choices": [') -> Step:
    """Answer 200 with a body that is no answer."""
    return Step(body=body)


def tool_call(name: str, arguments: dict[str, Any] | None = None, *, call_id: str = "call_1") -> Step:
    """Answer with one tool call."""
    function = {"name": name, "arguments": json.dumps(arguments or {})}
    message = {"content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]}
    return Step(text="", message=message, finish_reason="tool_calls")


def wrong_usage(prompt_tokens: int, completion_tokens: int, *, text: str | None = None) -> Step:
    """Answer with token counts that the caller chooses."""
    total = prompt_tokens + completion_tokens
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}
    return Step(text=text, usage=usage)


def no_usage(text: str | None = None) -> Step:
    """Answer without any token counts."""
    return Step(text=text, has_usage=False)


def slow_chunks(seconds: float, text: str = "one two three four five") -> Step:
    """Stream with a pause before every chunk."""
    return Step(text=text, chunk_delay_s=seconds)


def disconnect() -> Step:
    """Close the connection without answering."""
    return Step(is_silent=True)


def cut_body(text: str = "half an answer") -> Step:
    """Close the connection in the middle of a whole (not streamed) answer."""
    return Step(text=text, is_body_cut=True)


@dataclass
class Received:
    """One request as the provider saw it."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    raw: bytes
    at: float
    """Seconds on the monotonic clock."""
    client: tuple[str, int] = ("", 0)
    """Address and port of the connection it came through."""
    sent_chunks: int = 0
    finished: threading.Event = field(default_factory=threading.Event)
    """Set when the provider is done with it."""
    is_client_gone: bool = False
    """The client closed the connection before the answer was complete."""

    @property
    def body(self) -> Any:
        """The request's JSON."""
        return json.loads(self.raw) if self.raw else None

    @property
    def model(self) -> str:
        """The model it asks for."""
        return str(self.body["model"])


class ClientGone(Exception):
    """The client closed its connection."""


class Provider:
    """The server. `url` ends in /v1; `requests` has everything that came in, in order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripts: dict[str, deque[Step]] = {}
        self._every: dict[str, Step] = {}
        self.requests: list[Received] = []
        self.key: str | None = None
        """If set, every other key gets a 401 that echoes it, as real providers do."""
        self.handler: Callable[[dict[str, Any]], Step | None] | None = None
        """If set, asked for a step before the scripts, with the request's JSON."""
        handler = type("BoundHandler", (_Handler,), {"provider": self})
        self.batches = Batches()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The API base."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def script(self, model: str, steps: Iterable[Step]) -> None:
        """Say what a model does with its next requests, one step each; afterwards it echoes."""
        with self._lock:
            self._scripts[model] = deque(steps)

    def always(self, model: str, step: Step) -> None:
        """Say what a model does with every request that its script does not cover."""
        with self._lock:
            self._every[model] = step

    def requests_for(self, model: str) -> list[Received]:
        """The requests that asked for one model."""
        asked = (one for one in self.requests if one.raw and not one.path.endswith("/files"))
        return [request for request in asked if request.body.get("model") == model]

    def reset(self) -> None:
        """Forget scripts and requests."""
        with self._lock:
            self._scripts.clear()
            self._every.clear()
            self.requests = []
            self.key = self.handler = None
            self.batches = Batches()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next_step(self, body: dict[str, Any]) -> Step:
        with self._lock:
            handler, model = self.handler, str(body.get("model"))
            step = handler(body) if handler else None
            if step is None and self._scripts.get(model):
                step = self._scripts[model].popleft()
            return step or self._every.get(model) or Step()

    def _models(self) -> list[str]:
        with self._lock:
            return sorted({"small", "large", *self._scripts, *self._every})


class _Handler(BaseHTTPRequestHandler):
    provider: Provider
    protocol_version = "HTTP/1.1"
    # Without it, Nagle's algorithm and delayed acknowledgement add 40 ms to every second write.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        received = self._receive()
        if answer := self.provider.batches.get(self.path, self._line):
            self._send(200, answer, {})
        elif self.path.rstrip("/") == "/v1/models":
            listed = [{"id": name, "object": "model", "owned_by": "loopback"} for name in self.provider._models()]
            self._send_json(200, {"object": "list", "data": listed})
        else:
            self._send_json(404, {"error": {"message": f"no such path {self.path}", "type": "invalid_request_error"}})
        received.finished.set()

    def do_POST(self) -> None:
        received = self._receive()
        try:
            self._answer(received)
        except (ClientGone, BrokenPipeError, ConnectionError):
            received.is_client_gone = True
            self.close_connection = True
        finally:
            received.finished.set()

    def _receive(self) -> Received:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(self.command, self.path, headers, raw, time.monotonic(), self.client_address)
        with self.provider._lock:
            self.provider.requests.append(received)
        return received

    def _answer(self, received: Received) -> None:
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.provider.key is not None and key != self.provider.key:
            message = f"Incorrect API key provided: {key}. You can find your API key in your account."
            self._send_json(401, {"error": {"message": message, "type": "auth", "code": "invalid_api_key"}})
            return
        if answer := self.provider.batches.post(self.path, received.raw):
            self._send(200, answer, {})
            return
        body = received.body
        step = self.provider._next_step(body)
        self._wait(step.delay_s)
        if step.is_silent:
            self._drop()
        elif step.body is not None:
            self._send(step.status, step.body, step.headers)
        elif self.path.endswith("/embeddings"):
            self._send_json(200, embeddings(body, step))
        elif body.get("stream"):
            self._stream(received, body, step)
        elif step.is_body_cut:
            self._send(200, json.dumps(completion(body, step)).encode(), {}, missing=20)
        else:
            self._send_json(200, completion(body, step))

    def _line(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The answer to one line of a batch, by the model's script."""
        step = self.provider._next_step(body)
        return (step.status, json.loads(step.body)) if step.body is not None else (200, completion(body, step))

    def _stream(self, received: Received, body: dict[str, Any], step: Step) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, chunk in enumerate(chunks(body, step)):
            if number == step.cut_after:
                if step.is_clean_cut:
                    self.wfile.write(b"0\r\n\r\n")
                else:
                    # A reset may overtake what was sent right before it; a busy client gets time to read that.
                    self._wait(0.3)
                    self._drop()
                return
            if step.stall_after and step.stall_after[0] == number:
                self._wait(step.stall_after[1])
            self._wait(step.chunk_delay_s)
            self._send_event(json.dumps(chunk))
            received.sent_chunks += 1
        self._send_event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _send_event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")

    def _send_json(self, code: int, payload: dict[str, Any]) -> None:
        self._send(code, json.dumps(payload).encode(), {})

    def _send(self, code: int, body: bytes, headers: dict[str, str], missing: int = 0) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) - missing])
        if missing:
            self._drop()

    def _drop(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _wait(self, seconds: float) -> None:
        """Wait, but notice at once when the client goes away."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([self.connection], [], [], left)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise ClientGone
            if readable:  # a pipelined request; it can wait
                time.sleep(min(left, 0.01))
