"""What the local embedder takes per text, beside ONNX Runtime alone on the same word pieces, cut beforehand.

The two take turns, a call each and first in turn, so that both see the same machine; the figures are medians of CPU
time. `ratio` is the median over blocks of calls of the quotient of their medians. Over the floor the embedder cuts
texts into pieces, pads and pools; it may be under it, because it splits a large batch. Its memory of vectors is off,
but for the row `remembered`.

    python benchmarks/embedder.py [--calls 40]
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _results import write

from router.embedding import VERSION, Embedder, missing

WORDS = (
    "how do i reset the password of my online bank account when the phone is lost and no one can help me now".split()
)
LENGTHS = (10, 50, 250)
BATCHES = (1, 32)
BLOCKS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=40, help="of each kind at batch 1; a quarter of it at batch 32")
    calls = parser.parse_args().calls
    if reason := missing():
        sys.exit(reason)
    started = time.process_time()
    embedder = Embedder(memory_bytes=0)
    embedder.load()
    figures: dict[str, Any] = {"embedder": VERSION, "load_ms": round((time.process_time() - started) * 1e3)}
    for pieces in LENGTHS:
        for batch in BATCHES:
            row = measure(embedder, pieces, batch, calls if batch == 1 else max(BLOCKS, calls // 4))
            figures[f"pieces_{pieces}_batch_{batch}"] = row
            print(f"{pieces:>4} pieces, batch {batch:>2}: {row}")
    figures["remembered_ms_per_text"] = remembered()
    print(f"remembered: {figures['remembered_ms_per_text']} ms per text")
    print(write("embedder", figures))


def measure(embedder: Embedder, pieces: int, batch: int, calls: int) -> dict[str, float]:
    """CPU ms per text of the embedder and of the bare runs, in turn, and their ratio."""
    cutter, model = embedder.load()
    chance = random.Random(pieces)
    blocks = []
    for _ in range(BLOCKS):
        ours: list[float] = []
        floor: list[float] = []
        for number in range(max(2, calls // BLOCKS)):
            texts = [" ".join(chance.choices(WORDS, k=pieces - 2)) for _ in range(batch)]
            ids = np.array([cutter.windows(text)[0] for text in texts], dtype=np.int64)
            assert ids.shape == (batch, pieces)
            mask = np.ones_like(ids)
            turns = [(ours, partial(embedder.embed, texts)), (floor, partial(model.states, ids, mask))]
            for sink, work in turns if number % 2 else reversed(turns):
                sink.append(cpu_ms(work) / batch)
        blocks.append((statistics.median(ours), statistics.median(floor)))
    return {
        "ms_per_text": round(statistics.median(ours for ours, _ in blocks), 3),
        "floor_ms_per_text": round(statistics.median(floor for _, floor in blocks), 3),
        "ratio": round(statistics.median(ours / floor for ours, floor in blocks), 3),
    }


def remembered(texts: int = 1_000) -> float:
    """CPU ms of a text that was embedded before."""
    embedder = Embedder()
    given = [f"question {number}" for number in range(texts)]
    embedder.embed(given)
    return round(cpu_ms(lambda: [embedder.embed([text]) for text in given]) / texts, 4)


def cpu_ms(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1e3


if __name__ == "__main__":
    main()
