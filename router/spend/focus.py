"""The ledger as FOCUS rows: one row an hour, model, set of tags, service tier, price and token meter.

Quantities of a group add up before they are multiplied by its price, which is exact; so cost is price x quantity in
every row, and the rows add up to the ledger to the last decimal. Where calls were rounded to whole pico-dollars (prices
with many decimals), a row of its own says by how much. What has no price has rows of cost 0 that carry
`x_UnpricedQuantity`; answers out of a cache were not charged and have none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

from router.spend.closing import closings
from router.spend.closing_read import attempts_of
from router.spend.focus_charges import charge_rows
from router.spend.focus_frame import EPOCH, Options, Row, blank_row, month_of
from router.spend.focus_names import DEVELOPERS, METERS, seller_of
from router.spend.money import from_pico
from router.spend.prices import PER_MILLION, STANDARD, Costs, Price
from router.spend.prices.rates import INPUT_METERS, quantities
from router.spend.prices.rerate import usage_in
from router.spend.windows import HOUR_US
from router.types import TAG_NAMES

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

DIGITS = 60
"""Of every multiplication here; products of real prices and quantities have fewer, so they are exact."""
NOTHING = Decimal(0)
COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "PricingCurrencyEffectiveCost")
FOCUS_TAGS = tuple(name for name in TAG_NAMES if name != "run_id")
"""A row a run would be a row a call; `x_WorkflowRunCount` counts them."""


Key = tuple[Any, ...]


@dataclass(slots=True)
class _Group:
    meters: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    runs: set[str] = field(default_factory=set)
    pusd: int = 0
    thought: int = 0
    unpriced: int = 0
    lost: int = 0
    """Calls of which neither price nor usage is known."""


class Focus:
    """Makes rows of attempts.

    Args:
        price_of: price id to price, or None when nobody knows it any more.
        options: how they are written.
        last_seq: by month (`2026-11`), the last attempt that its close covers; later ones are corrections.
    """

    def __init__(
        self, price_of: Callable[[str], Price | None], options: Options, last_seq: Mapping[str, int] | None = None
    ) -> None:
        self._price_of, self._options, self._closed = price_of, options, last_seq or {}
        self._prices: dict[str, Price | None] = {}

    def rows(self, attempts: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
        """Rows of attempts that come in the order of time; only an hour's groups are in memory."""
        hour, groups = -1, dict[Key, _Group]()
        for attempt in attempts:
            now = attempt["at_us"] // HOUR_US
            if now != hour:
                yield from self._told(hour, groups)
                hour, groups = now, {}
            self._add(groups, attempt)
        yield from self._told(hour, groups)

    def _add(self, groups: dict[Key, _Group], row: Mapping[str, Any]) -> None:
        if row["cost_pusd"] == 0 and row["input_tokens"] is None:
            return  # refused or failed for nothing
        usage = None if row["input_tokens"] is None else usage_in(row)
        price = self._price(row["price_id"]) if usage is not None and row["cost_pusd"] is not None else None
        tier, above = STANDARD if usage is None else usage.service_tier, 0
        if price is not None and usage is not None:
            tier, above = _variant(price, tier, usage.input_tokens)
        is_late = row["seq"] > self._closed.get(month_of(row["at_us"]), row["seq"])
        state = "unknown" if row["cost_pusd"] is None else "lump" if price is None else "priced"
        key = (
            state, row["model"], row["call"], tier, above, row["price_id"], row["usage_source"] or "", is_late,
            row["tags"], *(row[name] for name in FOCUS_TAGS),
        )  # fmt: skip
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group()
        group.calls += 1
        group.pusd += row["cost_pusd"] or 0
        if row["run_id"] is not None:
            group.runs.add(row["run_id"])
        if usage is None:
            group.lost += 1
            return
        group.meters.update(quantities(usage))
        group.thought += usage.reasoning_tokens
        if row["cost_pusd"] is None:
            group.unpriced += usage.input_tokens + usage.output_tokens

    def _price(self, price_id: str | None) -> Price | None:
        if price_id is None:
            return None
        if price_id not in self._prices:
            self._prices[price_id] = self._price_of(price_id)
        return self._prices[price_id]

    def _told(self, hour: int, groups: Mapping[Key, _Group]) -> Iterator[Row]:
        with localcontext() as context:
            context.prec = DIGITS
            made = [row for key, group in groups.items() for row in self._group_rows(hour, key, group)]
        yield from made  # outside: a generator must not leave its precision with whoever reads it

    def _group_rows(self, hour: int, key: Key, group: _Group) -> Iterator[Row]:
        state, model, call, tier, above, price_id, source, is_late, extra, *named = key
        tags = {**json.loads(extra), **{name: v for name, v in zip(FOCUS_TAGS, named, strict=True) if v is not None}}
        row = self._frame(hour, call, tags, is_late) | {
            "x_CallCount": group.calls, "x_WorkflowRunCount": len(group.runs), "x_PriceSnapshotId": price_id,
            "x_CostStatus": "Estimated" if source == "counted" else "Reported",
        }  # fmt: skip
        if state == "unknown":
            yield from self._unpriced_rows(row, call, group)
        elif state == "lump":
            yield self._lump(row, call, from_pico(group.pusd))
        else:
            price = self._prices[price_id]
            assert price is not None  # noqa: S101  else its state were another
            yield from self._meter_rows(row, model, call, tier, above, price, group)

    def _meter_rows(
        self, frame: Row, model: str, call: str, tier: str, above: int, price: Price, group: _Group
    ) -> Iterator[Row]:
        rates = next((one.rates for one in price.variants if (one.tier, one.above) == (tier, above)), price)
        meters = Counter(group.meters)
        if rates.reasoning is None and meters["reasoning"]:
            meters["output"] += meters.pop("reasoning")  # thinking is no line of a bill of its own
        told = NOTHING
        for meter in METERS:
            if not meters[meter]:
                continue
            rate, quantity = rates.of(meter), meters[meter] / PER_MILLION
            cost = price.costs(rate * quantity)
            unit = price.costs(rate)
            told += cost.effective_usd
            sku = f"{call}/{meter}"
            yield frame | _priced(price, cost, unit) | {
                "ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based",
                "ChargeDescription": f"{METERS[meter]}, {call}" + ("" if tier == STANDARD else f", {tier}"),
                "PricingCategory": "Standard" if price.terms.committed is None else "Committed",
                "PricingQuantity": quantity, "PricingUnit": "1000000 Tokens",
                "ConsumedQuantity": Decimal(meters[meter]), "ConsumedUnit": "Tokens",
                "SkuId": sku, "SkuMeter": METERS[meter], "SkuPriceId": f"{sku}/{tier}/above-{above}",
                "SkuPriceDetails": self._details(model, call, meter, tier, above),
                "x_ReasoningTokens": group.thought if meter in ("output", "reasoning") else None,
                **_commitment(price, Decimal(meters[meter])),
            }  # fmt: skip
        rounding = from_pico(group.pusd) - told
        if rounding:
            yield frame | _amounts(rounding) | {
                "BilledCost": price.costs(rounding).billed_usd, "ChargeCategory": "Adjustment",
                "ChargeFrequency": "Usage-Based", "ChargeDescription": f"Calls to whole pico-dollars, {call}",
                "PricingCategory": "Standard" if price.terms.committed is None else "Committed",
                "PricingCurrency": "USD", "x_CallCount": None, "x_WorkflowRunCount": None, **_commitment(price, None),
            }  # fmt: skip

    def _unpriced_rows(self, frame: Row, call: str, group: _Group) -> Iterator[Row]:
        common = _amounts(NOTHING) | {
            "ChargeCategory": "Adjustment", "ChargeFrequency": "Usage-Based", "x_CostStatus": "Unknown",
            "PricingCurrency": "USD",
        }  # fmt: skip
        meters = Counter(group.meters)
        meters["output"] += meters.pop("reasoning", 0)
        for meter in METERS:
            if meters[meter]:
                yield frame | common | {
                    "ChargeDescription": f"{METERS[meter]}, {call}: no price is known",
                    "SkuId": f"{call}/{meter}", "SkuMeter": METERS[meter],
                    "x_UnpricedQuantity": Decimal(meters[meter]), "x_UnpricedUnit": "Tokens",
                    "x_ReasoningTokens": group.thought if meter == "output" else None,
                }  # fmt: skip
        if group.lost:
            yield frame | common | {
                "ChargeDescription": f"Calls, {call}: the provider may bill them, nobody knows what",
                "SkuId": f"{call}/calls", "SkuMeter": "Calls", "x_CallCount": group.lost,
                "x_UnpricedQuantity": Decimal(group.lost), "x_UnpricedUnit": "Requests",
            }  # fmt: skip

    def _lump(self, frame: Row, call: str, cost: Decimal) -> Row:
        """Cost that is known while its price is not, such as of imported calls."""
        return frame | _amounts(cost) | {
            "ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based", "ChargeDescription": f"Calls, {call}",
            "PricingCategory": "Other", "PricingQuantity": Decimal(1), "PricingUnit": "Lump Sums",
            "ListUnitPrice": cost, "ContractedUnitPrice": cost, "PricingCurrencyListUnitPrice": cost,
            "PricingCurrencyContractedUnitPrice": cost, "ConsumedQuantity": Decimal(frame["x_CallCount"]),
            "PricingCurrency": "USD", "ConsumedUnit": "Requests", "SkuId": f"{call}/calls", "SkuMeter": "Calls",
            "SkuPriceId": f"{call}/calls/lump",
        }  # fmt: skip

    def _details(self, model: str, call: str, meter: str, tier: str, above: int) -> str:
        sign = "" if self._options.is_draft else "x_"
        said: dict[str, Any] = {"x_ProcessingTier": tier, "x_PolicyModel": model}
        if above:
            said["x_ContextBand"] = f"above {above} input tokens"
        if meter == "cache_write_1h":
            said["x_CacheTtl"] = "1h"
        provider, _, name = call.partition("/")
        said[f"{sign}ModelId"] = name or call
        if developer := DEVELOPERS.get(provider):
            said[f"{sign}ModelDeveloper"] = developer
        said[f"{sign}TokenDirection"] = "Input" if meter in INPUT_METERS else "Output"
        if meter in INPUT_METERS:
            action = {"cached_input": "Read", "cache_write": "Write", "cache_write_1h": "Write"}.get(meter, "Uncached")
            said[f"{sign}TokenCacheAction"] = action
        return json.dumps(said, sort_keys=True)

    def _frame(self, hour: int, call: str, tags: Mapping[str, str], is_late: bool) -> Row:
        provider = call.partition("/")[0]
        start = EPOCH + timedelta(hours=hour)
        return blank_row(self._options, seller_of(provider), start, start + timedelta(hours=1), tags) | {
            "BillingAccountId": self._options.accounts.get(provider, provider),
            "ChargeClass": "Correction" if is_late else None,
        }


