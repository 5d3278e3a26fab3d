"""The systems of a ledger: by workflow, feature, team or agent, with team and environment.

Figures come from the same sums as `clearbar spend report`, so both add up to the same. What the policy says of a system
(its rules, bars, budgets, data) is what the policy says today of requests with its tags and tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

from router.inventory.reach import Cap, Promise, caps, promises, rules_met
from router.policy import Policy
from router.policy.data import is_local
from router.policy.standing import day_shown
from router.spend.budget import Balance
from router.spend.ledger import Ledger
from router.spend.ledger_schema import METERS
from router.spend.report import FIGURES
from router.spend.windows import DAY_US

By = Literal["workflow", "feature", "team", "agent"]
FORECASTS = 10
"""Systems of which the month's end is foreseen, the dearest: each takes about 0.2 s."""
FORECAST_US = 90 * DAY_US
"""So far back a forecast looks."""
REFUSALS = {
    "BudgetExceededError": "denied by a budget",
    "NoRouteError": "no model could serve",
    "RunStoppedError": "run stopped",
}
Group = tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model that answered a system."""

    model: str
    provider: str
    calls: int
    share: float
    """Of the system's calls."""
    cost_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One row of the inventory."""

    name: str | None
    """Value of the tag that systems are told apart by; None: requests without it."""
    team: str | None
    environment: str | None
    first_day: str | None
    """First day (UTC) on which the ledger has anything of it, also before the period."""
    last_day: str | None
    """Last day in the period."""
    requests: int
    errors: int
    hits: int
    calls: int
    failed: int
    unpriced: int
    meters: Mapping[str, int]
    """Tokens by meter."""
    cost_usd: Decimal
    customers: int | None
    """Distinct customers in the period; None: no request names one."""
    tasks: tuple[str | None, ...]
    models: tuple[Served, ...]
    """Most calls first."""
    regions: tuple[str, ...]
    """Of the deployments that serve these models by the policy."""
    rules: tuple[str, ...]
    data: tuple[str, ...]
    """What these rules and the policy say of data and kept text."""
    bars: tuple[Promise, ...]
    budgets: tuple[Cap, ...]
    month_end_usd: tuple[float, float, float] | None
    """Spend of the calendar month (UTC) at its end: half of the futures stay below the first; between the others lie
    90 % of them. None: too short a history, or not among the dearest."""
    incidents: Mapping[str, int]
    """By kind, in the period."""
    owners: tuple[str, ...]
    """Of its models."""
    watched: tuple[str, ...]
    """Its models that are banned, on trial, have a sunset, or stand in no policy; in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the ledger says of all systems, read once."""

    by: By
    names: tuple[str, ...]
    """Columns that tell systems apart."""
    rows: Sequence[Mapping[str, Any]]
    """Sums by these columns, task, model and call."""
    first: Mapping[Group, str]
    last: Mapping[Group, str]
    customers: Mapping[Group, int]
    refused: Mapping[Group, Mapping[str, int]]
    month_end: Mapping[Group, tuple[float, float, float]]
    accounts: Sequence[Sequence[tuple[str, Balance]]]
    """Of each budget of the policy."""
    rollbacks: Sequence[Mapping[str, Any]]
    """Canaries that were rolled back in the period: `name`, `why`, `stopped_us`."""


def read_facts(
    ledger: Ledger, by: By, since_us: int, until_us: int | None, policy: Policy | None, *, foresee: bool
) -> Facts:
    """Ask the ledger.

    Args:
        ledger: of the state folder.
        by: what systems are told apart by, beside team and environment.
        since_us: start of the period, in microseconds since 1970.
        until_us: its end, excluded; None: now.
        policy: whose budgets are looked up.
        foresee: also what the dearest systems will have cost at the month's end.
    """
    names = tuple(dict.fromkeys([by, "team", "environment"]))
    rows = ledger.rollups.sums([*names, "task", "model", "call"], since_us, until_us)
    ever = ledger.rollups.sums(names, 0, until_us, step_us=DAY_US)
    period = ledger.rollups.sums(names, since_us, until_us, step_us=DAY_US)
    return Facts(
        by=by,
        names=names,
        rows=rows,
        first={_group(row, names): _day(row["at_us"]) for row in sorted(ever, key=lambda row: -row["at_us"])},
        last={_group(row, names): _day(row["at_us"]) for row in sorted(period, key=lambda row: row["at_us"])},
        customers=_customers(ledger, names, since_us, until_us),
        refused=_refused(ledger, names, since_us, until_us),
        month_end=_month_end(ledger, names) if foresee else {},
        accounts=ledger.holds.accounts(policy.budgets.each) if policy else (),
        rollbacks=ledger.rows(
            "SELECT name, why, stopped_us FROM canaries WHERE stopped_us >= ? AND stopped_us < ? ORDER BY name",
            (since_us, _end(until_us)),
        ),
    )


def systems(facts: Facts, policy: Policy | None, now: datetime) -> list[System]:
    """One row for each system that did anything in the period, the dearest first."""
    groups: dict[Group, list[Mapping[str, Any]]] = {}
    for row in facts.rows:
        groups.setdefault(_group(row, facts.names), []).append(row)
    found = [_system(facts, group, rows, policy, now) for group, rows in groups.items()]
    return sorted(found, key=lambda one: (-one.cost_usd, -one.requests, one.name or "", one.team or ""))


def _system(
    facts: Facts, group: Group, rows: Sequence[Mapping[str, Any]], policy: Policy | None, now: datetime
) -> System:
    tags = dict(zip(facts.names, group, strict=True))
    sums: dict[str, int] = {name: sum(row[name] for row in rows) for name in FIGURES}
    tasks = tuple(sorted({row["task"] for row in rows}, key=lambda task: task or ""))
    served = _served(rows, sums["calls"])
    incidents = {REFUSALS[name]: n for name, n in facts.refused.get(group, {}).items()}
    met: list[int] = []
    if policy is not None:
        met = rules_met(policy, tags, tasks, now)
        keys = {canary.key(policy.rule_name(i)) for i in met if (canary := policy.rules[i].canary) is not None}
        if n := sum(row["name"] in keys for row in facts.rollbacks):
            incidents["canary rolled back"] = n
    return System(
        name=tags[facts.by],
        team=tags["team"],
        environment=tags["environment"],
        first_day=facts.first.get(group),
        last_day=facts.last.get(group),
        requests=sums["requests"],
        errors=sums["errors"],
        hits=sums["hits"],
        calls=sums["calls"],
        failed=sums["failed"],
        unpriced=sums["unpriced"],
        meters={name: sums[name] for name in METERS if sums[name]},
        cost_usd=sum((row["cost_usd"] for row in rows), Decimal(0)),
        customers=facts.customers.get(group),
        tasks=tasks,
        models=served,
        regions=_regions(rows, policy),
        rules=tuple(policy.rule_name(i) for i in met) if policy else (),
        data=_data(policy, met) if policy else (),
        bars=tuple(promises(policy, met, tasks, now)) if policy else (),
        budgets=tuple(
            caps(policy.budgets.each, facts.accounts, tags, {one.model for one in served},
                 {one.provider for one in served})
        ) if policy else (),
        month_end_usd=facts.month_end.get(group),
        incidents=incidents,
        owners=tuple(sorted({
            owner for one in served if policy and (model := policy.models.get(one.model)) and (owner := model.owner)
        })),
        watched=tuple(told for one in served if policy and (told := watched(policy, one.model, now))),
    )  # fmt: skip


def watched(policy: Policy, model: str, now: datetime) -> str | None:
    """What there is to say of a model that answers; None: nothing."""
    entry = policy.models.get(model)
    if entry is None:
        return f"{model}: stands in no policy"
    if entry.status == "banned":
        return f"{model}: banned"
    if entry.sunset is not None:
        return f"{model}: sunset {day_shown(entry.sunset)}{' has passed' if now >= entry.sunset else ''}"
    return f"{model}: on trial" if entry.status == "trial" else None


def _served(rows: Sequence[Mapping[str, Any]], calls: int) -> tuple[Served, ...]:
    each: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        if row["calls"]:
            sums = each.setdefault((row["model"], row["call"].partition("/")[0]), [0, Decimal(0)])
            sums[0] += row["calls"]
            sums[1] += row["cost_usd"]
    found = [
        Served(model=model, provider=provider, calls=n, share=n / calls, cost_usd=usd)
        for (model, provider), (n, usd) in each.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.calls, one.model)))


def _regions(rows: Sequence[Mapping[str, Any]], policy: Policy | None) -> tuple[str, ...]:
    if policy is None:
        return ()
    asked = {(row["model"], row["call"]) for row in rows if row["calls"]}
    places = [place for model, call in asked for place in policy.deployments.get(model, ()) if place.call == call]
    return tuple(sorted({place.region or ("local" if is_local(place) else "no region stated") for place in places}))


def _data(policy: Policy, rules: Sequence[int]) -> tuple[str, ...]:
    told = {shown for i in rules if (shown := policy.rules[i].data.shown())}
    kept = policy.data.store_text
    if kept != "none" and any(policy.rules[i].data.log != "none" for i in rules):
        told.add(f"text is kept {'redacted' if kept == 'redacted' else 'in full'}, {policy.data.keep_days} days")
    return tuple(sorted(told))


def _customers(ledger: Ledger, names: Sequence[str], since_us: int, until_us: int | None) -> dict[Group, int]:
    """Distinct customers, from the rows; a request without a call has no row among the calls."""
    if not any(row["customer"] for row in ledger.rollups.sums(["customer"], since_us, until_us)):
        return {}  # the rows need not be read
    listed, period = ", ".join(names), "at_us >= :since AND at_us < :until AND customer IS NOT NULL"
    rows = ledger.rows(
        f"SELECT {listed}, COUNT(DISTINCT customer) AS n FROM ("
        f"SELECT {listed}, customer FROM attempts WHERE {period} UNION ALL "
        f"SELECT {listed}, customer FROM requests WHERE {period} AND (attempts = 0 OR outcome = 'error')"
        f") GROUP BY {listed}",
        {"since": since_us, "until": _end(until_us)},
    )
    return {_group(row, names): row["n"] for row in rows}


def _refused(ledger: Ledger, names: Sequence[str], since_us: int, until_us: int | None) -> dict[Group, dict[str, int]]:
    """Requests that the router refused, by kind; of stopped runs, the runs."""
    listed = ", ".join(names)
    rows = ledger.rows(
        f"SELECT {listed}, SUBSTR(error || ':', 1, INSTR(error || ':', ':') - 1) AS kind, COUNT(*) AS n, "
        "COUNT(DISTINCT run_id) AS runs FROM requests "
        "WHERE (attempts = 0 OR outcome = 'error') AND outcome = 'error' AND at_us >= ? AND at_us < ? "
        f"GROUP BY {listed}, kind",
        (since_us, _end(until_us)),
    )
    found: dict[Group, dict[str, int]] = {}
    for row in rows:
        if row["kind"] in REFUSALS:
            n = row["runs"] if row["kind"] == "RunStoppedError" and row["runs"] else row["n"]
            found.setdefault(_group(row, names), {})[row["kind"]] = n
    return found


def _month_end(ledger: Ledger, names: Sequence[str]) -> dict[Group, tuple[float, float, float]]:
    from router.spend.forecast import outlook  # numpy stays out of an inventory without forecasts
    from router.spend.history import histories

    now = datetime.now(ZoneInfo("UTC"))
    past = histories(ledger.rollups, names, now, int(now.timestamp() * 1e6) - FORECAST_US)
    ends = {tuple(one.scope.values()): outlook(one, now, 31).month_end for one in past[:FORECASTS]}
    return {group: (end.usd, end.low, end.high) for group, end in ends.items() if end is not None}


def _group(row: Mapping[str, Any], names: Sequence[str]) -> Group:
    return tuple(row[name] or None for name in names)


def _day(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d}"


def _end(until_us: int | None) -> int:
    return 1 << 62 if until_us is None else until_us
