"""Prices of the map of models that litellm brings along. No network, and litellm is not imported."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from router.spend.prices.price import STANDARD, Price, completed
from router.spend.prices.rates import AS_ANY_OTHER, PER_MILLION, Rates

METER_OF = {
    "input_cost_per_token": "input", "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input", "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_input", "input_cost_per_image_token": "image_input",
    "output_cost_per_reasoning_token": "reasoning", "output_cost_per_audio_token": "audio_output",
    "output_cost_per_image_token": "image_output",
}  # fmt: skip
"""The map's key -> our meter; the keys may end in `_above_200k_tokens` and in a tier."""
_KEY = re.compile(
    rf"(?P<meter>{'|'.join(sorted(METER_OF, key=len, reverse=True))})"
    r"(?:_above_(?P<thousands>\d+)k_tokens)?(?:_(?P<tier>(?!above)[a-z]+))?"
)
MULTIPLIERS = ("fast", "us")
"""Anthropic's fast mode and regional processing: a factor on every rate."""


def bundled_price(call: str) -> Price | None:
    """Price of a litellm model string by litellm's bundled map."""
    entries = bundled_models()
    provider, _, name = call.partition("/")
    entry = entries.get(call) or entries.get(name)
    if entry and call not in entries and not str(entry.get("litellm_provider", "")).startswith(provider):
        return None  # another provider's price for a model of the same name
    return price_of(entry) if entry else None


def price_of(entry: Mapping[str, Any]) -> Price | None:
    """The price an entry of the map states, or None when it states none by the token."""
    partial: dict[tuple[str, int], dict[str, Any]] = {}
    for tier, above, meter, per_token in _stated(entry):
        partial.setdefault((tier, above), {})[meter] = (
            Decimal(repr(per_token)) * PER_MILLION
        )  # repr(): without binary dust
    base = partial.pop((STANDARD, 0), {})
    if not {"input", "output"} <= base.keys():
        return None
    for stated in (base, *partial.values()):
        # Media and thinking at the price of any other token follow it into every tier and band.
        for meter in AS_ANY_OTHER.keys() - {"cached_input", "cache_write", "cache_write_1h"}:
            if meter in stated and stated[meter] == stated.get(AS_ANY_OTHER[meter]):
                del stated[meter]
    rates = Rates(**base)
    factors = entry.get("provider_specific_entry")
    for name, factor in _factors(factors if isinstance(factors, Mapping) else {}):
        for above, standard in [(0, base), *((at, one) for (tier, at), one in partial.items() if tier == STANDARD)]:
            partial[name, above] = {meter: rate * factor for meter, rate in standard.items()}
    return Price(**base, variants=completed(rates, partial))


def _stated(entry: Mapping[str, Any]) -> Iterator[tuple[str, int, str, float]]:
    """Tier, threshold, meter and USD per token."""
    bands = entry.get("tiered_pricing")
    for band in bands if isinstance(bands, list) else ():
        start = band.get("range", [0])[0] if isinstance(band, Mapping) else 0
        for key, value in band.items() if isinstance(band, Mapping) else ():
            if key in METER_OF and _is_number(value):
                yield STANDARD, int(start), METER_OF[key], value
    for key, value in entry.items():
        found = _KEY.fullmatch(key)
        if found and _is_number(value):
            tier = {None: STANDARD, "batches": "batch"}.get(found["tier"], found["tier"])
            yield tier or STANDARD, int(found["thousands"] or 0) * 1000, METER_OF[found["meter"]], value


def _factors(entry: Mapping[str, Any]) -> Iterator[tuple[str, Decimal]]:
    found = {name: Decimal(repr(entry[name])) for name in MULTIPLIERS if _is_number(entry.get(name))}
    yield from found.items()
    if len(found) == len(MULTIPLIERS):
        yield " ".join(MULTIPLIERS), found["fast"] * found["us"]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


@functools.cache
def bundled_models() -> Mapping[str, Mapping[str, Any]]:
    """The map of models that litellm brings along: prices per token, context windows, capabilities."""
    found = importlib.util.find_spec("litellm")
    if found is None or found.origin is None:
        return {}
    path = Path(found.origin).with_name("model_prices_and_context_window_backup.json")
    if not path.is_file():
        return {}
    entries: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return entries
