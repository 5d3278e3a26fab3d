"""How many requests a second the ledger takes, and how long reports over many rows take, from sums and from the rows.

Requests with one call each are written by the ledger, one by one and batched, by one process and by two, beside a
floor: the same rows put into the same tables by plain sqlite3, without sums, holds or objects. Then the table is filled
up to `--rows` calls and as many requests by SQL, spread over 30 days, the sums are made again, and reports are timed:
from sums, and from the rows by any two tags. Every answer from sums is compared with the one from the rows.

    python benchmarks/ledger.py [--rows 10000000] [--dir DIR]    # 10 million: 17 GB, some 15 minutes
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from _results import write

from router._request import chat_request
from router.decisions import Candidate, Decision, TaskGuess
from router.spend.ledger import Ledger
from router.types import Attempt, Request, Usage

HI = [{"role": "user", "content": "hi"}]
DAYS = 30
BATCH = 500
WRITTEN, ONE_BY_ONE = 40_000, 4_000
REPEAT = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dir", type=Path, help="where the ledger is made, and deleted; default: the system's")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        with closing(Ledger(options.write)) as ledger:
            write_batched(ledger, made(WRITTEN // 2))
        return
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        path = Path(folder) / "ledger.sqlite3"
        figures: dict[str, Any] = {"rows": options.rows, **writing(path)}
        figures["fill_s"] = timed(lambda: fill(path, options.rows))
        with closing(Ledger(path)) as ledger:
            figures["rebuild_s"] = timed(ledger.rollups.rebuild)
            figures["cells"] = ledger.rows("SELECT level, COUNT(*) AS cells FROM cells GROUP BY level")
            figures["gigabytes"] = round(path.stat().st_size / 1e9, 2)
            print(json.dumps(figures, indent=1), flush=True)
            figures |= reports(ledger)
    print(write("ledger", figures))


def made(n: int, seed: int = 7) -> Iterator[tuple[Request, Decision, Attempt]]:
    """Requests of 12 teams with 3 workflows each, 2,000 customers, 6 models, runs of 8 calls; two free-form tags."""
    random_ = random.Random(seed)
    models = [f"model-{number}" for number in range(6)]
    candidates = tuple(
        Candidate(model=model, is_in=True, reason="bar 0.9 held: lower bound 0.93", expected_cost_usd=Decimal("0.0012"))
        for model in models
    )
    for number in range(n):
        team, flow = min(11, int(random_.expovariate(0.35))), random_.randrange(3)
        name = f"{team}-{flow}"
        request = chat_request(
            HI, team=f"team-{team}", feature=f"feature-{name}", workflow=f"workflow-{name}", agent=f"agent-{flow}",
            run_id=f"run-{seed}-{number // 8}", customer=f"customer-{min(1_999, int(random_.paretovariate(0.6)))}",
            environment=random_.choice(["production"] * 8 + ["staging", "development"]), cost_centre=f"cc-{team}",
            tags={"plan": random_.choice(["free", "pro", "gold"]), "region": random_.choice(["eu", "us"])},
            task=f"task-{flow}",
        )  # fmt: skip
        model = models[min(5, int(random_.expovariate(0.8)))]
        usage = Usage(
            input_tokens=random_.randrange(4_000),
            output_tokens=random_.randrange(900),
            cached_input_tokens=random_.randrange(200),
        )
        decision = Decision(
            id=request.id, task=TaskGuess(task=request.task, probability=1.0, by="caller"), rule="rule 1 (line 7)",
            strategy="single", bar=0.9, plan=tuple(models), candidates=candidates, policy_version="f19ffc41b196",
        )  # fmt: skip
        attempt = Attempt(
            model=model, call=f"openai/{model}", outcome="ok" if random_.random() < 0.98 else "failed", usage=usage,
            cost_usd=Decimal(random_.randrange(10**10)) / 10**12, latency_s=random_.lognormvariate(0, 0.7),
            price_id="0123456789abcdef", input_characters=9_000,
        )  # fmt: skip
        yield request, decision, attempt


def append(ledger: Ledger, row: tuple[Request, Decision, Attempt]) -> None:
    request, decision, attempt = row
    ledger.append_request(
        request, decision, outcome="ok" if attempt.outcome == "ok" else "error", attempts=[attempt], unwritten=1,
        cost_usd=attempt.cost_usd, latency_s=attempt.latency_s, cache="off", model=attempt.model,
    )  # fmt: skip


def write_batched(ledger: Ledger, rows: Iterator[tuple[Request, Decision, Attempt]]) -> list[float]:
    """Seconds of each batch, without the time to make up its requests."""
    times = []
    while batch := list(islice(rows, BATCH)):
        start_s = time.perf_counter()
        with ledger.batch():
            for row in batch:
                append(ledger, row)
        times.append(time.perf_counter() - start_s)
    return times


def writing(path: Path) -> dict[str, Any]:
    """Requests a second, in the ways to write them."""
    with closing(Ledger(path)) as ledger:
        rows = list(made(WRITTEN))
        cpu_s = time.process_time()
        batches = write_batched(ledger, iter(rows))
        cpu_s = time.process_time() - cpu_s
        singles = []
        for row in list(made(ONE_BY_ONE, seed=8)):
            start_s = time.perf_counter()
            append(ledger, row)
            singles.append(time.perf_counter() - start_s)
        floor_s = floor(ledger, path.with_name("floor.sqlite3"))
    both = path.with_name("both.sqlite3")
    Ledger(both).close()
    start_s = time.perf_counter()
    list(made(WRITTEN // 2))
    make_s = time.perf_counter() - start_s
    start_s = time.perf_counter()
    writers = [subprocess.Popen([sys.executable, __file__, "--write", str(both)]) for _ in range(2)]
    if any(writer.wait() for writer in writers):
        raise SystemExit("a writer failed")
    return {
        "batched_per_s": round(WRITTEN / sum(batches)),
        "batched_cpu_us": round(cpu_s / WRITTEN * 1e6, 1),
        "slowest_batch_ms": round(max(batches) * 1e3, 1),
        "two_processes_with_making_up_and_start_per_s": round(WRITTEN / (time.perf_counter() - start_s)),
        "making_up_s": round(make_s, 2),
        "one_by_one_per_s": round(ONE_BY_ONE / sum(singles)),
        "one_by_one_ms": {
            "median": round(statistics.median(singles) * 1e3, 3),
            "p99": round(statistics.quantiles(singles, n=100)[98] * 1e3, 3),
            "max": round(max(singles) * 1e3, 3),
        },
        "floor_batched_per_s": round((WRITTEN + ONE_BY_ONE) / floor_s),
    }


def floor(ledger: Ledger, path: Path) -> float:
    """Seconds to put the same rows into tables of the same shape."""
    rows = {}
    scripts = []
    for table in ("attempts", "requests"):
        found = ledger.rows(f"SELECT * FROM {table}")
        rows[table] = [tuple(row.values()) for row in found]
        scripts += [row["sql"] for row in ledger.rows("SELECT sql FROM sqlite_master WHERE tbl_name = ? AND "
                                                      "sql IS NOT NULL AND type <> 'trigger'", (table,))]  # fmt: skip
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        for script in scripts:
            connection.execute(script)
        start_s = time.perf_counter()
        for first in range(0, len(rows["requests"]), BATCH):
            connection.execute("BEGIN")
            for table, found in rows.items():
                marks = ", ".join("?" * len(found[0]))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", found[first : first + BATCH])
            connection.execute("COMMIT")
        return time.perf_counter() - start_s


def fill(path: Path, rows: int) -> None:
    """Repeat what was written until there are so many rows, with ids of their own, spread over 30 days."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-500000")
        (there,) = connection.execute("SELECT MAX(seq) FROM attempts").fetchone()
        now_us = time.time_ns() // 1000
        span_us = DAYS * 86_400_000_000
        step_us = span_us // max(1, rows)
        for table, key in (("attempts", "request_id"), ("requests", "id")):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            for first in range(there, rows, there):
                many = min(there, rows - first)
                made_up = {
                    "seq": f"seq + {first}",
                    key: f"printf('%012x', {first} + seq) || substr({key}, 4, 18)",
                    "at_us": f"{now_us - span_us} + ({first} + seq) * {step_us}",
                    "run_id": f"'run-' || (({first} + seq) / 8)",
                }
                connection.execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) SELECT "
                    f"{', '.join(made_up.get(name, name) for name in columns)} FROM {table} WHERE seq <= {many}"
                )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def reports(ledger: Ledger) -> dict[str, Any]:
    """Milliseconds of reports from sums, seconds of those from the rows, and of a floor: one sum over one column."""
    week_us = time.time_ns() // 1000 - 7 * 86_400_000_000
    sums: dict[str, Callable[[], Any]] = {
        "team": lambda: ledger.rollups.sums(["team"]),
        "team, model": lambda: ledger.rollups.sums(["team", "model"]),
        "workflow, model, environment": lambda: ledger.rollups.sums(["workflow", "model", "environment"]),
        "customer": lambda: ledger.rollups.sums(["customer"]),
        "customer, team where environment": lambda: ledger.rollups.sums(
            ["customer", "team"], where={"environment": "production"}
        ),
        "team by day": lambda: ledger.rollups.sums(["team"], step_us=86_400_000_000),
        "team by hour, last 7 days": lambda: ledger.rollups.sums(["team"], week_us, step_us=3_600_000_000),
        "customer, last 7 days": lambda: ledger.rollups.sums(["customer"], week_us),
    }
    rows: dict[str, Callable[[], Any]] = {
        "team, model": lambda: ledger.scan(["team", "model"]),
        "plan, region (free-form)": lambda: ledger.scan(["tags.plan", "tags.region"]),
        "customer, feature": lambda: ledger.scan(["customer", "feature"]),
        "team, plan of the last 7 days": lambda: ledger.scan(["team", "tags.plan"], None, week_us),
        "run_id where team": lambda: ledger.scan(["run_id"], {"team": "team-3"}),
    }
    from_sums = {name: [timed(report) for _ in range(REPEAT)] for name, report in sums.items()}
    from_rows = {name: both_clocks(report) for name, report in rows.items()}
    as_read = {(row["team"], row["model"]): row for row in ledger.scan(["team", "model"])}
    as_kept = {(row["team"], row["model"]): row for row in ledger.rollups.sums(["team", "model"])}
    floor_s = timed(lambda: ledger.rows("SELECT SUM(cost_pusd / 1000000), COUNT(*) FROM attempts"))
    return {
        "from_sums_ms": {name: round(statistics.median(times) * 1e3, 1) for name, times in from_sums.items()},
        "from_rows": from_rows,
        "floor_one_sum_s": round(floor_s, 2),
        "sums_equal_rows": as_read == as_kept,
    }


def both_clocks(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds by the clock, and of all threads together: the first grow where others work, too."""
    cpu_s = time.process_time()
    seconds = timed(work)
    return {"s": round(seconds, 2), "cpu_s": round(time.process_time() - cpu_s, 2)}


def timed(work: Callable[[], Any]) -> float:
    start_s = time.perf_counter()
    work()
    return round(time.perf_counter() - start_s, 4)


if __name__ == "__main__":
    main()
