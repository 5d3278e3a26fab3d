"""Whether rows keep the MUST rules of FOCUS 1.2 and 1.3 for cost and usage that a single row can show.

Rules about a whole billing (each SkuPriceId has one SkuId) are looked at over all rows that came by. Numbers are
compared exactly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any

from router.spend.focus_columns import NOT_WRITTEN, Column, columns

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
"""No exponent, no sign for positive numbers, no separators of thousands."""
MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
CURRENCY = re.compile(r"[A-Z]{3}")
UNIT = re.compile(r"([1-9]\d* )?[A-Z][A-Za-z]*(?:[ -][A-Z][A-Za-z]*)*(/([1-9]\d* )?[A-Z][A-Za-z]*)?")
CUSTOM = re.compile(r"x_[A-Za-z0-9_]+")
KEY_VALUE = (str, int, float, bool, type(None))
UNIT_PRICES = (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost"))
PRICED = (
    "PricingQuantity", "PricingUnit", "ListUnitPrice", "ContractedUnitPrice", "PricingCategory", "SkuId", "SkuPriceId",
    "PricingCurrencyListUnitPrice", "PricingCurrencyContractedUnitPrice",
)  # fmt: skip
"""Columns that a regular usage or purchase fills."""
DRAFT = ("PrincipalId",)


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that a row breaks."""

    row: int
    """Number of the row, from 1 (0: the header)."""
    column: str
    rule: str
    value: str

    def __str__(self) -> str:
        return f"row {self.row}, {self.column}: {self.rule}; it is {self.value!r}"


def breaches(rows: Iterable[Mapping[str, str]], header: Iterable[str], profile: str = "1.3") -> Iterator[Breach]:
    """Every rule that is broken, row by row.

    Args:
        rows: by column, as text; empty is null.
        header: names of the columns.
        profile: FOCUS version.
    """
    held, names = columns(profile), set(header)
    for column in held:
        if column.is_mandatory and column.name not in names:
            yield Breach(0, column.name, "MUST be present", "missing")
    held = tuple(column for column in held if column.name in names)
    known = {column.name for column in columns(profile)} | {*DRAFT, *NOT_WRITTEN}
    for name in sorted(names - known):
        if not CUSTOM.fullmatch(name):
            yield Breach(0, name, "a column that FOCUS does not define MUST begin with x_", name)
    parents: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        yield from _formats(number, row, held)
        try:
            with localcontext() as context:
                context.prec = 100
                found = [*_periods(row), *_category(row), *_costs(row), *_commitments(row), *_skus(row, parents)]
        except (InvalidOperation, ValueError):
            continue  # a malformed number or moment is told above
        yield from (Breach(number, column, rule, row.get(column) or "") for column, rule in found)


def _formats(number: int, row: Mapping[str, str], held: Iterable[Column]) -> Iterator[Breach]:
    for column in held:
        value = row.get(column.name) or ""
        rule = None
        if not value:
            rule = None if column.is_null_allowed else "MUST NOT be null"
        elif column.allowed and value not in column.allowed:
            rule = f"MUST be one of {', '.join(column.allowed)}"
        elif column.kind in ("decimal", "count") and not NUMBER.fullmatch(value):
            rule = "MUST be a plain decimal number"
        elif column.kind == "time" and not _is_moment(value):
            rule = "MUST be a moment such as 2026-11-22T09:00:00Z"
        elif column.kind == "json":
            rule = _key_value(value)
        elif column.name.endswith("Unit") and not UNIT.fullmatch(value):
            rule = "MUST be a unit such as `Tokens` or `1000 Tokens`"
        elif column.name == "BillingCurrency" and not CURRENCY.fullmatch(value):
            rule = "MUST be an ISO 4217 code"
        if rule:
            yield Breach(number, column.name, rule, value)


def _is_moment(value: str) -> bool:
    try:
        return bool(MOMENT.fullmatch(value)) and bool(_moment(value))
    except ValueError:
        return False


def _key_value(value: str) -> str | None:
    try:
        said = json.loads(value)
    except ValueError:
        return "MUST be JSON"
    if not isinstance(said, dict) or not all(isinstance(one, KEY_VALUE) for one in said.values()):
        return "MUST be one JSON object of plain values"
    return None


