"""What a call is expected to cost, by meter, with what the provider's prompt cache takes off."""

from __future__ import annotations

from decimal import Decimal

from router.decisions import Dollars
from router.spend.prices import PER_MILLION, STANDARD, Price

NOTHING = Decimal(0)


def expected_dollars(
    price: Price,
    input_tokens: int,
    output_tokens: int,
    *,
    cached_tokens: int = 0,
    thinking_share: float | None = None,
    switch_usd: Decimal = NOTHING,
) -> Dollars:
    """Expected USD of one call.

    Args:
        price: of the model, on the day.
        input_tokens: expected, cached ones included.
        output_tokens: expected, thinking included.
        cached_tokens: how many of the input its prompt cache holds.
        thinking_share: share of reasoning tokens in its output, 0 to 1; None: unknown.
        switch_usd: what asking another model would save in prompt caching (`cache_saving`).
    """
    rates = price.at(STANDARD, input_tokens)
    cached = min(cached_tokens, input_tokens) if rates.cached_input is not None else 0
    thinking = None if thinking_share is None else round(output_tokens * thinking_share)
    return Dollars(
        input_usd=(input_tokens - cached) * rates.input / PER_MILLION,
        cached_usd=cached * rates.of("cached_input") / PER_MILLION if cached else NOTHING,
        output_usd=(output_tokens - (thinking or 0)) * rates.output / PER_MILLION,
        thinking_usd=None if thinking is None else thinking * rates.of("reasoning") / PER_MILLION,
        switch_usd=switch_usd,
    )


def cache_saving(price: Price | None, cached_tokens: int) -> Decimal:
    """What a prompt cache saves on so many tokens: `(input - cached_input) * tokens`, never below 0."""
    if price is None or price.cached_input is None:
        return NOTHING
    return max(NOTHING, (price.input - price.cached_input) * cached_tokens / PER_MILLION)
