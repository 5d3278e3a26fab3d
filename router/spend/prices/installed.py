"""What installed packages know of prices, for price books: genai-prices where it is installed, else litellm's map.

genai-prices knows more history and is asked only when a book is made: it takes half a second to load, and installing
a package should not move prices by itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from router.spend.prices.book import Entries
from router.spend.prices.bundled import bundled_price
from router.spend.prices.entry import PriceEntry, entry_of
from router.spend.prices.price import STANDARD, Price, completed
from router.spend.prices.rates import Rates

METER_OF = {
    "input_mtok": "input", "output_mtok": "output", "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write", "cache_write_1h_mtok": "cache_write_1h", "input_audio_mtok": "audio_input",
    "input_image_mtok": "image_input", "output_reasoning_mtok": "reasoning", "output_audio_mtok": "audio_output",
    "output_image_mtok": "image_output",
}  # fmt: skip
PROVIDER_OF = {
    "gemini": "google", "vertex_ai": "google", "bedrock": "aws", "xai": "x-ai", "together_ai": "together",
    "fireworks_ai": "fireworks", "azure_ai": "azure", "moonshot": "moonshotai", "voyage": "voyageai",
    "github_copilot": "github-copilot",
}  # fmt: skip
"""litellm's name of a provider -> genai-prices', where they differ."""


def installed_prices(call: str) -> tuple[Entries, str] | None:
    """What the installed packages say of a litellm model string, and which; None: none of them knows it."""
    for source, prices in (("genai-prices", _genai(call)), ("litellm", _bundled(call))):
        try:
            entries = tuple(PriceEntry.model_validate(entry_of(price)) for price in prices)
        except ValidationError:  # a price that no policy may state, above all bounds
            continue
        if entries:
            return entries, source
    return None


def _bundled(call: str) -> Iterator[Price]:
    price = bundled_price(call)
    if price is not None:
        yield price


def _genai(call: str) -> Iterator[Price]:
    if importlib.util.find_spec("genai_prices") is None:
        return
    from genai_prices.data import providers
    from genai_prices.types import ConditionalPrice, ModelPrice, StartDateConstraint

    name, _, ref = call.partition("/")
    named = PROVIDER_OF.get(name, name)
    provider = next((one for one in providers if one.id == named), None)
    model = provider.find_model(ref) if provider and ref else None
    if model is None:
        return
    stated = [ConditionalPrice(prices=model.prices)] if isinstance(model.prices, ModelPrice) else model.prices
    by_day: dict[date | None, list[Any]] = {}
    for one in stated:
        day = one.constraint.start_date if isinstance(one.constraint, StartDateConstraint) else None
        by_day.setdefault(day, []).append(one.prices)
    newest = max(by_day, key=lambda day: day or date.min)
    for day, prices in by_day.items():
        # Several for one day are prices by the hour: the dearest is the bound. Tiers are known as they are today.
        dearest = max(
            prices, key=lambda one: max((rate for _, meter, rate in _stated(one) if meter == "input"), default=0)
        )
        price = _price({**(dict(_tiers(model)) if day == newest else {}), STANDARD: dearest}, day)
        if price is not None:
            yield price


def _price(tiers: Mapping[str, Any], day: date | None) -> Price | None:
    partial: dict[tuple[str, int], dict[str, Any]] = {}
    for tier, rates in tiers.items():
        for above, meter, rate in _stated(rates):
            partial.setdefault((tier, above), {})[meter] = rate
    base = partial.pop((STANDARD, 0), {})
    if not {"input", "output"} <= base.keys():
        return None
    return Price(**base, variants=completed(Rates(**base), partial), effective=day)


def _tiers(model: Any) -> Iterator[tuple[str, Any]]:
    for variant in model.price_variants or ():
        conditions = dict(variant.when)
        tier = (
            "batch"
            if conditions == {"processing": "batch"}
            else conditions.get("service_tier", conditions.get("speed"))
        )
        if len(conditions) == 1 and tier not in (None, "default"):
            yield tier, variant.prices


def _stated(rates: Any) -> Iterator[tuple[int, str, Decimal]]:
    """Threshold, meter and USD per million tokens."""
    for key, meter in METER_OF.items():
        value = getattr(rates, key, None)
        if isinstance(value, Decimal):
            yield 0, meter, value
        elif value is not None:
            yield 0, meter, value.base
            for step in value.tiers:
                yield step.start, meter, step.price
