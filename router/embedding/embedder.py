"""The embedder that the predictor, the cache and the evals share: windows, memory, threads and forks."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np

from router.embedding import minilm
from router.embedding.minilm import WIDTH, Floats, MiniLM
from router.embedding.pieces import VOCABULARY_SHA256, WINDOW, Pieces
from router.errors import WeightsError

Windows = Literal["head", "head_tail"]
VERSION = f"all-minilm-l6-v2/{minilm.SHA256[:12]}/{VOCABULARY_SHA256[:12]}/mean-{WINDOW}"
"""Names everything a vector depends on: weights, word list, pooling and window. Vectors of two versions never mix."""
INSTALL = "pip install 'clearbar[embed]'"
MEMORY_BYTES = 32 << 20
ROW_BYTES = WIDTH * 4 + 400
"""Of a remembered vector: its numbers, its key and what Python adds."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Vectors of several texts, in their order."""

    vectors: Floats
    """Shape (n, 384); each row has length 1, so a dot product is a cosine."""
    truncated: tuple[bool, ...]
    """For each text, whether it is longer than the model's window, so that its vector does not stand for all of it."""
    pieces: tuple[int, ...]
    """For each text, the word pieces that the model read, 2 to 512."""


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    vector: Floats
    is_truncated: bool
    pieces: int


def missing() -> str | None:
    """Why there is no embedder on this machine, with the remedy, as one sentence; None if there is one.

    Imports nothing; it costs 0.1 ms.
    """
    absent = [name for name in ("onnxruntime", "tokenizers", minilm.PACKAGE) if find_spec(name) is None]
    return f"the local text embedder is not installed ({', '.join(absent)}); run: {INSTALL}" if absent else None


class Embedder:
    """Embeds texts; loads the model at the first one.

    Threads may share it. A child made by `os.fork()` keeps the remembered vectors and loads a model of its own.
    """

    version = VERSION

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES) -> None:
        """Make an embedder; nothing is loaded yet.

        Args:
            memory_bytes: for remembered vectors, the least recently used of which go first; 0 remembers none.
        """
        self._most_rows = memory_bytes // ROW_BYTES
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()
        self._lock = threading.Lock()
        self._loaded: tuple[Pieces, MiniLM] | None = None
        _embedders.add(self)

    def embed(self, texts: Sequence[str], windows: Windows = "head") -> Embedded:
        """Vectors of texts, in their order; equal texts get equal vectors.

        Any text has a vector: empty, of 100 KB, in any script. The model learnt from English, so in other languages
        likeness means little.

        Args:
            texts: what to embed; characters that UTF-8 cannot hold count as `?`.
            windows: which part of a text over 254 word pieces (about 190 English words) is read: `head` its first 254,
                `head_tail` also its last 254, whose vector is averaged with the first. Shorter texts: no difference.

        Raises:
            WeightsError: the extra is missing or damaged; names the command that mends it.
            TypeError: `texts` is one text instead of several.
        """
        if isinstance(texts, str):
            raise TypeError("embed() takes several texts; give [text]")
        keys = [_key(text, windows) for text in texts]
        rows = self._remembered(keys)
        # What one window holds has the same vector either way: the predictor and the cache share it.
        other: Windows = "head" if windows == "head_tail" else "head_tail"
        others = {key: _key(text, other) for key, text in zip(keys, texts, strict=True) if key not in rows}
        known = self._remembered(list(others.values()))
        rows |= {key: known[one] for key, one in others.items() if one in known and not known[one].is_truncated}
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in rows}
        if fresh:
            computed = dict(zip(fresh, self._compute(list(fresh.values()), windows), strict=True))
            rows |= computed
            self._remember(computed)
        found = [rows[key] for key in keys]
        return Embedded(
            vectors=np.stack([row.vector for row in found]) if found else np.empty((0, WIDTH), dtype=np.float32),
            truncated=tuple(row.is_truncated for row in found),
            pieces=tuple(row.pieces for row in found),
        )

    def load(self) -> tuple[Pieces, MiniLM]:
        """The tokenizer and the model, loaded now if they are not yet: a service may want that before it is ready.

        Raises:
            WeightsError: as `embed`.
        """
        with self._lock:
            if self._loaded is None:
                if reason := missing():
                    raise WeightsError(reason)
                self._loaded = (Pieces(), MiniLM())
            return self._loaded

    def _compute(self, texts: Sequence[str], windows: Windows) -> list[_Row]:
        pieces, model = self.load()
        parts: list[list[int]] = []
        owned: list[tuple[int, int, bool]] = []  # of each text: its parts, from and to, and whether it was too long
        for text in texts:
            head, tail = pieces.windows(text.encode(errors="replace").decode())
            start = len(parts)
            parts += [head, tail] if tail and windows == "head_tail" else [head]
            owned.append((start, len(parts), tail is not None))
        vectors = model.vectors(parts)
        rows = []
        for start, end, is_truncated in owned:
            vector = vectors[start:end].sum(axis=0)
            vector /= np.linalg.norm(vector)
            vector.flags.writeable = False
            rows.append(_Row(vector, is_truncated, sum(map(len, parts[start:end]))))
        return rows

    def _remembered(self, keys: Sequence[bytes]) -> dict[bytes, _Row]:
        found = {}
        with self._lock:
            for key in keys:
                if key in self._rows:
                    self._rows.move_to_end(key)
                    found[key] = self._rows[key]
        return found

    def _remember(self, rows: dict[bytes, _Row]) -> None:
        with self._lock:
            self._rows.update(rows)
            while len(self._rows) > self._most_rows:
                self._rows.popitem(last=False)


def shared() -> Embedder:
    """The process's embedder: one model and one memory for all who need vectors."""
    return _shared


def _key(text: str, windows: Windows) -> bytes:
    # A digest, because the memory should hold nobody's prompts.
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16, person=windows.encode()).digest()


_embedders: weakref.WeakSet[Embedder] = weakref.WeakSet()
_abandoned: list[object] = []
_shared = Embedder()


def _after_fork_in_child() -> None:
    for embedder in _embedders:
        # Another thread may have been inside the model: even its destructor might wait for that thread for ever.
        _abandoned.append(embedder._loaded)
        embedder._lock, embedder._loaded = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
