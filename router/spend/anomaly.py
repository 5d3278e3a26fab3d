"""Spend that is not as usual: sudden, slow or by somebody new; with what changed, and when it is over.

Three rules, each pure:

- `sudden`: the last 15 minutes, hour, 6 and 24 hours against the times of the week that are like them;
- `slow`: CUSUM (Page 1954) of a day's cost a call, and of a day's cost beyond steady growth, over two weeks;
- `new`: a value of a tag that was never seen, with a share of the spend that matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from statistics import median
from typing import Literal

from router.spend.baseline import WEEK, Baseline, is_weekend
from router.spend.decompose import Sums, changes, main_cause

WINDOWS = (1, 6, 24)
"""Hours that are looked at together."""
RECORD = 1.5
"""Against the dearest such times that there were: costs of runs have heavy tails, so that records fall by chance. What
comes every week at some hour is no alarm, either."""
DOUBTED_DAYS = 4
"""The record of so many days is worth half of one that stands for ever."""
WATCHED_DAYS = 14
"""Days over which a slow change adds up; what was before them is the reference."""
LEAST_REFERENCE = 9
LEAST_DAYS = 7
"""Known before a value is new."""
DOUBT = 1.0
"""Added to the slack over the square root of the days that a middle rests on: an error in it adds up, too."""
SLACK = {"unit": 0.5, "spend": 1.0}
"""Standard deviations a day that a slow change must exceed."""
ALARM = 5.0
"""Sum of standard deviations beyond the slack that is an alarm."""
GROWTH = 0.01
"""Growth a day of a scope's spend that is no news."""
LEAST_RISE = {"unit": 0.15, "spend": 0.30}
"""Smaller rises are not told, however sure they are."""
LEAST_SCATTER = 0.03
NEW_SHARE = 0.02
"""Of the day's whole spend that a new value must have."""

