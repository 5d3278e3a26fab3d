"""The plan before paying: what a run takes and what it can prove."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evals.cli import eval_group
from evals.cli.plan import plan
from evals.cli.run import run
from evals.forecast import reach
from evals.types import CALLS_AT_ONCE
from router import Router


@pytest.fixture
def folder(folder: Path) -> Path:
    (folder / "suite.yaml").write_text(
        "version: 1\nname: echo\ntasks:\n  echo: {source: echo.jsonl, scorer: exact, bar: 0.8, repeats: 2,\n"
        "    params: {max_tokens: 50}, contamination: Written yesterday. }\n",
        encoding="utf-8",
    )
    return folder


def clearbar(*arguments: str) -> Result:
    return CliRunner().invoke(eval_group, arguments, standalone_mode=False)


PLAN = ("plan", "suite.yaml", "--policy", "policy.yaml", "--candidates")


def planned(*arguments: str) -> dict:  # type: ignore[type-arg]
    result = clearbar(*PLAN, *arguments, "--json")
    assert result.exception is None, result.exception
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_a_plan_counts_calls_tokens_and_dollars_without_a_call(folder: Path) -> None:
    found = planned("small,large")
    assert found["calls"] == 30 * 2 * 2  # samples, repeats of the suite, candidates
    small, large = found["loads"]
    assert (small["calls"], small["output_tokens"], small["is_measured"]) == (60, 60 * 50, False)
    assert 0 < small["expected_usd"] <= small["worst_usd"]
    assert large["expected_usd"] == pytest.approx(10 * small["expected_usd"])
    assert found["worst_usd"] == pytest.approx(small["worst_usd"] + large["worst_usd"])
    assert found["minutes"] > 0
    with Router("policy.yaml") as router:
        assert router.ledger.rollups.sums(["model"]) == []


def test_a_plan_says_what_each_bar_needs(folder: Path) -> None:
    (bar,) = planned("small")["bars"]
    assert (bar["samples"], bar["fewest_samples"], bar["is_possible"]) == (30, 14, True)
    assert bar["highest_bar"] == pytest.approx(0.05 ** (1 / 30))
    assert [one["rate"] for one in bar["if_true_rate"]] == [0.9, 0.95]
    assert bar["if_true_rate"][0]["samples_for_80_percent"] == 82


def test_too_few_samples_for_a_bar_exit_with_2(folder: Path) -> None:
    result = clearbar(*PLAN, "small", "--limit", "13")
    assert result.return_value == 2
    assert "CANNOT be proved with 13 samples: it needs at least 14" in result.stdout
    assert clearbar(*PLAN, "small", "--limit", "14").return_value == 0


def test_an_unknown_price_is_no_zero(folder: Path) -> None:
    found = planned("small,unpriced")
    assert (found["expected_usd"], found["worst_usd"]) == (None, None)
    assert "an unknown price" in clearbar(*PLAN, "unpriced").stdout


def test_earlier_runs_replace_guesses_and_their_cells_are_not_asked_again(folder: Path) -> None:
    run = ("run", "suite.yaml", "--policy", "policy.yaml", "--candidates", "small", "--out", "run")
    first = clearbar(*run, "--limit", "20", "--yes")
    assert first.exception is None, first.exception
    assert "Written yesterday." in first.stdout
    assert "bar 0.8 at 95% can be proved with 20 samples" in first.stderr and "minutes" in first.stderr
    found = planned("small", "--earlier", "run", "--out", "run")
    assert (found["done"], found["calls"]) == (40, 20)
    assert found["loads"][0]["is_measured"] and found["loads"][0]["output_tokens"] < 20 * 50
    assert [one["rate"] for one in found["bars"][0]["if_true_rate"]] == [1.0]


def test_a_directory_without_a_run_is_no_earlier_run(folder: Path) -> None:
    assert "no run here" in str(clearbar(*PLAN, "small", "--earlier", "nothing").exception)


@pytest.mark.parametrize("bar", [0.0, 1.0])
def test_bars_at_the_ends_have_a_plan_too(bar: float) -> None:
    found = reach("echo", bar, 0.95, 10)
    assert (found.is_possible, found.fewest) == ((True, 1) if bar == 0 else (False, None))


def test_plan_and_run_have_one_default_of_calls_at_once() -> None:
    options = [option for command in (plan, run) for option in command.params if option.name == "concurrency"]
    assert [option.default for option in options] == [CALLS_AT_ONCE, CALLS_AT_ONCE]
