"""What the semantic cache serves when other questions than before suddenly come into a task.

    python benchmarks/cache_switch.py --data DIR [--seeds 3] [--before 5000]

DIR is the one of `cache_prior.py`. After so many shuffled requests of banking77 (mode on, perfect labels, one task, one
partition) come, in the same cache, either both sides of every pair of fow-cache in the order of its file, which was
made to trap caches, or questions that all stand alone. Counted are hits by likeness of that second part only. An answer
of banking77 counts as wrong there, also to *How do I delete my account?*, which it holds. `alone` starts cold.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from _results import write
from cache import Rows, Vectors, certified, embedded
from cache_prior import shuffled

PROMISES = (0.02, 0.05, 0.1, 0.3, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--before", type=int, default=5_000)
    given = parser.parse_args()
    bank = pd.read_parquet(given.data / "banking77.parquet")
    rows = list(zip(bank.text, bank.category, strict=True))
    traps, strangers = fow(given.data), alone(given.data)
    vectors = embedded([text for text, _ in [*rows, *traps, *strangers]])
    figures: dict[str, Any] = {"before": given.before, "seeds": given.seeds, "traps": len(traps)}
    figures["strangers"] = len(strangers)
    for most in PROMISES:
        for seed in range(given.seeds):
            first, mixed = shuffled(rows, seed)[: given.before], shuffled(strangers, seed)
            for name, before, after in (("to_traps", first, traps), ("to_strangers", first, mixed),
                                        ("strangers_alone", [], mixed)):  # fmt: skip
                found = second_part(before, after, vectors, most, seed)
                figures.setdefault(f"{name}_{most:g}", []).append(found)
                print(f"{name} at {most:g}, seed {seed}: {found}", flush=True)
    print(write("cache_switch", figures))


def fow(data: Path) -> Rows:
    """Both sides of every pair, one after the other; those that may share an answer do."""
    pairs, leader = pd.read_parquet(data / "fowcache_pairs.parquet"), dict[str, str]()

    def find(text: str) -> str:
        while leader.setdefault(text, text) != text:
            text = leader[text]
        return text

    for pair in pairs.itertuples():
        if pair.same_answer:
            leader[find(pair.a)] = find(pair.b)
    return [(text, find(text)) for pair in pairs.itertuples() for text in (pair.a, pair.b)]


def alone(data: Path) -> Rows:
    """Questions of three files, each with an answer of its own."""
    columns = {"fowcache_pairs": "a", "langcache_pairs": "query_a", "gptcache_mock_pairs": "origin"}
    texts = [text for name, column in columns.items() for text in pd.read_parquet(data / f"{name}.parquet")[column]]
    return [(text, f"alone {text}") for text in dict.fromkeys(texts)]


def second_part(before: Rows, after: Rows, vectors: Vectors, most: float, seed: int) -> dict[str, float]:
    """Hits by likeness, wrong ones, and these over the requests of the second part."""
    served = list(certified([*before, *after], vectors, most, seed=seed))[len(before) :]
    asked = {text for text, _ in before}
    hits = wrong = 0
    for answer, (text, true) in zip(served, after, strict=True):
        is_repeat = text in asked and answer == true
        hits += answer is not None and not is_repeat
        wrong += answer not in (None, true)
        asked.add(text)
    return {"hits": hits, "wrong": wrong, "wrong_per_request": round(wrong / len(after), 5)}


if __name__ == "__main__":
    main()