def focus_rows(ledger: Ledger, options: Options, first_us: int, after_us: int) -> Iterator[Row]:
    """Rows of a period of the ledger: its calls in the order of time, then its charges.

    Args:
        ledger: read page by page; rows that are written meanwhile may be among them. Archived months are read from
            their files.
        options: how rows are written.
        first_us: first microsecond since 1970, the beginning of an hour.
        after_us: the first that no longer counts.
    """
    held = closings(ledger)
    calls, charges = ({one.month: one.tables[table].last_seq for one in held} for table in ("attempts", "charges"))
    yield from Focus(ledger.price, options, calls).rows(attempts_of(ledger, first_us, after_us))
    yield from charge_rows(ledger, options, first_us, after_us, charges)


def _variant(price: Price, tier: str, input_tokens: int) -> tuple[str, int]:
    """Tier and band whose rates a request was billed at."""
    rates = price.at(tier, input_tokens)
    return next(((one.tier, one.above) for one in price.variants if one.rates is rates), (STANDARD, 0))


def _amounts(usd: Decimal) -> Row:
    """The same amount in every column of costs."""
    return dict.fromkeys(
        ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "PricingCurrencyEffectiveCost"), usd
    )


def _priced(price: Price, cost: Costs, unit: Costs) -> Row:
    per_unit = price.terms.usd_per_unit
    return {
        "BilledCost": cost.billed_usd, "EffectiveCost": cost.effective_usd, "ListCost": cost.list_usd,
        "ContractedCost": cost.contracted_usd, "ListUnitPrice": unit.list_usd,
        "ContractedUnitPrice": unit.contracted_usd, "PricingCurrency": price.terms.unit,
        "PricingCurrencyListUnitPrice": unit.list_usd / per_unit,
        "PricingCurrencyContractedUnitPrice": unit.contracted_usd / per_unit,
        "PricingCurrencyEffectiveCost": cost.effective_usd / per_unit,
    }  # fmt: skip


def _commitment(price: Price, tokens: Decimal | None) -> Row:
    if price.terms.committed is None:
        return {}
    return {
        "CommitmentDiscountCategory": "Usage", "CommitmentDiscountId": f"commitment-{price.id}",
        "CommitmentDiscountName": "Committed rate of the policy", "CommitmentDiscountType": "Provisioned throughput",
        "CommitmentDiscountStatus": "Used" if tokens is not None else None,
        "CommitmentDiscountQuantity": tokens, "CommitmentDiscountUnit": None if tokens is None else "Tokens",
    }  # fmt: skip
