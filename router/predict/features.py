"""Text as numbers: hashed word n-grams and surface counts, in pure Python and numpy.

The n-grams say what a text is about, the surface counts how hard it looks. Neither knows capitals: who types everything
in small letters asks the same. Training turns the n-grams
into a short dense vector (a truncated SVD, kept as one matrix); here they are only counted and gathered.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BUCKETS = 1 << 16
"""Size of the hash space of the n-grams."""
WINDOW = 4_000
"""Characters kept at each end of a long text: what is asked stands first or last; the middle is material."""

WORD_GROUPS = {
    "share": "each every per apiece",
    "multiple": "half third quarter fourth fifth twice double thrice triple times many much percent",
    "money": "dollar dollars cent cents price prices cost costs",
    "time": "second seconds minute minutes hour hours day days week weeks month months year years today tomorrow "
    "yesterday",
    "comparison": "more less fewer than older younger longer taller increase increases increased decrease decreased "
    "reduce reduced extra remaining left rest",
    "condition": "if then when after before until while unless but however instead only except else",
    "total": "total altogether combined average sum difference ratio",
    "question": "how what which why who where",
    "negation": "not no never none without least",
    "number": "one two three four five six seven eight nine ten eleven twelve twenty dozen first second third",
}
"""English words that tell how many steps a question has, by what they do there."""
_GROUP_OF = {word: group for group, words in enumerate(WORD_GROUPS.values()) for word in words.split()}

SURFACE_NAMES = (
    "log_characters",
    "log_words",
    "word_length",
    "log_numbers",
    "longest_number",
    "digit_share",
    "other_script_share",
    "log_lines",
    "log_sentences",
    "log_questions",
    "log_operators",
    "log_backslashes",
    "log_brackets",
    "log_quotes",
    "log_indented_lines",
    "has_code_fence",
    "has_json",
    "log_choices",
    "log_branches",
    "distinct_word_share",
    "log_distinct_numbers",
    "decimal_share",
    "log_longest_sentence",
    "log_last_sentence",
    "log_commas",
    *(f"log_{group}_words" for group in WORD_GROUPS),
)
"""The surface counts, in the order of `surface`; the words of the groups come last."""

_TOKEN = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_+")
_ASCII_TOKEN = re.compile(rb"[a-z]+|\d|[^\w\s\x1c-\x1f]|_+")
"""Finds the same in small ASCII letters, in half the time."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_CHOICE = re.compile(r"^\s*\(?[a-j][.):]\s", re.MULTILINE)
_INDENTED = re.compile(r"^(?: {2,}|\t)\S", re.MULTILINE)
_WORD = re.compile(r"[a-z]+")
_SENTENCE = re.compile(r"[.!?](?:\s|$)")
_BRANCH = frozenset("if else elif for while each every then return remaining twice half times percent".split())
_JSON_KEY = re.compile(r'"\w+"\s*:')


def windowed(text: str) -> str:
    """The text, or its head and tail when it is longer than two windows."""
    return text if len(text) <= 2 * WINDOW else f"{text[:WINDOW]}\n{text[-WINDOW:]}"


def buckets(text: str) -> dict[int, int]:
    """Count the hashed words and word pairs of a text (already windowed): bucket to count.

    CRC-32 is the same on every machine and Python, unlike `hash`.
    """
    text = text.lower()
    if text.isascii():
        words = _ASCII_TOKEN.findall(text.encode())
    else:
        words = [word.encode("utf-8", "replace") for word in _TOKEN.findall(text)]
    hashes = [crc32(word) for word in words]
    pairs = map(crc32, words[1:], hashes)  # goes on from the first word's hash
    return Counter([value & (BUCKETS - 1) for value in (*hashes, *pairs)])


