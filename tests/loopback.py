"""A real OpenAI-compatible provider on 127.0.0.1, whose behaviour is scripted per model.

    provider.script("small", [status(429, retry_after=1), reply("hello")])

Each request to a model takes the next step of its script; when the script is empty, the model echoes.

Usage rule, everywhere: one whitespace-separated word is one token. `prompt_tokens` counts the words of all
message texts, `completion_tokens` the words of the answer (times `n`). `max_tokens` cuts the answer to that
many words and finishes with `length`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CREATED = 1_750_000_000
"""The `created` of every answer, so that answers can be compared whole."""


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


Ask = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]
"""Status and body of the answer to one line of a batch."""


class Batches:
    """OpenAI's files and batches. A batch stays `in_progress` until `state` says how batches end."""

    def __init__(self) -> None:
        self.state = "in_progress"
        self.files: dict[str, bytes] = {}
        self.made: dict[str, dict[str, Any]] = {}
        self.cancelled: list[str] = []

    def post(self, path: str, raw: bytes) -> bytes | None:
        """An upload, a new batch or its end; None: the path is not ours."""
        where = path.partition("?")[0].removeprefix("/v1/").split("/")
        if where == ["files"]:
            name = f"file-{len(self.files)}"
            content = next(part for part in raw.split(b"--" + raw[2 : raw.index(b"\r\n")]) if b"filename=" in part)
            self.files[name] = content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            told = {"id": name, "object": "file", "bytes": len(raw), "created_at": CREATED, "filename": "x.jsonl",
                    "purpose": "batch", "status": "processed"}  # fmt: skip
            return json.dumps(told).encode()
        if where == ["batches"]:
            name = f"batch-{len(self.made)}"
            self.made[name] = {**json.loads(raw), "id": name, "object": "batch", "created_at": CREATED}
            return self._told(name)
        if where[0] == "batches" and where[-1] == "cancel":
            self.cancelled.append(where[1])
            return self._told(where[1])
        return None

    def get(self, path: str, ask: Ask) -> bytes | None:
        """How batches stand, or a file."""
        where = path.partition("?")[0].removeprefix("/v1/").split("/")
        if where == ["batches"]:
            listed = [json.loads(self._told(name)) for name in reversed(self.made)]
            return json.dumps({"object": "list", "data": listed, "has_more": False}).encode()
        if where[0] == "batches":
            if self.state == "completed" and "output_file_id" not in self.made[where[1]]:
                self._answer(self.made[where[1]], ask)
            return self._told(where[1])
        return self.files[where[1]] if where[0] == "files" else None

    def _answer(self, batch: dict[str, Any], ask: Ask) -> None:
        lines: dict[bool, list[str]] = {True: [], False: []}
        for line in map(json.loads, self.files[batch["input_file_id"]].splitlines()):
            status, body = ask(line["body"])
            told = {"custom_id": line["custom_id"], "response": {"status_code": status, "body": body}}
            lines[status == 200].append(json.dumps(told))
        for name, is_good in (("output_file_id", True), ("error_file_id", False)):
            batch[name] = f"file-{len(self.files)}" if lines[is_good] else None
            if lines[is_good]:
                self.files[batch[name]] = "\n".join(lines[is_good]).encode()

    def _told(self, name: str) -> bytes:
        return json.dumps({**self.made[name], "status": self.state}).encode()


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


def words(text: str) -> int:
    """The token count of a text, by this provider's rule."""
    return len(text.split())


def prompt_words(messages: list[dict[str, Any]]) -> int:
    """The token count of a chat request."""
    return sum(words(text) for message in messages for text in _texts(message))


def _texts(message: dict[str, Any]) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if part.get("type") == "text":
            yield part["text"]


