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
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
from _results import write

from router import Router
from router.bounds import lower_bound
from router.errors import RouterError
from router.outcomes import read_outcomes
from router.predict import artifact
from router.predict.artifact import Artifact
from router.predict.train import train
from router.simulate import Comparison, Pair, compare
from router.simulate.outcomes import from_outcomes
from router.simulate.party import Party
from router.simulate.traffic import from_ledger
from router.transports.replay import ReplayTransport

Row = Mapping[str, Any]
FIGURES = ("cost", "quality", "latency", "denied")
Z = 1.96
REPLAYED = 10
"""Of so many changes the simulated half is answered for real, too: there, every request must come as simulated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One table, prepared."""

    name: str
    folder: Path
    rows: list[dict[str, Any]]
    """Of the queries that are simulated or measured."""
    queries: list[str]
    models: list[str]
    prices: Mapping[str, tuple[float, float]]
    quality: Mapping[tuple[str, str], tuple[float, float]]
    """Mean and lower bound, by task and model."""
    tasks: list[str]
    subtasks: list[str]


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


def prepared(path: Path, folder: Path, most: int) -> Bench:
    """Train on a third of the queries, and keep the rest."""
    table = read_outcomes(path)
    first: dict[str, str] = {}
    for row in table.select(["query_id", "prompt"]).to_pylist():
        first.setdefault(row["prompt"], row["query_id"])  # a replay by prompt cannot tell equal ones apart
    queries = sorted(first.values())
    Random(0).shuffle(queries)
    learned, rest = set(queries[: len(queries) // 3]), queries[len(queries) // 3 :][:most]
    rows = [with_time(row) for row in table.to_pylist()]
    seen = [row for row in rows if row["query_id"] in learned]
    trained, report = train(pa.Table.from_pylist(seen))
    # Used whether or not it was promoted: what is judged here is the simulation, not the routing.
    trained = Artifact(manifest={**trained.manifest, "promoted": ["single", "cascade"]}, arrays=trained.arrays)
    artifact.save(trained, folder / "artifact", created=datetime.now(UTC).isoformat())
    print(path.stem, "trained on", len(learned), "queries; promoted:", report.promoted or "nothing", flush=True)
    models = sorted({row["model"] for row in rows})
    quality = evidence(seen, models, folder / "evidence")
    kept = [row for row in rows if row["query_id"] in set(rest)]
    return Bench(
        name=path.stem, folder=folder, rows=kept, queries=rest, models=models,
        prices={model: fitted_price([row for row in rows if row["model"] == model]) for model in models},
        quality=quality, tasks=sorted({row["task"] for row in rows}),
        subtasks=sorted({row.get("subtask") or "" for row in rows} - {""}),
    )  # fmt: skip


def with_time(row: Row) -> dict[str, Any]:
    """With a made-up time: a pace of its own for each model."""
    pace = Random(row["model"]).uniform(0.005, 0.03)
    return {**row, "latency_s": 0.3 + pace * row["output_tokens"]}


def fitted_price(rows: Sequence[Row]) -> tuple[float, float]:
    """USD per million tokens in and out, by least squares of the table's costs."""
    tokens = np.array([[row["input_tokens"], row["output_tokens"]] for row in rows], dtype=float)
    found = np.linalg.lstsq(tokens, np.array([row["cost_usd"] for row in rows]), rcond=None)[0] * 1e6
    return max(0.01, round(float(found[0]), 3)), max(0.01, round(float(found[1]), 3))


def evidence(rows: Sequence[Row], models: Sequence[str], folder: Path) -> dict[tuple[str, str], tuple[float, float]]:
    folder.mkdir()
    found = {}
    for task in sorted({row["task"] for row in rows}):
        for model in models:
            scores = [row["quality"] for row in rows if row["task"] == task and row["model"] == model]
            mean, lower = float(np.mean(scores)), min(float(np.mean(scores)), lower_bound(scores, 0.9))
            found[task, model] = mean, lower
            content = {
                "version": 1, "task": task, "model": model, "model_version": model, "run_id": "benchmark",
                "suite_sha256": "0" * 64, "n": len(scores), "mean": mean, "lower": lower, "confidence": 0.9,
                "metric": "mean_score", "scorer": "exact", "created": "2026-01-01T00:00:00Z", "expires": None,
            }  # fmt: skip
            (folder / f"{task}--{model}.json").write_text(json.dumps(content), encoding="utf-8")
    return found


class Author:
    """Draws policies."""

    def __init__(self, bench: Bench, draws: Random) -> None:
        self.bench, self.draws = bench, draws

    def written(
        self,
        name: str,
        rules: Sequence[Mapping[str, Any]],
        *,
        dearer: Mapping[str, float] | None = None,
        artifact: str | None = "artifact",
        **more: Any,
    ) -> Path:
        """A policy file."""
        models = []
        for model in self.bench.models:
            read, made = (price * (dearer or {}).get(model, 1.0) for price in self.bench.prices[model])
            models.append({"id": model, "call": f"replay/{model}", "price": {"input": f"{read:.6f}", "output":
                           f"{made:.6f}"}, "max_output_tokens": 1000})  # fmt: skip
        learned = {"artifact": artifact} if artifact else {}
        policy = {"version": 1, "models": models, "rules": list(rules), **learned, **more}
        path = self.bench.folder / f"{name}.yaml"
        path.write_text(json.dumps(policy), encoding="utf-8")
        return path

    def rules(self) -> list[dict[str, Any]]:
        """For some tasks or subtasks each, and a last one for all."""
        drawn = [{**self.rule(task), "when": {"task": task}} for task in self.bench.tasks]
        if self.bench.subtasks and self.draws.random() < 0.5:
            some = self.draws.sample(self.bench.subtasks, min(len(self.bench.subtasks), self.draws.randint(1, 4)))
            task = self.draws.choice(self.bench.tasks)
            drawn[:0] = [{**self.rule(task), "when": {"task": task, "tags": {"subtask": one}}} for one in some]
        return drawn

    def changed(self, rules: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One rule anew, or all."""
        if self.draws.random() < 0.4:
            return self.rules()
        place, changed = self.draws.randrange(len(rules)), list(rules)
        task = changed[place]["when"]["task"]
        changed[place] = {**self.rule(task), "when": changed[place]["when"]}
        return changed

    def rule(self, task: str) -> dict[str, Any]:
        """Candidates, strategy, bar, fallback and limit of one task."""
        draws, known = self.draws, self.bench.quality
        candidates = draws.sample(self.bench.models, draws.randint(2, 5))
        strategy = draws.choice(["fixed", "single", "cascade", "cascade"])
        rule: dict[str, Any] = {"candidates": candidates, "strategy": strategy}
        best = max(candidates, key=lambda model: known[task, model][0])
        if strategy == "single":
            rule["bar"] = {"min": round(draws.uniform(0.7, 1.02) * known[task, best][1], 3), "confidence": 0.9}
        if strategy == "cascade":
            rule["candidates"] = list(self.bench.models)
            best = max(self.bench.models, key=lambda model: known[task, model][0])
            drop = draws.choice([0.03, 0.06, 0.1])
            rule["bar"] = draws.choice([
                {"max_drop": drop, "vs": best, "confidence": 0.8},
                {"min": round(known[task, best][1] - drop, 3), "confidence": 0.8},
            ])  # fmt: skip
        if draws.random() < 0.85:
            rule["fallback"] = [draws.choice(self.bench.models)]
        if draws.random() < 0.3:
            model = candidates[0]
            read, made = self.bench.prices[model]
            rule["max_cost_usd"] = f"{(draws.uniform(100, 600) * read + 1000 * made) / 1e6:.9f}"
        return rule

    def dearer(self) -> dict[str, float] | None:
        """Other prices of some models, now and then."""
        if self.draws.random() < 0.7:
            return None
        return {model: self.draws.choice([0.5, 0.8, 1.25]) for model in self.draws.sample(self.bench.models, 4)}


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


def altered(rules: Sequence[dict[str, Any]], draws: Random, bench: Bench) -> list[dict[str, Any]]:
    """Other rules within what was explored, or now and then beyond it."""
    changed = [dict(rule) for rule in rules]
    for rule in changed if draws.random() < 0.5 else [draws.choice(changed)]:
        kind = draws.choice(["fixed", "fixed", "bar", "beyond", "limit"])
        if kind == "bar":
            rule["bar"] = {"min": round(rule["bar"]["min"] * draws.uniform(0.8, 1.1), 3), "confidence": 0.9}
        elif kind == "limit":
            read, made = bench.prices[rule["candidates"][0]]
            rule["max_cost_usd"] = f"{(draws.uniform(100, 600) * read + 1000 * made) / 1e6:.9f}"
            rule["fallback"] = [draws.choice(rule["candidates"])]
        else:
            rule.pop("bar")
            more = [draws.choice(bench.models)] if kind == "beyond" else []
            models = sorted({*rule["candidates"], *more})
            rule |= {"strategy": "fixed", "candidates": draws.sample(models, len(models))}
    return changed


def budgets(draws: Random, bench: Bench, rows: Sequence[Row], rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For three changes of ten, a limit that may deny some of the requests."""
    kind = draws.choice(["requests", "usd", "each", *["none"] * 7])
    asked = {rule["when"]["task"]: rule["candidates"][0] for rule in rules}
    own = [row for row in rows if asked[row["task"]] == row["model"]]
    share = draws.uniform(0.5, 1.2)
    if kind == "none":
        return {}
    if kind == "usd":
        limit = {"limit_usd": f"{share * sum(row['cost_usd'] for row in own):.6f}"}
    elif kind == "each" and bench.subtasks:
        limit = {"scope": {"subtask": "*"}, "limit_requests": round(share * len(own) / len(bench.subtasks))}
    else:
        limit = {"limit_requests": round(share * len(own))}
    return {"budgets": [{**limit, "window": "day"}]}


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
