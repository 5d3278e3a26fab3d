"""What a text means, as columns of the predictor: MiniLM's vector, turned and cut to its leading directions.

Optional: n-grams and surface counts cost 0.1 ms a text, these columns 5 to 150 ms. An artifact that was trained with
them needs the same embedder wherever it predicts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.embedding import VERSION, WIDTH, missing, shared
from router.errors import ArtifactError, ConfigurationError, WeightsError
from router.predict.features import Embedder, Floats

log = logging.getLogger(__name__)

NAMES = {"local/minilm": VERSION}
"""Embedders by the name that `clearbar train --embedding` and policies call them, with what their vectors depend on."""
DIMENSIONS = 64
"""Directions kept."""
LEAST = 1e-3
"""Deviation below which a direction is noise of rounding, and dropped; vectors have length 1."""
BATCH = 64
"""Texts embedded at once; a batch is of like length, and its numbers do not depend on it."""


@dataclass(slots=True, eq=False)
class Meaning:
    """Columns of meaning; threads may share it."""

    center: Floats
    """Shape (384,): mean vector of the training texts."""
    projection: Floats
    """Shape (384, dimensions): a centred vector to the columns."""
    truncated: int = 0
    """Texts so far of which only the first and the last 254 word pieces were read."""

    def columns(self, texts: Sequence[str]) -> Floats:
        """One row a text, shape (n, dimensions), every value within 6 deviations.

        Raises:
            WeightsError: the embedder is missing or damaged; names the command that mends it.
        """
        return self.of_vectors(self._vectors(texts))

    def of_vectors(self, vectors: Floats) -> Floats:
        """The same of the texts' vectors, shape (n, 384)."""
        columns: Floats = np.clip((vectors - self.center) @ self.projection, -6.0, 6.0)
        return columns

    def _vectors(self, texts: Sequence[str]) -> Floats:
        vectors, truncated = embed(texts)
        if truncated and not self.truncated:
            log.warning(
                "a text is longer than 254 word pieces: of such texts the predictor's embedding reads the beginning "
                "and the end (said once)"
            )
        self.truncated += truncated
        return vectors

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        return {"meaning_center": self.center, "meaning_projection": self.projection}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Meaning:
        """The columns that `arrays` was taken from."""
        return cls(arrays["meaning_center"], arrays["meaning_projection"])


def require(name: str) -> None:
    """Say at once that an embedding cannot be had.

    Raises:
        ConfigurationError: there is none of that name.
        WeightsError: the embedder is not installed; names the command that installs it.
    """
    if name not in NAMES:
        raise ConfigurationError(f"no embedding {name!r}; there is {', '.join(NAMES)}")
    if reason := missing():
        raise WeightsError(reason)


def embed(texts: Sequence[str]) -> tuple[Floats, int]:
    """Vectors of texts, shape (n, 384), and how many of the texts were too long to be read whole.

    Of those the vector is the mean of the first and the last window's.
    """
    vectors, truncated = np.empty((len(texts), WIDTH), dtype=np.float32), 0
    by_length = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    for start in range(0, len(texts), BATCH):
        places = by_length[start : start + BATCH]
        found = shared().embed([texts[place] for place in places], "head_tail")
        vectors[places] = found.vectors
        truncated += sum(found.truncated)
    return vectors, truncated


def fit_meaning(vectors: Floats, truncated: int = 0) -> Meaning:
    """Principal directions of the training texts' vectors, shape (n, 384), each with deviation 1.

    No labels are looked at. Directions that kept their own deviations routed worse on three of four public tables.
    """
    center = vectors.mean(axis=0, dtype=np.float64)
    inside = vectors - center
    values, axes = np.linalg.eigh(inside.T @ inside / len(vectors))
    leading = np.argsort(-values, kind="stable")[:DIMENSIONS]
    leading = leading[values[leading] > LEAST**2]
    # The sign of an eigenvector is arbitrary; it is fixed, so that the same texts give the same artifact.
    kept = axes[:, leading] * np.sign(axes[np.abs(axes[:, leading]).argmax(axis=0), leading])
    return Meaning(center.astype(np.float32), (kept / np.sqrt(values[leading])).astype(np.float32), truncated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Everything an artifact reads off a text: n-grams, surface counts and, where it was trained so, meaning."""

    ngrams: Embedder
    meaning: Meaning | None

    def columns(self, texts: Sequence[str]) -> Floats:
        """Texts as rows, shape (n, columns).

        Raises:
            WeightsError: the embedder is missing or damaged.
        """
        columns = self.ngrams.embed_many(texts)
        return columns if self.meaning is None else np.hstack([columns, self.meaning.columns(texts)])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        return {**self.ngrams.arrays(), **(self.meaning.arrays() if self.meaning is not None else {})}

    @classmethod
    def of(cls, manifest: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Reader:
        """What an artifact was trained to read.

        Raises:
            ArtifactError: it needs an embedder that is not here, or whose vectors are others.
        """
        wanted = manifest.get("embedding")
        if wanted is None:
            return cls(ngrams=Embedder.from_arrays(arrays), meaning=None)
        name, version = wanted["name"], wanted["version"]
        if NAMES.get(name) != version:
            raise ArtifactError(
                f"the artifact was trained with the embedding {name} {version}, here is {NAMES.get(name, 'none of it')}"
                "; install the version of clearbar it was trained with, or train again"
            )
        if reason := missing():
            raise ArtifactError(f"the artifact was trained with --embedding {name}, and {reason}; or train without it")
        return cls(ngrams=Embedder.from_arrays(arrays), meaning=Meaning.from_arrays(arrays))
