"""What is not as usual in a ledger just now: reads its sums and asks the rules of `router.spend.anomaly`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from router.spend.anomaly import WINDOWS, Finding, compared, explained, new, slow, sudden
from router.spend.baseline import MOST_WEEKS, WEEK, learn
from router.spend.decompose import Sums
from router.spend.rollups import Rollups
from router.spend.windows import DAY_US, HOUR_US, MINUTE_US

HOURLY: tuple[tuple[str, ...], ...] = (("workflow",), ("team",), ())
"""Scopes that are judged by the hour, the narrow ones first."""
DAILY = ("customer",)
"""By the day: there may be too many of them for hours."""
WATCHED_FOR_NEW = ("workflow", "team", "customer", "model")
NEW_HOURS = 72
"""For so long a value is new."""
EXPLAINS = 0.5
"""Share of a rise that narrower findings must make up for it to be no news."""

Rates = Mapping[str, Mapping[str, float]]
Scope = tuple[tuple[str, str], ...]


def scan(rollups: Rollups, now_us: int, *, rates: Rates | None = None, least_usd: float = 0.01) -> list[Finding]:
    """Everything that is not as usual, with what changed; what narrower findings explain is left out.

    Args:
        rollups: of the ledger.
        now_us: microseconds since 1970.
        rates: for each model, USD of a token by meter; see `decompose.changes`.
        least_usd: a smaller excess is not told.
    """
    now_us = now_us // MINUTE_US * MINUTE_US
    found: list[Finding] = []
    for names in HOURLY:
        rows = [one for one in _by_hour(rollups, names, now_us, least_usd) if not _is_explained(one, found)]
        found += rows
    for name in DAILY:
        days = rollups.sums([name], now_us - MOST_WEEKS * WEEK * HOUR_US, now_us, step_us=DAY_US)
        found += [one for one in _slowly(days, (name,), now_us // DAY_US) if not _is_explained(one, found)]
    for name in WATCHED_FOR_NEW:
        found += _strangers(rollups, name, now_us)
    return [_with_parts(rollups, one, rates) for one in found]


def _by_hour(rollups: Rollups, names: tuple[str, ...], now_us: int, least_usd: float) -> list[Finding]:
    since_us = (now_us // DAY_US - MOST_WEEKS * 7) * DAY_US
    hours = rollups.sums(names, since_us, now_us, step_us=HOUR_US)
    minutes = rollups.sums(names, now_us - max(WINDOWS) * HOUR_US, now_us, step_us=MINUTE_US)
    found = _slowly(hours, names, now_us // DAY_US)
    lately = _series(minutes, names, MINUTE_US, now_us // MINUTE_US - max(WINDOWS) * 60, now_us // MINUTE_US)
    this_hour = now_us // HOUR_US
    for scope, (first, usd, _) in _series(hours, names, HOUR_US, None, this_hour).items():
        if scope not in lately:
            continue
        # Windows overlap what is judged: the last day is no part of what is usual.
        known = usd[: max(0, this_hour - max(WINDOWS) - first)]
        baselines = [one for window in WINDOWS if (one := learn(first, known, window))]
        spent = partial(_last, [0.0, *accumulate(lately[scope][1])])
        if rise := sudden(dict(scope), baselines, now_us / HOUR_US, spent, least_usd):
            found.append(rise)
    return found


def _slowly(rows: Sequence[Mapping[str, Any]], names: tuple[str, ...], today: int) -> list[Finding]:
    found = []
    for scope, (first, usd, calls) in _series(rows, names, DAY_US, None, today).items():
        # The first day may be half a day.
        found += slow(dict(scope), first + 1, list(zip(calls, usd, strict=True))[1:])
    return found


def _strangers(rollups: Rollups, name: str, now_us: int) -> list[Finding]:
    since_us = now_us - MOST_WEEKS * WEEK * HOUR_US
    fresh_us = now_us - NEW_HOURS * HOUR_US
    before = {row[name] for row in rollups.sums([name], since_us, fresh_us)}
    oldest = rollups.sums([], since_us, fresh_us, step_us=DAY_US)
    days = {row["at_us"] // DAY_US for row in oldest if row["calls"]}
    known_days = now_us // DAY_US - min(days) if days else 0
    lately = rollups.sums([name], now_us - DAY_US, now_us)
    total = float(sum(row["cost_usd"] for row in lately))
    judged = (
        new({name: row[name]}, float(row["cost_usd"]), total, known_days, now_us / HOUR_US)
        for row in lately
        if row[name] is not None and row[name] not in before
    )
    return [one for one in judged if one is not None]


def _series(
    rows: Sequence[Mapping[str, Any]], names: tuple[str, ...], step_us: int, first: int | None, end: int
) -> dict[Scope, tuple[int, list[float], list[float]]]:
    """USD and calls of consecutive steps up to `end` (excluded), by scope, with the number of the first step."""
    steps: dict[Scope, list[tuple[int, float, float]]] = {}
    for row in rows:
        if all(row[name] is not None for name in names) and row["at_us"] // step_us < end:
            scope = tuple((name, row[name]) for name in names)
            steps.setdefault(scope, []).append((row["at_us"] // step_us, float(row["cost_usd"]), row["calls"]))
    found = {}
    for scope, told in steps.items():
        start = min(step for step, _, _ in told) if first is None else first
        usd, calls = [0.0] * (end - start), [0.0] * (end - start)
        for step, cost, count in told:
            usd[step - start] += cost
            calls[step - start] += count
        found[scope] = start, usd, calls
    return found


def _last(sums: Sequence[float], hours: float) -> float:
    return sums[-1] - sums[max(0, len(sums) - 1 - math.ceil(hours * 60))]


def _is_explained(one: Finding, narrower: Sequence[Finding]) -> bool:
    """Whether findings of the same kind in narrower scopes make up most of a rise."""
    alike = [other for other in narrower if (other.kind, other.about) == (one.kind, one.about)]
    if one.about == "unit":
        return bool(alike)  # a team's call costs more because one of its workflows' does
    return sum(other.usd - other.expected_usd for other in alike) >= EXPLAINS * (one.usd - one.expected_usd)


def _with_parts(rollups: Rollups, one: Finding, rates: Rates | None) -> Finding:
    if one.kind == "new":
        return one
    after, spans = compared(one)
    where = {name: value for name, value in one.scope.items()}
    # A customer's sums are kept by day.
    step = 24.0 if "customer" in where else 1 / 60
    came = _models(rollups, where, [after], step)
    first_us = _oldest(rollups, where, spans[-1][0])
    known = [(max(start, first_us), end) for start, end in spans if end > first_us]
    if not known or not came:
        return one
    share = (after[1] - after[0]) / sum(end - start for start, end in known)
    was = {model: sums.scaled(share) for model, sums in _models(rollups, where, known, step).items()}
    return explained(one, was, came, rates)


def _oldest(rollups: Rollups, where: Mapping[str, str], since: float) -> float:
    rows = rollups.sums([], int(since * HOUR_US), where=where, step_us=DAY_US)
    return min((row["at_us"] / HOUR_US for row in rows), default=math.inf)


def _models(
    rollups: Rollups, where: Mapping[str, str], spans: Sequence[tuple[float, float]], step: float
) -> dict[str, Sums]:
    found: dict[str, Sums] = {}
    for start, end in spans:
        since, until = (int(math.floor(at / step + 1e-6) * step * HOUR_US) for at in (start, end))
        for row in rollups.sums(["model"], since, until, where=where):
            if row["model"] is None or not row["calls"]:
                continue
            cached, written = row["cached_input_tokens"], row["cache_write_tokens"] + row["cache_write_1h_tokens"]
            tokens = {
                "input": max(0, row["input_tokens"] - cached - written), "cached_input": cached,
                "cache_write": written, "output": row["output_tokens"],
            }  # fmt: skip
            one = Sums(calls=row["calls"], cost_usd=float(row["cost_usd"]), tokens=tokens)
            found[row["model"]] = one if row["model"] not in found else found[row["model"]].plus(one)
    return found
