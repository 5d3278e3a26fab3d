"""What differs between two prices, rate by rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from router.spend.prices.price import STANDARD, Price
from router.spend.prices.rates import Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One rate in USD per million tokens, before and after; None: the price, or the rate, is not known."""

    call: str
    rate: str
    """`input`, `flex output`, `input above 200,000` ..."""
    before: Decimal | None
    after: Decimal | None

    @property
    def share(self) -> Decimal | None:
        """By how much it rose, as a share of what it was; None where one side is unknown or it was free."""
        return None if self.before is None or self.after is None or not self.before else self.after / self.before - 1


def changes(call: str, before: Price | None, after: Price | None) -> list[Change]:
    """Every rate that is not the same on both sides."""
    old, new = (dict(_rates(price)) for price in (before, after))
    return [
        Change(call=call, rate=name, before=old.get(name), after=new.get(name))
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]


def _rates(price: Price | None) -> Iterator[tuple[str, Decimal]]:
    if price is None:
        return
    places: list[tuple[str, int, Rates]] = [(STANDARD, 0, price)]
    for tier, above, rates in places + [(one.tier, one.above, one.rates) for one in price.variants]:
        for meter, rate in rates.known().items():
            tiered = meter if tier == STANDARD else f"{tier} {meter}"
            yield f"{tiered} above {above:,}" if above else tiered, rate
