"""What one token, call, action, run, customer or outcome costs, and what is earned on each customer.

Costs come in runs: the calls of a run are alike, so a run is what intervals are drawn by (a request without a `run_id`
is one of its own). Outcomes are joined to the costs of their run by `run_id`, however late they come. Runs without the
outcome count as well: what failed has to be paid by what succeeded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from router.spend.money import from_pico
from router.spend.ratios import ratio
from router.spend.windows import DAY_US
from router.types import TAG_NAMES

PER = ("token", "call", "action", "run", "customer")
OUTCOME = "outcome:"
GROUPS = tuple(name for name in TAG_NAMES if name != "run_id")
CONFIDENCE = 0.95
REVENUE = "revenue"
"""Name of the outcome that is money earned, in USD."""

Rows = Callable[[str, Sequence[Any]], list[dict[str, Any]]]
"""The ledger's `rows`."""
Key = tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCost:
    """Cost of one unit in one scope."""

    scope: Mapping[str, str | None]
    per: str
    cost_usd: Decimal
    """Of all runs that began in the period, whatever became of them."""
    units: float
    usd: float | None
    """Cost / units; None: there are no units."""
    low: float | None
    high: float | None
    """Interval, with runs drawn again; None below ten runs."""
    runs: int
    unpriced: int
    """Calls whose cost nobody knows: the cost is at least what is said."""
    without: int = 0
    """Runs that have no such outcome (yet)."""
    wait_days: float | None = None
    """95 of 100 outcomes came at most so many days after their run had begun."""
    young: int = 0
    """Runs without the outcome that are younger than this: it may still come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """What one customer cost and brought."""

    customer: str | None
    cost_usd: Decimal
    revenue_usd: Decimal | None
    """None: nobody said."""
    runs: int
    unpriced: int

    @property
    def margin_usd(self) -> Decimal | None:
        """Revenue less cost of models."""
        return None if self.revenue_usd is None else self.revenue_usd - self.cost_usd


@dataclass(slots=True)
class _Run:
    began_us: int
    key: Key
    customer: str | None
    cost_pusd: int = 0
    tokens: int = 0
    calls: int = 0
    unpriced: int = 0
    actions: int = 0
    values: list[tuple[int, float]] = field(default_factory=list)


def units(
    rows: Rows, per: str, *, by: Sequence[str] = (), where: Mapping[str, str] | None = None, since_us: int = 0,
    until_us: int | None = None, now_us: int = 1 << 62, confidence: float = CONFIDENCE,
) -> list[UnitCost]:  # fmt: skip
    """Cost per unit in each scope, the dearest scope first.

    Args:
        rows: of the ledger.
        per: one of `PER`, or `outcome:NAME` for the sum of that outcome's values.
        by: tags of `GROUPS`.
        where: values of tags that requests must have.
        since_us: runs that began from this moment on, in microseconds since 1970.
        until_us: and before this one.
        now_us: for the age of runs.
        confidence: of the intervals.

    Raises:
        ValueError: no such unit or tag.
    """
    if per not in PER and not per.startswith(OUTCOME):
        raise ValueError(f"{per!r}: known are {', '.join(PER)} and {OUTCOME}NAME")
    found = _runs(rows, by, where or {}, since_us, until_us)
    name = per.removeprefix(OUTCOME) if per.startswith(OUTCOME) else None
    if name is not None:
        for one in rows("SELECT run_id, value, at_us FROM outcomes WHERE name = ?", (name,)):
            if one["run_id"] in found:
                found[one["run_id"]].values.append((one["at_us"], one["value"]))
    groups: dict[Key, list[_Run]] = {}
    for run in found.values():
        groups.setdefault(run.key, []).append(run)
    made = [_unit_cost(dict(zip(by, key, strict=True)), per, runs, now_us, confidence) for key, runs in groups.items()]
    return sorted(made, key=lambda one: -one.cost_usd)


def margins(
    rows: Rows, *, since_us: int = 0, until_us: int | None = None, revenue_usd: Mapping[str, Decimal] | None = None
) -> list[Margin]:
    """Cost and revenue of each customer, the lowest margin first, those without a revenue last.

    Args:
        rows: of the ledger.
        since_us: runs that began from this moment on.
        until_us: and before this one.
        revenue_usd: by customer; default: the sum of the outcomes named `revenue` of their runs.
    """
    found = _runs(rows, ("customer",), {}, since_us, until_us)
    earned: dict[str | None, Decimal] = {}
    earned.update((revenue_usd or {}).items())
    if revenue_usd is None:
        for one in rows("SELECT run_id, value FROM outcomes WHERE name = ?", (REVENUE,)):
            if run := found.get(one["run_id"]):
                earned[run.customer] = earned.get(run.customer, Decimal(0)) + Decimal(str(one["value"]))
    groups: dict[str | None, list[_Run]] = {customer: [] for customer in earned}
    for run in found.values():
        groups.setdefault(run.customer, []).append(run)
    made = [
        Margin(customer=customer, cost_usd=_usd(runs), revenue_usd=earned.get(customer), runs=len(runs),
               unpriced=sum(run.unpriced for run in runs))
        for customer, runs in groups.items()
    ]  # fmt: skip
    return sorted(made, key=lambda one: (one.margin_usd is None, one.margin_usd or -one.cost_usd))


def _runs(
    rows: Rows, by: Sequence[str], where: Mapping[str, str], since_us: int, until_us: int | None
) -> dict[str, _Run]:
    if unknown := [name for name in (*by, *where) if name not in GROUPS]:
        raise ValueError(f"{', '.join(unknown)}: known are {', '.join(GROUPS)}")
    # A run is in the scope of its first request.
    listed = ", ".join(dict.fromkeys([*by, *where, "customer"]))
    found: dict[str, _Run] = {}
    for row in rows(
        f"SELECT COALESCE(run_id, id) AS run, MIN(at_us) AS began_us, COUNT(*) AS actions, {listed} FROM requests "
        "WHERE strategy IS NOT 'shadow' GROUP BY run HAVING began_us >= ? AND began_us < ?",
        (since_us, until_us if until_us is not None else 1 << 62),
    ):
        if all(row[name] == value for name, value in where.items()):
            key = tuple(row[name] for name in by)
            found[row["run"]] = _Run(row["began_us"], key, row["customer"], actions=row["actions"])
    for row in rows(
        # What a shadow cost is the run's whose request it shadows; its id begins with that one's.
        "SELECT COALESCE(run_id, CASE WHEN role = 'shadow' THEN substr(request_id, 1, length(request_id) - 7) "
        "ELSE request_id END) AS run, COUNT(*) AS calls, SUM(cost_pusd IS NULL) AS unpriced, "
        "COALESCE(SUM(cost_pusd), 0) AS cost_pusd, "
        "COALESCE(SUM(input_tokens), 0) + COALESCE(SUM(output_tokens), 0) AS tokens FROM attempts GROUP BY run",
        (),
    ):
        if run := found.get(row["run"]):
            run.cost_pusd, run.tokens = row["cost_pusd"], row["tokens"]
            run.calls, run.unpriced = row["calls"], row["unpriced"]
    return found


def _unit_cost(
    scope: Mapping[str, str | None], per: str, runs: Sequence[_Run], now_us: int, confidence: float
) -> UnitCost:
    clusters: Sequence[Sequence[_Run]] = [[run] for run in runs]
    if per == "customer":
        customers: dict[str | None, list[_Run]] = {}
        for run in runs:
            customers.setdefault(run.customer, []).append(run)
        clusters = [of for customer, of in customers.items() if customer is not None]
        runs = [run for of in clusters for run in of]
    counts = [_count(per, of) for of in clusters]
    found = ratio([float(_usd(of)) for of in clusters], counts, confidence)
    waits = sorted((at_us - run.began_us) / DAY_US for run in runs for at_us, _ in run.values)
    wait = waits[int(0.95 * (len(waits) - 1))] if waits else None
    without = [run for run in runs if not run.values] if per.startswith(OUTCOME) else []
    return UnitCost(
        scope=scope,
        per=per,
        cost_usd=_usd(runs),
        units=sum(counts),
        usd=found.value,
        low=found.low,
        high=found.high,
        runs=len(runs),
        unpriced=sum(run.unpriced for run in runs),
        without=len(without),
        wait_days=wait,
        young=0 if wait is None else sum(now_us - run.began_us < wait * DAY_US for run in without),
    )


def _count(per: str, runs: Sequence[_Run]) -> float:
    """Units of one cluster."""
    if per.startswith(OUTCOME):
        return sum(value for run in runs for _, value in run.values)
    if per in ("run", "customer"):
        return 1.0
    return float(sum(getattr(run, f"{per}s") for run in runs))


def _usd(runs: Sequence[_Run]) -> Decimal:
    return from_pico(sum(run.cost_pusd for run in runs))
