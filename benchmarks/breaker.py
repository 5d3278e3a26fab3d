"""How fast the run breaker stops planted loops, and how often it stops a normal run, on a simulated month.

Every call of the month goes through the breaker's own code in the order of time: limits are learned anew each
simulated hour from the runs before (as a process learns them every five minutes), normal runs are judged as they come.
Loops of one, two and three calls, with and without a growing context, are planted in every workflow after the first
ten days, and in the first hours, where nothing is known yet. A loop can be recognised from the first call of its second
lap on, in a workflow whose honest runs go in such circles once it has passed them; counted are the calls that are sent
from there to the stop. The breaker is on from the first call, or after a week in shadow. Beside it two simple rules: a
run may make at most 50 calls (litellm's `max_iterations`), and may cost at most 10 times its workflow's median run.

    python benchmarks/breaker.py [--seeds 3] [--days 30]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from _results import write
from _traffic import DAY_S, WORKFLOWS, Plant, SimCall, traffic

from router._request import chat_request
from router.spend.breaker import READINGS, Breaking, Limit, RunState, Trip, learned_limits, trip_of
from router.spend.ledger import Ledger
from router.spend.runs import HISTORY_RUNS, OVER_US, SHADOW_FACTOR, Breaker
from router.types import Attempt, Usage

KINDS = tuple((lap, grows) for lap in (1, 2, 3) for grows in (False, True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--days", type=int, default=30)
    options = parser.parse_args()
    figures: dict[str, Any] = {"days": options.days, "seeds": options.seeds}
    normal = [traffic(options.days, seed) for seed in range(options.seeds)]
    figures["normal_on_at_once"] = [judged(calls, 0) for calls in normal]
    figures["normal_after_a_week_in_shadow"] = [judged(calls, 7) for calls in normal]
    figures["baselines"] = [baselines(calls) for calls in normal]
    figures["loops_on_at_once"] = [planted(options.days, seed, 0) for seed in range(options.seeds)]
    figures["loops_after_a_week_in_shadow"] = [planted(options.days, seed, 7) for seed in range(options.seeds)]
    figures["check_ms"] = check_time()
    for name, found in figures.items():
        print(name, found)
    print(write("breaker", figures))


class Watch:
    """The breaker's state machine over simulated time."""

    def __init__(self, shadow_days: float) -> None:
        self._shadow_s = shadow_days * DAY_S
        self._states: dict[str, RunState] = defaultdict(RunState)
        self._peaks: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
        self._seen_s: dict[str, float] = {}
        self._limits: dict[tuple[str, int], dict[str, Limit]] = {}
        self.tripped: dict[str, tuple[Trip, bool]] = {}
        """By run: why, and whether it was in shadow."""

    def sees(self, call: SimCall) -> bool:
        """Judge one call; whether it is sent."""
        run = call.run_id
        trip, in_shadow = self.tripped.get(run, (None, True))
        if not in_shadow:
            return False
        state = self._states[run].asked(call.prompt)
        if trip is None and (found := trip_of(state.readings(call.at_s), self._learned(call))):
            in_shadow = call.at_s < self._shadow_s
            self.tripped[run] = found, in_shadow
            if not in_shadow:
                self._peaks[call.workflow].pop(run, None)
                return False
        end_s = call.at_s + call.latency_s
        state = state.paid(call.cost_usd, call.input_tokens, end_s)
        self._states[run], self._seen_s[run] = state, end_s
        known = self._peaks[call.workflow]
        before, now = known.pop(run, None), state.readings(end_s)  # the run seen last stands last
        known[run] = now if before is None else {name: max(before[name], now[name]) for name in READINGS}
        return True

    def longest_circle(self, workflow: str, now_s: float) -> float:
        """The longest that a run of a workflow has shown so far, of those that count as normal."""
        known = self._peaks[workflow].items()
        return max((peaks["cycle"] for run, peaks in known if self._counts(run, peaks, now_s)), default=0)

    def _learned(self, call: SimCall) -> dict[str, Limit]:
        key = call.workflow, int(call.at_s // 3600)
        if key not in self._limits:
            known = self._peaks[call.workflow].items()
            runs = [peaks for run, peaks in known if self._counts(run, peaks, call.at_s)][-HISTORY_RUNS:]
            self._limits[key] = learned_limits({n: [run[n] for run in runs] for n in READINGS}, Breaking())
        return self._limits[key]

    def _counts(self, run: str, peaks: dict[str, float], now_s: float) -> bool:
        if run not in self.tripped:
            return True
        trip, _ = self.tripped[run]
        return self._seen_s[run] < now_s - OVER_US / 1e6 and peaks[trip.reason] < SHADOW_FACTOR * trip.limit


def judged(calls: list[SimCall], shadow_days: float) -> dict[str, Any]:
    """Share of normal runs that are stopped, by workflow and reason; in shadow, that would have been."""
    watch = Watch(shadow_days)
    began: dict[tuple[str, str], float] = {}
    for call in calls:
        began.setdefault((call.workflow, call.run_id), call.at_s)
        watch.sees(call)
    on = {key for key, at_s in began.items() if at_s >= shadow_days * DAY_S}
    runs: dict[str, int] = defaultdict(int)
    stopped: dict[str, int] = defaultdict(int)
    for workflow, run in on:
        runs[workflow] += 1
        stopped[workflow] += run in watch.tripped
    return {
        "runs": len(on),
        "stopped": sum(stopped.values()),
        "false_trip_share": round(sum(stopped.values()) / len(on), 5),
        "by_workflow": {workflow: round(stopped[workflow] / runs[workflow], 5) for workflow in runs},
        "reasons": _counted(f"{w}: {watch.tripped[run][0].reason}" for w, run in on if run in watch.tripped),
        "told_in_shadow": sum(in_shadow for _, in_shadow in watch.tripped.values()),
        "runs_in_shadow": len(began) - len(on),
    }


def planted(days: int, seed: int, shadow_days: float) -> dict[str, Any]:
    """Calls that each planted loop still sends once it can be recognised."""
    plants = []
    for number, workflow in enumerate(WORKFLOWS):
        start = workflow.starts_day * DAY_S
        if start >= shadow_days * DAY_S:  # nothing is known yet
            plants.append(Plant(kind="loop", workflow=workflow.name, start_s=start + 3600 * 6))
        for turn, (lap, grows) in enumerate(KINDS):
            at_s = start + DAY_S * (min(10, days / 3) + turn * 0.7) + 3600 * number
            if at_s < days * DAY_S:
                plants.append(Plant(kind="loop", workflow=workflow.name, start_s=at_s, lap=lap, grows=grows))
    watch = Watch(shadow_days)
    seen: dict[str, dict[str, Any]] = {}
    for call in traffic(days, seed, plants):
        if call.planted != "loop":
            watch.sees(call)
            continue
        one = seen.setdefault(call.run_id, {
            "workflow": call.workflow, "began": call.at_s, "sent": 0, "usd": 0.0, "lost_usd": 0.0,
            "normal": watch.longest_circle(call.workflow, call.at_s),
        })  # fmt: skip
        is_sent = watch.sees(call)
        one["sent"] += is_sent
        one["usd" if is_sent else "lost_usd"] += call.cost_usd
        if not is_sent:
            one.setdefault("ended", call.at_s)
    late = {run: one["sent"] - max(0, one["normal"] - 1) for run, one in seen.items()}
    took = [one["ended"] - one["began"] for one in seen.values() if "ended" in one]
    most: dict[str, int] = defaultdict(int)
    for one in seen.values():
        most[one["workflow"]] = max(most[one["workflow"]], one["sent"])
    return {
        "loops": len(seen),
        "stopped": len(took),
        "sent_from_second_lap": {
            "median": statistics.median(one["sent"] for one in seen.values()), "most_by_workflow": dict(most),
        },
        "sent_once_recognisable": {"median": statistics.median(late.values()), "most": max(late.values())},
        "within_10_calls_of_second_lap": sum(one["sent"] <= 10 for one in seen.values()),
        "within_10_calls_once_recognisable": sum(calls <= 10 for calls in late.values()),
        "seconds": {"median": round(statistics.median(took), 1), "most": round(max(took), 1)},
        "cost_share_kept_back": round(
            sum(one["lost_usd"] for one in seen.values())
            / sum(one["usd"] + one["lost_usd"] for one in seen.values()), 3,
        ),
        "reasons": _counted(watch.tripped[run][0].reason for run in seen if run in watch.tripped),
    }  # fmt: skip


def baselines(calls: list[SimCall]) -> dict[str, Any]:
    """Normal runs that two simple rules would stop."""
    counts: dict[str, int] = defaultdict(int)
    costs: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for call in calls:
        counts[call.run_id] += 1
        costs[call.workflow][call.run_id] += call.cost_usd
    dear = sum(
        cost > 10 * median
        for runs in costs.values()
        for median in [statistics.median(runs.values())]
        for cost in runs.values()
    )
    return {
        "at_most_50_calls": round(sum(count > 50 for count in counts.values()) / len(counts), 5),
        "at_most_10_medians": round(dear / len(counts), 5),
    }


def check_time(calls: int = 2000) -> dict[str, float]:
    """Median milliseconds of a check and of hearing the cost, in the ledger's file."""
    attempt = Attempt(
        model="m", call="fake/m", outcome="ok", cost_usd=Decimal("0.01"), usage=Usage(input_tokens=9, output_tokens=9)
    )
    text = "a question of some length, with a few numbers such as 17 and 18. " * 50
    checks, heard = [], []
    with tempfile.TemporaryDirectory() as name:
        ledger = Ledger(Path(name) / "ledger.sqlite3")
        breaker = Breaker(Breaking(mode="shadow"), ledger.runs, b"k" * 32)
        for number in range(calls):
            request = chat_request([{"role": "user", "content": text + str(number)}], workflow="w",
                                   run_id=f"r{number // 40}")  # fmt: skip
            start = time.perf_counter()
            breaker.check(request)
            middle = time.perf_counter()
            breaker.paid(request, [attempt])
            checks.append(middle - start)
            heard.append(time.perf_counter() - middle)
        ledger.close()
    return {"check": round(statistics.median(checks) * 1e3, 3), "paid": round(statistics.median(heard) * 1e3, 3)}


def _counted(names: Any) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[name] += 1
    return dict(counts)


if __name__ == "__main__":
    main()
