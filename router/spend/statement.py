"""A month's statement: what each scope spent, its part of what is shared, and what answers that serve again move.

The parts of every split add up to what was split, and all lines together to the ledger (and to amounts that were stated
beside it), to the last pico-dollar. Calls of unknown cost are counted beside the amounts; they are in none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from router.errors import InvalidRequestError
from router.spend.closing import adjustments, closings
from router.spend.closing_read import Rows, month_rows
from router.spend.money import from_pico
from router.spend.statement_rows import Reuse, calls, charges, requests, reuses
from router.spend.statement_split import CachePolicy, Method, Pool, shares

if TYPE_CHECKING:
    from router.spend.ledger import Ledger

Scope = tuple[str | None, ...]
COUNTS = ("requests", "hits", "calls", "unpriced", "input_tokens", "output_tokens")
CHARGES = "charges"
"""Name of the pool of charges that carry none of the tags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One scope's month. Amounts in USD."""

    scope: Scope
    """Values of the statement's tags; None: not set."""
    requests: int
    hits: int
    """Of the requests, those answered out of a cache."""
    calls: int
    unpriced: int
    """Of the calls, those of unknown cost."""
    input_tokens: int
    output_tokens: int
    calls_usd: Decimal
    charges_usd: Decimal
    """Seats, subscriptions and the like that carry the scope's tags."""
    shared_usd: Mapping[str, Decimal]
    """Its part of each pool."""
    cache_usd: Decimal
    """What others' use of answers that it paid for gives back (negative), or its use of theirs costs."""
    total_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A pool as it was split."""

    name: str
    method: Method
    usd: Decimal
    calls: int
    unpriced: int
    is_stated: bool
    """Whether the amount was given beside the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A month."""

    month: str
    by: tuple[str, ...]
    closed: str | None
    """Hash of the month's close; None: it is open and may still grow."""
    adjusted_usd: Decimal
    """Part of the ledger's sum that was written after the close."""
    ledger_usd: Decimal
    """Calls and charges."""
    stated_usd: Decimal
    total_usd: Decimal
    """Of all lines: `ledger_usd` + `stated_usd`."""
    unpriced: int
    cache: CachePolicy
    moved_usd: Decimal
    """What answers that served again moved between scopes."""
    unmoved_hits: int
    """Hits on answers of earlier months or of unknown cost, which move nothing."""
    pools: tuple[Shared, ...]
    lines: tuple[Line, ...]


@dataclass(slots=True)
class _Sums:
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    calls: int = 0
    charges: int = 0
    shared: dict[str, int] = field(default_factory=dict)
    cache: int = 0

    @property
    def total(self) -> int:
        return self.calls + self.charges + sum(self.shared.values()) + self.cache


def statement(
    ledger: Ledger, month: str, by: Sequence[str], pools: Sequence[Pool] = (), *, cache: CachePolicy = "first_payer",
    charges_method: Method = "spend",
) -> Statement:  # fmt: skip
    """A month by the values of tags.

    Args:
        ledger: whose rows; of an archived month, its files are read.
        month: such as `2026-11`.
        by: names of tags.
        pools: what is shared; a call belongs to the first that takes it.
        cache: who pays for answers that serve again.
        charges_method: how charges without any of the tags are split.

    Raises:
        InvalidRequestError: no month, no such tag, or two pools of one name.
    """
    names = [pool.name for pool in pools]
    if not by or len(set(by)) < len(by) or len({*names, CHARGES}) <= len(names):
        raise InvalidRequestError(f"tags and pools need names of their own, got {', '.join([*by, *names]) or 'none'}")
    with month_rows(ledger, month) as rows:
        sums, amounts = _read(rows, month, by, pools)
        found, unmoved = reuses(rows, month, by)
    pools = (*pools, Pool(name=CHARGES, method=charges_method))
    if not sums:
        sums[(None,) * len(by)] = _Sums()
    moved = _move(sums, found, cache)
    for pool in pools:
        _split(sums, pool, _amount(pool, amounts))
    stated = sum(pool.stated_pusd for pool in pools)
    total = sum(one.total for one in sums.values())
    closing = next((one for one in closings(ledger) if one.month == month), None)
    return Statement(
        month=month, by=tuple(by), closed=closing.sha256 if closing else None,
        adjusted_usd=sum((one.cost_usd for one in adjustments(ledger, month)), Decimal(0)),
        ledger_usd=from_pico(total - stated), stated_usd=from_pico(stated), total_usd=from_pico(total),
        unpriced=sum(one["unpriced"] for one in (*(own.counts for own in sums.values()), *amounts.values())),
        cache=cache, moved_usd=from_pico(moved), unmoved_hits=unmoved,
        pools=tuple(_shared(pool, amounts[pool.name]) for pool in pools if pool.tags or _amount(pool, amounts)),
        lines=tuple(_line(scope, one) for scope, one in sorted(sums.items(), key=_order)),
    )  # fmt: skip


