"""What `router.complete()` adds to a call: CPU time per request over the fake transport.

Policy, exact-cache miss, decision, ledger and cache write are all on; only the provider is missing. The same
run times `litellm.completion(mock_response=...)`, in blocks of 50 calls in turn, so that both see the same machine. The
figures `..._cold` alternate after every single call instead: then each call finds the processor's caches filled by the
other library, as in a service that does much else between two requests.

    python benchmarks/overhead.py [--requests 2000]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _results import write

import router

BLOCK = 50
POLICY = """
version: 1
models:
  - {id: small, call: fake/small, price: {input: 0.1, output: 0.4}}
  - {id: large, call: fake/large, price: {input: 3, output: 15}}
tasks:
  chat: {bar: 0}
rules:
  - when: {task: chat, tags: {environment: [production, staging]}}
    candidates: [small, large]
    cache: exact
  - {candidates: [large], strategy: fixed, cache: exact}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    count = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder, "policy.yaml")
        policy.write_text(POLICY, encoding="utf-8")
        with router.Router(policy, state=Path(folder, "state"), transport=router.FakeTransport()) as ours:
            figures = measure(ours, count)
    for name, value in figures.items():
        print(f"{name:>40}: {value}")
    print(write("overhead", figures))


def measure(ours: router.Router, count: int) -> dict[str, object]:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    def messages(number: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"Question {number}: what is the capital of country {number}?"}]

    def route(number: int) -> None:
        done = ours.complete(messages(number), task="chat", team="search", workflow="answers", environment="production")
        assert done.cache == "miss"

    def hit(number: int) -> None:
        done = ours.complete(messages(number), task="chat", team="search", workflow="answers", environment="production")
        assert done.cache == "exact"

    def look_up(number: int) -> None:  # what a memory in front of the disk could save of a hit
        assert cache.get(keys[number]) is not None

    def mock(number: int) -> None:
        litellm.completion(model="openai/gpt-4o-mini", messages=messages(number), mock_response="A fake answer.")

    warm_up = count // 10
    for number in range(warm_up):
        route(-number - 1), mock(-number - 1)
    warm: dict[str, list[float]] = {"route": [], "hit": [], "mock": []}
    for start in range(0, count, BLOCK):
        for name, call in (("route", route), ("hit", hit), ("mock", mock)):
            warm[name] += [cpu_ms(call, number) for number in range(start, start + BLOCK)]
    cold: dict[str, list[float]] = {"route": [], "mock": []}
    for number in range(count, count + count // 4):
        cold["route"].append(cpu_ms(route, number))
        cold["mock"].append(cpu_ms(mock, number))
    cache = ours._kit.caches.exact
    assert cache is not None
    keys = [row["cache_key"] for row in ours.ledger.rows("SELECT cache_key FROM requests WHERE cache = 'exact'")]
    look_ups = [cpu_ms(look_up, number) for number in range(count)]
    return {
        "requests": count,
        "complete_miss_cpu_ms_median": round(statistics.median(warm["route"]), 3),
        "complete_miss_cpu_ms_p95": round(statistics.quantiles(warm["route"], n=20)[-1], 3),
        "complete_exact_hit_cpu_ms_median": round(statistics.median(warm["hit"]), 3),
        "exact_look_up_cpu_ms_median": round(statistics.median(look_ups), 3),
        "litellm_mock_cpu_ms_median": round(statistics.median(warm["mock"]), 3),
        "share_of_litellm_mock": round(statistics.median(warm["route"]) / statistics.median(warm["mock"]), 3),
        "complete_miss_cpu_ms_median_cold": round(statistics.median(cold["route"]), 3),
        "share_of_litellm_mock_cold": round(statistics.median(cold["route"]) / statistics.median(cold["mock"]), 3),
    }


def cpu_ms(call: Callable[[int], None], number: int) -> float:
    start = time.thread_time_ns()
    call(number)
    return (time.thread_time_ns() - start) / 1e6


if __name__ == "__main__":
    main()
