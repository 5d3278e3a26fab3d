"""Whether `clearbar policy simulate` says what a change of policy then does: its 95 % intervals against a real replay.

A third of the queries trains the artifact (used whether or not it was promoted) and gives the evidence. For each of
50 random changes the rest is cut in two: one half is simulated, the other measured, by real `Router`s that answer every
request out of the table under the policy before and the policy after. A change is held where its measured figure lies
in the stated interval, the extrapolated part's included.

In outcome mode the first half is a table. In ledger mode a `Router` that explores 5 to 10 % serves it, every answer
gets its score as feedback, and the ledger is simulated; the policy before is what was done, or the same without
exploring.

The tables have no times, so `latency_s` is made up (0.3 s and a pace of its own for each model's output tokens), in
outcome mode alone. The peer in the same run is the usual interval: mean of the paired differences +- 1.96 standard
errors.

    python benchmarks/simulate.py TABLE [--changes 50] [--mode outcomes|ledger|both]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
from _policy_changes import Author, Bench, Row, altered, budgets, prepared
from _results import write

from router import Router
from router.errors import RouterError
from router.simulate import Comparison, Pair, compare
from router.simulate.outcomes import from_outcomes
from router.simulate.party import Party
from router.simulate.traffic import from_ledger
from router.transports.replay import ReplayTransport

FIGURES = ("cost", "quality", "latency", "denied")
Z = 1.96
REPLAYED = 10
"""Of so many changes the simulated half is answered for real, too: there, every request must come as simulated."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--mode", choices=("outcomes", "ledger", "both"), default="both")
    parser.add_argument("--queries", type=int, default=1_000, help="at most so many are simulated or measured")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"changes": arguments.changes}
    with tempfile.TemporaryDirectory() as place:
        bench = prepared(arguments.table, Path(place), arguments.queries)
        figures["queries"] = len(bench.queries)
        for mode, run in (("outcomes", on_outcomes), ("ledger", on_ledger)):
            if arguments.mode not in (mode, "both"):
                continue
            told: list[dict[str, Any]] = []
            number = 0
            while len(told) < arguments.changes:
                one = run(bench, number)
                number += 1
                # A change that does nothing, in what was simulated and in what came, is no change.
                if one["changed"] or any(row["came"] for row in one["figures"].values()):
                    told.append(one)
                    print(mode, len(told), {name: row["held"] for name, row in one["figures"].items()}, flush=True)
            figures[mode] = summary = summed(told)
            for name, row in summary["figures"].items():
                print(bench.name, mode, name, "  ".join(f"{key} {shown(one)}" for key, one in row.items()))
            print({key: one for key, one in summary.items() if key not in ("figures", "missed")}, flush=True)
    print(write(f"simulate_{bench.name}", figures))


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def halves(bench: Bench, draws: Random) -> tuple[list[Row], list[Row]]:
    queries = list(bench.queries)
    draws.shuffle(queries)
    first = set(queries[: len(queries) // 2])
    return [row for row in bench.rows if row["query_id"] in first], [
        row for row in bench.rows if row["query_id"] not in first
    ]


def on_outcomes(bench: Bench, number: int) -> dict[str, Any]:
    """One change, simulated on a table."""
    draws = Random(number)
    author = Author(bench, draws)
    rules = author.rules()
    before = author.written("before", rules)
    after = author.written("after", author.changed(rules), dearer=author.dearer())
    here, there = halves(bench, draws)
    simulated = from_outcomes(pa.Table.from_pylist(here), Party.load(before), Party.load(after), datetime.now(UTC))
    came = measured(*(served(bench, path, there) for path in (before, after)))
    count = len({row["query_id"] for row in there})
    told = judged(compare(simulated, new_requests=count), simulated.pairs, came)
    if number < REPLAYED:
        told |= {"replayed": len(simulated.pairs), "otherwise": otherwise(simulated.pairs, served(bench, after, here))}
    return told


def otherwise(pairs: Sequence[Pair], came: Mapping[str, dict[str, float] | None]) -> int:
    """Requests that a real router answered otherwise than was simulated of them."""
    sides = [(pair.b, one) for pair, one in zip(pairs, came.values(), strict=True)]
    return sum(
        (side.denied is not None) != (one is None)
        or (one is not None and (side.quality != one["quality"] or abs((side.cost_usd or 0) - one["cost"]) > 1e-9))
        for side, one in sides
    )


def on_ledger(bench: Bench, number: int) -> dict[str, Any]:
    """One change, simulated on a ledger; a third of the policies have the artifact."""
    draws = Random(1_000 + number)
    author = Author(bench, draws)
    share = round(draws.uniform(0.05, 0.1), 3)
    rules = []
    for task in bench.tasks:
        known = {model: bench.quality[task, model][1] for model in draws.sample(bench.models, draws.randint(2, 4))}
        bar = round(draws.uniform(0.6, 0.95) * max(known.values()), 3)
        rules.append({"when": {"task": task}, "candidates": list(known), "bar": {"min": bar, "confidence": 0.9}})
    learned = "artifact" if number % 3 == 0 else None
    learning = {"from_feedback": True, "explore": share}
    keeps = {"data": {"store_text": "full"}} if learned else {}
    exploring = author.written("exploring", rules, artifact=learned, learning=learning, **keeps)
    still = author.written("still", rules, artifact=learned)
    here, there = halves(bench, draws)
    limits = budgets(draws, bench, here, rules)
    after = author.written("after", altered(rules, draws, bench), artifact=learned, **limits)
    is_decided = number % 2 == 0
    state = bench.folder / "first"
    served(bench, exploring, here, state=state, hears=True)
    with Router(still, state) as reading:
        before = Party.load(still) if is_decided else None
        simulated = from_ledger(reading.ledger, before, Party.load(after), datetime.now(UTC), state)
    shutil.rmtree(state)
    base = served(bench, still, there) if is_decided else served(bench, exploring, there, hears=True)
    came = measured(base, served(bench, after, there)) | {"latency": float("nan")}
    count = len({row["query_id"] for row in there})
    return judged(compare(simulated, new_requests=count), simulated.pairs, came)


def served(
    bench: Bench, path: Path, rows: Sequence[Row], *, state: Path | None = None, hears: bool = False
) -> dict[str, dict[str, float] | None]:
    """What a real router makes of each query: its figures, or None where it has no answer."""
    place = state or bench.folder / "served"
    known = {(row["query_id"], row["model"]): row for row in rows}
    queries = {row["query_id"]: row for row in rows}
    found: dict[str, dict[str, float] | None] = {}
    with Router(path, place, ReplayTransport.of_rows(rows, by="prompt")) as router:
        for query, row in queries.items():
            asked = [{"role": "user", "content": row["prompt"]}]
            tags = {"subtask": row["subtask"]} if row.get("subtask") else {}
            try:
                done = router.complete(asked, task=row["task"], tags=tags)
            except RouterError:
                found[query] = None
                continue
            own = known[query, done.model]
            if hears:
                router.record_feedback(done.id, own["quality"])
            found[query] = {
                "cost": float(done.cost_usd),
                "quality": own["quality"],
                "latency": sum(known[query, one.model]["latency_s"] for one in done.attempts),
            }
    if state is None:
        shutil.rmtree(place)
    return found


def measured(
    before: Mapping[str, dict[str, float] | None], after: Mapping[str, dict[str, float] | None]
) -> dict[str, float]:
    """The change of each figure."""
    both = [(before[query], after[query]) for query in before if before[query] and after[query]]
    paid = [sum(one["cost"] for one in side.values() if one) for side in (before, after)]
    denied = [sum(one is None for one in side.values()) / len(side) for side in (before, after)]
    times = [sum(pair[side]["latency"] for pair in both) for side in (0, 1)]  # type: ignore[index]
    return {
        "cost": paid[1] / paid[0] - 1 if paid[0] else float("nan"),
        "quality": float(np.mean([b["quality"] - a["quality"] for a, b in both])) if both else float("nan"),  # type: ignore[index]
        "latency": times[1] / times[0] - 1 if both else float("nan"),
        "denied": denied[1] - denied[0],
        "denied after": denied[1],
    }


def judged(found: Comparison, pairs: Sequence[Pair], came: Mapping[str, float]) -> dict[str, Any]:
    """Of each figure: what was said, what came, and what the peer says."""
    total = found.total
    said = {name: getattr(total, name) for name in FIGURES} | {"denied after": total.after.denied}
    told: dict[str, Any] = {
        "changed": total.changed, "extrapolated": total.extrapolated, "effective_n": found.effective_n, "figures": {},
    }  # fmt: skip
    for name, one in said.items():
        if one.ends is None or not np.isfinite(came[name]):
            continue
        low, high = one.ends
        plain = peer(name, pairs)
        told["figures"][name] = {
            "came": came[name], "low": low, "high": high, "value": one.value,
            "held": bool(low - 1e-9 <= came[name] <= high + 1e-9),
            "peer_low": plain[0], "peer_high": plain[1],
            "peer_held": bool(plain[0] - 1e-9 <= came[name] <= plain[1] + 1e-9),
        }  # fmt: skip
    return told


def peer(name: str, pairs: Sequence[Pair]) -> tuple[float, float]:
    """Mean of paired differences +- 1.96 standard errors; of ratios by linearisation."""
    both = [pair for pair in pairs if pair.a.denied is None and pair.b.denied is None]
    if name.startswith("denied"):
        is_level = name == "denied after"
        x = np.array([(p.b.denied is not None) - (0 if is_level else (p.a.denied is not None)) for p in pairs], float)
        y = np.ones(len(x))
    else:
        used = pairs if name == "cost" else both
        field = {"cost": "cost_usd", "quality": "quality", "latency": "latency_s"}[name]
        values = [(getattr(p.a, field), getattr(p.b, field)) for p in used]
        known = np.array([value for value in values if None not in value], float).reshape(-1, 2)
        x, y = known[:, 1] - known[:, 0], np.ones(len(known)) if name == "quality" else known[:, 0]
    value = x.sum() / y.sum()
    half = Z * float(np.std(x - value * y, ddof=1)) * len(x) ** 0.5 / float(y.sum())
    return float(value - half), float(value + half)


def summed(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Held of how many, and how wide."""
    figures: dict[str, Any] = {}
    for name in (*FIGURES, "denied after"):
        rows = [one["figures"][name] for one in told if name in one["figures"]]
        if not rows:
            continue
        moved = [row for row in rows if row["high"] > row["low"]]
        figures[name] = {
            "changes": len(rows),
            "held": float(np.mean([row["held"] for row in rows])),
            "median_width": float(np.median([row["high"] - row["low"] for row in rows])),
            "peer_held": float(np.mean([row["peer_held"] for row in rows])),
            "peer_median_width": float(np.median([row["peer_high"] - row["peer_low"] for row in rows])),
            "exact": len(rows) - len(moved),
            "median_size_of_the_change": float(np.median([abs(row["came"]) for row in rows])),
            "median_error": float(np.median([abs(row["came"] - row["value"]) for row in rows])),
        }
    effective = [one["effective_n"] for one in told if one["effective_n"] is not None]
    return {
        "figures": figures,
        "replayed": sum(one.get("replayed", 0) for one in told),
        "replayed_otherwise": sum(one.get("otherwise", 0) for one in told),
        "mean_changed": float(np.mean([one["changed"] for one in told])),
        "mean_extrapolated": float(np.mean([one["extrapolated"] for one in told])),
        "median_effective_n": float(np.median(effective)) if effective else None,
        "missed": [
            {"change": number, "figure": name, **{key: row[key] for key in ("came", "low", "value", "high")}}
            for number, one in enumerate(told)
            for name, row in one["figures"].items()
            if not row["held"]
        ],
    }


if __name__ == "__main__":
    main()
