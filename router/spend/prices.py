"""What tokens cost: dated prices from the policy, else from the price map that litellm brings along.

Money is Decimal USD. An unknown price is None and stays visible as such; it never becomes 0.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from router.types import Usage

PER_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    """For input the provider had cached; None: as any other input."""
    dearest_input: Decimal | None = None
    """The most that one million input tokens can cost (cache writes, long context), where that is more than `input`."""
    dearest_output: Decimal | None = None
    effective: date | None = None
    """First day (UTC) on which it holds."""

    def cost(self, usage: Usage) -> Decimal:
        """Cost of metered usage: `(input - cached) * input + cached * cached_input + output * output`, exact."""
        cached = min(usage.cached_input_tokens, usage.input_tokens)
        cached_price = self.input if self.cached_input is None else self.cached_input
        total = (usage.input_tokens - cached) * self.input + cached * cached_price + usage.output_tokens * self.output
        return total / PER_MILLION

    def worst(self, input_tokens: int, output_tokens: int) -> Decimal:
        """Upper bound of an attempt with at most so many tokens, at the dearest price that can apply."""
        dearest_input = max(self.input, self.cached_input or self.input, self.dearest_input or self.input)
        dearest_output = max(self.output, self.dearest_output or self.output)
        return (input_tokens * dearest_input + output_tokens * dearest_output) / PER_MILLION


def price_on(prices: Iterable[Price], day: date) -> Price | None:
    """The price that holds on a day: the latest of those already effective, or None."""
    latest: Price | None = None
    for price in prices:  # a loop, because every candidate of every request comes here
        if price.effective is not None and price.effective > day:
            continue
        if latest is None or (price.effective or date.min) > (latest.effective or date.min):
            latest = price
    return latest


def bundled_price(call: str) -> Price | None:
    """Price of a litellm model string by litellm's bundled map (no network, litellm is not imported)."""
    entries = bundled_models()
    provider, _, name = call.partition("/")
    entry = entries.get(call) or entries.get(name)
    if entry and call not in entries and not str(entry.get("litellm_provider", "")).startswith(provider):
        return None  # another provider's price for a model of the same name
    if not entry or "input_cost_per_token" not in entry or "output_cost_per_token" not in entry:
        return None
    return Price(
        input=_per_million(entry["input_cost_per_token"]),
        output=_per_million(entry["output_cost_per_token"]),
        cached_input=_per_million(entry["cache_read_input_token_cost"])
        if entry.get("cache_read_input_token_cost") is not None
        else None,
        dearest_input=_dearest(entry, ("input_cost_per_token", "cache_creation_input_token_cost")),
        dearest_output=_dearest(entry, ("output_cost_per_token", "output_cost_per_reasoning_token")),
    )


def _dearest(entry: Mapping[str, Any], prefixes: tuple[str, ...]) -> Decimal:
    # `..._above_200k_tokens`, `..._priority` and the like are all variants of the same meter.
    return max(
        _per_million(value)
        for key, value in entry.items()
        if key.startswith(prefixes) and isinstance(value, (int, float)) and not isinstance(value, bool)
    )


def _per_million(per_token: float) -> Decimal:
    # repr() of the float is what the map's author wrote: 1.5e-07 stays 0.15, without binary dust.
    return Decimal(repr(per_token)) * PER_MILLION


@functools.cache
def bundled_models() -> Mapping[str, Mapping[str, Any]]:
    """The map of models that litellm brings along: prices per token, context windows, capabilities. No network."""
    found = importlib.util.find_spec("litellm")
    if found is None or found.origin is None:
        return {}
    path = Path(found.origin).with_name("model_prices_and_context_window_backup.json")
    if not path.is_file():
        return {}
    entries: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return entries
