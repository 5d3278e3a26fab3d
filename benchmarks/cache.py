"""The certified semantic cache beside what others do, on one stream and the same embeddings.

    python benchmarks/cache.py --stream FILE [--requests 12000] [--seed 0]

FILE is Parquet with columns prompt and answer. Rows are shuffled by the seed, and once more drawn by Zipf(0.8) with
repeats. Peers: exact repeats only; fixed cosines; GPTCache's default, whose 0.8 means a cosine of 0.60; and vCache's
method, written from the formulas of arXiv 2502.03771 (per-entry sigmoid, lower bound by the delta method, random
exploration), whose delta bounds wrong / requests. All ask the nearest entry, store what missed, and start cold.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _results import write
from pyarrow import parquet

from router.cache.neighbours import Neighbours
from router.cache.replay import Summary, replay_stream
from router.embedding import WIDTH, shared

EXPLORE_FIRST = 6
"""Labels an entry has before its sigmoid is trusted."""
Z = 1.645


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stream", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    table = parquet.read_table(given.stream)
    rows = list(zip(table["prompt"].to_pylist(), table["answer"].to_pylist(), strict=True))
    chance = np.random.default_rng(given.seed)
    order = chance.permutation(len(rows))
    weights = 1 / np.arange(1, len(rows) + 1) ** 0.8
    drawn = chance.choice(len(rows), given.requests, p=weights / weights.sum())
    figures: dict[str, Any] = {"stream": given.stream.name, "seed": given.seed}
    for name, picked in {"shuffled": order[: given.requests], "zipf": order[drawn]}.items():
        figures[name] = compared([rows[at] for at in picked])
    figures["lookup_ms"] = {str(size): latency(size) for size in (1_000, 10_000, 100_000)}
    print(figures["lookup_ms"], write("cache", figures))


def compared(rows: list[tuple[str, str]]) -> dict[str, Any]:
    """Hits, wrong / hits and wrong / requests of every policy."""
    started, vectors = time.process_time(), {}
    texts = sorted({text for text, _ in rows})
    for at in range(0, len(texts), 64):
        vectors.update(zip(texts[at : at + 64], shared().embed(texts[at : at + 64]).vectors, strict=True))
    found: dict[str, Any] = {"embed_ms_per_text": round((time.process_time() - started) * 1e3 / len(texts), 2)}
    policies: dict[str, Callable[[], Iterator[str | None]]] = {"exact only": lambda: nearest(rows, vectors, 2.0)}
    policies["GPTCache default (cosine 0.60)"] = lambda: nearest(rows, vectors, 0.60)
    for cosine in (0.80, 0.85, 0.90, 0.95):
        policies[f"cosine {cosine:.2f}"] = lambda cosine=cosine: nearest(rows, vectors, cosine)
    for delta in (0.01, 0.02, 0.05):
        policies[f"vCache's method, delta {delta}"] = lambda delta=delta: vcache(rows, vectors, delta)
    for most in (0.01, 0.02, 0.05):
        policies[f"certified, max error {most}"] = lambda most=most: certified(rows, most)
    for name, policy in policies.items():
        started = time.process_time()
        served = list(policy())
        half = len(rows) // 2
        found[name] = {
            **rates(rows, served),
            "second_half": rates(rows[half:], served[half:]),
            "ms_per_request": round((time.process_time() - started) * 1e3 / len(rows), 3),
        }
        print(f"{name:>32}: {found[name]}", flush=True)
    return found


def rates(rows: list[tuple[str, str]], served: list[str | None]) -> dict[str, float]:
    hits = sum(answer is not None for answer in served)
    wrong = sum(answer not in (None, true) for answer, (_, true) in zip(served, rows, strict=True))
    return {
        "hits": round(hits / len(rows), 4),
        "wrong_per_hit": round(wrong / max(1, hits), 4),
        "wrong_per_request": round(wrong / len(rows), 4),
    }


def certified(rows: list[tuple[str, str]], most: float) -> Iterator[str | None]:
    prompts, answers = [text for text, _ in rows], [answer for _, answer in rows]
    for step in replay_stream(prompts, answers, max_error=most, summary=Summary()):
        yield step.served


def nearest(rows: list[tuple[str, str]], vectors: dict[str, np.ndarray], cosine: float) -> Iterator[str | None]:
    index, stored, exact = Neighbours(WIDTH), [], {}
    for text, answer in rows:
        near = index.nearest(vectors[text], 1) if cosine <= 1 else []
        if text in exact:
            yield exact[text]
        elif near and near[0].cosine >= cosine:
            yield stored[near[0].entry]
        else:
            index.add(len(stored), vectors[text])
            stored.append(answer)
            exact[text] = answer
            yield None


def vcache(rows: list[tuple[str, str]], vectors: dict[str, np.ndarray], delta: float) -> Iterator[str | None]:
    index, stored, seen, chance = Neighbours(WIDTH), [], defaultdict(list), np.random.default_rng(0)
    for text, answer in rows:
        near = index.nearest(vectors[text], 1)
        if near and chance.random() >= explore(seen[near[0].entry], near[0].cosine, delta):
            yield stored[near[0].entry]
            continue
        right = bool(near) and stored[near[0].entry] == answer
        if near:
            seen[near[0].entry].append((near[0].cosine, right))
        if not right:
            index.add(len(stored), vectors[text])
            stored.append(answer)
        yield None


def explore(seen: list[tuple[float, bool]], cosine: float, delta: float) -> float:
    """Share of calls that explore, max(0, 1 - delta / (1 - alpha)); alpha is least over logarithmic steps of error."""
    if len(seen) < EXPLORE_FIRST:
        return 1.0
    # One made-up label at each end keeps separable ones from an endless slope.
    s = np.array([0.0, 1.0, *(cosine for cosine, _ in seen)])
    c = np.array([0.0, 1.0, *(right for _, right in seen)])
    rows, b = np.column_stack([np.ones_like(s), s]), np.zeros(2)
    for _ in range(25):
        p = 1 / (1 + np.exp(-np.clip(rows @ b, -30, 30)))
        hessian = (rows * (p * (1 - p) + 1e-6)[:, None]).T @ rows + 1e-3 * np.eye(2)
        b = b + np.linalg.solve(hessian, rows.T @ (c - p) - 1e-3 * b)
    if b[1] <= 0:
        return 1.0
    slope = np.array([-1 / b[1], b[0] / b[1] ** 2])
    deviation = math.sqrt(float(slope @ np.linalg.inv(hessian) @ slope))
    lowest = 1.0
    for epsilon, z in ((0.001, 3.09), (0.005, 2.576), (0.01, 2.326), (0.02, 2.054), (0.05, Z), (0.1, 1.282)):
        alpha = (1 - epsilon) / (1 + math.exp(-min(30, max(-30, b[1] * (cosine + b[0] / b[1] - z * deviation)))))
        lowest = min(lowest, 1 - delta / max(1e-9, 1 - alpha))
    return max(0.0, lowest)


def latency(size: int) -> float:
    """Median CPU ms of one search among so many entries."""
    rows = np.random.default_rng(0).standard_normal((size, WIDTH)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = Neighbours(WIDTH, capacity=size)
    for entry, row in enumerate(rows):
        index.add(entry, row)
    index.nearest(rows[0], 16)
    taken = []
    for row in rows[:50]:
        started = time.process_time()
        index.nearest(row, 16)
        taken.append((time.process_time() - started) * 1e3)
    return round(float(np.median(taken)), 3)


if __name__ == "__main__":
    main()
