"""A table of sums, on which models that agree are nearly always right."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

MODELS = {"tiny": (0.6, 1.0), "small": (0.65, 1.2), "large": (0.92, 60.0)}
"""Chance to be right, and price."""


def answers(queries: int = 600, *, seed: int = 0, silent: bool = False) -> pa.Table:
    """Sums that models get right or miss by a number of their own."""
    random = np.random.default_rng(seed)
    rows = []
    for query in range(queries):
        one, other = random.integers(100, 999, 2)
        for model, (chance, price) in MODELS.items():
            right = random.random() < chance
            said = one + other + (0 if right else int(random.integers(1, 500)))
            rows.append(
                {
                    "query_id": f"q{query:04}",
                    "task": "sums",
                    "prompt": f"What is {one} + {other}?",
                    "model": model,
                    "quality": float(right),
                    "response": "" if silent else f"The answer is {said}.",
                    "input_tokens": 10,
                    "output_tokens": int(random.integers(5, 15)),
                    "cost_usd": price * 1e-5,
                }
            )
    return pa.Table.from_pylist(rows)