def _read(
    rows: Rows, month: str, by: Sequence[str], pools: Sequence[Pool]
) -> tuple[dict[Scope, _Sums], dict[str, dict[str, int]]]:
    """Sums of each scope's own, and of each pool."""
    wanted = list(dict.fromkeys([*by, *(name for pool in pools for name in pool.tags or ())]))
    sums: dict[Scope, _Sums] = {}
    amounts = {name: {"pusd": 0, "calls": 0, "unpriced": 0} for name in (*(pool.name for pool in pools), CHARGES)}

    def pool_of(row: Mapping[str, Any]) -> Pool | None:
        values = {name: row[f"t{at}"] for at, name in enumerate(wanted)}
        return next((pool for pool in pools if pool.takes(values)), None)

    def into(row: Mapping[str, Any]) -> _Sums:
        return sums.setdefault(tuple(row[f"t{at}"] for at in range(len(by))), _Sums())

    for row in calls(rows, month, wanted):
        pusd, pool = row["whole"] * 1_000_000 + row["rest"], pool_of(row)
        if pool is None:
            own = into(row)
            own.calls += pusd
            for name in ("calls", "unpriced", "input_tokens", "output_tokens"):
                own.counts[name] += row[name]
        else:
            for name, more in (("pusd", pusd), ("calls", row["calls"]), ("unpriced", row["unpriced"])):
                amounts[pool.name][name] += more
    for row in requests(rows, month, wanted):
        if pool_of(row) is None:
            own = into(row)
            own.counts["requests"] += row["requests"]
            own.counts["hits"] += row["hits"]
    for row in charges(rows, month, by):
        if all(row[f"t{at}"] is None for at in range(len(by))):
            amounts[CHARGES]["pusd"] += row["cost_pusd"]
        else:
            into(row).charges += row["cost_pusd"]
    return sums, amounts


def _split(sums: Mapping[Scope, _Sums], pool: Pool, pusd: int) -> None:
    if not pusd:
        return
    scopes = sorted(sums, key=_key)
    weights = {
        "equal": [1 for _ in scopes],
        "spend": [sums[scope].calls for scope in scopes],
        "requests": [sums[scope].counts["requests"] for scope in scopes],
    }[pool.method]
    for scope, part in zip(scopes, shares(pusd, weights), strict=True):
        sums[scope].shared[pool.name] = part


def _move(sums: Mapping[Scope, _Sums], found: Iterable[Reuse], policy: CachePolicy) -> int:
    """Move the cost of answers that served again to those who got them; returns how much left its payer."""
    moved = 0
    if policy == "first_payer":
        return moved
    for reuse in found:
        users = sorted({reuse.payer, *reuse.again}, key=_key)
        if any(scope not in sums for scope in users):
            continue  # calls of a pool, which everybody pays
        uses = [Fraction(reuse.again.count(scope) + (policy == "split" and scope == reuse.payer)) for scope in users]
        for scope, part in zip(users, shares(reuse.cost_pusd, uses), strict=True):
            sums[scope].cache += part
            moved += part if scope != reuse.payer else 0
        sums[reuse.payer].cache -= reuse.cost_pusd
    return moved


def _amount(pool: Pool, amounts: Mapping[str, Mapping[str, int]]) -> int:
    return amounts[pool.name]["pusd"] + pool.stated_pusd


def _shared(pool: Pool, amount: Mapping[str, int]) -> Shared:
    return Shared(
        name=pool.name, method=pool.method, usd=from_pico(amount["pusd"] + pool.stated_pusd), calls=amount["calls"],
        unpriced=amount["unpriced"], is_stated=pool.tags is None and pool.name != CHARGES,
    )  # fmt: skip


def _line(scope: Scope, one: _Sums) -> Line:
    return Line(
        scope=scope, **one.counts, calls_usd=from_pico(one.calls), charges_usd=from_pico(one.charges),
        shared_usd={name: from_pico(part) for name, part in one.shared.items()}, cache_usd=from_pico(one.cache),
        total_usd=from_pico(one.total),
    )  # fmt: skip


def _order(item: tuple[Scope, _Sums]) -> tuple[int, tuple[str, ...]]:
    return -item[1].total, _key(item[0])


def _key(scope: Scope) -> tuple[str, ...]:
    return tuple("" if one is None else f"={one}" for one in scope)