def embedding(text: str, dimensions: int = 8) -> list[float]:
    """A unit vector that depends on the text's words only."""
    sums = [0.0] * dimensions
    for word in text.lower().split() or [""]:
        digest = hashlib.sha256(word.encode()).digest()
        for i in range(dimensions):
            sums[i] += digest[i] / 127.5 - 1
    norm = sum(value * value for value in sums) ** 0.5 or 1.0
    # Rounded to what a 32-bit float keeps, so that base64 and JSON answers agree.
    return [struct.unpack("<f", struct.pack("<f", value / norm))[0] for value in sums]


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
            self._send_json(200, _embeddings(body, step))
        elif body.get("stream"):
            self._stream(received, body, step)
        elif step.is_body_cut:
            self._send(200, json.dumps(_completion(body, step)).encode(), {}, missing=20)
        else:
            self._send_json(200, _completion(body, step))

    def _line(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The answer to one line of a batch, by the model's script."""
        step = self.provider._next_step(body)
        return (step.status, json.loads(step.body)) if step.body is not None else (200, _completion(body, step))

    def _stream(self, received: Received, body: dict[str, Any], step: Step) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, chunk in enumerate(_chunks(body, step)):
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


def _answer_text(body: dict[str, Any], step: Step) -> tuple[str, str]:
    """The answer's text and finish reason."""
    text = step.text
    if text is None:
        text = " ".join(_texts(body["messages"][-1]))
        if (body.get("response_format") or {}).get("type") in ("json_object", "json_schema"):
            text = json.dumps({"echo": text})
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit and words(text) > limit:
        return " ".join(text.split()[:limit]), "length"
    return text, step.finish_reason or "stop"


def _usage(body: dict[str, Any], step: Step, text: str) -> dict[str, Any]:
    if step.usage is not None:
        return step.usage
    prompt, completion = prompt_words(body["messages"]), words(text) * (body.get("n") or 1)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _completion(body: dict[str, Any], step: Step) -> dict[str, Any]:
    text, finish_reason = _answer_text(body, step)
    message = {"role": "assistant", "content": text, **(step.message or {})}
    choices = [
        {"index": index, "message": message, "finish_reason": finish_reason} for index in range(body.get("n") or 1)
    ]
    answer = {"id": "chatcmpl-loopback", "object": "chat.completion", "created": CREATED, "model": body["model"]}
    usage = {"usage": _usage(body, step, text)} if step.has_usage else {}
    return {**answer, "choices": choices, **usage, **step.fields}


def _chunks(body: dict[str, Any], step: Step) -> Iterator[dict[str, Any]]:
    text, finish_reason = _answer_text(body, step)
    head = {"id": "chatcmpl-loopback", "object": "chat.completion.chunk", "created": CREATED, "model": body["model"]}
    head |= step.fields
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in _pieces(text)]
    for position, call in enumerate((step.message or {}).get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        opening = {**call, "index": position, "function": {**call["function"], "arguments": ""}}
        half = len(arguments) // 2
        rest = [{"index": position, "function": {"arguments": part}} for part in (arguments[:half], arguments[half:])]
        deltas += [{"tool_calls": [part]} for part in (opening, *rest)]
    indices = range(body.get("n") or 1)
    for delta in deltas:
        for index in indices:
            yield {**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}
    for index in indices:
        yield {**head, "choices": [{"index": index, "delta": {}, "finish_reason": finish_reason}]}
    if step.has_usage and (body.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": _usage(body, step, text)}


def _pieces(text: str) -> list[str]:
    return [word + " " for word in text.split(" ")[:-1]] + [text.split(" ")[-1]] if text else []


def _embeddings(body: dict[str, Any], step: Step) -> dict[str, Any]:
    texts = [body["input"]] if isinstance(body["input"], str) else list(body["input"])
    vectors: list[Any] = [embedding(str(text), body.get("dimensions") or 8) for text in texts]
    if body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
    count = sum(words(str(text)) for text in texts)
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    usage = {"usage": step.usage or {"prompt_tokens": count, "total_tokens": count}} if step.has_usage else {}
    return {"object": "list", "model": body["model"], "data": data, **usage}


def with_fields(step: Step, **changes: Any) -> Step:
    """A step with some of its fields replaced."""
    return replace(step, **changes)
