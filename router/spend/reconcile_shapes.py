"""What providers' usage exports and bills say, a line a day and model.

Each shape reads what its provider documents: OpenAI's usage and costs of an organisation, Anthropic's usage and cost
reports (amounts in cents), Azure's cost export, AWS's cost and usage report for Bedrock, Google Cloud's billing export.
Anything else: `generic`, by a mapping of columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from router.errors import InvalidRequestError
from router.spend.imports_files import Row, count_of, decimal_of, mapping_of, moment_us, text_of
from router.spend.windows import DAY_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of an export or a bill. What it does not say is None."""

    day: int
    """Days since 1970 (UTC)."""
    model: str
    """As the provider names it; empty: no model's."""
    input_tokens: int | None = None
    """All of them, cached ones too."""
    output_tokens: int | None = None
    usd: Decimal | None = None
    """Billed, before credits."""
    credit_usd: Decimal | None = None
    """Given back: negative."""


def _openai(row: Row) -> Iterator[Line]:
    for start, one in _buckets(row, "start_time"):
        amount = mapping_of(one.get("amount"))
        usd = decimal_of(amount.get("value", one.get("amount_value")))
        model = text_of(one.get("model")) or (text_of(one.get("line_item")) or "").partition(",")[0]
        yield from _line(start, model, one, "input_tokens", "output_tokens", usd)


def _anthropic(row: Row) -> Iterator[Line]:
    for start, one in _buckets(row, "starting_at"):
        writes = mapping_of(one.get("cache_creation"))
        parts = [one.get("uncached_input_tokens"), one.get("cache_read_input_tokens"),
                 one.get("cache_creation_input_tokens"), *writes.values()]  # fmt: skip
        counts = [count for part in parts if (count := count_of(part)) is not None]
        cents = decimal_of(one.get("amount"))
        given = {**one, "read": sum(counts) if counts else None}
        model = text_of(one.get("model")) or ""
        yield from _line(start, model, given, "read", "output_tokens", None if cents is None else cents / 100)


def _azure(row: Row) -> Iterator[Line]:
    meter = " ".join(
        str(row.get(name) or "") for name in ("meterSubCategory", "MeterSubCategory", "meterName", "MeterName")
    )
    usd = decimal_of(_first(row, "costInUsd", "CostInUSD", "costInBillingCurrency", "CostInBillingCurrency", "Cost",
                            "PreTaxCost"))  # fmt: skip
    unit, amount = (
        str(_first(row, "unitOfMeasure", "UnitOfMeasure") or ""),
        decimal_of(_first(row, "quantity", "Quantity")),
    )
    tokens = None if amount is None or "oken" not in meter else amount * _factor(unit)
    is_credit = str(_first(row, "chargeType", "ChargeType") or "Usage").lower() in ("refund", "credit")
    start = moment_us(_us_day(_first(row, "date", "Date", "UsageDateTime")))
    yield from _metered(start, meter, tokens, usd, is_credit=is_credit)


def _bedrock(row: Row) -> Iterator[Line]:
    name = str(_first(row, "lineItem/UsageType", "line_item_usage_type") or "")
    product = str(_first(row, "lineItem/ProductCode", "line_item_product_code") or "AmazonBedrock")
    if "bedrock" not in product.lower() and "bedrock" not in name.lower():
        return
    usd = decimal_of(_first(row, "lineItem/UnblendedCost", "line_item_unblended_cost"))
    amount = decimal_of(_first(row, "lineItem/UsageAmount", "line_item_usage_amount"))
    unit = str(_first(row, "pricing/unit", "pricing_unit") or "1K tokens")
    model = re.sub(r"^[A-Z0-9]+-", "", name)
    tokens = None if amount is None or "token" not in name.lower() else amount * _factor(unit)
    kind = str(_first(row, "lineItem/LineItemType", "line_item_line_item_type") or "Usage")
    start = moment_us(_first(row, "lineItem/UsageStartDate", "line_item_usage_start_date"))
    yield from _metered(start, model, tokens, usd, is_credit=kind in ("Credit", "Refund"))


def _gemini(row: Row) -> Iterator[Line]:
    sku = str(mapping_of(row.get("sku")).get("description") or row.get("sku.description") or "")
    usage = mapping_of(row.get("usage"))
    amount = decimal_of(usage.get("amount", row.get("usage.amount")))
    tokens = amount if "token" in sku.lower() else None
    start = moment_us(row.get("usage_start_time"))
    yield from _metered(start, sku, tokens, decimal_of(row.get("cost")))
    given = row.get("credits")
    for credit in given if isinstance(given, list) else ():
        yield from _metered(start, sku, None, decimal_of(mapping_of(credit).get("amount")), is_credit=True)


