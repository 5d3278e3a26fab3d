"""Hot reload under load: what is dropped or misrouted, and what it costs the requests meanwhile.

Two processes, one of threads and one of an event loop, share a state folder and a policy of two files, and look for
changes by themselves (`reload_s`). Requests come in at a fixed rate, whether or not earlier ones are answered, and go
over HTTP to a provider on loopback that answers with the name of the model it was asked for. In five parts of the time
the policy changes, a hundred times in all, every second time into something broken. Each good version sends requests to
another model. An answer is misrouted if the provider was not asked for the model of the version that the decision
names, or if that version held at no moment of the request. Latencies count from when a request was due; the same run
gives them with and without changes, the floor being the quiet parts before, between and after.

    python benchmarks/reload.py [--rate 200] [--changes 100] [--every-s 0.5] [--quiet-s 6]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _changes import BROKEN, TAG, Place
from _provider import provider
from _results import write
from _wire import Wire

import router
from router.spend.ledger import Ledger

DELAY_MS = 20.0
RELOAD_S = 0.1
SLACK_S = 0.005
"""Between a version's first moment and its line in the log."""
THREADS = 64
PARTS = 5
WARM_UP = 100
"""Requests of each process before those that count."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second, of both processes together")
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--every-s", type=float, default=0.5, help="seconds between two changes")
    parser.add_argument("--quiet-s", type=float, default=6.0, help="seconds of each of the six quiet parts")
    parser.add_argument("--worker", nargs=3, metavar=("KIND", "POLICY", "STATE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(*given.worker)
        return
    os.environ["BENCHMARK_KEY"] = "none"
    with tempfile.TemporaryDirectory() as folder, provider(DELAY_MS, echo=True) as base_url:
        place = Place(Path(folder), base_url)
        figures = measure(place, Path(folder, "state"), given)
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(write("reload", figures))


def measure(place: Place, state: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Run both processes, change the policy meanwhile, and judge every answer."""
    command = [sys.executable, str(Path(__file__).resolve()), "--worker"]
    workers = [
        subprocess.Popen(
            [*command, kind, str(place.path), str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for kind in ("threads", "asyncio")
    ]
    for one in workers:
        assert one.stdout is not None and one.stdout.readline() == "ready\n"
    begin_s = time.monotonic() + 0.5
    part_s = given.changes // PARTS * given.every_s
    starts_s = [begin_s + given.quiet_s + part * (part_s + given.quiet_s) for part in range(PARTS)]
    seconds = starts_s[-1] + part_s + given.quiet_s - begin_s
    due = {"begin_s": begin_s, "every_s": len(workers) / given.rate, "seconds": seconds}
    for number, one in enumerate(workers):
        assert one.stdin is not None
        one.stdin.write(json.dumps({**due, "first_s": number / given.rate}) + "\n")
        one.stdin.flush()
    broken = [name for number, at_s in enumerate(starts_s) for name in change(place, at_s, number, given)]
    told = [json.loads(one.communicate()[0]) for one in workers]
    answers = [one for each in told for one in each["answers"]]
    parts = [[one for one in answers if at_s <= one["due_s"] < at_s + part_s] for at_s in starts_s]
    with_changes = [one for part in parts for one in part]
    within = {id(one) for one in with_changes}
    without = [one for one in answers if id(one) not in within]
    late = [one["began_s"] - one["due_s"] for one in answers]
    ledger = Ledger(state / "ledger.sqlite3")
    (rows,) = ledger.rows("SELECT COUNT(*) AS n, SUM(outcome = 'ok') AS ok FROM requests")
    ledger.close()
    return {
        "requests": sum(each["asked"] for each in told),
        "requests_per_s": round(sum(each["asked"] for each in told) / due["seconds"], 1),
        "answered": len(answers),
        "dropped": sum(each["asked"] - len(each["answers"]) for each in told),
        "errors": [text for each in told for text in each["errors"]][:5],
        "misrouted": sum(not _is_right(one, place, each["held"]) for each in told for one in each["answers"]),
        "in_the_ledger": {"all": rows["n"] - 2 * WARM_UP, "answered": rows["ok"] - 2 * WARM_UP},
        "good_changes": len(place.known) - 1,
        "broken_changes": len(broken),
        "kinds_of_broken": len(set(broken)),
        "reloads": {each["kind"]: len(each["held"]) - 1 for each in told},
        "refused": {each["kind"]: each["refused"] for each in told},
        "requests_while_changing": len(with_changes),
        "latency_ms_quiet": _latency(without),
        "latency_ms_changing": _latency(with_changes),
        "ratio_p50": round(_latency(with_changes)["p50"] / _latency(without)["p50"], 3),
        "ratio_p95": round(_latency(with_changes)["p95"] / _latency(without)["p95"], 3),
        "ratio_p99": round(_latency(with_changes)["p99"] / _latency(without)["p99"], 3),
        "started_late_ms_p99": round(1e3 * statistics.quantiles(late, n=100)[98], 2),
        "provider_delay_ms": DELAY_MS,
        "by_process": {each["kind"]: _latency(each["answers"]) for each in told},
    }


def change(place: Place, begin_s: float, part: int, given: argparse.Namespace) -> list[str]:
    """Change the policy at the times of one part, first to something good; the names of what was broken."""
    kinds, broken = list(BROKEN), []
    count = given.changes // PARTS
    for number in range(part * count, (part + 1) * count):
        time.sleep(max(0.0, begin_s + (number - part * count) * given.every_s - time.monotonic()))
        if number % 2:
            broken.append(kinds[number // 2 % len(kinds)])
            BROKEN[broken[-1]](place)
        else:
            place.good(number // 2)
    time.sleep(max(0.0, begin_s + count * given.every_s - time.monotonic()))
    place.mend()
    return broken


def _is_right(one: dict[str, Any], place: Place, held: list[list[Any]]) -> bool:
    """Whether the provider was asked for the model of a version that held during the request."""
    models = place.known.get(one["version"])
    if models is None or one["answer"] != models[one["tagged"]] or one["model"] != one["answer"]:
        return False
    ends = [since for _, since in held[1:]] + [float("inf")]
    return any(
        version == one["version"] and since - SLACK_S <= one["ended_s"] and one["began_s"] <= until + SLACK_S
        for (version, since), until in zip(held, ends, strict=True)
    )


def _latency(answers: list[dict[str, Any]]) -> dict[str, float]:
    cuts = statistics.quantiles([1e3 * (one["ended_s"] - one["due_s"]) for one in answers], n=100)
    return {"p50": round(cuts[49], 2), "p95": round(cuts[94], 2), "p99": round(cuts[98], 2)}


class Held(logging.Handler):
    """Which version held since when, and how often one was refused, as the log tells it."""

    def __init__(self, version: str) -> None:
        super().__init__()
        self.held: list[tuple[str, float]] = [(version, 0.0)]
        self.refused = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Read a line of the log."""
        if record.msg.startswith("policy version"):
            self.held.append((str(record.args[0]), time.monotonic()))  # type: ignore[index]
        elif record.msg.startswith("the policy is not loaded"):
            self.refused += 1


def work(kind: str, policy: str, state: str) -> None:
    """One process: wait for the word, ask at the rate given, and print what came of it."""
    with router.Router(policy, state, Wire(), reload_s=RELOAD_S) as one:
        heard = Held(one.policy.version)
        log = logging.getLogger("router._reload")
        log.addHandler(heard)
        log.setLevel(logging.INFO)
        log.propagate = False
        now_s, run = time.monotonic(), in_threads if kind == "threads" else in_a_loop
        run(one, [now_s + number / 50 for number in range(WARM_UP)], [], [])
        one._transport.close()  # that event loop has ended
        print("ready", flush=True)
        due = json.loads(sys.stdin.readline())
        count = int(due["seconds"] / due["every_s"])
        times = [due["begin_s"] + due["first_s"] + number * due["every_s"] for number in range(count)]
        answers: list[dict[str, Any]] = []
        errors: list[str] = []
        run(one, times, answers, errors)
    told = {"kind": kind, "asked": count, "answers": answers, "errors": errors, "held": heard.held}
    print(json.dumps({**told, "refused": heard.refused}), flush=True)


def in_threads(one: router.Router, times: list[float], answers: list[dict[str, Any]], errors: list[str]) -> None:
    """Ask at each time, each request in a thread."""

    def ask(number: int, due_s: float) -> None:
        began_s = time.monotonic()
        try:
            done = one.complete(_question(number), tags=_tags(number))
        except Exception as error:  # noqa: BLE001  whatever it is, the request is dropped
            errors.append(repr(error))
        else:
            answers.append(_answer(done, number, due_s, began_s))

    with ThreadPoolExecutor(THREADS) as pool:
        for number, due_s in enumerate(times):
            time.sleep(max(0.0, due_s - time.monotonic()))
            pool.submit(ask, number, due_s)


def in_a_loop(one: router.Router, times: list[float], answers: list[dict[str, Any]], errors: list[str]) -> None:
    """Ask at each time, all in one event loop."""

    async def ask(number: int, due_s: float) -> None:
        began_s = time.monotonic()
        try:
            done = await one.acomplete(_question(number), tags=_tags(number))
        except Exception as error:  # noqa: BLE001  whatever it is, the request is dropped
            errors.append(repr(error))
        else:
            answers.append(_answer(done, number, due_s, began_s))

    async def ask_all() -> None:
        async with asyncio.TaskGroup() as group:
            for number, due_s in enumerate(times):
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                group.create_task(ask(number, due_s))

    asyncio.run(ask_all())


def _question(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Question {number}: what is the capital of France?"}]


def _tags(number: int) -> dict[str, str]:
    return TAG if number % 2 else {}


def _answer(done: Any, number: int, due_s: float, began_s: float) -> dict[str, Any]:
    return {
        "due_s": due_s, "began_s": began_s, "ended_s": time.monotonic(), "version": done.decision.policy_version,
        "model": done.model, "answer": done.choices[0].message.content, "tagged": number % 2,
    }  # fmt: skip


if __name__ == "__main__":
    main()
