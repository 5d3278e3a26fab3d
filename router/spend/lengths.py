"""How long answers were, by task and model: what a call to come will cost depends on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEAST = 20
"""Fewer answers tell no distribution."""
NEWEST = 20_000

Rows = Callable[[str, Sequence[Any]], list[dict[str, Any]]]
"""The ledger's `rows`."""


class Lengths:
    """Output tokens of the newest answers.

    Args:
        rows: of the ledger; None: there is none.
    """

    def __init__(self, rows: Rows | None) -> None:
        found: dict[tuple[str | None, str | None], list[float]] = {}
        query = (
            "SELECT task, model, output_tokens, role FROM attempts WHERE outcome = 'ok' AND output_tokens > 0 "
            "ORDER BY seq DESC LIMIT ?"
        )
        for row in rows(query, (NEWEST,)) if rows else ():
            # What a model says in the shadow tells how long its answers are, but not how long those of the task are.
            of_task = {(row["task"], None)} if row["role"] != "shadow" else set()
            for key in {(row["task"], row["model"]), (None, row["model"])} | of_task:
                found.setdefault(key, []).append(row["output_tokens"])
        self._found = {key: np.array(lengths) for key, lengths in found.items() if len(lengths) >= LEAST}

    def of(self, task: str | None, model: str | None) -> Array | None:
        """Of a model in a task; None where too few answers say so."""
        return self._found.get((task, model)) if task or model else None

    def ratio(self, task: str | None, model: str, before: str) -> float:
        """How much longer one model's answers are than another's, on average; 1 where nobody knows."""
        for of in (task, None):
            one, other = self.of(of, model), self.of(of, before)
            if one is not None and other is not None:
                return float(one.mean() / other.mean())
        return 1.0
