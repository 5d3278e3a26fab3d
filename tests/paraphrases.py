"""A table of explanations in prose: models that mean the same hardly ever say it in the same words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

MODELS = {"tiny": (0.78, 1.0), "small": (0.8, 1.2), "large": (0.92, 60.0)}
"""Chance to be right, and price."""
CAUSES = (
    ("a storm closed the harbour", "the port was shut by heavy weather", "strong winds kept the docks from working"),
    ("the truck's engine broke down", "the lorry had a mechanical failure", "its vehicle stopped with motor trouble"),
    ("customs lacked the right papers", "the import documents were incomplete", "a form for the border was missing"),
    ("the warehouse workers were on strike", "staff had walked out over pay", "the union had called off all work"),
    ("the invoice had not been paid", "the bill was still open", "no money had been received for the order"),
    ("the address label was wrong", "it had been sent to another street", "the parcel carried a false destination"),
    ("a fire damaged the factory", "flames had destroyed the plant", "the production hall had burnt"),
    ("the computers were hacked", "a virus had locked the order system", "intruders had encrypted the servers"),
)
"""Each in three wordings."""
FRAMES = (
    "The records show that {cause}, so that nothing could leave in time.",
    "Because {cause}; that is all there is to it as far as I know.",
    "In short: {cause}. It went on when that was over.",
)
CITIES = ("Oslo", "Lagos", "Lima", "Kyoto", "Perth", "Quito", "Turin", "Accra", "Delhi", "Porto")


def explanations(queries: int, *, seed: int = 0) -> pa.Table:
    """Why a delivery was late: models name the right cause, or a wrong one of their own."""
    random = np.random.default_rng(seed)
    rows = []
    for query in range(queries):
        cause, city = int(random.integers(len(CAUSES))), CITIES[random.integers(len(CITIES))]
        for model, (chance, price) in MODELS.items():
            right = random.random() < chance
            said = cause if right else (cause + int(random.integers(1, len(CAUSES)))) % len(CAUSES)
            wording = CAUSES[said][random.integers(3)]
            rows.append(
                {
                    "query_id": f"q{query:04}",
                    "task": "causes",
                    "prompt": f"Report {query}: why was the delivery to {city} late?",
                    "model": model,
                    "quality": float(right),
                    "response": FRAMES[random.integers(3)].format(cause=wording),
                    "input_tokens": 20,
                    "output_tokens": int(random.integers(20, 30)),
                    "cost_usd": price * 1e-5,
                }
            )
    return pa.Table.from_pylist(rows)
