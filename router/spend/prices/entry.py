"""A price as people write it: in a policy, or in a price book."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from router.spend.prices.price import STANDARD, Price, Terms, completed
from router.spend.prices.rates import METERS, Rates

MICRO = Decimal("0.000001")


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _tier(value: object) -> object:
    """`batch: 1.5` means `batch: {input: 1.5}`."""
    return value if isinstance(value, (Mapping, BaseModel)) or value is None else {"input": value}


PerMillion = Annotated[Decimal, Field(ge=0, le=10_000, decimal_places=30)]
"""USD (or credits) per million tokens."""
Share = Annotated[Decimal, Field(ge=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=False)


class SomeRates(_Part):
    """Rates per million tokens; what is not given is known from elsewhere."""

    input: PerMillion | None = None
    output: PerMillion | None = None
    cached_input: PerMillion | None = None
    cache_write: PerMillion | None = None
    cache_write_1h: PerMillion | None = None
    audio_input: PerMillion | None = None
    image_input: PerMillion | None = None
    reasoning: PerMillion | None = None
    audio_output: PerMillion | None = None
    image_output: PerMillion | None = None

    def rates(self) -> dict[str, Decimal]:
        """The meters that are given."""
        return {meter: rate for meter in METERS if (rate := getattr(self, meter)) is not None}


class Band(SomeRates):
    """Rates of requests with more than so many input tokens; the whole request is billed at them."""

    tokens: Annotated[int, Field(ge=1, le=100_000_000)]


Bands = Annotated[list[Band], BeforeValidator(_listed, json_schema_input_type=Band | list[Band])]


class TierRates(SomeRates):
    """Rates of a service tier. With nothing but `input`, all other meters are in proportion to it."""

    above: Bands = []


Tier = Annotated[TierRates | None, BeforeValidator(_tier, json_schema_input_type=TierRates | float | None)]


class Credits(_Part):
    """What the seller counts in, where that is not USD: the figures of the price are in it."""

    unit: Annotated[str, Field(min_length=1, max_length=40)]
    usd: Annotated[Decimal, Field(gt=0, le=1_000_000)]
    """USD that one of them costs."""
    prepaid: bool = False
    """Bought before: a call is billed nothing, and costs what its units did."""


class PriceEntry(SomeRates):
    """A price in USD per million tokens, from a date on."""

    input: PerMillion
    output: PerMillion
    above: Bands = []
    """Long contexts."""
    batch: Tier = None
    flex: Tier = None
    priority: Tier = None
    tiers: dict[str, TierRates] = {}
    """Other tiers, by the provider's own word."""
    discount: Share = Decimal(0)
    """Share of the figures above that was negotiated away; they are then the list price."""
    committed: Share | None = None
    """Bought ahead (provisioned throughput, a savings plan): not billed by the call, and cheaper by this share."""
    credits: Credits | None = None
    effective: date | None = None
    """First day (UTC) on which it holds; without one, it has always held."""

    @field_validator("effective", mode="before")
    @classmethod
    def _iso_day(cls, value: object) -> object:
        # Pydantic would read a bare number as seconds since 1970.
        if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            raise ValueError("must be a day such as 2026-01-31")
        return value

    def price(self) -> Price:
        """As the router bills by it."""
        credits = self.credits
        terms = Terms(
            discount=self.discount,
            committed=self.committed,
            unit=credits.unit if credits else "USD",
            usd_per_unit=credits.usd if credits else Decimal(1),
            prepaid=credits is not None and credits.prepaid,
        )
        factor = terms.usd_per_unit * (1 - terms.discount) * (1 - (terms.committed or 0))
        partial = {key: {m: rate * factor for m, rate in rates.items()} for key, rates in self._stated()}
        base = {meter: rate * factor for meter, rate in self.rates().items()}
        variants = completed(Rates(**base), partial)
        return Price(**base, variants=variants, terms=terms, effective=self.effective)

    def _stated(self) -> Iterator[tuple[tuple[str, int], dict[str, Decimal]]]:
        for band in self.above:
            yield (STANDARD, band.tokens), band.rates()
        named = {"batch": self.batch, "flex": self.flex, "priority": self.priority, **self.tiers}
        for name, tier in named.items():
            if tier is not None:
                yield (name, 0), self._in_proportion(tier.rates())
                for band in tier.above:
                    yield (name, band.tokens), band.rates()

    def _in_proportion(self, rates: dict[str, Decimal]) -> dict[str, Decimal]:
        if rates.keys() != {"input"} or not self.input:
            return rates
        return {meter: (rate * rates["input"] / self.input).quantize(MICRO) for meter, rate in self.rates().items()}


def entry_of(price: Price) -> dict[str, Any]:
    """A price without terms as an entry, in plain values: `PriceEntry(**entry_of(price)).price()` bills the same."""
    entry: dict[str, Any] = _plain(price)
    tiers: dict[str, dict[str, Any]] = {}
    for one in sorted(price.variants, key=lambda one: (one.tier, one.above)):
        at = entry if one.tier == STANDARD else tiers.setdefault(one.tier, {})
        if one.above:
            at.setdefault("above", []).append({"tokens": one.above, **_plain(one.rates)})
        else:
            at.update(_plain(one.rates))
    named = {name: tiers.pop(name) for name in ("batch", "flex", "priority") if name in tiers}
    entry |= named | ({"tiers": tiers} if tiers else {})
    return entry | ({"effective": price.effective.isoformat()} if price.effective else {})


def _plain(rates: Rates) -> dict[str, Any]:
    return {meter: format(rate.normalize(), "f") for meter, rate in rates.known().items()}
