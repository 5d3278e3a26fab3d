"""What a million tokens cost, meter by meter, and how a call's tokens fall into the meters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from router.types import Usage

PER_MILLION = Decimal(1_000_000)
INPUT_METERS = ("input", "cached_input", "cache_write", "cache_write_1h", "audio_input", "image_input")
OUTPUT_METERS = ("output", "reasoning", "audio_output", "image_output")
METERS = (*INPUT_METERS, *OUTPUT_METERS)
MEDIA_INPUT = ("audio_input", "image_input")
AS_ANY_OTHER = {
    "cached_input": "input", "cache_write": "input", "cache_write_1h": "cache_write", "audio_input": "input",
    "image_input": "input", "reasoning": "output", "audio_output": "output", "image_output": "output",
}  # fmt: skip
"""The meter whose rate holds where a meter has none of its own."""
_COUNTS = {
    "cached_input": "cached_input_tokens", "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_1h_tokens", "audio_input": "audio_input_tokens",
    "image_input": "image_input_tokens", "reasoning": "reasoning_tokens",
    "audio_output": "audio_output_tokens", "image_output": "image_output_tokens",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Rates:
    """USD per million tokens; a meter without a rate costs as `AS_ANY_OTHER` says."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    """Input the provider had cached."""
    cache_write: Decimal | None = None
    """Input written to a cache that keeps it for minutes."""
    cache_write_1h: Decimal | None = None
    audio_input: Decimal | None = None
    image_input: Decimal | None = None
    reasoning: Decimal | None = None
    audio_output: Decimal | None = None
    image_output: Decimal | None = None

    def of(self, meter: str) -> Decimal:
        """The rate that holds for a meter."""
        rate: Decimal | None = getattr(self, meter)
        return self.of(AS_ANY_OTHER[meter]) if rate is None else rate

    def known(self) -> dict[str, Decimal]:
        """The meters that have a rate of their own."""
        return {meter: rate for meter in METERS if (rate := getattr(self, meter)) is not None}


def quantities(usage: Usage) -> Mapping[str, int]:
    """Tokens by meter, those without tokens left out: they add up to the input and the output.

    More in the parts than in the whole cannot be; the whole counts, and the parts are cut in the order of `METERS`.
    """
    found: dict[str, int] = {}
    for (rest, *parts), left in ((INPUT_METERS, usage.input_tokens), (OUTPUT_METERS, usage.output_tokens)):
        split = {}
        for meter in parts:
            split[meter] = min(getattr(usage, _COUNTS[meter]), left)
            left -= split[meter]
        found |= {rest: left, **split}
    return {meter: count for meter, count in found.items() if count}
