"""Which prompts an artifact was trained on: 32 bits of each hash, enough to warn and too little to tell a text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Marks = NDArray[np.uint32]


def marks_of(texts: Sequence[str]) -> Marks:
    """The prompts' marks, sorted, each once."""
    return np.unique(np.array([_mark(text) for text in texts], dtype=np.uint32))


def share_seen(marks: Marks, texts: Sequence[str]) -> float:
    """Share of texts whose mark is among them; among 4,000 marks another text has one by chance once in 10^6."""
    return float(np.isin([_mark(text) for text in texts], marks).mean()) if texts else 0.0


def _mark(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big")