def _periods(row: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    start, end = _moment(row["ChargePeriodStart"]), _moment(row["ChargePeriodEnd"])
    first, after = _moment(row["BillingPeriodStart"]), _moment(row["BillingPeriodEnd"])
    if not start < end:
        yield "ChargePeriodEnd", "MUST be after ChargePeriodStart"
    if not first < after:
        yield "BillingPeriodEnd", "MUST be after BillingPeriodStart"
    if row.get("ChargeCategory") == "Usage" and not row.get("ChargeClass") and not (first <= start and end <= after):
        yield "ChargePeriodStart", "usage MUST lie within its billing period, unless it is a correction"


def _category(row: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    category, is_regular = row.get("ChargeCategory"), not row.get("ChargeClass")
    must_be_priced = category in ("Usage", "Purchase") and is_regular
    for name in PRICED:
        if must_be_priced and name in row and not row[name]:
            yield name, f"MUST NOT be null when ChargeCategory is {category}"
        if category == "Tax" and row.get(name):
            yield name, "MUST be null when ChargeCategory is Tax"
    if category == "Purchase" and row.get("ChargeFrequency") == "Usage-Based":
        yield "ChargeFrequency", "MUST NOT be Usage-Based when ChargeCategory is Purchase"
    for name in ("ConsumedQuantity", "ConsumedUnit"):
        is_used = category == "Usage" and is_regular and row.get("CommitmentDiscountStatus") != "Unused"
        if is_used and name in row and not row[name]:
            yield name, "MUST NOT be null when ChargeCategory is Usage"
        if category != "Usage" and row.get(name):
            yield name, "MUST be null when ChargeCategory is not Usage"
    if row.get("ConsumedQuantity") and is_regular and Decimal(row["ConsumedQuantity"]) <= 0:
        yield "ConsumedQuantity", "MUST be positive"
    if bool(row.get("PricingQuantity")) != bool(row.get("PricingUnit")):
        yield "PricingUnit", "MUST be null exactly when PricingQuantity is"


def _costs(row: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    is_correction = bool(row.get("ChargeClass"))
    quantity = row.get("PricingQuantity")
    for price, cost in UNIT_PRICES:
        given = row.get(price)
        if given and Decimal(given) < 0:
            yield price, "MUST NOT be negative"
        if given and quantity and not is_correction and Decimal(given) * Decimal(quantity) != Decimal(row[cost]):
            yield cost, f"MUST be {price} x PricingQuantity, {Decimal(given) * Decimal(quantity):f}"
    category = row.get("ChargeCategory")
    is_alone = category in ("Credit", "Adjustment") and row.get("PricingCategory") != "Committed"
    if is_alone and Decimal(row["EffectiveCost"]) != Decimal(row["BilledCost"]):
        yield "EffectiveCost", f"MUST match BilledCost when ChargeCategory is {category}"
    if is_alone and not row.get("ListUnitPrice") and Decimal(row["ListCost"]) != Decimal(row["BilledCost"]):
        yield "ListCost", "MUST match BilledCost where ListUnitPrice is null"


def _commitments(row: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    known = bool(row.get("CommitmentDiscountId"))
    for name in ("Category", "Type"):
        if bool(row.get(f"CommitmentDiscount{name}")) != known:
            yield f"CommitmentDiscount{name}", "MUST be null exactly when CommitmentDiscountId is"
    status = row.get("CommitmentDiscountStatus")
    is_used = known and row.get("ChargeCategory") == "Usage"
    if is_used != bool(status):
        yield "CommitmentDiscountStatus", "MUST be set for usage under a commitment discount, and only there"
    if is_used and not row.get("ChargeClass"):
        for name in ("CommitmentDiscountQuantity", "CommitmentDiscountUnit"):
            if not row.get(name):
                yield name, "MUST NOT be null for usage under a commitment discount"
    if is_used != (row.get("PricingCategory") == "Committed") and row.get("ChargeCategory") == "Usage":
        yield "PricingCategory", "MUST be Committed exactly for usage under a commitment discount"


def _skus(row: Mapping[str, str], parents: dict[str, str]) -> Iterator[tuple[str, str]]:
    sku, price = row.get("SkuId") or "", row.get("SkuPriceId") or ""
    if price and parents.setdefault(price, sku) != sku:
        yield "SkuPriceId", f"MUST have one SkuId; it had {parents[price]}"
    for name in ("SkuMeter", "SkuPriceDetails"):
        if row.get(name) and not (sku if name == "SkuMeter" else price):
            yield name, "MUST be null where its SKU is"
    for name in ("SubAccountType", "SubAccountName"):
        if row.get(name) and not row.get("SubAccountId"):
            yield name, "MUST be null when SubAccountId is null"
    if bool(row.get("SubAccountId")) != bool(row.get("SubAccountType")):
        yield "SubAccountType", "MUST NOT be null when SubAccountId is not null"
    details = row.get("SkuPriceDetails")
    if details and any(key.startswith("F_") for key in _said(details)):
        yield "SkuPriceDetails", "F_ is for keys that FOCUS defines"


def _said(text: str) -> Mapping[str, Any]:
    said = json.loads(text)
    return said if isinstance(said, dict) else {}


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
