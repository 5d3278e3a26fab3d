"""A model's price: rates by service tier and length of the input, the terms it was bought on, and what a call costs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any

from router.spend.prices.rates import (
    INPUT_METERS,
    MEDIA_INPUT,
    METERS,
    OUTPUT_METERS,
    PER_MILLION,
    Rates,
    quantities,
)
from router.types import Usage

STANDARD = "standard"
SERVED_UNASKED = (STANDARD, "batch", "flex", "priority")
"""Tiers that a provider may choose by itself (a project's default, batches); others must be asked for by name."""
NOTHING, ONE = Decimal(0), Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The rates of a service tier from a length of the input on. The whole request is billed at them."""

    tier: str = STANDARD
    above: int = 0
    """They hold for requests with more input tokens than this."""
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a price was bought. The rates of a `Price` are what a call costs in effect, after all of this."""

    discount: Decimal = NOTHING
    """Share of the list price that was negotiated away, 0 to 1 (exclusive)."""
    committed: Decimal | None = None
    """Share that a commitment (provisioned throughput, a savings plan) takes off on top; None: no commitment."""
    unit: str = "USD"
    """What the seller counts in: a currency or credits."""
    usd_per_unit: Decimal = ONE
    prepaid: bool = False
    """Whether the units were bought before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """One amount in USD, as finance tells amounts apart (the words are FOCUS's)."""

    list_usd: Decimal
    """At the public price."""
    contracted_usd: Decimal
    """At the negotiated price, before any commitment."""
    effective_usd: Decimal
    """What it comes to, with commitments and prepaid units spread over their use."""
    billed_usd: Decimal
    """What is billed for this call: nothing where a commitment or prepaid units have been billed already."""
    units: Decimal
    """`contracted_usd` in what the seller counts in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One meter of a call."""

    quantity: int
    """Tokens."""
    usd_per_million: Decimal
    cost_usd: Decimal


@dataclass(frozen=True, kw_only=True)
class Price(Rates):
    """A model's rates in USD per million tokens, from a day on. The fields of `Rates` are the standard ones."""

    effective: date | None = None
    """First day (UTC) on which it holds."""
    variants: tuple[Variant, ...] = ()
    """Further tiers, and longer inputs."""
    terms: Terms = Terms()

    def at(self, tier: str, input_tokens: int) -> Rates:
        """The rates of a request: its tier's if that has any, else the standard ones, by the length of its input."""
        own = tier if tier in self._tiers else STANDARD
        held = [one for one in self.variants if one.tier == own and (one.above == 0 or input_tokens > one.above)]
        return max(held, key=lambda one: one.above).rates if held else self

    def by_meter(self, usage: Usage) -> dict[str, Line]:
        """Each meter that has tokens, with its rate and its cost; the costs add up to `cost(usage)` exactly."""
        rates = self.at(usage.service_tier, usage.input_tokens)
        counts = quantities(usage)
        held = {meter: rates.of(meter) for meter in counts}
        return {
            meter: Line(quantity=count, usd_per_million=held[meter], cost_usd=count * held[meter] / PER_MILLION)
            for meter, count in counts.items()
        }

    def cost(self, usage: Usage) -> Decimal:
        """Cost of metered usage in effect: the sum of tokens x rate over all meters, exact."""
        return sum((line.cost_usd for line in self.by_meter(usage).values()), NOTHING)

    def costs(self, effective_usd: Decimal) -> Costs:
        """An effective cost (of a call, or of one of its meters) as list, contracted and billed cost too."""
        terms = self.terms
        contracted = effective_usd / (ONE - (terms.committed or NOTHING))
        was_billed = terms.prepaid or terms.committed is not None
        return Costs(
            list_usd=contracted / (ONE - terms.discount),
            contracted_usd=contracted,
            effective_usd=effective_usd,
            billed_usd=NOTHING if was_billed else effective_usd,
            units=contracted / terms.usd_per_unit,
        )

    def worst(
        self, input_tokens: int, output_tokens: int, *, tiers: Collection[str] = SERVED_UNASKED, has_media: bool = False
    ) -> Decimal:
        """Upper bound of an attempt with at most so many tokens, at the dearest rates that can apply.

        Args:
            input_tokens: an upper bound; longer inputs' rates cannot apply.
            output_tokens: an upper bound.
            tiers: as which it may be served.
            has_media: whether sound or pictures may be among the input.
        """
        reached = max((above for above in self._bands if above < input_tokens), default=0)
        key = (self._tiers.intersection(tiers), reached, has_media)
        dearest = self._dearest.get(key)
        if dearest is None:
            dearest = self._dearest[key] = self._dearest_at(*key)
        return (input_tokens * dearest[0] + output_tokens * dearest[1]) / PER_MILLION

    def _dearest_at(self, tiers: Collection[str], reached: int, has_media: bool) -> tuple[Decimal, Decimal]:
        """The dearest rates of input and output that can apply."""
        into = [meter for meter in INPUT_METERS if has_media or meter not in MEDIA_INPUT]
        held: list[Rates] = [self]
        held += [one.rates for one in self.variants if one.tier in (STANDARD, *tiers) and one.above <= reached]
        return (
            max(rates.of(meter) for rates in held for meter in into),
            max(rates.of(meter) for rates in held for meter in OUTPUT_METERS),
        )

    @cached_property
    def _tiers(self) -> frozenset[str]:
        return frozenset(one.tier for one in self.variants)

    @cached_property
    def _bands(self) -> list[int]:
        return [one.above for one in self.variants]

    @cached_property
    def _dearest(self) -> dict[tuple[frozenset[str], int, bool], tuple[Decimal, Decimal]]:
        return {}  # every candidate of every request under a limit asks, and there are only a few answers

    @cached_property
    def content(self) -> str:
        """All that decides what a call costs, as canonical JSON; `price_in` reads it. The day is left out."""
        variants = sorted([one.tier, one.above, _texts(one.rates)] for one in self.variants)
        terms = {one.name: _text(getattr(self.terms, one.name)) for one in fields(Terms)}
        return json.dumps({"rates": _texts(self), "variants": variants, "terms": terms}, sort_keys=True)

    @cached_property
    def id(self) -> str:
        """Name of this price by its content, 16 hex digits: two prices at which every call costs the same share it."""
        return hashlib.sha256(self.content.encode()).hexdigest()[:16]


def price_in(content: str) -> Price:
    """A price out of its `content`, such as a ledger keeps beside its `id`; without a day."""
    told = json.loads(content)
    terms = told["terms"]
    return Price(
        **_decimals(told["rates"]),
        variants=tuple(Variant(tier=t, above=above, rates=Rates(**_decimals(r))) for t, above, r in told["variants"]),
        terms=Terms(
            discount=Decimal(terms["discount"]),
            committed=None if terms["committed"] is None else Decimal(terms["committed"]),
            unit=terms["unit"],
            usd_per_unit=Decimal(terms["usd_per_unit"]),
            prepaid=terms["prepaid"],
        ),
    )


def _decimals(rates: Mapping[str, str]) -> dict[str, Any]:
    return {meter: Decimal(rate) for meter, rate in rates.items()}


def price_on(prices: Iterable[Price], day: date) -> Price | None:
    """The price that holds on a day: the latest of those already effective, or None."""
    latest: Price | None = None
    for price in prices:  # a loop, because every candidate of every request comes here
        if price.effective is not None and price.effective > day:
            continue
        if latest is None or (price.effective or date.min) > (latest.effective or date.min):
            latest = price
    return latest


Partial = Mapping[str, Decimal]
"""Some meters' rates."""


def completed(base: Rates, partial: Mapping[tuple[str, int], Partial]) -> tuple[Variant, ...]:
    """Variants out of what a price list says of each tier and length of input.

    Every tier gets every band. A rate that is not listed is the dearer of its tier's for shorter inputs and the
    standard one for this length, so that a gap in a list never makes a bound too low.

    Args:
        base: the standard rates.
        partial: by tier and `above`; without `("standard", 0)`, which is the base.
    """
    bands = sorted({above for _, above in partial if above})
    tiers = [STANDARD, *sorted({tier for tier, _ in partial} - {STANDARD})]
    variants = []
    for tier in tiers:
        shorter: Partial = base.known()
        for above in (0, *bands):
            if tier == STANDARD and above == 0:
                continue
            standard = partial.get((STANDARD, above), {})
            dearer = {
                meter: max(one[meter] for one in (shorter, standard) if meter in one)
                for meter in METERS
                if meter in shorter or meter in standard
            }
            shorter = {**dearer, **partial.get((tier, above), {})}
            variants.append(Variant(tier=tier, above=above, rates=Rates(**shorter)))
    return tuple(variants)


def _texts(rates: Rates) -> dict[str, str]:
    return {meter: _text(rate) for meter, rate in rates.known().items()}


def _text(value: Any) -> Any:
    return format(value.normalize(), "f") if isinstance(value, Decimal) else value
