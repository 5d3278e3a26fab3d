"""Percentiles of how long answered calls took, by group, from the ledger's rows.

Latencies are counted in bins of a fiftieth of their power of ten, so that a percentile is at most 1 % off (1 µs below a
millisecond); exact ones would have to sort all calls.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from router.spend.rows import Span, in_threads, select
from router.stores.sqlite import Database

Group = tuple[str, ...]
_WIDTH = (
    "CASE " + " ".join(f"WHEN us < {10**power} THEN {10**power // 500}" for power in range(3, 10)) + " ELSE 2e6 END"
)


def latencies(
    db: Database, names: Sequence[str], where: Mapping[str, str], since_us: int | None, until_us: int | None
) -> dict[Group, tuple[float, float]]:
    """Median and 95th percentile in seconds, by the values of a group."""
    listed = ", ".join(
        [*(f"g{place}" for place in range(len(names))), "CAST(us / width AS INTEGER) * width + width / 2"]
    )
    places = ", ".join(str(place + 1) for place in range(len(names) + 1))

    def counted(connection: sqlite3.Connection, pieces: Iterable[tuple[str, Span]]) -> list[tuple[str | int, ...]]:
        found = []
        for table, span in pieces:
            rows, values = select(
                table, names, where, span, ["CAST(latency_s * 1e6 AS INTEGER) AS us"],
                only="outcome = 'ok' AND service_tier IS NOT 'batch' AND role IS NOT 'shadow'",
            )  # fmt: skip
            query = f"SELECT {listed}, COUNT(*) FROM (SELECT *, {_WIDTH} AS width FROM ({rows})) GROUP BY {places}"
            found += connection.execute(query, values).fetchall()
        return found

    counts: dict[Group, dict[float, int]] = {}
    for found in in_threads(db, ("attempts",), since_us, until_us, counted):
        for *key, middle, n in found:
            bins = counts.setdefault(tuple(map(str, key)), {})
            bins[float(middle)] = bins.get(float(middle), 0) + int(n)
    return {key: (_at(bins, 0.5), _at(bins, 0.95)) for key, bins in counts.items()}


def _at(bins: Mapping[float, int], share: float) -> float:
    wanted, seen = share * sum(bins.values()), 0
    for middle in sorted(bins):
        seen += bins[middle]
        if seen >= wanted:
            return middle / 1e6
    raise AssertionError("a share is at most 1")
