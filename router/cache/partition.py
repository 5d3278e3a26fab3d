"""Which requests may be looked up by likeness, and which of them may ever meet: a hard partition, not a score.

Everything but the last user text is compared as it is, so a changed system prompt, history, parameter or tenant is
another partition, in which nothing of the first can be found.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from router.cache import vetoes
from router.embedding import VERSION as EMBEDDER
from router.errors import StoreError
from router.stores.private import keep_private
from router.types import TAG_NAMES, Request

VERSION = 1
"""Goes up when the meaning of an entry changes."""
MOST_TEMPERATURE = 0.3
"""Above it, a caller asks for another answer each time."""
MOST_CHARACTERS = 4_000
"""Of the last user text; the embedder's window ends long before, and should not be paid for to learn that."""
REFUSED = (
    "tools", "functions", "tool_choice", "function_call", "logprobs", "top_logprobs", "seed", "audio", "modalities",
    "prediction", "web_search_options",
)  # fmt: skip
"""Parameters whose answer belongs to the one request, or to the moment."""
SECRET_BYTES = 32


class NotAlike(Exception):
    """Why a request is never answered by another one's answer; its text is the reason, without the prompt."""


def last_text(request: Request) -> str:
    """The text that may differ between two requests of one partition.

    Raises:
        NotAlike: no request of this kind is looked up by likeness.
    """
    if request.kind != "chat":
        return _refuse("no chat request")
    if request.has_media:
        return _refuse("holds pictures, sound or files")
    inner = request.params.get("extra_body")
    for params in (request.params, inner if isinstance(inner, Mapping) else {}):
        _check_params(params)
    if any(one.get("role") in ("tool", "function") or one.get("tool_calls") for one in request.messages):
        return _refuse("part of a loop of tool calls")
    last = request.messages[-1]
    text = _only_text(last.get("content"))
    if last.get("role") != "user" or not text:
        return _refuse("does not end in a user's text")
    if len(text) > MOST_CHARACTERS:
        return _refuse(f"its last text is over {MOST_CHARACTERS:,} characters")
    if fresh := vetoes.traits(text).fresh:
        return _refuse(f"asks for what changes: {', '.join(sorted(fresh))}")
    return text


def partition(
    request: Request, secret: bytes, *, task: str | None, routes_version: str, artifact_version: str | None,
    tags: tuple[str, ...], epoch: str = "",
) -> str:  # fmt: skip
    """Fingerprint of all but the last text, keyed, so that the file tells nobody which tenants asked.

    Args:
        request: one that `last_text` does not refuse.
        secret: of this state folder.
        task: as decided.
        routes_version: of the policy.
        artifact_version: of its artifact.
        tags: those that the policy's rules look at. All other tags but the run's count as well: whoever sends a tag
            may mean that answers differ by it.
        epoch: as the rule says.

    Raises:
        NotAlike: a parameter has no JSON form and so no fingerprint.
    """
    given = request.tags
    scope = {name: given.get(name) for name in (*TAG_NAMES, *tags) if name != "run_id" or name in tags}
    last = {name: value for name, value in request.messages[-1].items() if name != "content"}
    params = {name: value for name, value in request.params.items() if name != "stream_options"}
    fields = [
        VERSION, vetoes.VERSION, EMBEDDER, routes_version, artifact_version, epoch, scope, dict(given.extra),
        task, request.messages[:-1], last, params,
    ]  # fmt: skip
    try:
        text = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise NotAlike("a parameter has no JSON form") from None
    return hmac.new(secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def read_secret(path: Path) -> bytes:
    """The state folder's own random key, made at the first use, for its owner's eyes only.

    Raises:
        StoreError: it cannot be read or made, or is none.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(SECRET_BYTES))
            try:
                os.link(fresh, path)  # whole or not at all, and the first of several processes wins
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        keep_private(path)
        secret = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read or made ({error.strerror}); mend the folder") from error
    if len(secret) != SECRET_BYTES:
        raise StoreError(f"{path}: is no key of {SECRET_BYTES} bytes; delete it to start afresh")
    return secret


def _check_params(params: Mapping[str, Any]) -> None:
    for name in REFUSED:
        if params.get(name) not in (None, False, [], "none"):
            _refuse(f"asks for {name}")
    for name in ("n", "best_of"):
        if params.get(name) not in (None, 1):
            _refuse("asks for several answers")
    temperature = params.get("temperature")
    if temperature is not None and not (isinstance(temperature, (int, float)) and temperature <= MOST_TEMPERATURE):
        _refuse(f"asks for variety (temperature over {MOST_TEMPERATURE:g})")


def _only_text(content: object) -> str:
    if isinstance(content, str):
        return content.strip()
    if isinstance(content, (list, tuple)) and len(content) == 1 and isinstance(content[0], Mapping):
        # Another form of the same text, but further keys (such as cache_control) are refused, not ignored.
        part = content[0]
        return str(part["text"]).strip() if set(part) == {"type", "text"} and part["type"] == "text" else ""
    return ""


def _refuse(reason: str) -> str:
    raise NotAlike(reason)
