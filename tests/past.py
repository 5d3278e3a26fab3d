"""Calls of the past, written straight into a ledger: the library itself only writes what happens now."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from router.spend.ledger import Ledger

_numbers = count()


def add_calls(ledger: Ledger, calls: Iterable[dict[str, Any]]) -> list[str]:
    """One request with one call for each; returns their ids.

    Each has `at` (aware) and `usd` (None: unknown), and may have any column of `attempts` and `requests`.
    """
    ids = []
    with ledger.batch() as connection:
        columns = {
            table: {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
            for table in ("attempts", "requests")
        }
        for one in calls:
            at, usd = one.pop("at"), one.pop("usd")
            id = one.pop("id", f"past-{next(_numbers)}")
            ids.append(id)
            both = {"at_us": int(at.timestamp() * 1e6), "cost_pusd": None if usd is None else round(usd * 10**12)}
            attempt = {"model": "small", "call": "fake/small", "outcome": "ok", "latency_s": 0.1, "input_tokens": 100,
                       "output_tokens": 10, "usage_source": "provider", "service_tier": "standard", "number": 0,
                       "request_id": id, "tags": "{}"}  # fmt: skip
            request = {"kind": "chat", "outcome": "ok", "cache": "off", "attempts": 1, "latency_s": 0.1, "id": id,
                       "model_served": one.get("model", "small"), "tags": "{}"}  # fmt: skip
            for table, row in (("attempts", attempt), ("requests", request)):
                given = {name: value for name, value in one.items() if name in columns[table] and name != "attempts"}
                full = {**row, **both, **given}
                marks = ", ".join("?" * len(full))
                connection.execute(f"INSERT INTO {table} ({', '.join(full)}) VALUES ({marks})", tuple(full.values()))
    return ids


def days_ago(days: float, *, hour: float = 12.0) -> datetime:
    """An hour (UTC) of a day before today."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=days) + timedelta(hours=hour)
