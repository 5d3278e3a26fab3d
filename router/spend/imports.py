"""History from elsewhere, written into the ledger under its own ids: marked as imported, and never twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from router.spend.focus_frame import month_of
from router.spend.ledger_schema import METERS
from router.spend.money import to_pico
from router.types import TAG_NAMES, Usage

if TYPE_CHECKING:
    import sqlite3

    from router.spend.ledger import Ledger

SOURCE = "imported"
"""`usage_source` of imported calls, and the free-form tag that names where they came from."""
BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One request of another system's log."""

    source: str
    """Such as `litellm`."""
    id: str
    """Its id there."""
    at_us: int
    model: str
    call: str
    """litellm model string."""
    outcome: Literal["ok", "error"] = "ok"
    error: str | None = None
    latency_s: float = 0.0
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    """None: unknown."""
    cache: Literal["off", "exact"] = "off"
    """`exact`: answered out of a cache of theirs, without a call."""
    model_version: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    """Named and free-form ones."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of an import."""

    written: int = 0
    known: int = 0
    """Left out: they are in the ledger already."""
    archived: int = 0
    """Left out: their month was archived, so nobody could tell whether they are known."""
    unread: int = 0
    """Left out: rows without id, time or model."""
    unpriced: int = 0
    """Of those written, of unknown cost."""
    late: int = 0
    """Of those written, in a month that is closed: adjustments."""
    cost_usd: Decimal = Decimal(0)
    """Of those written."""


def write_calls(ledger: Ledger, rows: Iterable[Imported | None]) -> Tally:
    """Write requests and their calls; None counts as unread. A second time the same rows change nothing."""
    tally = Tally()
    archived, closed = months(ledger)
    for page in pages(rows):
        with ledger.batch() as connection:
            count = 0
            for one in page:
                if one is None:
                    tally.unread += 1
                elif (month := month_of(one.at_us)) in archived:
                    tally.archived += 1
                elif _write(connection, one):
                    count += 1
                    tally.written += 1
                    tally.late += month in closed
                    tally.unpriced += one.cost_usd is None
                    tally.cost_usd += one.cost_usd or 0
                else:
                    tally.known += 1
            ledger.rollups.wrote(connection, 2 * count)
    return tally


def months(ledger: Ledger) -> tuple[set[str], set[str]]:
    """Those that were archived, and all that are closed."""
    archived = {row["month"] for row in ledger.rows("SELECT DISTINCT month FROM archives")}
    return archived, {row["month"] for row in ledger.rows("SELECT month FROM closings")}


def pages(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Rows, so many at a time that a transaction is short."""
    left = iter(rows)
    while page := list(islice(left, BATCH)):
        yield page


def tag_values(tags: Mapping[str, str], source: str) -> dict[str, Any]:
    """Columns of tags; all free-form ones and the mark of where a row came from as JSON."""
    extra = {name: value for name, value in tags.items() if name not in TAG_NAMES}
    return {
        **{name: tags.get(name) for name in TAG_NAMES},
        "tags": json.dumps({**extra, SOURCE: source}, sort_keys=True),
    }


def insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> bool:
    """Write a row unless one of its unique values is there already; returns whether it was written."""
    marks = ", ".join("?" * len(row))
    values = [one.encode("utf-8", "replace").decode() if isinstance(one, str) else one for one in row.values()]
    done = connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks}) ON CONFLICT DO NOTHING", values)
    return done.rowcount == 1


def _write(connection: sqlite3.Connection, one: Imported) -> bool:
    tags, pusd = tag_values(one.tags, one.source), to_pico(one.cost_usd)
    request_id, is_hit = f"{one.source}:{one.id}", one.cache == "exact"
    is_new = insert(connection, "requests", {
        "id": request_id, "at_us": one.at_us, "kind": "chat", "model_served": one.model, "outcome": one.outcome,
        "error": one.error, "cache": one.cache, "cost_pusd": pusd, "attempts": 0 if is_hit else 1,
        "latency_s": one.latency_s, **tags,
    })  # fmt: skip
    if is_new and not is_hit:
        meters = {name: None if one.usage is None else getattr(one.usage, name) for name in METERS}
        insert(connection, "attempts", {
            "request_id": request_id, "number": 0, "at_us": one.at_us, "model": one.model, "call": one.call,
            "outcome": one.outcome, "error": one.error, "model_version": one.model_version, "latency_s": one.latency_s,
            "cost_pusd": pusd, "service_tier": one.usage and one.usage.service_tier, **meters, "usage_source": SOURCE,
            **tags,
        })  # fmt: skip
    return is_new
