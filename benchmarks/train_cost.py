"""What training costs: seconds, CPU seconds and peak memory of a fresh process, and how fast its artifact loads.

Run with one thread a process (`OMP_NUM_THREADS=1`) for figures that compare.

    python benchmarks/train_cost.py OUTCOMES [OUTCOMES ...]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _results import write

LOADS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcomes", nargs="+", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(trained(arguments.outcomes[0])))
        return
    rows = {}
    for path in arguments.outcomes:
        done = subprocess.run(
            [sys.executable, __file__, str(path), "--child"], check=True, capture_output=True, text=True
        )
        rows[path.stem] = json.loads(done.stdout.splitlines()[-1])
        print(path.stem, ", ".join(f"{name} {value}" for name, value in rows[path.stem].items()), flush=True)
    print(write("train_cost", {"tables": rows}))


def trained(path: Path) -> dict[str, Any]:
    from router.outcomes import read_outcomes
    from router.predict import Predictor, artifact
    from router.predict.train import train

    imported = peak_mb()
    table = read_outcomes(path)
    read = peak_mb()
    started, cpu = time.perf_counter(), time.process_time()
    result, _ = train(table, seed=0)
    took, spent = time.perf_counter() - started, time.process_time() - cpu
    peak = peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "artifact")
        artifact.save(result, place, created="")
        loads = []
        for _ in range(LOADS):
            started = time.perf_counter()
            Predictor.load(place)
            loads.append((time.perf_counter() - started) * 1000)
        size = sum(file.stat().st_size for file in place.iterdir())
    return {
        "rows": table.num_rows,
        "train_s": round(took, 1),
        "train_cpu_s": round(spent, 1),
        "peak_mb": round(peak),
        "peak_mb_imports": round(imported),
        "peak_mb_table_read": round(read),
        "artifact_mb": round(size / 2**20, 2),
        "load_ms_median": round(statistics.median(loads), 1),
    }


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
