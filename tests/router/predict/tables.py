"""Synthetic outcome tables whose true qualities are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

EASY = ("add", "count", "name", "list", "copy", "spell")
HARD = ("prove", "derive", "integrate", "optimize", "refute", "factorize")
NOUNS = ("apples", "trains", "colors", "vectors", "rivers", "planets", "graphs", "letters")


@dataclass(frozen=True)
class Made:
    """A table, and the probability behind each of its outcomes (query x model, in order of `models`)."""

    table: pa.Table
    truth: np.ndarray
    models: tuple[str, ...]
    texts: tuple[str, ...]
    tasks: tuple[str, ...]


def make(
    queries: int = 400,
    models: Sequence[str] = ("cheap", "strong"),
    *,
    seed: int = 0,
    tasks: Sequence[str] = ("chores", "proofs"),
    missing: float = 0.0,
    graded: bool = False,
    subtasks: bool = False,
) -> Made:
    """Queries with easy and hard verbs: the first model fails at hard ones, the last rarely, at 50 times the price."""
    random = np.random.default_rng(seed)
    rows, truth, texts, kinds = [], [], [], []
    for query in range(queries):
        share = random.random()
        verbs = [str(random.choice(HARD if random.random() < share else EASY)) for _ in range(6)]
        hardness = sum(verb in HARD for verb in verbs) / 6
        text = "; ".join(f"{verb} the {random.choice(NOUNS)} {random.integers(100)}" for verb in verbs)
        task = tasks[int(share * len(tasks) * 0.999)]
        strength = np.linspace(0.0, 1.0, len(models))
        chance = np.clip(0.95 - 0.75 * hardness * (1.0 - strength), 0.02, 0.98)
        texts.append(text)
        kinds.append(task)
        truth.append(chance)
        for position, model in enumerate(models):
            if random.random() < missing:
                continue
            passed = float(random.random() < chance[position])
            tokens = int(20 + 100 * hardness + random.integers(20))
            rows.append(
                {
                    "query_id": f"q{query:05}",
                    "task": task,
                    "prompt": text,
                    "model": model,
                    "quality": round((passed + chance[position]) / 2, 3) if graded else passed,
                    "response": "",
                    "input_tokens": len(text) // 4,
                    "output_tokens": tokens,
                    "cost_usd": (len(text) // 4 + 3 * tokens) * 1e-7 * 50 ** strength[position],
                    **({"subtask": f"{task}-{query % 3}"} if subtasks else {}),
                }
            )
    return Made(pa.Table.from_pylist(rows), np.asarray(truth), tuple(models), tuple(texts), tuple(kinds))
