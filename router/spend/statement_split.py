"""Amounts that several scopes share, split by a named method and exact to the last pico-dollar."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Literal, get_args

from router.errors import InvalidRequestError
from router.spend.money import to_pico

Method = Literal["equal", "spend", "requests"]
CachePolicy = Literal["first_payer", "beneficiary", "split"]
METHODS: dict[Method, str] = {
    "equal": "the same for every scope",
    "spend": "in proportion to each scope's own spend on calls",
    "requests": "in proportion to each scope's requests",
}
CACHE_POLICIES: dict[CachePolicy, str] = {
    "first_payer": "whoever asked first has paid; answers out of the cache are free",
    "beneficiary": "those who got the answer again share its cost, and whoever asked first gets it back",
    "split": "whoever asked first and all who got the answer again share its cost, each time alike",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A shared cost: what calls with certain tags cost, or an amount from elsewhere."""

    name: str
    method: Method
    tags: Mapping[str, str] | None = None
    """Calls with all of these values are shared; None: an amount is given."""
    stated_pusd: int = 0

    def takes(self, values: Mapping[str, str | None]) -> bool:
        """Whether a group of calls belongs to it."""
        return self.tags is not None and all(values.get(name) == value for name, value in self.tags.items())


def pool_of_calls(text: str) -> Pool:
    """`workflow=eval:spend`; several tags with commas: `team=ml,feature=judge:equal`.

    Raises:
        InvalidRequestError: it says something else.
    """
    said, method = _method(text, "workflow=eval:spend")
    pairs = [one.partition("=") for one in said.split(",")]
    if not all(name and value for name, _, value in pairs):
        raise InvalidRequestError(f"{text!r}: {said!r} is no TAG=VALUE, such as workflow=eval")
    return Pool(name=said, method=method, tags={name: value for name, _, value in pairs})


def pool_of_amount(text: str) -> Pool:
    """`gateway=120.50:requests`: an amount in USD that the ledger does not know.

    Raises:
        InvalidRequestError: it says something else.
    """
    said, method = _method(text, "gateway=120.50:requests")
    name, _, amount = said.partition("=")
    try:
        usd = Decimal(amount)
    except InvalidOperation:
        usd = Decimal("NaN")
    if not name or not usd.is_finite():
        raise InvalidRequestError(f"{text!r}: {said!r} is no NAME=USD, such as gateway=120.50")
    return Pool(name=name, method=method, stated_pusd=to_pico(usd))


def shares(total: int, weights: Sequence[int | Fraction]) -> list[int]:
    """Whole parts of a whole amount in proportion to weights; they add up to it exactly.

    What rounding down leaves goes one by one to the largest remainders, ties in the order given (Hamilton's method).
    Weights of nothing but 0 count alike. Of a negative amount, the parts are those of the positive one, negated.

    >>> shares(100, [1, 1, 1]), shares(-100, [1, 1, 1]), shares(5, [0, 0])
    ([34, 33, 33], [-34, -33, -33], [3, 2])
    """
    if not weights:
        raise ValueError("an amount cannot be split among nobody")
    if total < 0:
        return [-part for part in shares(-total, weights)]
    whole = sum(weights, Fraction(0))
    exact = [Fraction(total) * Fraction(one) / whole if whole else Fraction(total, len(weights)) for one in weights]
    parts = [int(one) for one in exact]
    left = total - sum(parts)
    order = sorted(range(len(parts)), key=lambda at: (parts[at] - exact[at], at))
    for at in order[:left]:
        parts[at] += 1
    return parts


def _method(text: str, example: str) -> tuple[str, Method]:
    said, _, method = text.rpartition(":")
    found = next((one for one in get_args(Method) if one == method), None)
    if found is None or not re.search(r"=", said):
        raise InvalidRequestError(f"{text!r} ends in no method ({', '.join(METHODS)}); such as {example}")
    return said, found