Kind = Literal["sudden", "slow", "new"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as usual."""

    kind: Kind
    scope: Mapping[str, str]
    """Tag and value."""
    about: str
    """`spend` of the time from `since` to `until`, cost of a call (`unit`), or of a `day`."""
    usd: float
    expected_usd: float
    """What was usual, for as long a time."""
    score: float
    threshold: float
    since: float
    """When it began, in hours since 1970."""
    until: float
    """The moment of judgement."""
    basis: str
    """How much history it rests on."""
    parts: Mapping[str, Decimal] = field(default_factory=dict)
    """What changed, in USD by factor; they sum to the change between what came and what was before."""

    @property
    def key(self) -> str:
        """The same for as long as it lasts."""
        return f"{self.kind} {self.about if self.kind == 'slow' else 'spend'} " + ",".join(
            f"{name}={value}" for name, value in sorted(self.scope.items())
        )

    def shown(self) -> str:
        """One line."""
        where = ", ".join(f"{name} {value}" for name, value in self.scope.items()) or "everything"
        why = f"; mostly {main_cause(self.parts)}: " + _listed(self.parts) if self.parts else ""
        if self.kind == "new":
            return f"{where} is new and spent ${self.usd:.4g} ({self.score:.0%} of the day's spend); {self.basis}"
        hours = f"{self.until - self.since:g} hours" if self.until - self.since >= 1 else "15 minutes"
        what = {"unit": "a call costs", "spend": f"{hours.replace('1 hours', 'an hour')} cost", "day": "a day costs"}
        is_idle = self.expected_usd < self.usd / 1_000
        usual = "usually next to nothing" if is_idle else (
            f"{self.usd / self.expected_usd:.3g} times the usual ${self.expected_usd:.4g}"
        )  # fmt: skip
        return f"{where}: {what[self.about]} ${self.usd:.4g}, {usual} ({self.kind}, {self.basis}){why}"


def sudden(
    scope: Mapping[str, str], baselines: Sequence[Baseline], now: float, spent: Callable[[float], float],
    least_usd: float = 0.0,
) -> Finding | None:  # fmt: skip
    """Judge what was spent lately, over the windows of some baselines and over 15 minutes.

    Args:
        scope: tag and value.
        baselines: learned from whole hours before; that of one hour serves the last quarter, too.
        now: hours since 1970.
        spent: USD of the last so many hours.
        least_usd: a smaller excess is not told.
    """
    looks = [(baseline, float(baseline.window)) for baseline in baselines]
    looks += [(baseline, 0.25) for baseline in baselines if baseline.window == 1]
    for baseline, hours in looks:
        usd, expected = spent(hours), hours * baseline.expected_usd(now)
        score, limit = baseline.score(now, usd / hours), baseline.threshold
        # A quarter must cost more than the dearest hours did, because single runs may fill it.
        record = RECORD * (1 + DOUBTED_DAYS * 24 / baseline.hours) * baseline.record_usd
        least = max(least_usd + expected, record * max(1.0, hours))
        if score > limit and usd > least:
            return Finding(
                kind="sudden", scope=scope, about="spend", usd=usd, expected_usd=expected, score=score,
                threshold=limit, since=now - hours, until=now, basis=baseline.basis,
            )  # fmt: skip
    return None


def slow(scope: Mapping[str, str], first_day: int, days: Sequence[tuple[float, float]]) -> list[Finding]:
    """Judge whole days, given as calls and USD.

    Args:
        scope: tag and value.
        first_day: since 1970.
        days: consecutive, the last one ended; too few make no finding.
    """
    found = []
    known = {
        "unit": [(day, math.log(usd / calls)) for day, (calls, usd) in enumerate(days, first_day) if calls and usd > 0],
        "spend": [(day, math.log(usd)) for day, (_, usd) in enumerate(days, first_day) if usd > 0],
    }
    for about, values in known.items():
        start = first_day + len(days) - WATCHED_DAYS
        reference = [(day, value) for day, value in values if day < start]
        watched = [(day, value) for day, value in values if day >= start]
        if len(reference) < LEAST_REFERENCE:
            continue
        middles = {weekend: _middle(reference, weekend=weekend) for weekend in (False, True)}
        growth, centre = (GROWTH if about == "spend" else 0.0), sum(day for day, _ in reference) / len(reference)
        rests = [value - middles[is_weekend(day)] for day, value in reference]
        # Of few days the scatter is not known well.
        scatter = max(LEAST_SCATTER, 1.4826 * median(abs(rest) for rest in rests)) * (1 + 3 / len(reference))
        alike = {weekend: sum(is_weekend(day) == weekend for day, _ in reference) for weekend in (False, True)}
        total, since, logs = 0.0, start, list[float]()
        for day, value in watched:
            rise = value - middles[is_weekend(day)] - growth * (day - centre)
            step = max(-3.0, min(3.0, rise / scatter))  # one day alone is a matter of `sudden`
            slack = SLACK[about] + DOUBT / math.sqrt(max(1, alike[is_weekend(day)]))
            total = max(0.0, total + step - slack)
            if total == 0.0:
                since, logs = day + 1, []
            else:
                logs.append(rise)
        if total > ALARM and logs and (rise := median(logs[-5:])) > math.log1p(LEAST_RISE[about]):
            day, value = watched[-1]
            found.append(
                Finding(
                    kind="slow", scope=scope, about="unit" if about == "unit" else "day", usd=math.exp(value),
                    expected_usd=math.exp(value - rise), score=total, threshold=ALARM, since=since * 24.0,
                    until=(first_day + len(days)) * 24.0,
                    basis=f"{len(reference)} days before {len(watched)}",
                )
            )  # fmt: skip
    return found


def new(scope: Mapping[str, str], usd: float, all_usd: float, known_days: int, now: float) -> Finding | None:
    """Judge a value that was not there in the days before the last one.

    Args:
        scope: tag and value.
        usd: its spend in the last 24 hours.
        all_usd: everybody's.
        known_days: how many days are known; below a week everything is new.
        now: hours since 1970.
    """
    share = usd / all_usd if all_usd > 0 else 0.0
    if known_days < LEAST_DAYS or share < NEW_SHARE:
        return None
    return Finding(
        kind="new", scope=scope, about="day", usd=usd, expected_usd=0.0, score=share, threshold=NEW_SHARE,
        since=now - 24, until=now, basis=f"{known_days} days known",
    )  # fmt: skip


def compared(finding: Finding) -> tuple[tuple[float, float], list[tuple[float, float]]]:
    """Which stretch of time is explained by which earlier ones: from and to, in hours since 1970.

    A sudden rise is explained by the same hours of the four weeks before, a slow one (the last week of it) by the two
    weeks before it began: whole weeks, so that no week-end is taken for a change.
    """
    start, end = finding.since, finding.until
    if finding.kind == "slow":
        begun = min(start, end - WEEK)
        return (end - WEEK, end), [(begun - 2 * WEEK, begun)]
    return (start, end), [(start - week * WEEK, end - week * WEEK) for week in (1, 2, 3, 4)]


def explained(
    finding: Finding, before: Mapping[str, Sums], after: Mapping[str, Sums],
    rates: Mapping[str, Mapping[str, float]] | None = None,
) -> Finding:  # fmt: skip
    """The finding with what changed; `before` is for as long a time as `after`.

    What is told of the cost of a call is told for as many calls as there were, so that their number is no change.
    """
    if finding.about == "unit":
        was, came = (sum(one.calls for one in side.values()) for side in (before, after))
        before = {model: one.scaled(came / was) for model, one in before.items()} if was else before
    return replace(finding, parts=changes(before, after, rates))


def _middle(values: Sequence[tuple[int, float]], *, weekend: bool) -> float:
    alike = [value for day, value in values if is_weekend(day) == weekend]
    return median(alike if len(alike) >= 2 else [value for _, value in values])


def _listed(parts: Mapping[str, Decimal]) -> str:
    """Those that matter."""
    least = max(abs(usd) for usd in parts.values()) / 100
    told = sorted(((name, usd) for name, usd in parts.items() if abs(usd) > least), key=lambda part: -abs(part[1]))
    return ", ".join(f"{name} {'+' if usd >= 0 else '-'}${abs(usd):.4g}" for name, usd in told)
