"""Charges that no call makes as FOCUS rows: seats and subscriptions as purchases, what is given back as credits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from router.spend.closing_read import spans
from router.spend.focus_check import UNIT
from router.spend.focus_frame import EPOCH, Options, Row, blank_row, month_of
from router.spend.focus_names import Seller
from router.spend.money import from_pico
from router.types import TAG_NAMES

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "PricingCurrencyEffectiveCost")


def charge_rows(
    ledger: Ledger, options: Options, first_us: int, after_us: int, last_seq: Mapping[str, int]
) -> Iterator[Row]:
    """A row a charge that begins in a period; `last_seq`: by month, the last one that its close covers."""
    query = "SELECT * FROM charges WHERE at_us >= ? AND at_us < ? ORDER BY at_us, seq"
    spanned = spans(ledger, first_us, after_us)
    for charge in (charge for rows, *period in spanned for charge in rows(query, period)):
        yield _row(options, charge) | {
            "ChargeClass": "Correction"
            if charge["seq"] > last_seq.get(month_of(charge["at_us"]), charge["seq"])
            else None
        }


def _row(options: Options, charge: Mapping[str, Any]) -> Row:
    start, end = (EPOCH + timedelta(microseconds=charge[name]) for name in ("at_us", "end_us"))
    named = {name: charge[name] for name in TAG_NAMES if charge[name] is not None}
    tags = {**json.loads(charge["tags"]), **named}
    cost, sku = from_pico(charge["cost_pusd"]), f"{charge['vendor']}/{charge['product']}"
    row = blank_row(options, Seller(charge["vendor"], charge["product"]), start, end, tags)
    row |= dict.fromkeys(COSTS, cost) | {
        "BillingAccountId": options.accounts.get(charge["vendor"], charge["vendor"]), "PricingCurrency": "USD",
        "ChargeCategory": charge["category"], "ChargeFrequency": "Recurring",
        "ChargeDescription": f"{charge['product']}, {charge['quantity']} {charge['unit']}", "SkuId": sku,
        "SkuMeter": charge["unit"], "x_CostStatus": "Reported",
    }  # fmt: skip
    if charge["category"] == "Purchase":
        price = Decimal(charge["unit_price"])
        row |= dict.fromkeys(("ListUnitPrice", "ContractedUnitPrice", "PricingCurrencyListUnitPrice",
                              "PricingCurrencyContractedUnitPrice"), price)  # fmt: skip
        row |= {
            "PricingQuantity": Decimal(charge["quantity"]), "PricingCategory": "Standard", "SkuPriceId": sku,
            "PricingUnit": charge["unit"] if UNIT.fullmatch(charge["unit"]) else "Units",
        }  # fmt: skip
    return row
