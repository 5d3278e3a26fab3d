"""1,000 concurrent calls against a budget for 400 of them, on a provider of this machine, beside litellm's budget.

Every run counts what was answered, what was refused although it would have fitted (phantom denials), what was spent
over the limit, and the holds that are left at the end; as threads, as tasks of one event loop, and as eight processes
that share a state folder; then with one process killed (-9) in the middle, and with streams cancelled half way. At last
the time that a hold and its settlement add to a ledger row.

    python benchmarks/budget.py [--repeat 20] [--calls 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from _provider import provider
from _results import write

import router

PROCESSES = 8
FITTING = 0.4
COST_USD = Decimal("0.000014")
"""12 tokens in at 1, one out at 2 USD per million."""
HI = [{"role": "user", "content": "What is the capital of France?"}]
POLICY = """
version: 1
models: [{{id: m, call: openai/m, api_base: "{url}", api_key_env: BENCHMARK_KEY, price: {{input: 1, output: 2}}}}]
rules: [{{candidates: [m], strategy: fixed}}]
budgets: [{{scope: {{team: "*"}}, limit_usd: {limit}, window: month}}]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--work", type=int, metavar="CALLS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["BENCHMARK_KEY"] = "none"
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    if options.work:
        work(options.work)
        return
    figures: dict[str, Any] = {"calls": options.calls, "fitting": int(options.calls * FITTING)}
    with provider(delay_ms=20) as url, closing(Workers(options.calls)) as workers:
        runs = {
            "threads": threads,
            "tasks": tasks,
            "processes": workers.processes,
            "killed": workers.killed,
            "cancelled": cancelled,
        }
        for name, run in runs.items():
            figures[name] = summed([once(run, url, options.calls) for _ in range(options.repeat)])
            print(f"{name:>10}: {figures[name]}")
        figures["litellm"] = litellm_budget(url, options.calls)
        print(f"{'litellm':>10}: {figures['litellm']}")
    figures |= hold_time()
    print(figures["hold_and_settle_ms"], figures["row_alone_ms"])
    print(write("budget", figures))


