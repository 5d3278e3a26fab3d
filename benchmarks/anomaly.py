"""Which planted anomalies are found, how soon, and how many alarms are false, on simulated months.

Three kinds of months, each with faults in some of eight workflows, and months without any. From the 15th day on, the
last hour is judged every 15 minutes and whole days once a day, each by what was there before. An alarm is right if a
fault is at work in its workflow, or was two hours before; one that goes on is one alarm. Beside it the rule that
litellm has: a day that costs more than three times the mean of the seven days before, looked at every hour (without its
least amount of $10, which these workflows seldom reach).

    python benchmarks/anomaly.py [--months 4]
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Any

from _results import write
from _traffic import DAY_S, EPOCH_S, PRICES, Plant, SimCall, traffic

from router.spend.anomaly import WINDOWS, Finding, compared, explained, new, slow, sudden
from router.spend.baseline import Baseline, learn
from router.spend.decompose import Sums, main_cause

DAYS = 35
FROM_DAY = 14
QUARTERS = 96
HOUR0 = EPOCH_S // 3600
QUIET = 8
"""Quarters without a finding after which it is over; of daily ones, three days."""
HOUR_S = 3600.0


def plant(kind: Any, workflow: str, day: float, days: float = 99, size: float = 1.0, **more: Any) -> Plant:
    """A fault, its time in days."""
    return Plant(kind=kind, workflow=workflow, start_s=day * DAY_S, end_s=(day + days) * DAY_S, size=size, **more)


MONTHS: dict[str, list[Plant]] = {
    "nothing": [],
    "bursts": [
        plant("surge", "support", 22.42, 0.25, 3.0),
        plant("surge", "triage", 25.5, 1 / 12, 10.0),
        plant("surge", "ingest", 23.05, 0.2, 8.0),
        plant("loop", "coder", 23.4, 0.2, 50.0, lap=2),
        plant("surge", "research", 27.1, 0.5, 3.0),
    ],
    "changes": [
        plant("drift", "support", 20, size=0.05),
        plant("mix", "extract", 23, size=2.0),
        plant("models", "triage", 24, size=0.5, value="large"),
        plant("new", "coder", 26.4, size=0.5),
        plant("drift", "research", 18, size=0.08),
    ],
    "prices": [plant("price", "", 22, size=1.4, value="large"), plant("drift", "extract", 20, size=0.03)],
}
CAUSES = {"surge": "volume", "loop": "volume", "new": "volume", "drift": "tokens", "mix": "token mix",
          "models": "models", "price": "price"}  # fmt: skip
USERS_OF_LARGE = ("coder", "research", "support")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=4, help="of each kind")
    options = parser.parse_args()
    rules: dict[str, Callable[[Month], list[Alarm]]] = {"clearbar": watched, "three_times_seven_days": naive}
    tallies = {name: Tally() for name in rules}
    for number, (kind, plants) in enumerate(MONTHS.items()):
        for seed in range(options.months):
            month = Month(traffic(DAYS, 10_000 * (number + 1) + seed, plants))
            for name, rule in rules.items():
                tallies[name].add(kind, plants, rule(month), month)
        print(kind, {name: tally.shown(kind) for name, tally in tallies.items()})
    figures = {name: tally.figures(options.months) for name, tally in tallies.items()}
    for name, found in figures.items():
        print(name, found)
    print(write("anomaly", {"days": DAYS, "months_of_each_kind": options.months, **figures}))


@dataclass(frozen=True)
class Alarm:
    """One alarm, from the moment it is raised."""

    workflow: str
    at_s: float
    rule: str
    cause: str = ""
    text: str = ""


class Month:
    """A month's calls, summed by quarter of an hour."""

    def __init__(self, calls: list[SimCall]) -> None:
        self.calls = calls
        self.usd: dict[str, list[float]] = defaultdict(lambda: [0.0] * DAYS * QUARTERS)
        self.counts: dict[str, list[int]] = defaultdict(lambda: [0] * DAYS * QUARTERS)
        self.by_customer: dict[str, list[float]] = defaultdict(lambda: [0.0] * DAYS)
        self.by_workflow: dict[str, list[SimCall]] = defaultdict(list)
        self.loop_ends_s: dict[str, float] = {}
        for call in calls:
            if call.at_s < DAYS * DAY_S:
                quarter = int(call.at_s // 900)
                self.usd[call.workflow][quarter] += call.cost_usd
                self.counts[call.workflow][quarter] += 1
                self.by_customer[call.customer][quarter // QUARTERS] += call.cost_usd
                self.by_workflow[call.workflow].append(call)
                if call.planted == "loop":
                    self.loop_ends_s[call.workflow] = call.at_s

    def models(self, workflow: str, spans: Iterable[tuple[float, float]], scale: float) -> dict[str, Sums]:
        """Sums by model over spans of hours since 1970, scaled."""
        found: dict[str, list[float]] = {}
        inside = [((start - HOUR0) * HOUR_S, (end - HOUR0) * HOUR_S) for start, end in spans]
        for call in self.by_workflow[workflow]:
            if any(start <= call.at_s < end for start, end in inside):
                row = found.setdefault(call.model, [0.0] * 5)
                for place, value in enumerate(
                    (1, call.cost_usd, call.input_tokens - call.cached_tokens, call.cached_tokens, call.output_tokens)
                ):
                    row[place] += value * scale
        return {
            model: Sums(calls=row[0], cost_usd=row[1],
                        tokens={"input": row[2], "cached_input": row[3], "output": row[4]})
            for model, row in found.items()
        }  # fmt: skip


RATES = {name: {"input": read, "cached_input": read / 10, "output": made} for name, (read, made) in PRICES.items()}


def watched(month: Month) -> list[Alarm]:
    """The product's rules, one alarm for as long as a finding stays."""
    alarms = []
    for workflow, usd in month.usd.items():
        counts, scope = month.counts[workflow], {"workflow": workflow}
        first = next(place for place, value in enumerate(usd) if value) // QUARTERS
        sums = [0.0, *accumulate(usd)]
        baselines: list[Baseline] = []
        until: dict[str, int] = {}
        for quarter in range(FROM_DAY * QUARTERS, DAYS * QUARTERS):
            found: list[tuple[Finding, int]] = []
            now = HOUR0 + (quarter + 1) / 4
            if quarter % QUARTERS == 0:
                hours = [sum(usd[place : place + 4]) for place in range(first * QUARTERS, quarter, 4)]
                baselines = [one for window in WINDOWS if (one := learn(HOUR0 + first * 24, hours, window))]
                days = [(sum(counts[place : place + QUARTERS]), sum(usd[place : place + QUARTERS]))
                        for place in range((first + 1) * QUARTERS, quarter, QUARTERS)]  # fmt: skip
                found += [(one, 3 * QUARTERS) for one in slow(scope, HOUR0 // 24 + first + 1, days)]
            spent = partial(_spent, sums, quarter + 1)
            one = sudden(scope, baselines, now, spent, 0.02)
            found += [(one, QUIET)] if one else []
            for one, stays in found:
                if until.get(one.key, -1) < quarter:
                    cause = caused(month, workflow, one)
                    alarms.append(Alarm(workflow, (quarter + 1) * 900.0, one.kind, cause, one.shown()))
                until[one.key] = quarter + stays
    return alarms + strangers(month)


def _spent(sums: list[float], end: int, hours: float) -> float:
    return sums[end] - sums[end - int(4 * hours)]


def caused(month: Month, workflow: str, finding: Finding) -> str:
    """What the decomposition says."""
    after, before = compared(finding)
    before = [(max(HOUR0, start), end) for start, end in before if end > HOUR0]
    if not before:
        return "nothing to compare with"
    scale = (after[1] - after[0]) / sum(end - start for start, end in before)
    told = explained(finding, month.models(workflow, before, scale), month.models(workflow, [after], 1.0), RATES)
    return main_cause(told.parts)


def strangers(month: Month) -> list[Alarm]:
    """Customers never seen, in their first three days."""
    alarms = []
    for customer, usd in month.by_customer.items():
        first = next(day for day, value in enumerate(usd) if value)
        for day in range(max(first, FROM_DAY), min(first + 3, DAYS)):
            total = sum(row[day] for row in month.by_customer.values())
            one = new({"customer": customer}, usd[day], total, first, HOUR0 + 24.0 * (day + 1))
            if one is not None:
                workflow = customer.partition("-")[2] or customer
                alarms.append(Alarm(workflow, (day + 1) * float(DAY_S), "new", "volume", one.shown()))
                break
    return alarms


def naive(month: Month) -> list[Alarm]:
    """More than three times the mean of seven days, once a day."""
    alarms = []
    for workflow, usd in month.usd.items():
        for day in range(FROM_DAY, DAYS):
            usual = sum(usd[(day - 7) * QUARTERS : day * QUARTERS]) / 7
            for hour in range(1, 25):
                end = day * QUARTERS + 4 * hour
                if usual > 0 and sum(usd[day * QUARTERS : end]) > 3 * usual:
                    alarms.append(Alarm(workflow, end * 900.0, "naive"))
                    break
    return alarms


@dataclass
class Tally:
    """Alarms against faults."""

    right: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)
    found: dict[str, list[float | None]] = field(default_factory=lambda: defaultdict(list))
    """Hours until the first alarm, by kind of fault; None: never."""
    causes: list[tuple[str, str]] = field(default_factory=list)
    by_kind: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    def add(self, kind: str, plants: list[Plant], alarms: list[Alarm], month: Month) -> None:
        """Count a month."""
        first: dict[int, float] = {}
        for alarm in sorted(alarms, key=lambda one: one.at_s):
            number = next((n for n, one in enumerate(plants) if _is_at_work(one, alarm, month)), None)
            self.by_kind[kind][number is None] += 1
            if number is None:
                self.wrong.append((kind, alarm.text))
                continue
            self.right += 1
            if alarm.cause:
                self.causes.append((plants[number].kind, alarm.cause))
            first.setdefault(number, (alarm.at_s - plants[number].start_s) / 3600)
        for number, one in enumerate(plants):
            self.found[f"{one.kind} {one.size:g} {one.workflow}".strip()].append(first.get(number))

    def shown(self, kind: str) -> dict[str, int]:
        """Right and wrong alarms of a kind of month."""
        return dict(zip(("right", "wrong"), self.by_kind[kind], strict=True))

    def figures(self, months: int) -> dict[str, Any]:
        """As told."""
        delays = [delay for delays in self.found.values() for delay in delays]
        hits = sum(delay is not None for delay in delays)
        agreed = sum(CAUSES[kind] == cause for kind, cause in self.causes)
        workflow_weeks = months * len(MONTHS) * 8 * (DAYS - FROM_DAY) / 7
        return {
            "precision": round(self.right / max(1, self.right + len(self.wrong)), 3),
            "recall": round(hits / len(delays), 3),
            "false_alarms": len(self.wrong),
            "false_alarms_a_workflow_and_week": round(len(self.wrong) / workflow_weeks, 4),
            "cause_right": round(agreed / len(self.causes), 3) if self.causes else None,
            "found": {name: _delays(delays) for name, delays in self.found.items()},
            "wrong": [f"{kind}: {text}" for kind, text in self.wrong][:40],
            "wrong_causes": sorted({f"{k}: {c}" for k, c in self.causes if CAUSES[k] != c}),
        }


def _delays(delays: list[float | None]) -> dict[str, Any]:
    known = [delay for delay in delays if delay is not None]
    return {"found": len(known), "of": len(delays),
            "median_hours": round(statistics.median(known), 1) if known else None}  # fmt: skip


def _is_at_work(one: Plant, alarm: Alarm, month: Month) -> bool:
    mine = alarm.workflow in USERS_OF_LARGE if one.kind == "price" else alarm.workflow == one.workflow
    end_s = month.loop_ends_s.get(one.workflow, one.end_s) if one.kind == "loop" else one.end_s
    return mine and one.start_s <= alarm.at_s <= end_s + 2 * HOUR_S


if __name__ == "__main__":
    main()
