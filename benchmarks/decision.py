"""CPU time of one decision, without the call: ours by prediction and by cascade, beside peers that run offline.

- floor: gather 100 rows of a projection, one product, one product with a weight row per model
- predict: text to expected quality, tokens and cost of every model
- plan: predict, then the choice at an operating point (single), or a ladder ready to climb (cascade)
- explain: `Router.explain` as callers use it, of a policy with the artifact, evidence and prices: tokens counted, every
  candidate with quality, dollars and reason
- plan_single_minilm: the choice by an artifact that was trained with `--embedding local/minilm`, nothing remembered,
  beside the encoder alone on the same prompts; it may take at most 1.2 times as long
- accept: what a cascade does after each answer, read, judged, stop or go on
- semantic-router (`pip install "semantic-router>=1.1"`) over our local MiniLM, 10 routes of 5 utterances; the encoder
- litellm's complexity router, which is rules and no model; its semantic auto-router calls an embedding provider, so it
  cannot run offline, and is semantic-router inside

Every column sees the same prompts in turn in one run, so ratios hold on other machines.

    python benchmarks/decision.py OUTCOMES [--artifact DIR] [--embedding] [--requests 300]
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from _decision_peers import litellm_rules, semantic_router
from _measures import Frame
from _results import write

import router
from router.climb import Listener
from router.embedding import embedder
from router.outcomes import read_outcomes
from router.predict import Predictor, artifact
from router.predict.cascade import Climb
from router.predict.train import train
from router.select import best_trade

Decide = Callable[[dict[str, Any]], object]
TARGET_MS = 0.5
TARGET_ENCODERS = 1.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcomes", type=Path)
    parser.add_argument("--artifact", type=Path, help="trained on these outcomes; without one, it is trained first")
    parser.add_argument("--embedding", action="store_true", help="also an artifact with MiniLM, trained first")
    parser.add_argument("--requests", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(arguments, Path(folder))


def run(arguments: argparse.Namespace, folder: Path) -> None:
    table = read_outcomes(arguments.outcomes)
    if arguments.artifact:
        shutil.copytree(arguments.artifact, folder / "artifact")
    else:
        artifact.save(train(table, seed=0)[0], folder / "artifact", created="")
    predictor = Predictor.load(folder / "artifact")
    requests = asked(table.to_pylist(), arguments.requests)
    ways: dict[str, Decide] = {**ours(predictor), **explained(predictor, table, folder)}
    if arguments.embedding:
        ways |= with_minilm(table)
    notes: dict[str, str] = {}
    for name, make in (("semantic_router", semantic_router), ("litellm_complexity_router", litellm_rules)):
        try:
            ways |= make(requests)
        except Exception as error:  # noqa: BLE001  a peer that cannot run is a note, not a failure
            notes[name] = f"did not run: {type(error).__name__}: {error}"[:200]
    first: dict[str, float] = {}  # of each task: it certifies the promise, too
    for request in requests:
        if request["task"] not in first:
            began = time.process_time_ns()
            ways["explain"](request)
            first[request["task"]] = round((time.process_time_ns() - began) / 1e6, 1)
    figures = measured(ways, requests)
    report = {
        "models": len(predictor.models),
        "requests": len(requests),
        "median_characters": statistics.median(len(request["prompt"]) for request in requests),
        "cpu_ms": figures,
        "first_explain_of_a_task_cpu_ms": first,
        "fast_path_within_target": figures["plan_single"]["median"] <= TARGET_MS,
        "notes": notes,
    }
    if arguments.embedding:
        times = figures["plan_single_minilm"]["median"] / figures["minilm_alone"]["median"]
        report |= {"minilm_times_encoder": round(times, 3), "minilm_within_target": times <= TARGET_ENCODERS}
        print(f"{'with MiniLM':>28}: {times:.3f} times the encoder alone")
    for name, row in figures.items():
        print(f"{name:>28}: median {row['median']:.3f} ms, p95 {row['p95']:.3f} ms, {row['times_floor']:.1f} floors")
    print(f"{'first explain of a task':>28}: {first}")
    for name, note in notes.items():
        print(f"{name:>28}: {note}")
    print(write("decision", report))


def asked(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Random queries with all their recorded answers."""
    queries: dict[str, dict[str, Any]] = {}
    for row in rows:
        query = queries.setdefault(row["query_id"], {**row, "answers": {}})
        query["answers"][row["model"]] = (row["response"] or "", row["output_tokens"])
    return random.Random(0).sample(list(queries.values()), min(count, len(queries)))


def ours(predictor: Predictor) -> dict[str, Decide]:
    """The floor and our own steps."""
    drawn = np.random.default_rng(0)
    projection = drawn.normal(size=(20_000, 64)).astype(np.float32)
    heads = drawn.normal(size=(64, len(predictor.models))).astype(np.float32)
    weight, places = drawn.random(100).astype(np.float32), drawn.integers(0, 20_000, (64, 100))
    turn = itertools.count()
    dear = float(predictor.dial(40, "cascade")[30])

    def floor(_: dict[str, Any]) -> object:
        return (weight @ projection[places[next(turn) % 64]]) @ heads

    def predict(request: dict[str, Any]) -> object:
        return predictor.predict_many([request["prompt"]], [request["task"]], [request.get("subtask") or None])

    def climb(request: dict[str, Any]) -> Climb | None:
        labels = predictor.labels(request["task"], request.get("subtask") or None)
        many = predictor.predict_many([request["prompt"]], [request["task"]], [request.get("subtask") or None])
        choice = predictor.choice(dear, *labels)
        if choice is None or choice.ladder is None:
            return None
        return predictor.climb(choice, many.quality[0], request["prompt"], *labels)

    def guess(request: dict[str, Any]) -> object:
        return predictor.guess(request["prompt"])

    ways: dict[str, Decide] = {"floor": floor, "guess_task": guess, "predict": predict}
    ways["plan_single"] = single(predictor)
    if predictor.cascade is not None:
        ways["plan_cascade"] = climb
        ways["accept_per_answer"] = Accept(predictor, climb)
    return ways


