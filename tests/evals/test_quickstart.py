"""The quickstart where no weights can be fetched: it says so, and goes on with recorded answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evals.quickstart import FAST, FULL, RECORDED, Size
from evals.suite import load_suite
from router.outcomes import read_outcomes


@pytest.mark.parametrize("option", ["--fast", pytest.param("", marks=pytest.mark.long)])
def test_without_weights_it_runs_to_its_end_on_recorded_answers(tmp_path: Path, option: str) -> None:
    environ = {
        **os.environ,
        "CLEARBAR_MODELS": str(tmp_path / "models"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "PIP_NO_INDEX": "1",
    }
    command = [sys.executable, "-m", "router.cli", "quickstart", *option.split(), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "weights cannot be had" in done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["pool"] == "replay"
    assert figures["requests"] == (30 if option else 48)
    assert 0 < figures["quality"] <= 1
    assert 0 < figures["cost_usd"] <= figures["best_constant_cost_usd"] + 1e-12
    assert figures["cache_hits"] > 0
    assert (tmp_path / "out" / "report.html").is_file()
    assert (tmp_path / "out" / "evals.html").is_file()


@pytest.mark.parametrize("size", [FAST, FULL], ids=["fast", "full"])
@pytest.mark.parametrize("seed", [None, 1], ids=["measured", "fresh"])
def test_every_prompt_it_may_ask_is_recorded(size: Size, seed: int | None) -> None:
    prompts = set(read_outcomes(RECORDED)["prompt"].to_pylist())
    asked = load_suite("local", seed=seed).samples(size.measured if seed is None else size.routed)
    assert {sample.prompt for sample in asked} <= prompts


def test_it_never_replaces_a_folder_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    command = [sys.executable, "-m", "router.cli", "quickstart", "--fast", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 3
    assert "holds something else" in done.stderr
    assert (tmp_path / "precious.txt").is_file()
