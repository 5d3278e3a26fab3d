"""What every benchmark shares: facts of the machine, and a dated result file."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Facts that a number needs beside it."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    return {
        "cores": os.cpu_count(),
        "cpu": cpu or platform.processor(),
        "system": platform.system(),
        "python": sys.version.split()[0],
        "load_1min": round(os.getloadavg()[0], 2),
    }


def write(name: str, figures: dict[str, Any]) -> Path:
    """Write `results/NAME.json`, replacing the last run's."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    row = {"benchmark": name, "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), **figures}
    path.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
    return path


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
