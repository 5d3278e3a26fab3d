"""The certified semantic cache beside what others do, on one stream and the same embeddings.

    python benchmarks/cache.py --stream FILE [--prior FILE] [--requests 12000] [--seed 0]

FILE is Parquet with columns prompt and answer. Rows are shuffled by the seed, and once more drawn by Zipf(0.8) with
repeats; `second_half` is the warm half of a cold start. `--prior` names coefficients that `cache_prior.py --without`
fitted without this stream: where the shipped ones saw it, their rows flatter. Peers: exact repeats only; fixed cosines;
GPTCache's default, whose 0.8 means a cosine of 0.60; and vCache's method, written from the formulas of arXiv 2502.03771
(per-entry sigmoid, lower bound by the delta method, random exploration), whose delta bounds wrong / requests. All ask
the nearest entry, store what missed, and start cold. One plot for each order of the rows stands beside the result.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _plot import scatter
from _results import RESULTS, write
from pyarrow import parquet

from router.cache.certify import JudgeError
from router.cache.evidence import FEATURES
from router.cache.neighbours import Neighbours
from router.cache.semantic import SemanticTier
from router.embedding import WIDTH, Embedder, shared

Rows = list[tuple[str, str]]
Vectors = dict[str, np.ndarray]
PROMISES = (0.01, 0.02, 0.05, 0.1)

EXPLORE_FIRST = 6
"""Labels an entry has before its sigmoid is trusted."""
Z = 1.645


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stream", type=Path, required=True)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--requests", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    table = parquet.read_table(given.stream)
    rows = list(zip(table["prompt"].to_pylist(), table["answer"].to_pylist(), strict=True))
    chance = np.random.default_rng(given.seed)
    order = chance.permutation(len(rows))
    weights = 1 / np.arange(1, len(rows) + 1) ** 0.8
    drawn = chance.choice(len(rows), given.requests, p=weights / weights.sum())
    vectors = embedded([text for text, _ in rows])
    prior = read(given.prior) if given.prior else None
    figures: dict[str, Any] = {"stream": given.stream.name, "rows": len(rows), "seed": given.seed}
    for name, picked in {"shuffled": order[: given.requests], "zipf": order[drawn]}.items():
        figures[name] = compared([rows[at] for at in picked], vectors, prior)
        curves = {
            family: [(at["hits"], at["wrong_per_hit"]) for at in by_setting.values()]
            for family, by_setting in figures[name].items()
        }
        scatter(f"{given.stream.stem}, {name}: wrong / hits by hits / requests", curves,
                RESULTS / f"cache_{given.stream.stem}_{name}.svg")  # fmt: skip
    figures["search_ms"] = {str(size): latency(size) for size in (1_000, 10_000, 100_000)}
    figures["lookup_of_10000"] = lookup([rows[at] for at in order], vectors)
    print(figures["search_ms"], figures["lookup_of_10000"], write(f"cache_{given.stream.stem}", figures))


def embedded(texts: Sequence[str]) -> Vectors:
    """Vectors by text."""
    vectors, different = {}, sorted(set(texts))
    for at in range(0, len(different), 64):
        vectors.update(zip(different[at : at + 64], shared().embed(different[at : at + 64]).vectors, strict=True))
    return vectors


def compared(rows: Rows, vectors: Vectors, prior: np.ndarray | None) -> dict[str, dict[str, Any]]:
    """Hits, wrong / hits and wrong / requests of every policy, by family and setting."""
    families: dict[str, dict[str, Callable[[], Iterator[str | None]]]] = {
        "exact only": {"": lambda: nearest(rows, vectors, 2.0)},
        "GPTCache's default": {"cosine 0.60": lambda: nearest(rows, vectors, 0.60)},
        "fixed cosine": {
            f"{cosine:.2f}": partial(nearest, rows, vectors, cosine) for cosine in (0.75, 0.80, 0.85, 0.90, 0.95)
        },
        "vCache's method": {f"delta {delta:g}": partial(vcache, rows, vectors, delta) for delta in (0.01, 0.02, 0.05)},
        "certified": {f"max error {most:g}": partial(certified, rows, vectors, most) for most in PROMISES},
    }
    if prior is not None:
        families["certified, prior without this stream"] = {
            f"max error {most:g}": partial(certified, rows, vectors, most, prior=prior) for most in PROMISES
        }
    found: dict[str, dict[str, Any]] = {}
    for family, settings in families.items():
        found[family] = {}
        for setting, policy in settings.items():
            started, served, half = time.process_time(), list(policy()), len(rows) // 2
            found[family][setting] = {
                **rates(rows, served),
                "second_half": rates(rows[half:], served[half:]),
                "ms_per_request": round((time.process_time() - started) * 1e3 / len(rows), 3),
            }
            print(f"{family:>38} {setting:<14}: {found[family][setting]}", flush=True)
    return found


def rates(rows: Rows, served: list[str | None]) -> dict[str, float]:
    hits = sum(answer is not None for answer in served)
    wrong = sum(answer not in (None, true) for answer, (_, true) in zip(served, rows, strict=True))
    return {
        "hits": round(hits / len(rows), 4),
        "wrong_per_hit": round(wrong / max(1, hits), 4),
        "wrong_per_request": round(wrong / len(rows), 4),
    }


def certified(
    rows: Rows, vectors: Vectors, most: float, *, seed: int = 0, flips: float = 0.0,
    prior: np.ndarray | None = None, tier: SemanticTier | None = None,
) -> Iterator[str | None]:  # fmt: skip
    """Ours: exact repeats first. Labels are flipped in a share `flips` of the cases, which the certificate is told."""
    tier = tier or SemanticTier(max_error=most, seed=seed, judge=JudgeError(flips, flips), prior=prior)
    chance = np.random.default_rng([seed, 1])
    stored: dict[int, str] = {}
    exact: dict[str, str] = {}
    for text, answer in rows:
        if text in exact:
            yield exact[text]
            continue
        decision = tier.lookup("stream", text, vectors[text])
        if decision.outcome == "hit" and decision.entry is not None:
            yield stored[decision.entry]
            continue
        tier.judge(decision, wrong=(decision.answer != answer) != (chance.random() < flips))
        stored[tier.insert("stream", text, vectors[text], answer)] = exact[text] = answer
        yield None


def nearest(rows: Rows, vectors: Vectors, cosine: float) -> Iterator[str | None]:
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


def vcache(rows: Rows, vectors: Vectors, delta: float) -> Iterator[str | None]:
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


def read(path: Path) -> np.ndarray:
    """Coefficients that `cache_prior.py` wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))["coefficients"]
    return np.array([found[name] for name in FEATURES])


def lookup(rows: Rows, vectors: Vectors) -> dict[str, float]:
    """Median CPU ms of embedding a new question and of looking it up among 10,000, and both over the first."""
    tier, embedder, times = SemanticTier(max_error=0.02), Embedder(memory_bytes=0), []
    for text, answer in rows[:10_000]:
        tier.insert("stream", text, vectors[text], answer)
    embedder.embed(["warm"])
    for text, _ in rows[10_000:10_300]:
        started = time.process_time()
        vector = embedder.embed([text]).vectors[0]
        between = time.process_time()
        tier.lookup("stream", text, vector)
        times.append((between - started, time.process_time() - between))
    if not times:
        return {}
    embed, look = np.array(times).T * 1e3
    return {
        "embed_ms": round(float(np.median(embed)), 2),
        "look_up_ms": round(float(np.median(look)), 2),
        "over_embedder": round(float(np.median((embed + look) / embed)), 3),
    }


def latency(size: int) -> float:
    """Median CPU ms of one search for the 16 nearest of so many random vectors."""
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
