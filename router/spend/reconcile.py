"""The ledger against what a provider counted and billed, by day and model, with a name for each difference.

For each day and model `ledger + residuals = billed`, to the last decimal:

    credits     given back on the bill
    late        calls around midnight that the provider booked on the neighbouring day; adds up to 0 over days
    unpriced    calls that the ledger has without a cost, at what the provider billed a token
    unlogged    tokens that the provider counted beyond the ledger's, at the ledger's rates (else at the bill's)
    unbilled    tokens that the ledger has beyond the provider's: the same, negative
    rounding    what rounding each line of the bill to its last decimal explains
    mispriced   the rest where both counted tokens: another price than the ledger's
    unexplained the rest where the provider's tokens are not known
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import TYPE_CHECKING

from router.spend.closing_read import attempts_of
from router.spend.money import PICO
from router.spend.prices import Price
from router.spend.prices.rates import INPUT_METERS
from router.spend.prices.rerate import usage_in
from router.spend.reconcile_shapes import Line
from router.spend.windows import DAY_US, HOUR_US

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

RESIDUALS = ("credits", "late", "unpriced", "unlogged", "unbilled", "rounding", "mispriced", "unexplained")
NOTHING = Decimal(0)
EDGE_US = HOUR_US
"""Calls so close to midnight may be booked on either day."""
SMALLEST = Decimal(1).scaleb(-12)
AFTER_MODELS = (
    "input", "inp", "output", "outp", "out", "opt", "cache", "cached", "cd", "token", "tokens", "latest", "batch",
    "flex", "priority", "glbl", "global", "regional", "regnl", "data", "text", "short", "long", "v",
)  # fmt: skip
"""Words that may follow a model's name in a bill; another word (mini, pro, audio) makes it another model's."""
Key = tuple[int, str]


@dataclass(slots=True, kw_only=True)
class Cell:
    """One day and model. Amounts in USD."""

    day: int
    model: str
    calls: int = 0
    unpriced: int = 0
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    """The ledger's, in and out."""
    unpriced_tokens: list[int] = field(default_factory=lambda: [0, 0])
    by_direction: list[Decimal] = field(default_factory=lambda: [NOTHING, NOTHING])
    """Part of the ledger's cost whose price is kept, in and out."""
    direction_tokens: list[int] = field(default_factory=lambda: [0, 0])
    edge_usd: list[Decimal] = field(default_factory=lambda: [NOTHING, NOTHING])
    """Cost of calls in the first and in the last hour of the day."""
    ledger_usd: Decimal = NOTHING
    counted: list[int] | None = None
    """The provider's tokens, in and out; None: it says none."""
    billed_usd: Decimal | None = None
    """Net of credits; None: it says none."""
    credits_usd: Decimal = NOTHING
    lines: int = 0
    residuals: dict[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """All cells, and how much of what the provider counted the ledger has."""

    cells: tuple[Cell, ...]
    ledger_usd: Decimal
    """Of cells that were billed."""
    billed_usd: Decimal
    residuals: Mapping[str, Decimal]
    captured_tokens: float | None
    """Share of the provider's tokens that the ledger has, each cell at most whole; None: it counted none."""
    captured_usd: float | None
    """Share of what was billed, before credits, that is not unlogged; None: nothing was billed."""


def reconciled(
    ledger: Ledger, lines: Iterable[Line], providers: Collection[str], names: Mapping[str, str] | None = None
) -> Reconciled:
    """A provider's lines against the ledger's calls of the same days.

    Args:
        ledger: whose calls.
        lines: usage, bills, or both.
        providers: the first part of litellm model strings that belong to it.
        names: the provider's name of a model -> ours, where they do not look alike.
    """
    lines = list(lines)
    days = [line.day for line in lines]
    with localcontext() as context:
        context.prec = 60
        cells = _ledger_cells(ledger, min(days), max(days), providers)
        known = sorted({key[1] for key in cells}, key=len, reverse=True)
        for line in lines:
            _count(cells, line, (names or {}).get(line.model) or match(line.model, known))
        _explain(cells, _places(lines))
        return _summed([cells[key] for key in sorted(cells)])


def match(name: str, known: Iterable[str]) -> str:
    """Our name of a provider's model, or its own: the longest of ours that differs from it by no more than a version.

    >>> [match(name, ["gpt-4o-mini", "gpt-4o"]) for name in ("gpt-4o-2024-08-06", "GPT 4o mini Inp", "gpt-4o-audio")]
    ['gpt-4o', 'gpt-4o-mini', 'gpt-4o-audio']
    """
    words = _words(name)
    fits = [one for one in known if _holds(words, _base(_words(one)))]
    # The very version first, then a name without one.
    return min(fits, key=lambda one: (_words(one) != words, _base(_words(one)) != _words(one)), default=name)


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+|[0-9]+", name.lower())


def _base(words: list[str]) -> list[str]:
    """A name without its version: what stands before a date."""
    return words[: next((at for at, word in enumerate(words) if _is_date(word)), len(words))]


def _is_date(word: str) -> bool:
    return word.isdigit() and len(word) >= 4


def _holds(words: list[str], part: list[str]) -> bool:
    """Whether a name stands in another one, and is not the beginning of another model's."""
    for at in range(len(words) - len(part) + 1):
        following = words[at + len(part)] if at + len(part) < len(words) else "input"
        if part and words[at : at + len(part)] == part:
            return following in AFTER_MODELS or _is_date(following)
    return False


def _ledger_cells(ledger: Ledger, first: int, last: int, providers: Collection[str]) -> dict[Key, Cell]:
    cells: dict[Key, Cell] = {}
    prices: dict[str, Price | None] = {}
    for row in attempts_of(ledger, first * DAY_US, (last + 1) * DAY_US):
        provider, _, model = row["call"].partition("/")
        if provider not in providers:
            continue
        day, into = row["at_us"] // DAY_US, row["at_us"] % DAY_US
        cell = cells.setdefault((day, model), Cell(day=day, model=model))
        cell.calls += 1
        usd = None if row["cost_pusd"] is None else row["cost_pusd"] / PICO
        tokens = (row["input_tokens"] or 0, row["output_tokens"] or 0)
        for at in (0, 1):
            cell.tokens[at] += tokens[at]
            cell.unpriced_tokens[at] += tokens[at] if usd is None else 0
        if usd is None:
            cell.unpriced += 1
            continue
        cell.ledger_usd += usd
        if into < EDGE_US or into >= DAY_US - EDGE_US:
            cell.edge_usd[into >= EDGE_US] += usd
        if row["price_id"] is not None and row["price_id"] not in prices:
            prices[row["price_id"]] = ledger.price(row["price_id"])
        price = prices.get(row["price_id"]) if row["price_id"] else None
        if price is not None and row["input_tokens"] is not None:
            for meter, line in price.by_meter(usage_in(row)).items():
                at = int(meter not in INPUT_METERS)
                cell.by_direction[at] += line.cost_usd
                cell.direction_tokens[at] += line.quantity
    return cells


def _count(cells: dict[Key, Cell], line: Line, model: str) -> None:
    cell = cells.setdefault((line.day, model), Cell(day=line.day, model=model))
    if line.input_tokens is not None or line.output_tokens is not None:
        held = cell.counted or [0, 0]
        cell.counted = [held[0] + (line.input_tokens or 0), held[1] + (line.output_tokens or 0)]
    for amount in (line.usd, line.credit_usd):
        if amount is not None:
            cell.billed_usd = (cell.billed_usd or NOTHING) + amount
            cell.lines += 1
    cell.credits_usd += line.credit_usd or NOTHING


def _places(lines: Iterable[Line]) -> int:
    """Decimals that a bill is rounded to: the most of any line, cents at least."""
    amounts = [amount for line in lines for amount in (line.usd, line.credit_usd) if amount is not None]
    return max([2, *(-one for amount in amounts if isinstance(one := amount.as_tuple().exponent, int))])


def _explain(cells: Mapping[Key, Cell], places: int) -> None:
    late = _late(cells)
    for key, cell in cells.items():
        if cell.billed_usd is None:
            continue
        gross = cell.billed_usd - cell.credits_usd
        found = {"credits": cell.credits_usd, "late": late.get(key, NOTHING)}
        left = gross - cell.ledger_usd - found["late"]
        found["unpriced"] = _unpriced(cell, gross)
        left -= found["unpriced"]
        beyond = _beyond(cell, gross) if cell.counted and not found["late"] else NOTHING
        found["unlogged"], found["unbilled"] = max(beyond, NOTHING), min(beyond, NOTHING)
        left -= beyond
        is_rounding = abs(left) <= cell.lines * Decimal(5).scaleb(-places - 1)
        rest = "rounding" if is_rounding else "mispriced" if cell.counted and cell.calls else "unexplained"
        if not cell.calls and not is_rounding:
            rest = "unlogged"  # the ledger has nothing of it at all
        found[rest] = found.get(rest, NOTHING) + left
        cell.residuals = {name: found.get(name, NOTHING) for name in RESIDUALS}


def _late(cells: Mapping[Key, Cell]) -> dict[Key, Decimal]:
    """What moved over midnight: at most what calls near it cost, and only from a day short to one with too much."""
    moved: dict[Key, Decimal] = {}

    def gap(key: Key) -> Decimal:
        cell = cells[key]
        if cell.billed_usd is None or cell.unpriced:
            return NOTHING
        return cell.billed_usd - cell.credits_usd - cell.ledger_usd - moved.get(key, NOTHING)

    for day, model in sorted(cells):
        key, following = (day, model), (day + 1, model)
        if following not in cells:
            continue
        ours, theirs = gap(key), gap(following)
        if ours * theirs >= 0:
            continue
        room = cells[key].edge_usd[1] if ours < 0 else cells[following].edge_usd[0]
        amount = min(abs(ours), abs(theirs), room)
        moved[key] = moved.get(key, NOTHING) + (amount if ours > 0 else -amount)
        moved[following] = moved.get(following, NOTHING) + (amount if theirs > 0 else -amount)
    return {key: amount for key, amount in moved.items() if amount}


def _unpriced(cell: Cell, gross: Decimal) -> Decimal:
    if not cell.unpriced:
        return NOTHING
    whole = sum(cell.counted or cell.tokens)
    share = Decimal(sum(cell.unpriced_tokens)) / whole if whole else NOTHING
    return _exact(gross * min(share, Decimal(1)))


def _beyond(cell: Cell, gross: Decimal) -> Decimal:
    """Tokens that only one side has, at the ledger's own rates where it has any, else at the bill's average."""
    counted = cell.counted or [0, 0]
    extra = [counted[at] - cell.tokens[at] for at in (0, 1)]
    if all(cell.direction_tokens[at] or not extra[at] for at in (0, 1)):
        rates = [cell.by_direction[at] / cell.direction_tokens[at] if extra[at] else NOTHING for at in (0, 1)]
        return _exact(sum((extra[at] * rates[at] for at in (0, 1)), NOTHING))
    return _exact(gross * sum(extra) / sum(counted)) if sum(counted) else NOTHING


def _exact(usd: Decimal) -> Decimal:
    return usd.quantize(SMALLEST, ROUND_HALF_EVEN)


def _summed(cells: list[Cell]) -> Reconciled:
    billed = [cell for cell in cells if cell.billed_usd is not None]
    counted = [cell for cell in cells if cell.counted]
    whole = sum(sum(cell.counted or ()) for cell in counted)
    have = sum(min(cell.tokens[at], (cell.counted or (0, 0))[at]) for cell in counted for at in (0, 1))
    gross = sum(((cell.billed_usd or NOTHING) - cell.credits_usd for cell in billed), NOTHING)
    residuals = {name: sum((cell.residuals[name] for cell in billed), NOTHING) for name in RESIDUALS}
    return Reconciled(
        cells=tuple(cells),
        ledger_usd=sum((cell.ledger_usd for cell in billed), NOTHING),
        billed_usd=sum((cell.billed_usd or NOTHING for cell in billed), NOTHING),
        residuals=residuals,
        captured_tokens=have / whole if whole else None,
        captured_usd=float(1 - residuals["unlogged"] / gross) if gross > 0 else None,
    )
