"""Money in stores: whole pico-dollars (1e-12 USD), in which sums stay exact."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import overload

PICO = Decimal(10) ** 12


@overload
def to_pico(cost_usd: Decimal) -> int: ...
@overload
def to_pico(cost_usd: None) -> None: ...
def to_pico(cost_usd: Decimal | None) -> int | None:
    """USD as pico-dollars; exact, because prices have at most 6 decimals per million tokens. Unknown stays None."""
    return None if cost_usd is None else int((cost_usd * PICO).to_integral_value(ROUND_HALF_EVEN))


@overload
def from_pico(cost_pusd: int) -> Decimal: ...
@overload
def from_pico(cost_pusd: None) -> None: ...
def from_pico(cost_pusd: int | None) -> Decimal | None:
    """Pico-dollars as USD."""
    return None if cost_pusd is None else cost_pusd / PICO