def once(run: Any, url: str, calls: int) -> dict[str, Any]:
    """One run in a folder of its own, and what its ledger says afterwards."""
    limit = COST_USD * int(calls * FITTING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policy.yaml").write_text(POLICY.format(url=url, limit=f"{limit:f}"), encoding="utf-8")
        answered, phantom = run(folder, calls)
        with router.Router(folder / "policy.yaml", folder / "state") as one:
            # Sweeps what a dead process has left, as any next call would.
            refused = tally([attempt(one)])
            (row,) = one.ledger.rows("SELECT settled, held FROM balances WHERE account LIKE '%\"x\"%'")
            (paid,) = one.ledger.rows("SELECT SUM(cost_pusd) AS cost FROM attempts WHERE team = 'x'")
        assert paid["cost"] <= row["settled"]
        return {
            "answered": answered,
            "phantom_denials": phantom + refused[1],
            "overspend_usd": max(Decimal(0), Decimal(row["settled"]) / 10**12 - limit),
            "held_at_end": row["held"],
            "used": float(Decimal(row["settled"]) / 10**12 / limit),
        }


def attempt(one: router.Router) -> str:
    """One call: answered, denied for a reason, or denied though it would have fitted."""
    try:
        one.complete(HI, team="x", max_tokens=1)
        return "ok"
    except router.BudgetExceededError as error:
        return judged(error)


def judged(error: router.BudgetExceededError) -> str:
    return "phantom" if error.settled + error.held + COST_USD * 2 <= error.limit else "denied"


def tally(outcomes: list[str]) -> tuple[int, int]:
    return outcomes.count("ok"), outcomes.count("phantom")


def threads(folder: Path, calls: int) -> tuple[int, int]:
    with router.Router(folder / "policy.yaml", folder / "state") as one, ThreadPoolExecutor(100) as pool:
        return tally(list(pool.map(lambda _: attempt(one), range(calls))))


def tasks(folder: Path, calls: int) -> tuple[int, int]:
    async def one_call(one: router.Router) -> str:
        try:
            await one.acomplete(HI, team="x", max_tokens=1)
            return "ok"
        except router.BudgetExceededError as error:
            return judged(error)

    async def all_calls() -> list[str]:
        with router.Router(folder / "policy.yaml", folder / "state") as one:
            return await asyncio.gather(*(one_call(one) for _ in range(calls)))

    return tally(asyncio.run(all_calls()))


def work(calls: int) -> None:
    """What each of the processes does: makes a router over the folder it is told, and calls when it is told."""
    for line in sys.stdin:
        folder = Path(line.strip())
        with router.Router(folder / "policy.yaml", folder / "state") as one, ThreadPoolExecutor(25) as pool:
            one.complete(HI, team="warm-up", max_tokens=1)
            print("ready", flush=True)
            sys.stdin.readline()
            print(json.dumps(tally(list(pool.map(lambda _: attempt(one), range(calls))))), flush=True)


class Workers:
    """Processes that stay, because importing litellm takes each of them seconds; a killed one is replaced."""

    def __init__(self, calls: int) -> None:
        self._command = [sys.executable, __file__, "--work", str(calls // PROCESSES)]
        self._started = [self._start() for _ in range(PROCESSES)]

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, line: str) -> None:
        """Tell every process a line."""
        for process in self._started:
            assert process.stdin is not None
            process.stdin.write(line + "\n")
            process.stdin.flush()

    def processes(self, folder: Path, calls: int) -> tuple[int, int]:  # noqa: ARG002  each knows its share
        """All of them at once."""
        self.say(str(folder))
        self._heard()
        self.say("go")
        return self._sum(self._heard())

    def killed(self, folder: Path, calls: int) -> tuple[int, int]:  # noqa: ARG002
        """The same with one killed in the middle."""
        self.say(str(folder))
        self._heard()
        self.say("go")
        time.sleep(random.uniform(0.05, 0.3))
        victim = self._started.pop()
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        told = self._sum(self._heard())
        self._started.append(self._start())
        return told

    def close(self) -> None:
        """End them."""
        for process in self._started:
            process.kill()
            process.communicate()

    def _heard(self) -> list[str]:
        return [process.stdout.readline() for process in self._started if process.stdout is not None]

    @staticmethod
    def _sum(lines: list[str]) -> tuple[int, int]:
        told = [json.loads(line) for line in lines]
        return sum(row[0] for row in told), sum(row[1] for row in told)


def cancelled(folder: Path, calls: int) -> tuple[int, int]:
    """Half of the tasks are cancelled while their calls are under way."""

    async def all_calls(one: router.Router) -> list[Any]:
        async def call() -> None:
            await one.acomplete(HI, team="x", max_tokens=1)

        running = [asyncio.create_task(call()) for _ in range(calls // 2)]
        await asyncio.sleep(0.5)
        for task in running[::2]:
            task.cancel()
        return await asyncio.gather(*running, return_exceptions=True)

    with router.Router(folder / "policy.yaml", folder / "state") as one:
        ends = asyncio.run(all_calls(one))
    denied = [judged(end) for end in ends if isinstance(end, router.BudgetExceededError)]
    return sum(end is None for end in ends), denied.count("phantom")


def summed(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Worst of the runs, and how much of the limit was used at the median."""
    return {
        "runs": len(runs),
        "answered": [min(run["answered"] for run in runs), max(run["answered"] for run in runs)],
        "phantom_denials": sum(run["phantom_denials"] for run in runs),
        "overspend_usd": str(max(run["overspend_usd"] for run in runs)),
        "held_at_end": max(run["held_at_end"] for run in runs),
        "used_median": round(statistics.median(run["used"] for run in runs), 4),
    }


def litellm_budget(url: str, calls: int) -> dict[str, Any]:
    """The same load through litellm's Router with its in-memory provider budget."""
    import litellm

    limit = float(COST_USD * int(calls * FITTING))
    params = {"model": "openai/m", "api_base": url, "api_key": "none",
              "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}  # fmt: skip

    async def all_calls() -> int:
        made = litellm.Router(
            model_list=[{"model_name": "m", "litellm_params": params}],
            provider_budget_config={"openai": {"budget_limit": limit, "time_period": "1d"}},
            num_retries=0,
        )

        async def call() -> bool:
            try:
                await made.acompletion(model="m", messages=HI, max_tokens=1)
                return True
            except Exception:  # noqa: BLE001  whatever litellm raises is a refusal
                return False

        return sum(await asyncio.gather(*(call() for _ in range(calls))))

    answered = asyncio.run(all_calls())
    spent = float(COST_USD) * answered
    return {"answered": answered, "overspend_share": round(max(0.0, spent / limit - 1), 3)}


def hold_time(rows: int = 2000) -> dict[str, Any]:
    """Median milliseconds of a hold over three budgets with its settlement, beside the ledger row alone."""
    from router._request import chat_request
    from router.spend.budget import Budget, Budgets, Worst
    from router.spend.ledger import Ledger
    from router.spend.windows import Window
    from router.types import Attempt, Usage

    scopes: list[tuple[dict[str, None], Window]] = [
        ({}, Window(unit="month")), ({"team": None}, Window(unit="day")), ({"run_id": None}, Window(rolling_s=3600)),
    ]  # fmt: skip
    budgets = Budgets(tuple(Budget(name=str(i), scope=s, limit=10**18, window=w) for i, (s, w) in enumerate(scopes)))
    usage = Usage(input_tokens=12, output_tokens=1)
    paid = Attempt(model="m", call="openai/m", outcome="ok", usage=usage, cost_usd=COST_USD, held_usd=COST_USD)
    times: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder, "ledger.sqlite3"))
        for number in range(2 * rows):
            request, is_held = chat_request(HI, team="x", run_id="r"), bool(number % 2)
            began = time.perf_counter()
            if is_held:
                legs = budgets.legs(request.tags, "m", "openai", Worst(usd=10**8, tokens=40), time.time_ns() // 1000)
                assert isinstance(legs, list)
                assert ledger.holds.take(request.id, 0, legs, 10**8, "m") is None
            ledger.append_request(request, None, outcome="ok", attempts=[paid], unwritten=1, cost_usd=COST_USD,
                                  latency_s=0.1, cache="off")  # fmt: skip
            times[is_held].append(time.perf_counter() - began)
        ledger.close()
    alone, held = statistics.median(times[False]), statistics.median(times[True])
    return {"hold_and_settle_ms": round((held - alone) * 1e3, 3), "row_alone_ms": round(alone * 1e3, 3)}


if __name__ == "__main__":
    main()
