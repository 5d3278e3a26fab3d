"""What past calls would have cost at other prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from router.spend.money import PICO
from router.spend.prices.price import NOTHING, Price
from router.types import Usage

Row = Mapping[str, Any]
PriceAt = Callable[[str, str, date], Price | None]
"""Policy model id, litellm model string and day (UTC) -> the price then; None: unknown."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PAGE = 5_000
_METERS = tuple(one.name for one in fields(Usage) if one.name.endswith("_tokens"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerated:
    """The calls of one model in a period, at both prices. Unknown is never counted as 0."""

    model: str
    calls: int
    compared: int
    """Calls whose cost is known at both; the next two sums are of them alone."""
    billed_usd: Decimal
    rerated_usd: Decimal
    newly_known: int
    """Calls that had no cost and have one now."""
    newly_usd: Decimal
    unknown: int
    """Calls that have no cost at the other prices: no price, or no usage."""

    @property
    def difference_usd(self) -> Decimal:
        """What the other prices add (negative: save) on the calls compared."""
        return self.rerated_usd - self.billed_usd


def rerated(rows: Iterable[Row], price_at: PriceAt) -> list[Rerated]:
    """Attempts of the ledger at other prices, by model, the largest difference first.

    A call that was refused or failed for nothing stays at 0.

    Args:
        rows: attempts as the ledger keeps them.
        price_at: the other prices.
    """
    sums: dict[str, dict[str, Any]] = {}
    for row in rows:
        into = sums.setdefault(row["model"], {
            "calls": 0, "compared": 0, "billed_usd": NOTHING, "rerated_usd": NOTHING, "newly_known": 0,
            "newly_usd": NOTHING, "unknown": 0,
        })  # fmt: skip
        billed = None if row["cost_pusd"] is None else row["cost_pusd"] / PICO
        now = _cost(row, billed, price_at)
        into["calls"] += 1
        if now is None:
            into["unknown"] += 1
        elif billed is None:
            into["newly_known"] += 1
            into["newly_usd"] += now
        else:
            into["compared"] += 1
            into["billed_usd"] += billed
            into["rerated_usd"] += now
    found = [Rerated(model=model, **one) for model, one in sums.items()]
    return sorted(found, key=lambda one: (-abs(one.difference_usd), one.model))


def _cost(row: Row, billed: Decimal | None, price_at: PriceAt) -> Decimal | None:
    if row["input_tokens"] is None:
        return NOTHING if billed == 0 else None
    day = (EPOCH + timedelta(microseconds=row["at_us"])).date()
    price = price_at(row["model"], row["call"], day)
    return price.cost(usage_in(row)) if price else None


def usage_in(row: Row) -> Usage:
    """The usage of an attempt's row; meters that an older ledger did not keep are 0."""
    meters = {name: row.get(name) or 0 for name in _METERS}
    return Usage(**meters, service_tier=row.get("service_tier") or "standard", source=row["usage_source"] or "provider")


def attempts_between(rows: Callable[..., list[dict[str, Any]]], start_us: int, end_us: int) -> Iterator[Row]:
    """Attempts of a ledger in a period, in order, a page at a time.

    Args:
        rows: of the ledger: query and values to dicts.
        start_us: first microsecond since 1970.
        end_us: the first that no longer counts.
    """
    after: tuple[Any, ...] = (start_us, "", -1)
    while True:
        page = rows(
            "SELECT * FROM attempts WHERE (at_us, request_id, number) > (?, ?, ?) AND at_us < ? "
            "ORDER BY at_us, request_id, number LIMIT ?",
            (*after, end_us, PAGE),
        )
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1]
        after = (last["at_us"], last["request_id"], last["number"])
