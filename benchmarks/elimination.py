"""Calls that sequential elimination needs, beside a fixed-size design, on recorded outcomes.

The fixed-size design asks every candidate n samples, with n such that a candidate `--ahead` above the bar passes the
exact test (Clopper-Pearson, 95 %) with a chance of 80 %. The race may ask two fifths more (`--stretch`), but drops whom
it can. Both see the same random orders of the same answers. A certification is right if the candidate's mean
over all recorded queries reaches the bar. Two goals: a verdict on everyone, and the cheapest model that holds the bar.

    python benchmarks/elimination.py FILE [--orders 200] [--ahead 0.05]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _results import write
from numpy.typing import NDArray

from evals.sequential import Race
from evals.stats import samples_for_power, successes_needed
from router.outcomes import read_outcomes

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
BARS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65)
ALPHA = 0.05
GOALS = ("all", "cheapest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outcomes", type=Path)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--ahead", type=float, nargs="+", default=[0.03, 0.05])
    parser.add_argument("--stretch", type=float, default=1.4)
    arguments = parser.parse_args()
    quality = by_price(arguments.outcomes)
    print(f"{quality.shape[0]} queries, {quality.shape[1]} candidates")
    designs = [
        design(quality, ahead, arguments.stretch, arguments.orders, is_replaced)
        for ahead in arguments.ahead
        for is_replaced in (False, True)
    ]
    for one in designs:
        for goal in GOALS:
            print(f"ahead {one['ahead']}, {one['draws']}, goal {goal}: {one[goal]['total']}")
    print(write("elimination", {"outcomes": arguments.outcomes.stem, "orders": arguments.orders, "designs": designs}))


def by_price(path: Path) -> Array:
    """Quality of shape (n_queries, n_models), the cheapest model by mean cost first; 0 or 1."""
    rows = read_outcomes(path).select(["query_id", "model", "quality", "cost_usd"]).to_pylist()
    queries = {name: i for i, name in enumerate(dict.fromkeys(row["query_id"] for row in rows))}
    models = {name: i for i, name in enumerate(dict.fromkeys(row["model"] for row in rows))}
    quality, cost = np.full((len(queries), len(models)), np.nan), np.zeros(len(models))
    for row in rows:
        quality[queries[row["query_id"]], models[row["model"]]] = row["quality"]
        cost[models[row["model"]]] += row["cost_usd"]
    assert not np.isnan(quality).any(), "every model must have answered every query"
    assert set(np.unique(quality)) <= {0.0, 1.0}, "the fixed-size design is exact for pass/fail only"
    return quality[:, np.argsort(cost)]


def design(quality: Array, ahead: float, stretch: float, orders: int, is_replaced: bool) -> dict[str, Any]:
    """Both designs at every bar; `is_replaced` draws queries with replacement, as if the suite were endless."""
    found: dict[str, Any] = {
        "ahead": ahead,
        "draws": "with replacement" if is_replaced else "random orders",
        **{goal: {"bars": []} for goal in GOALS},
    }
    for bar in BARS:
        n = samples_for_power(bar, bar + ahead, 1 - ALPHA)
        size = int(stretch * n)
        if not is_replaced and size > len(quality):
            size = len(quality)
        truly = quality.mean(0) >= bar
        hold, leave = limits(bar, size)
        passing = successes_needed(bar, n, 1 - ALPHA)
        assert passing is not None
        random = np.random.default_rng(0)
        seen: dict[str, list[list[float]]] = {goal: [] for goal in GOALS}
        for turn in range(orders):
            order = random.integers(0, len(quality), size) if is_replaced else random.permutation(len(quality))[:size]
            right = quality[order].cumsum(0).astype(np.int64)
            fixed = right[n - 1] >= passing
            for goal in GOALS:
                calls, held = raced(right, hold, leave, goal)
                if turn == 0:
                    check(quality[order], bar, size, goal, calls, held)
                chosen = fixed if goal == "all" else fixed & (fixed.cumsum() == 1)
                aims = truly if goal == "all" else truly & (truly.cumsum() == 1)
                seen[goal].append(
                    [n * len(truly), calls.sum(), (chosen & aims).sum(), (held & aims).sum(), (chosen & ~truly).sum(),
                     (held & ~truly).sum(), (~truly).sum() if goal == "all" else 1]
                )  # fmt: skip
        for goal in GOALS:
            found[goal]["bars"].append({"bar": bar, "fixed_n": n, "at_most": size, **figures(np.array(seen[goal]))})
            found[goal].setdefault("rows", []).append(np.array(seen[goal]))
    for goal in GOALS:
        found[goal]["total"] = figures(np.concatenate(found[goal].pop("rows")), scale=len(BARS))
    return found


def figures(rows: Array, scale: int = 1) -> dict[str, float]:
    """Means over orders; wrong certifications as a share of all chances to make one."""
    calls, raced_calls, right, raced_right, wrong, raced_wrong, chances = (float(total) for total in rows.sum(0))
    orders = len(rows) / scale
    return {
        "fixed_calls": round(calls / orders, 1),
        "race_calls": round(raced_calls / orders, 1),
        "share_of_calls": round(raced_calls / calls, 4),
        "fixed_right": round(right / orders, 3),
        "race_right": round(raced_right / orders, 3),
        "fixed_wrong_rate": round(wrong / max(1, chances), 5),
        "race_wrong_rate": round(raced_wrong / max(1, chances), 5),
    }


def limits(bar: float, size: int) -> tuple[Counts, Counts]:
    """Successes that hold and mistakes that end a race after 0, 1, .. size answers, as `Race` decides."""
    race = Race(["it"], bar=bar, size=size)
    return np.array(race.holds_at), np.array(race.leaves_at)


def raced(right: Counts, hold: Counts, leave: Counts, goal: str) -> tuple[Counts, NDArray[np.bool_]]:
    """Calls of each candidate, and who is held."""
    size = len(right)
    asked = np.arange(1, size + 1)[:, None]
    holds, leaves = right >= hold[1:, None], asked - right >= leave[1:, None]
    held_at = np.where(holds.any(0), holds.argmax(0) + 1, size + 1)
    left_at = np.where(leaves.any(0), leaves.argmax(0) + 1, size + 1)
    held = held_at < left_at
    calls = np.minimum(np.minimum(held_at, left_at), size)
    if goal == "cheapest":
        won = np.where(held, held_at, size + 1)
        cheaper = np.minimum.accumulate(np.concatenate([[size + 1], won[:-1]]))
        # Within one turn the cheapest is asked first, so a dearer one is still asked in the turn before the win.
        beaten = cheaper <= np.minimum(held_at, left_at)
        calls = np.where(beaten, np.minimum(calls, cheaper - 1), calls)
        held = held & ~beaten
        # Two may be held before a still cheaper one is: the cheapest of them is the answer.
        held = held & (held.cumsum() == 1)
    return calls, held


def check(quality: Array, bar: float, size: int, goal: str, calls: Counts, held: NDArray[np.bool_]) -> None:
    """The arithmetic above must do what the real race does, call by call."""
    names = [str(i) for i in range(quality.shape[1])]
    race = Race(names, bar=bar, size=size, goal="all" if goal == "all" else "cheapest")
    made = dict.fromkeys(names, 0)
    for row in quality:
        for name in names:
            if race.wants(name):
                race.add(name, float(row[int(name)]))
                made[name] += 1
    winners = [name for name, verdict in race.verdicts().items() if verdict == "held"]
    assert list(made.values()) == calls.tolist(), (bar, goal, made, calls)
    assert (winners if goal == "all" else winners[:1]) == [str(i) for i in np.flatnonzero(held)], (bar, goal)


if __name__ == "__main__":
    main()
