"""Counting tokens without a network and without importing a provider's library.

The count is by OpenAI's cl100k_base, whose table litellm carries in its package. For models with another
tokenizer it is a stand-in; the ledger learns each model's drift from the usage providers report.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tiktoken

    from router.types import Message, Request

ENCODING = "cl100k_base"
TABLE_FILE = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
"""tiktoken's cache name for the table: the SHA-1 of the address it would download it from."""
TABLE_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
"""As pinned in tiktoken itself."""

TOKENS_PER_MESSAGE = 4
TOKENS_PER_REQUEST = 3
"""What chat formats add around the texts: an upper bound over the published ones."""

LONGEST_RUN = 256
"""Characters of a word, of a run of spaces or of signs that are encoded at once."""

# The tokenizer splits text into words first and merges inside each, in quadratic time: a word of a megabyte
# would take hours. Cutting long runs keeps it linear. A cut mostly loses a merge and so adds a token; because
# merging is greedy it may also save one, so one is added for each cut to keep the sum an upper bound.
_RUNS = re.compile(rf"\S{{{LONGEST_RUN}}}|\s{{{LONGEST_RUN}}}")

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_encoding: tiktoken.Encoding | None = None
_is_loaded = False


def count_tokens(text: str) -> int:
    """Tokens of a text by cl100k_base; an upper bound of them where a run without spaces is over 256 characters.

    Text that looks like a control token ("<|endoftext|>") counts as the plain text it is. If the table is
    missing, the UTF-8 bytes are counted, an upper bound for every byte-level tokenizer, and one warning logged.
    """
    encoding = _loaded()
    # Lone surrogates have no UTF-8 form; providers receive them as a replacement character.
    text = text.encode("utf-8", "replace").decode("utf-8")
    if encoding is None:
        return len(text.encode())
    counts = [len(encoding.encode_ordinary(piece)) for piece in _pieces(text)]
    return sum(counts) + max(0, len(counts) - 1)


def count_request(request: Request) -> int:
    """Upper bound of a request's input tokens: what a hold must cover.

    Tokens of all texts, names, roles, tool calls, schemas and whatever else of the parameters holds text (a
    provider may read any of them), plus 4 per message and 3 per request.
    Images, audio and files are not counted: their price follows the provider's own rule.
    """
    if request.kind == "embedding":
        return _embedding_tokens(request.params.get("input"))
    texts = [text for message in request.messages for text in _message_texts(message)]
    texts += [_compact(value) for value in request.params.values() if isinstance(value, (str, Mapping, list, tuple))]
    return sum(map(count_tokens, texts)) + TOKENS_PER_MESSAGE * len(request.messages) + TOKENS_PER_REQUEST


def forget_table() -> None:
    """Give the table's 35 MB back; the next count loads it again, in a tenth of a second.

    For a process that has counted what it wanted and goes on to something else.
    """
    import ctypes

    global _encoding, _is_loaded
    with _lock:
        if not _is_loaded:
            return
        _encoding, _is_loaded = None, False
    # The table is a hundred thousand small pieces. glibc keeps them for the thread that freed them and would go to
    # the system for everybody else; other allocators have no such call and need none.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def estimate_tokens(text: str) -> int:
    """A quick guess for routing, within about a fifth on prose and code: no table, no tokenizer, never a bound.

    Words of up to nine letters are about one token and longer ones one per five letters; digits go by threes,
    ASCII signs by twos, and every other character is about one.
    """
    return len(_GUESSED.findall(text))


_GUESSED = re.compile(r"(?<![A-Za-z])[A-Za-z]{1,9}(?![A-Za-z])|[A-Za-z]{1,5}|[0-9]{1,3}|[!-/:-@\[-`{-~]{1,2}|\n+|\S")
"""One match for each guessed token."""


def _embedding_tokens(given: Any) -> int:
    if isinstance(given, str):
        return count_tokens(given)
    if not isinstance(given, (list, tuple)):
        return 0
    # OpenAI also takes texts that are tokens already: lists of numbers.
    return sum(1 if isinstance(item, int) else _embedding_tokens(item) for item in given)


def _message_texts(message: Message) -> Iterator[str]:
    """Everything of a message that is sent as text."""
    for name, value in message.items():
        if name == "content" and not isinstance(value, str):
            yield from _part_texts(value)
        elif isinstance(value, str):
            yield value
        elif value is not None and name != "audio":
            yield _compact(value)


def _part_texts(content: Any) -> Iterator[str]:
    for part in content if isinstance(content, (list, tuple)) else ():
        if isinstance(part, str):
            yield part
        elif hasattr(part, "get"):
            yield from (part[name] for name in ("text", "refusal") if isinstance(part.get(name), str))


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_as_plain)


def _as_plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "keys") else str(value)


def _pieces(text: str) -> Iterator[str]:
    start = 0
    for found in _RUNS.finditer(text):
        yield text[start : found.end()]
        start = found.end()
    if start < len(text):
        yield text[start:]


def _loaded() -> tiktoken.Encoding | None:
    global _encoding, _is_loaded
    if not _is_loaded:
        with _lock:
            if not _is_loaded:
                _encoding = _load()
                _is_loaded = True
    return _encoding


def _load() -> tiktoken.Encoding | None:
    folder = _table_folder()
    if folder is None:
        _log.warning(
            "the token table of %s is not in the installed litellm; counting bytes, a bound about four times too high. "
            "Run: pip install --force-reinstall 'litellm>=1.106,<2'",
            ENCODING,
        )
        return None
    import tiktoken
    from tiktoken_ext.openai_public import cl100k_base  # type: ignore[import-untyped,unused-ignore]

    # tiktoken finds its tables through the environment only. It is changed for the moment of the load and put
    # back; the hash was checked before, since on a mismatch tiktoken would delete the file and download it.
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        return tiktoken.Encoding(**cl100k_base())  # `get_encoding` would keep it for ever
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before


def _table_folder() -> Path | None:
    """The folder of litellm's package that holds the table, found without importing litellm."""
    package = find_spec("litellm")
    for place in (package.submodule_search_locations or ()) if package else ():
        folder = Path(place) / "litellm_core_utils" / "tokenizers"
        table = folder / TABLE_FILE
        if table.is_file() and hashlib.sha256(table.read_bytes()).hexdigest() == TABLE_SHA256:
            return folder
    return None