def surface(text: str) -> list[float]:
    """Counts that say how a text looks, in the order of `SURFACE_NAMES`; lengths are of the whole text."""
    kept = windowed(text).lower()
    size = max(len(kept), 1)
    words = kept.split()
    numbers = _NUMBER.findall(kept)
    letters = sum(map(len, words))
    sentences = [len(part.split()) for part in _SENTENCE.split(kept)]
    lowered = _WORD.findall(kept)
    groups = Counter(map(_GROUP_OF.get, lowered))
    log1p = math.log1p
    return [
        log1p(len(text)),
        log1p(len(words) * (len(text) / size)),
        letters / max(len(words), 1),
        log1p(len(numbers)),
        float(min(max(map(len, numbers), default=0), 12)),
        sum(map(len, numbers)) / size,
        (len(kept.encode("utf-8", "replace")) - len(kept)) / size,
        log1p(kept.count("\n")),
        log1p(len(sentences) - 1),
        log1p(kept.count("?")),
        log1p(sum(map(kept.count, "+-*/=^<>%$"))),
        log1p(kept.count("\\")),
        log1p(sum(map(kept.count, "()[]{}"))),
        log1p(kept.count('"') + kept.count("'")),
        log1p(len(_INDENTED.findall(kept))),
        float("```" in kept),
        float(_JSON_KEY.search(kept) is not None),
        log1p(len(_CHOICE.findall(kept))),
        log1p(sum(map(_BRANCH.__contains__, lowered))),
        len(set(words)) / max(len(words), 1),
        log1p(len(set(numbers))),
        sum("." in number for number in numbers) / max(len(numbers), 1),
        log1p(max(sentences)),
        log1p(next(filter(None, reversed(sentences)), 0)),
        log1p(kept.count(",")),
        *(log1p(groups[group]) for group in range(len(WORD_GROUPS))),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedder:
    """Turns a text into one dense row; all its numbers come from training."""

    row_of_bucket: NDArray[np.int32]
    """Shape (BUCKETS,): row of `projection`, or -1 for a bucket that training did not keep."""
    weight: Floats
    """Shape (rows,): inverse document frequency of each kept bucket."""
    projection: Floats
    """Shape (rows, dimensions): weighted counts to the dense vector."""
    center: Floats
    """Shape (dimensions + surface,): training mean of each column."""
    scale: Floats
    """Shape (dimensions + surface,): what one training standard deviation (or its shrunken form) is divided by."""

    @property
    def width(self) -> int:
        """Columns of an embedded text."""
        return len(self.center)

    def dense(self, text: str) -> tuple[Floats, float]:
        """The projected n-grams of a text, shape (dimensions,), and how much of the text they stand for, 0 to 1.

        The second is the length of the known n-grams' vector by that of all, unknown ones weighing as the rarest.
        """
        nothing = np.zeros(self.projection.shape[1], dtype=np.float32)
        counts = buckets(windowed(text))
        if not counts:
            return nothing, 0.0
        rows = self.row_of_bucket[np.fromiter(counts, dtype=np.int64, count=len(counts))]
        values = np.log1p(np.fromiter(counts.values(), dtype=np.float32, count=len(counts)))
        is_known = rows >= 0
        rows = rows[is_known]
        if not len(rows):
            return nothing, 0.0
        known = values[is_known] * self.weight[rows]
        length = float(known @ known)
        unknown = values[~is_known] * self.weight.max()
        # Gathering the active rows; a sparse product would touch the whole matrix.
        projected = np.asarray((known / math.sqrt(length)) @ self.projection[rows], dtype=np.float32)
        return projected, math.sqrt(length / (length + float(unknown @ unknown)))

    def embed(self, text: str) -> Floats:
        """One text as a row of shape (width,), every value finite and within 6 deviations."""
        return self.scaled(self.dense(text)[0], text)

    def scaled(self, dense: Floats, text: str) -> Floats:
        """The row of a text whose projected n-grams are known."""
        row = np.concatenate([dense, np.asarray(surface(text), dtype=np.float32)])
        scaled: Floats = np.minimum(np.maximum((row - self.center) / self.scale, -6.0), 6.0)
        return scaled

    def embed_many(self, texts: Sequence[str]) -> Floats:
        """Texts as rows, shape (n, width)."""
        rows = [self.embed(text) for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.width), dtype=np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        return {f"embedder_{name}": getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Embedder:
        """The embedder that `arrays` was taken from."""
        return cls(**{name: arrays[f"embedder_{name}"] for name in cls.__slots__})
