"""Random changes of policy on a table of outcomes: its models, prices and evidence, and an author who draws."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from router.bounds import lower_bound
from router.outcomes import read_outcomes
from router.predict import artifact
from router.predict.artifact import Artifact
from router.predict.train import train

Row = Mapping[str, Any]


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