SHAPES: Mapping[str, tuple[tuple[str, ...], Callable[[Row], Iterator[Line]]]] = {
    "openai": (("openai",), _openai),
    "anthropic": (("anthropic",), _anthropic),
    "azure": (("azure", "azure_ai"), _azure),
    "bedrock": (("bedrock",), _bedrock),
    "gemini": (("gemini", "vertex_ai"), _gemini),
}
"""The providers (of litellm's model strings) that a shape is about, and how its rows read."""
MAPPED = ("day", "model", "input_tokens", "output_tokens", "usd", "credit_usd")


def generic(mapping: Mapping[str, Any]) -> Callable[[Row], Iterator[Line]]:
    """Reads rows by a mapping: field of `Line` -> column, and `multiply`: field -> factor.

    Raises:
        InvalidRequestError: it names no day, or something else than these fields.
    """
    factors = {name: decimal_of(value) or Decimal(1) for name, value in mapping_of(mapping.get("multiply")).items()}
    names = {name: str(column) for name, column in mapping.items() if name not in ("multiply", "providers")}
    if wrong := sorted({*names, *factors} - {*MAPPED}) or ([] if "day" in names else ["day is missing"]):
        raise InvalidRequestError(f"the mapping knows {', '.join(MAPPED)}; {wrong[0]!r} is none of them")

    def number(row: Row, name: str) -> Decimal | None:
        found = decimal_of(row.get(names[name])) if name in names else None
        return None if found is None else found * factors.get(name, Decimal(1))

    def read(row: Row) -> Iterator[Line]:
        start = moment_us(row.get(names["day"]))
        if start is not None:
            tokens = {
                name: None if (n := number(row, name)) is None else int(n) for name in ("input_tokens", "output_tokens")
            }
            yield Line(day=start // DAY_US, model=text_of(row.get(names.get("model", ""))) or "", **tokens,
                       usd=number(row, "usd"), credit_usd=number(row, "credit_usd"))  # fmt: skip

    return read


def lines(rows: Iterable[Row], read: Callable[[Row], Iterator[Line]]) -> list[Line]:
    """Lines of rows.

    Raises:
        InvalidRequestError: not one row is in this shape.
    """
    found = [line for row in rows for line in read(row)]
    if not found:
        raise InvalidRequestError("no row has a day with tokens or an amount in this shape; look at --shape")
    return found


def _buckets(row: Row, start: str) -> Iterator[tuple[int | None, Row]]:
    """Results of a bucket of time, or a row that is flat, as in CSV."""
    results = row.get("results")
    at_us = moment_us(row.get(start))
    for one in results if isinstance(results, list) else [row]:
        yield at_us, mapping_of(one)


def _line(start: int | None, model: str, row: Row, read: str, made: str, usd: Decimal | None) -> Iterator[Line]:
    tokens = count_of(row.get(read)), count_of(row.get(made))
    if start is None or (tokens == (None, None) and usd is None):
        return
    is_credit = usd is not None and usd < 0
    yield Line(day=start // DAY_US, model=model, input_tokens=tokens[0], output_tokens=tokens[1],
               usd=None if is_credit else usd, credit_usd=usd if is_credit else None)  # fmt: skip


def _metered(
    start: int | None, name: str, tokens: Decimal | None, usd: Decimal | None, *, is_credit: bool = False
) -> Iterator[Line]:
    """A line of one meter, whose direction stands in its name."""
    if start is None or usd is None:
        return
    is_credit = is_credit or usd < 0
    count = None if tokens is None or is_credit else int(tokens)
    is_made = bool(re.search(r"out(put)?\b|outp|response", name, re.IGNORECASE))
    yield Line(day=start // DAY_US, model=name, input_tokens=None if is_made else count,
               output_tokens=count if is_made else None, usd=None if is_credit else usd,
               credit_usd=-abs(usd) if is_credit else None)  # fmt: skip


def _factor(unit: str) -> int:
    """Tokens of a unit such as `1K`, `1M tokens`, `1000`."""
    found = re.match(r"\s*(\d+)\s*([KMkm]?)", unit)
    return int(found[1]) * {"": 1, "k": 1_000, "m": 1_000_000}[found[2].lower()] if found else 1


def _us_day(value: Any) -> Any:
    """Azure writes days as 11/22/2026."""
    found = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})", str(value or ""))
    return f"{found[3]}-{int(found[1]):02}-{int(found[2]):02}" if found else value


def _first(row: Row, *names: str) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)
