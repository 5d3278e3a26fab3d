"""A table of sums, on which models that agree are nearly always right, and what a policy over it needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from router.predict import artifact
from router.predict.artifact import Artifact
from router.transports.replay import ReplayTransport

MODELS = {"tiny": (0.6, 1.0), "small": (0.65, 1.2), "large": (0.92, 60.0)}
"""Chance to be right, and price per million tokens."""
TINY_AND_LARGE = {"tiny": (0.6, 0.05), "large": (0.92, 6.0)}
"""Two models whose agreement says little: for what else tells whether an answer is right."""
QUESTION = [{"role": "user", "content": "What is 123 + 456?"}]


def answers(
    queries: int = 600,
    *,
    seed: int = 0,
    silent: bool = False,
    models: Mapping[str, tuple[float, float]] = MODELS,
    more: Callable[[np.random.Generator, bool], dict[str, Any]] = lambda random, right: {},
) -> pa.Table:
    """Sums that models get right or miss by a number of their own; `more` gives an answer further columns."""
    random = np.random.default_rng(seed)
    rows = []
    for query in range(queries):
        one, other = random.integers(100, 999, 2)
        for model, (chance, price) in models.items():
            right = random.random() < chance
            further = more(random, right)
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
                    **further,
                }
            )
    return pa.Table.from_pylist(rows)


def recorded() -> ReplayTransport:
    """Models that answer the sums of `prompts`, each as it did once."""
    return ReplayTransport.of_rows(answers(80, seed=9).to_pylist(), by="prompt")


def prompts() -> list[list[dict[str, str]]]:
    """Sums that no test trains on."""
    return [[{"role": "user", "content": text}] for text in dict.fromkeys(answers(80, seed=9)["prompt"].to_pylist())]


def lay_down(trained: Artifact, place: Path, models: Mapping[str, tuple[float, float]] = MODELS) -> None:
    """Next to a policy: the artifact, and evidence of every model."""
    artifact.save(trained, place / "artifact", created="2026-01-01T00:00:00+00:00")
    (place / "evidence").mkdir()
    for model, (mean, _) in models.items():
        evidence = {
            "version": 1, "task": "sums", "model": model, "model_version": model, "run_id": "r", "n": 1_500,
            "suite_sha256": "0" * 64, "mean": mean, "lower": mean - 0.02, "confidence": 0.95, "metric": "accuracy",
            "scorer": "numeric", "price": {"input": "1", "output": "1"}, "created": "2026-01-01T00:00:00Z",
            "expires": "2100-01-01T00:00:00Z",
        }  # fmt: skip
        (place / "evidence" / f"sums--{model}.json").write_text(json.dumps(evidence), encoding="utf-8")
