"""`clearbar eval run` beside inspect_ai: the same samples, the same loopback provider with 100 ms latency, 100 at once.

Each harness runs in a fresh process, in turn, several rounds; the median round counts. A third process asks the same
questions through litellm alone, without samples, scores or files: what is left for a harness to add.

    python benchmarks/eval_runner.py --peer /path/to/venv/bin/python [--samples 2000 6000] [--rounds 3]

`--peer` is the Python of an environment with `inspect_ai` and `openai`; without it only our side is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

POLICY = """
version: 1
models:
  - {{id: model, call: openai/benchmark, api_base: "{base}", price: {{input: 1, output: 2}}}}
rules:
  - {{candidates: [model], strategy: fixed}}
"""
SUITE = """
version: 1
name: benchmark
tasks:
  capitals: {source: capitals.jsonl, scorer: exact, params: {max_tokens: 16}}
"""
ROOT = Path(__file__).resolve().parents[1]


def question(number: int) -> str:
    return f"Question {number}: which city is the capital of France? Answer with its name alone."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="Python of an environment that has inspect_ai.")
    parser.add_argument("--samples", type=int, nargs="+", default=[2000, 6000])
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay-ms", type=float, default=100.0)
    parser.add_argument("--worker", choices=sorted(WORKERS), help=argparse.SUPPRESS)
    parser.add_argument("--base", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measured(WORKERS[options.worker], options.base, options.samples[0], options.concurrency)))
        return
    from _provider import provider
    from _results import write

    pythons = {"clearbar": sys.executable, "litellm_alone": sys.executable, "inspect_ai": options.peer}
    if options.peer is None:
        print("no --peer: inspect_ai is left out", file=sys.stderr)
        del pythons["inspect_ai"]
    figures: dict[str, Any] = {"concurrency": options.concurrency, "delay_ms": options.delay_ms}
    if options.peer:
        figures["inspect_ai_version"] = version(options.peer)
    with provider(options.delay_ms) as base:
        for samples in options.samples:
            rounds: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
            # The first size is measured several times; further ones show what grows with the number of samples.
            for _ in range(options.rounds if samples == options.samples[0] else 1):
                for name, python in pythons.items():
                    rounds[name].append(asked(name, str(python), base, samples, options.concurrency))
                    print(f"{samples} samples, {name}: {rounds[name][-1]}", flush=True)
            figures[f"{samples}_samples"] = summed(rounds)
    print(write("eval_runner", figures))


def summed(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """The median of each figure, and ours over the peer's."""
    found: dict[str, Any] = {
        name: {key: round(statistics.median(one[key] for one in ones), 3) for key in ones[0]}
        for name, ones in rounds.items()
    }
    rounds_run = len(rounds["clearbar"])
    if "inspect_ai" in found:
        found["ratio"] = {key: round(found["clearbar"][key] / found["inspect_ai"][key], 3) for key in found["clearbar"]}
    return {"rounds": rounds_run, **found}


def asked(name: str, python: str, base: str, samples: int, concurrency: int) -> dict[str, float]:
    """The figures of one harness in a process of its own."""
    command = [python, __file__, "--worker", name, "--base", base]
    command += ["--samples", str(samples), "--concurrency", str(concurrency)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def version(python: str) -> str:
    command = [python, "-c", "from importlib.metadata import version; print(version('inspect_ai'))"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Clock:
    """Adds up the time inside of its `with` blocks."""

    wall_s = cpu_s = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *exception: object) -> None:
        self.wall_s += time.perf_counter() - self._began[0]
        self.cpu_s += time.process_time() - self._began[1]


Worker = Callable[[str, int, int, Path, Clock], float]
"""Base URL, samples, calls at once, a folder of its own, the clock -> share of right answers."""


def measured(worker: Worker, base: str, samples: int, concurrency: int) -> dict[str, float]:
    """Run one harness: imports and set-up outside of the clock."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        accuracy = worker(base, samples, concurrency, Path(folder), clock)
    assert accuracy == 1.0, f"every answer is right, but accuracy is {accuracy}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {
        "samples_per_s": round(samples / clock.wall_s, 1),
        "cpu_ms_per_sample": round(1000 * clock.cpu_s / samples, 3),
        "peak_rss_mb": round(peak, 1),
    }


def clearbar(base: str, samples: int, concurrency: int, folder: Path, clock: Clock) -> float:
    sys.path.insert(0, str(ROOT))
    from evals.plan import plan_run
    from evals.runner import execute
    from evals.store import Run
    from evals.suite import load_suite
    from evals.types import Scored
    from router import Router

    (folder / "policy.yaml").write_text(POLICY.format(base=base), encoding="utf-8")
    (folder / "suite.yaml").write_text(SUITE, encoding="utf-8")
    rows = [json.dumps({"prompt": question(number), "reference": "Paris"}) + "\n" for number in range(samples)]
    (folder / "capitals.jsonl").write_text("".join(rows), encoding="utf-8")
    with Router(folder / "policy.yaml", folder / "state") as router:
        # In the order of `clearbar eval run`: plan, then call.
        with clock:
            suite, target = load_suite(folder / "suite.yaml"), Run(folder / "run")
            plan = plan_run(suite, router, ["model"], target)
        router.complete([{"role": "user", "content": "warm up"}], model="model", max_tokens=16)
        with clock:
            execute(plan, suite, router, target, concurrency=concurrency)
            scores = [result.score for result in target.results().values()]
    assert len(scores) == samples
    return sum(score.value for score in scores if isinstance(score, Scored)) / samples


def litellm_alone(base: str, samples: int, concurrency: int, folder: Path, clock: Clock) -> float:  # noqa: ARG001
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    async def ask(number: int, gate: asyncio.Semaphore) -> bool:
        async with gate:
            done = await litellm.acompletion(
                model="openai/benchmark",
                messages=[{"role": "user", "content": question(number)}],
                max_tokens=16,
                api_base=base,
                api_key="none",
                max_retries=0,
                num_retries=0,
            )
        return bool(done.choices[0].message.content == "Paris")

    async def every() -> float:
        gate = asyncio.Semaphore(concurrency)
        return sum(await asyncio.gather(*(ask(number, gate) for number in range(samples)))) / samples

    with clock:
        return asyncio.run(every())


def inspect_ai(base: str, samples: int, concurrency: int, folder: Path, clock: Clock) -> float:
    os.environ.update(LOOPBACK_API_KEY="none", LOOPBACK_BASE_URL=base, INSPECT_DISPLAY="none")
    import inspect_ai as peer
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate

    dataset = MemoryDataset([Sample(input=question(number), target="Paris") for number in range(samples)])
    task = peer.Task(dataset=dataset, solver=generate(), scorer=match(location="exact"))
    model = get_model(
        "openai-api/loopback/benchmark", config=GenerateConfig(max_connections=concurrency, max_tokens=16)
    )
    with clock:
        (log,) = peer.eval(task, model=model, log_dir=str(folder), max_samples=concurrency, display="none")
    assert log.status == "success" and log.results is not None and log.results.completed_samples == samples
    return float(log.results.scores[0].metrics["accuracy"].value)


WORKERS = {"clearbar": clearbar, "litellm_alone": litellm_alone, "inspect_ai": inspect_ai}

if __name__ == "__main__":
    main()
