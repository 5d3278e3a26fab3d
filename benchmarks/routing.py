"""The trained router on outcomes it has not seen, beside best constant, per-task table and oracle.

Each table is split in half by a hash of `query_id` within each task; one half trains, the other judges. Savings are
cross-fitted: the operating point is chosen on one random half of the judged queries and measured on the other, 50
times, so that luck in choosing does not count.

    python benchmarks/routing.py OUTCOMES [OUTCOMES ...] [--points 40]
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from _results import write
from numpy.typing import NDArray

from router.outcomes import read_outcomes
from router.predict import Predictor, artifact
from router.predict.train import train
from router.replay import replay

Array = NDArray[np.float64]
DRAWS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outcomes", nargs="+", type=Path)
    parser.add_argument("--points", type=int, default=40)
    arguments = parser.parse_args()
    figures = {path.stem: judge(path, arguments.points) for path in arguments.outcomes}
    for name, row in figures.items():
        print(f"\n{name}")
        for key, value in row.items():
            print(f"{key:>36}: {value}")
    print(write("routing", {"tables": figures}))


def judge(path: Path, points: int) -> dict[str, Any]:
    table = read_outcomes(path)
    judged = np.array([is_judged(query) for query in table["query_id"].to_pylist()])
    seen, unseen = table.filter(pa.array(~judged)), table.filter(pa.array(judged))
    started = time.perf_counter()
    trained, report = train(seen, seed=0)
    train_s = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        artifact.save(trained, Path(folder, "artifact"), created="")
        predictor = Predictor.load(Path(folder, "artifact"))
    hidden = [name for name in ("quality", "reference") if name in unseen.column_names]
    started = time.perf_counter()
    decisions = replay(predictor, unseen.drop_columns(hidden), points, "single")
    replay_s = time.perf_counter() - started

    frame = matrix(unseen)
    quality, cost = frame["quality"], frame["cost_usd"]
    best = int(quality.mean(0).argmax())
    routed = along_the_dial(decisions, frame, points)
    return {
        "queries_trained": len(set(seen["query_id"].to_pylist())),
        "queries_judged": len(frame["queries"]),
        "models": len(frame["models"]),
        "best_constant": frame["models"][best],
        "best_constant_quality": round(float(quality[:, best].mean()), 4),
        "best_constant_usd_per_1000": round(float(cost[:, best].mean() * 1000), 4),
        "per_task_table_quality": round(table_of_means(matrix(seen), frame)[0], 4),
        "per_task_table_cost_share": round(table_of_means(matrix(seen), frame)[1] / float(cost[:, best].mean()), 3),
        "oracle_quality": round(float(quality.max(1).mean()), 4),
        "saving_at_98_percent_quality": crossed(routed, quality, cost, best, 0.98),
        "saving_at_equal_quality": crossed(routed, quality, cost, best, 1.0),
        "best_quality_minus_constant": gain(routed, quality, best),
        "verdict": "promote" if report.promoted else "do not route",
        "train_s": round(train_s, 1),
        "replay_s": round(replay_s, 1),
    }


def is_judged(query: str) -> bool:
    return hashlib.sha256(f"judge/{query}".encode()).digest()[0] % 2 == 0


def matrix(table: pa.Table) -> dict[str, Any]:
    """Quality and cost as arrays of shape (n_queries, n_models)."""
    rows = table.select(["query_id", "task", "model", "quality", "cost_usd"]).to_pylist()
    queries = {name: i for i, name in enumerate(dict.fromkeys(row["query_id"] for row in rows))}
    models = {name: i for i, name in enumerate(sorted({row["model"] for row in rows}))}
    quality, cost = np.zeros((len(queries), len(models))), np.zeros((len(queries), len(models)))
    tasks = [""] * len(queries)
    for row in rows:
        place = queries[row["query_id"]], models[row["model"]]
        quality[place], cost[place], tasks[place[0]] = row["quality"], row["cost_usd"], row["task"]
    return {"queries": queries, "models": list(models), "quality": quality, "cost_usd": cost, "tasks": np.array(tasks)}


def table_of_means(seen: dict[str, Any], frame: dict[str, Any]) -> tuple[float, float]:
    """Quality and cost when each task goes to the model that was best on it in training."""
    picks = {task: int(seen["quality"][seen["tasks"] == task].mean(0).argmax()) for task in set(seen["tasks"])}
    chosen = np.array([picks[task] for task in frame["tasks"]])
    rows = np.arange(len(chosen))
    return float(frame["quality"][rows, chosen].mean()), float(frame["cost_usd"][rows, chosen].mean())


def along_the_dial(decisions: pa.Table, frame: dict[str, Any], points: int) -> tuple[Array, Array]:
    """Quality and cost of each point and query: arrays of shape (points, n_queries)."""
    quality, cost = np.zeros((points, len(frame["queries"]))), np.zeros((points, len(frame["queries"])))
    column = {name: i for i, name in enumerate(frame["models"])}
    for row in decisions.to_pylist():
        query = frame["queries"][row["query_id"]]
        quality[row["point"], query] = frame["quality"][query, column[row["answer_model"]]]
        cost[row["point"], query] = sum(frame["cost_usd"][query, column[model]] for model in row["calls"])
    return quality, cost


def crossed(routed: tuple[Array, Array], quality: Array, cost: Array, best: int, share: float) -> str:
    """Saving against the best constant at a share of its quality: mean, spread, and the quality truly reached."""
    random = np.random.default_rng(0)
    savings, reached = [], []
    for _ in range(DRAWS):
        half = random.random(quality.shape[0]) < 0.5
        good = routed[0][:, half].mean(1) >= share * quality[half, best].mean()
        if not good.any():
            continue
        point = int(np.where(good, routed[1][:, half].mean(1), np.inf).argmin())
        savings.append(1 - routed[1][point, ~half].mean() / cost[~half, best].mean())
        reached.append(routed[0][point, ~half].mean() - share * quality[~half, best].mean())
    if len(savings) < 0.8 * DRAWS:
        return f"never in {DRAWS - len(savings)} of {DRAWS} draws"
    return f"{np.mean(savings):.3f} (sd {np.std(savings):.3f}; quality {np.mean(reached):+.4f} of the aim)"


def gain(routed: tuple[Array, Array], quality: Array, best: int) -> str:
    random = np.random.default_rng(0)
    gains = []
    for _ in range(DRAWS):
        half = random.random(quality.shape[0]) < 0.5
        point = int(routed[0][:, half].mean(1).argmax())
        gains.append(routed[0][point, ~half].mean() - quality[~half, best].mean())
    return f"{np.mean(gains):+.4f} (sd {np.std(gains):.4f})"


if __name__ == "__main__":
    main()
