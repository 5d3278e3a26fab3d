"""Whether the semantic cache keeps its promise: realised wrong / hits over many shuffles of one stream.

    python benchmarks/cache_coverage.py --stream FILE [--seeds 20] [--requests 12000]

FILE is Parquet with columns prompt and answer. Each seed shuffles it, starts a cold cache on its first rows, and serves
in mode on; labels are perfect, or flipped in 2 % of the cases with just that error declared to the certificate. `kept`
counts the seeds with wrong / hits at or under the promise; one that serves nothing keeps it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from _results import write
from cache import Rows, Vectors, certified, embedded
from pyarrow import parquet

from router.cache.certify import JudgeError
from router.cache.semantic import SemanticTier

PROMISES = (0.01, 0.02, 0.05)
FLIPS = (0.0, 0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stream", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=12_000)
    given = parser.parse_args()
    table = parquet.read_table(given.stream)
    rows = list(zip(table["prompt"].to_pylist(), table["answer"].to_pylist(), strict=True))
    vectors = embedded([text for text, _ in rows])
    figures: dict[str, Any] = {"stream": given.stream.name, "requests": min(given.requests, len(rows))}
    figures["seeds"] = given.seeds
    for flips in FLIPS:
        for promise in PROMISES:
            started, found = time.process_time(), []
            for seed in range(given.seeds):
                order = np.random.default_rng(seed).permutation(len(rows))[: given.requests]
                found.append(realised([rows[place] for place in order], vectors, promise, seed, flips))
            hits, wrong, bound = np.array(found).T
            row = {
                "kept": int((wrong <= promise).sum()),
                "hits_mean": round(float(hits.mean()), 4),
                "hits_range": [round(float(hits.min()), 4), round(float(hits.max()), 4)],
                "wrong_per_hit_mean": round(float(wrong.mean()), 4),
                "wrong_per_hit_worst": round(float(wrong.max()), 4),
                "under_its_own_bound": int((wrong <= bound).sum()),
                "cpu_s_per_seed": round((time.process_time() - started) / given.seeds, 1),
            }
            figures[f"promise_{promise:g}_flips_{flips:g}"] = row
            print(f"promise {promise:g}, flips {flips:g}: {row}", flush=True)
    print(write("cache_coverage", figures))


def realised(rows: Rows, vectors: Vectors, promise: float, seed: int, flips: float) -> tuple[float, float, float]:
    """Hits / requests, wrong / hits and the certificate's own upper bound of the latter."""
    tier = SemanticTier(max_error=promise, seed=seed, judge=JudgeError(flips, flips))
    served = list(certified(rows, vectors, promise, seed=seed, flips=flips, tier=tier))
    hits = sum(answer is not None for answer in served)
    wrong = sum(answer not in (None, true) for answer, (_, true) in zip(served, rows, strict=True))
    return hits / len(rows), wrong / max(1, hits), tier.standing().wrong_upper


if __name__ == "__main__":
    main()
