"""From text to the word pieces that the model reads. The only file that imports tokenizers.

The rules are those of bert-base-uncased (Devlin et al. 2019): lower case, accents off, Chinese characters apart, then
the longest known pieces first. `vocabulary.txt` is its word list, unchanged. Unlike other loaders, a text that spells
`[SEP]` or `[MASK]` means these letters: nobody writes the model's own marks into a prompt.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from router.errors import WeightsError

VOCABULARY = Path(__file__).with_name("vocabulary.txt")
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
WINDOW = 256
"""Pieces that the model was trained to read at once, its two marks among them."""
INNER = WINDOW - 2
LONGEST_WORD = 100
"""Characters, and so pieces at most; a longer word is one unknown piece."""
FIRST_CHARS = 4_096
"""Of a long text at first only so many characters are cut into pieces, from either end."""


class Pieces:
    """The tokenizer, loaded (10 ms); threads may share it.

    Raises:
        WeightsError: the word list is not the one that the model was trained with.
    """

    def __init__(self) -> None:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

        given = VOCABULARY.read_bytes()
        if hashlib.sha256(given).hexdigest() != VOCABULARY_SHA256:
            raise WeightsError(f"{VOCABULARY} was altered; reinstall clearbar")
        ids = {word: number for number, word in enumerate(given.decode().removesuffix("\n").split("\n"))}
        self._first, self._last = ids["[CLS]"], ids["[SEP]"]
        self._tokenizer: Any = Tokenizer(
            models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)  # noqa: S106
        )
        self._tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def windows(self, text: str) -> tuple[list[int], list[int] | None]:
        """The piece numbers of a text's first window and, if it does not fit into one, of its last; marks included."""
        head = self._pieces(text, from_end=False)
        if len(head) <= INNER:
            return [self._first, *head, self._last], None
        tail = self._pieces(text, from_end=True)
        return [self._first, *head[:INNER], self._last], [self._first, *tail[-INNER:], self._last]

    def _pieces(self, text: str, *, from_end: bool) -> list[int]:
        """All pieces of a text, or, for more than a window, at least a windowful of right ones at the asked end.

        A cut inside a word makes at most `LONGEST_WORD` wrong pieces, all at the cut. With that many to spare, the
        window holds none of them.
        """
        size = FIRST_CHARS
        while True:
            part = text[-size:] if from_end else text[:size]
            found: list[int] = self._tokenizer.encode(part, add_special_tokens=False).ids
            if size >= len(text) or len(found) >= INNER + LONGEST_WORD:
                return found
            size *= 4
