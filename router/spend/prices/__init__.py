"""What tokens cost: dated prices from the policy, else a price book, else the maps that installed packages bring along.

Money is Decimal USD. An unknown price is None and stays visible as such; it never becomes 0.
"""

from router.spend.prices.bundled import bundled_models, bundled_price
from router.spend.prices.price import SERVED_UNASKED, STANDARD, Costs, Line, Price, Terms, Variant, price_in, price_on
from router.spend.prices.rates import METERS, PER_MILLION, Rates

__all__ = [
    "METERS",
    "PER_MILLION",
    "SERVED_UNASKED",
    "STANDARD",
    "Costs",
    "Line",
    "Price",
    "Rates",
    "Terms",
    "Variant",
    "bundled_models",
    "bundled_price",
    "price_in",
    "price_on",
]
