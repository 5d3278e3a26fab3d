"""What `import router` costs over a bare interpreter, beside `import litellm`, in fresh processes taken in turn.

python benchmarks/import_time.py [--runs 9]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from _results import write

HEAVY = ("litellm", "sklearn", "numpy", "diskcache", "onnxruntime", "datasets", "ragas")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    bare, ours, theirs = [], [], []
    for number in range(runs + 1):
        times = [wall_ms(code) for code in ("pass", "import router", "import litellm")]
        if number:  # the first round warms the disk cache
            for sink, value in zip((bare, ours, theirs), times, strict=True):
                sink.append(value)
    code = f"import sys, router; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    figures = {
        "runs": runs,
        "import_router_ms_over_bare_median": round(statistics.median(ours) - statistics.median(bare), 1),
        "import_litellm_ms_over_bare_median": round(statistics.median(theirs) - statistics.median(bare), 1),
        "heavy_modules_loaded": loaded,
    }
    for name, value in figures.items():
        print(f"{name:>40}: {value}")
    print(write("import_time", figures))


def wall_ms(code: str) -> float:
    start = time.perf_counter()
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environ)
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    main()
