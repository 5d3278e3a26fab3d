"""What models in the shadow answered, beside what was served: kept in the ledger, for all processes that share it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from router.spend.ledger import Ledger
from router.spend.money import from_pico, to_pico

CONFIDENCE = 0.95
SIDE = (1 + CONFIDENCE) / 2
"""Confidence of each side of an interval of 95 %."""
SUFFIX = "-shadow"
"""What the id of a shadow's request adds to that of the request that it shadows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """One request and its shadow."""

    name: str
    """Of the shadow, `Shadow.key`."""
    shadowed: str
    """Id of the request that was answered."""
    is_same: bool | None
    """Whether both say the same; None: it cannot be told."""
    error: str | None
    """Class of the error, where the shadow gave no answer."""
    cost_usd: Decimal | None
    served_usd: Decimal | None
    """What the answered request cost, whatever it took."""
    latency_s: float
    served_s: float | None
    """How long the answered request took; None for a stream, which ends when its reader likes."""


class Shadows:
    """The state of all shadows of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def note(self, one: Shadowed) -> None:
        """Keep what a shadow answered; within a transaction of the ledger, if there is one."""
        with self._ledger.batch() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO shadows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    one.shadowed + SUFFIX, one.name, one.shadowed, time.time_ns() // 1000, one.is_same, one.error,
                    to_pico(one.cost_usd), to_pico(one.served_usd), one.latency_s, one.served_s,
                ),
            )  # fmt: skip

    def missed(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Add to how many requests a shadow was drawn for and not asked, by its name and the reason."""
        with self._ledger.batch() as connection:
            connection.executemany(
                "INSERT INTO unshadowed VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
                [(name, why, n) for (name, why), n in counts.items()],
            )

    def standing(self) -> list[dict[str, Any]]:
        """Every shadow that was drawn: how it compares with what was served, and why it was not asked.

        Returns:
            By name: `n` asked, `errors`, `since_us`, `same` (share of those that can be told, with an interval of
            95 % by Clopper and Pearson), `unknown` (that cannot be told), `cost` (ratio to what was served, with an
            interval over requests drawn again), `latency_s` of both (median and 95th percentile), and `missed`.
        """
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self._ledger.rows("SELECT * FROM shadows ORDER BY name, at_us"):
            found.setdefault(row["name"], []).append(row)
        missed: dict[str, dict[str, int]] = {}
        for row in self._ledger.rows("SELECT * FROM unshadowed ORDER BY name, n DESC, why"):
            missed.setdefault(row["name"], {})[row["why"]] = row["n"]
        return [_standing(name, found.get(name, []), missed.get(name, {})) for name in sorted({*found, *missed})]

    def reset(self, name: str) -> bool:
        """Forget what is known of a shadow; False where there is nothing. What it cost stays in the books."""
        with self._ledger.batch() as connection:
            return any([
                connection.execute(f"DELETE FROM {table} WHERE name = ?", (name,)).rowcount > 0  # noqa: S608
                for table in ("shadows", "unshadowed")
            ])  # fmt: skip


def _standing(name: str, rows: list[dict[str, Any]], missed: dict[str, int]) -> dict[str, Any]:
    # They bring numpy, which nobody needs who only serves.
    from router.bounds import clopper_pearson_lower, clopper_pearson_upper
    from router.spend.ratios import ratio

    told = [row["is_same"] for row in rows if row["is_same"] is not None]
    answered = [row for row in rows if row["error"] is None]
    priced = [row for row in answered if row["cost_pusd"] is not None and row["served_pusd"] is not None]
    both = [[from_pico(row[key]) or Decimal(0) for row in priced] for key in ("cost_pusd", "served_pusd")]
    cost = ratio([float(one) for one in both[0]], [float(one) for one in both[1]], CONFIDENCE)
    return {
        "name": name,
        "since_us": rows[0]["at_us"] if rows else None,
        "n": len(rows),
        "errors": dict(Counter(row["error"] for row in rows if row["error"] is not None)),
        "same": {
            "n": len(told),
            "share": sum(told) / len(told),
            "low": clopper_pearson_lower(sum(told), len(told), SIDE),
            "high": clopper_pearson_upper(sum(told), len(told), SIDE),
        }
        if told
        else None,
        "unknown": len(answered) - len(told),
        "cost": {
            "n": len(priced),
            "usd": f"{sum(both[0]):f}",
            "served_usd": f"{sum(both[1]):f}",
            "ratio": cost.value,
            "low": cost.low,
            "high": cost.high,
        },
        "latency_s": _percentiles([row["latency_s"] for row in answered]),
        "served_latency_s": _percentiles([row["served_s"] for row in answered if row["served_s"] is not None]),
        "missed": missed,
    }


def _percentiles(seconds: list[float]) -> dict[str, float] | None:
    """The smallest that at least so many are not above (nearest rank)."""
    if not seconds:
        return None
    listed = sorted(seconds)
    return {name: listed[max(0, -(-share * len(listed) // 100) - 1)] for name, share in (("p50", 50), ("p95", 95))}