def explained(predictor: Predictor, table: pa.Table, folder: Path) -> dict[str, Decide]:
    """`Router.explain` of a request whose task is labelled, all models candidates of a cascade."""
    frame = Frame.of(table)
    lines = ["version: 1", "artifact: artifact", "models:"]
    for model in predictor.models:
        lines.append(f"  - {{id: '{model}', call: 'fake/{model}', price: {{input: 0.1, output: 0.4}}}}")
    bar = f"{{max_drop: 0.03, vs: '{frame.models[frame.best]}', confidence: 0.9}}"
    lines.append("tasks:")
    (folder / "evidence").mkdir()
    for number, task in enumerate(sorted(set(frame.tasks.tolist()))):
        lines.append(f"  {task}: {{bar: {bar}}}")
        for place, mean in enumerate(frame.quality[frame.tasks == task].mean(0)):
            evidence = {
                "version": 1, "task": task, "model": frame.models[place], "model_version": frame.models[place],
                "run_id": "r", "n": 500, "suite_sha256": "0" * 64, "mean": float(mean), "lower": max(0, mean - 0.03),
                "confidence": 0.95, "metric": "accuracy", "scorer": "numeric", "price": {"input": "1", "output": "1"},
                "created": "2026-01-01T00:00:00Z", "expires": "2100-01-01T00:00:00Z",
            }  # fmt: skip
            (folder / "evidence" / f"{number}--{place}.json").write_text(json.dumps(evidence), encoding="utf-8")
    listed = ", ".join(f"'{model}'" for model in predictor.models)
    lines += ["rules:", f"  - {{candidates: [{listed}], strategy: cascade, bar: {bar}}}"]
    (folder / "policy.yaml").write_text("\n".join(lines), encoding="utf-8")
    ours = router.Router(folder / "policy.yaml", state=folder / "state", transport=router.FakeTransport())

    def explain(request: dict[str, Any]) -> object:
        return ours.explain([{"role": "user", "content": request["prompt"]}], task=request["task"])

    return {"explain": explain}


def single(predictor: Predictor) -> Decide:
    """One call, chosen at an operating point in the upper half of the dial."""
    price = float(predictor.dial(40)[25])

    def choose(request: dict[str, Any]) -> object:
        many = predictor.predict_many([request["prompt"]], [request["task"]], [request.get("subtask") or None])
        return best_trade(many.quality[0].tolist(), many.cost_usd[0].tolist(), price)

    return choose


def with_minilm(table: pa.Table) -> dict[str, Decide]:
    """An artifact that reads what prompts mean, and the encoder that it reads them with."""
    trained = train(table, seed=0, embedding="local/minilm")[0]
    # Every way sees every prompt, and the first block comes twice: a vector that is remembered would cost nothing.
    embedder._shared = embedder.Embedder(memory_bytes=0)
    return {
        "minilm_alone": lambda request: embedder.shared().embed([request["prompt"]], "head_tail"),
        "plan_single_minilm": single(Predictor(trained)),
    }


class Accept:
    """Hear an answer and say whether to go on; the climb up to there is made outside the clock."""

    def __init__(self, predictor: Predictor, climb: Callable[[dict[str, Any]], Climb | None]) -> None:
        self._predictor, self._climb = predictor, climb
        self._ready: tuple[Listener, list[str]] | None = None

    def prepare(self, request: dict[str, Any]) -> bool:
        """Ready to hear the second answer; False where no ladder is climbed."""
        climb = self._climb(request)
        if climb is None or len(climb.models) < 3:
            return False
        order = [self._predictor.models[model] for model in climb.models]
        listener = Listener(climb, self._predictor.models)
        listener.read(order[0], *request["answers"][order[0]])
        self._ready = listener, order
        return True

    def __call__(self, request: dict[str, Any]) -> object:
        """Hear the second answer and decide about the third."""
        assert self._ready is not None
        listener, order = self._ready
        listener.read(order[1], *request["answers"][order[1]])
        return listener.wants(order[2])


def measured(ways: dict[str, Decide], requests: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """CPU milliseconds of each way, in blocks of 20 requests in turn; the first block once more before, to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for start in range(-20, len(requests), 20):
        for name, way in ways.items():
            for request in requests[max(start, 0) : max(start, 0) + 20]:
                if isinstance(way, Accept) and not way.prepare(request):
                    continue
                began = time.process_time_ns()  # of all threads: an encoder may use several
                way(request)
                ended = time.process_time_ns()
                if start >= 0:
                    taken[name].append((ended - began) / 1e6)
    base = statistics.median(taken["floor"])
    return {
        name: {
            "median": round(statistics.median(times), 4),
            "p95": round(statistics.quantiles(times, n=20)[-1], 4),
            "times_floor": round(statistics.median(times) / base, 1),
        }
        for name, times in taken.items()
        if len(times) > 1
    }


if __name__ == "__main__":
    main()
