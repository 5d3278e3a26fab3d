"""Forecasts of daily spend against peers, on simulated traffic: how far off, and how often the truth lies within.

Series are workflows, teams and the total of `_traffic`, by seed, with and without planted faults in the past (a surge
of two days, a runaway loop, a price that doubles, traffic that moves to another model). Each is forecast from several
days on. Peers in the same run: seasonal naive (last week again), drift (the line from the first to the last value),
drift by week (last week again, moved on by the mean weekly change), and the means of the last four weeks by weekday.

MASE: mean absolute error of the days over the mean absolute difference of days a week apart in the past (Hyndman and
Koehler 2006). Total: absolute error of the sum of the days, as a share. Coverage: share of the true sums within 90 %.

    python benchmarks/forecast.py [--seeds 12] [--horizons 7,30]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from _results import write
from _traffic import DAY_S, WORKFLOWS, Plant, hourly, traffic
from numpy.typing import NDArray

from router.spend.daily import LEAST_DAYS, futures

Array = NDArray[np.float64]
DAYS = 120
CALLS = 0.6
"""Volume, so that a run takes minutes: smaller workflows are noisier ones."""
ORIGINS = (14, 28, 45, 60, 90)
FAULTS: dict[str, tuple[Plant, ...]] = {
    "none": (),
    "surge": (Plant(kind="surge", workflow="support", start_s=20 * DAY_S, end_s=22 * DAY_S, size=4.0),),
    "loop": (Plant(kind="loop", workflow="coder", start_s=12 * DAY_S, size=400.0),),
    "price": (Plant(kind="price", workflow="", value="large", start_s=25 * DAY_S, size=2.0),),
    "models": (Plant(kind="models", workflow="support", value="large", start_s=40 * DAY_S, size=0.5),),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--horizons", default="7,30")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in range(arguments.seeds):
        fault = list(FAULTS)[seed % len(FAULTS)]
        for name, days in series(seed, fault):
            for horizon in map(int, arguments.horizons.split(",")):
                rows += [{"fault": fault, **row} for row in judged(name, days, horizon)]
    figures = {"seeds": arguments.seeds, "forecasts": len(rows), "tables": {}}
    for key in ("horizon", "fault", "origin", "series"):
        figures["tables"][key] = table = summary(rows, key)
        for row in table:
            print("  ".join(f"{name} {one:.3g}" if isinstance(one, float) else f"{name} {one}"
                            for name, one in row.items()), flush=True)  # fmt: skip
    print(write("forecast", figures))


def series(seed: int, fault: str) -> Iterator[tuple[str, Array]]:
    """Spend by day of each workflow, each team and all together."""
    from dataclasses import replace

    smaller = [replace(one, runs_a_day=one.runs_a_day * CALLS) for one in WORKFLOWS]
    calls = traffic(DAYS, seed, FAULTS[fault], smaller)
    for by in ("workflow", "team"):
        for name, hours in hourly(calls, DAYS, by).items():
            yield f"{by} {name}", hours.reshape(DAYS, 24).sum(axis=1)
    yield "total", np.asarray(sum(hourly(calls, DAYS).values())).reshape(DAYS, 24).sum(axis=1)


PEERS: dict[str, Callable[[Array, int], Array]] = {
    "seasonal_naive": lambda past, horizon: np.resize(past[-7:], horizon),
    "drift": lambda past, horizon: np.maximum(
        0.0, past[-1] + (past[-1] - past[0]) / (len(past) - 1) * np.arange(1, horizon + 1)
    ),
    "weekly_drift": lambda past, horizon: np.maximum(
        0.0, np.resize(past[-7:], horizon) + np.mean(past[7:] - past[:-7]) * (1 + np.arange(horizon) // 7)
    ),
    "weekday_means": lambda past, horizon: np.resize(
        past[-min(28, len(past) // 7 * 7) :].reshape(-1, 7).mean(axis=0), horizon
    ),
}


def judged(name: str, days: Array, horizon: int) -> Iterator[dict[str, Any]]:
    """One series, forecast from every origin at which it has enough history."""
    began = int(np.flatnonzero(days)[0])
    for origin in ORIGINS:
        past, true = days[began:origin], days[origin : origin + horizon]
        if len(past) < LEAST_DAYS or len(true) < horizon:
            continue
        scale = float(np.abs(past[7:] - past[:-7]).mean())
        paths = futures(past, horizon, weekday=began % 7)
        sums = paths.sum(axis=1)
        low, high = np.quantile(sums, (0.05, 0.95))
        told = {"ours": (np.median(paths, axis=0), float(np.median(sums)))}
        told |= {peer: (made := foresee(past, horizon), float(made.sum())) for peer, foresee in PEERS.items()}
        yield {
            "series": name, "origin": origin, "horizon": horizon,
            "covered": float(low <= true.sum() <= high), "width": float((high - low) / true.sum()),
            **{f"mase {one}": float(np.abs(made - true).mean()) / scale for one, (made, _) in told.items()},
            **{f"total {one}": abs(whole / true.sum() - 1) for one, (_, whole) in told.items()},
        }  # fmt: skip


def summary(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Means of MASE, medians of the totals' errors, coverage and median width of the 90 % intervals."""
    found = []
    for value in dict.fromkeys(row[key] for row in rows):
        group = [row for row in rows if row[key] == value]
        figures: dict[str, Any] = {key: value, "n": len(group)}
        for one in group[0]:
            taken = [row[one] for row in group]
            if one.startswith("mase ") or one == "covered":
                figures[one] = float(np.mean(taken))
            elif one.startswith("total ") or one == "width":
                figures[one] = float(np.median(taken))
        found.append(figures)
    return found


if __name__ == "__main__":
    main()
