"""Costs that no call makes: seats, subscriptions, premium requests, provisioned throughput, credits."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

from router.errors import InvalidRequestError
from router.spend.closing_rows import month_us
from router.spend.focus_frame import month_of
from router.spend.imports import Tally, insert, months, pages, tag_values
from router.spend.imports_files import Row, decimal_of, moment_us, text_of
from router.spend.money import PICO
from router.spend.windows import DAY_US
from router.types import TAG_NAMES

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

KNOWN = {"id", "vendor", "product", "month", "start", "end", "quantity", "included", "unit", "unit_price", "usd_rate"}


def charge_of(row: Row, source: str) -> dict[str, Any]:
    """A row of the table `charges`.

    Columns: `vendor`, `product`, `month` (or `start` and `end`, both days included), `quantity`, `unit_price`; optional
    `unit` (default Seats), `included` (of the quantity, for nothing: premium requests within a plan), `usd_rate` (USD
    of one unit of the price's currency), `id`, and tags. A negative price is a credit.

    Raises:
        InvalidRequestError: a column is missing or no number, or the amount has more than 12 decimals.
    """
    vendor, product = text_of(row.get("vendor")), text_of(row.get("product"))
    quantity, price = decimal_of(row.get("quantity")), decimal_of(row.get("unit_price"))
    if vendor is None or product is None or quantity is None or price is None:
        raise InvalidRequestError(f"a charge needs vendor, product, quantity and unit_price, got {dict(row)}")
    start, end = _period(row)
    with localcontext() as context:
        context.prec = 60
        billed = max(Decimal(0), quantity - (decimal_of(row.get("included")) or 0))
        price *= decimal_of(row.get("usd_rate")) or 1
        pusd = billed * price * PICO
        if pusd != int(pusd):
            raise InvalidRequestError(f"{vendor} {product}: {billed:f} x {price:f} USD has more than 12 decimals")
    tags = {
        str(name): text for name, value in row.items() if name not in KNOWN and (text := text_of(value)) is not None
    }
    scope = "/".join(tags.get(name, "") for name in TAG_NAMES)
    return {
        "id": f"{source}:{text_of(row.get('id')) or f'{vendor}/{product}/{start}/{scope}'}", "at_us": start,
        "end_us": end, "vendor": vendor, "product": product, "category": "Credit" if pusd < 0 else "Purchase",
        "quantity": f"{billed:f}", "unit": text_of(row.get("unit")) or "Seats", "unit_price": f"{price:f}",
        "cost_pusd": int(pusd), "source": source, **tag_values(tags, source),
    }  # fmt: skip


def write_charges(ledger: Ledger, rows: Iterable[Row], source: str) -> Tally:
    """Write charges; one that is known by its id stays as it was.

    Raises:
        InvalidRequestError: of the first row that is wrong; rows before it are written.
    """
    tally = Tally()
    archived, closed = months(ledger)
    for page in pages(rows):
        charges = [charge_of(row, source) for row in page]
        with ledger.batch() as connection:
            for charge in charges:
                if (month := month_of(charge["at_us"])) in archived:
                    tally.archived += 1
                elif insert(connection, "charges", charge):
                    tally.written += 1
                    tally.late += month in closed
                    tally.cost_usd += charge["cost_pusd"] / PICO
                else:
                    tally.known += 1
    return tally


def _period(row: Row) -> tuple[int, int]:
    if month := text_of(row.get("month")):
        return month_us(month)
    start, end = moment_us(row.get("start")), moment_us(row.get("end"))
    if start is None or end is None or end < start:
        raise InvalidRequestError(f"a charge needs a month such as 2026-11, or start and end, got {dict(row)}")
    return start, end + DAY_US
