"""`clearbar spend estimate`: a distribution before there is a bill, and what it leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import router
from router.cli import cli
from router.spend.lengths import LEAST

POLICY = """
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 2}, max_output_tokens: 100}
  - {id: large, call: fake/large, price: {input: 10, output: 20}, max_output_tokens: 100}
rules: [{candidates: [MODEL], strategy: fixed}]
"""
HI = [{"role": "user", "content": "one two three"}]
ANSWER = "word " * 29 + "word"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name in ("small", "large"):
        (tmp_path / f"{name}.yaml").write_text(POLICY.replace("MODEL", name))
    return tmp_path


def serve(here: Path, model: str, requests: int, answer: str = ANSWER) -> None:
    fake = router.FakeTransport({"small": answer, "large": answer})
    with router.Router(here / f"{model}.yaml", here / "state", fake) as one:
        for number in range(requests):
            one.complete(HI, task="qa", run_id=f"{model}-{number % 15}")


def run(here: Path, model: str, *arguments: Any) -> Result:
    given = ["spend", "estimate", *map(str, arguments), "--state", str(here / "state")]
    return CliRunner().invoke(cli, [*given, "--policy", str(here / f"{model}.yaml")])


def prompts(here: Path, *rows: dict[str, Any]) -> Path:
    (here / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return here / "prompts.jsonl"


def test_sample_prompts_and_a_volume_make_a_distribution(here: Path) -> None:
    rows = [{"prompt": "hi " * (n + 1), "output_tokens": 10 * (n + 1)} for n in range(20)]
    done = run(here, "small", prompts(here, *rows), "--requests-per-day", 1000, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["sources"] == {"given": 20} and told["models"] == {"small": 20}
    assert told["p50_usd"] < told["mean_usd"] * 1.3 < told["p95_usd"] * 1.3
    assert told["total"]["value"] == pytest.approx(told["mean_usd"] * 30_000)
    assert told["total"]["low"] < told["total"]["value"] < told["total"]["high"]


def test_lengths_come_from_history_and_without_any_nothing_is_made_up(here: Path) -> None:
    file = prompts(here, {"prompt": "hi", "task": "qa"}, {"prompt": "ho", "task": "qa"})
    done = run(here, "small", file, "--requests-per-day", 10)
    assert done.exit_code == 2 and "nobody knows how long answers are" in done.stdout
    serve(here, "small", LEAST)
    told = json.loads(run(here, "small", file, "--requests-per-day", 10, "--json").stdout)
    assert told["sources"] == {"history of the task and model": 2}
    other = json.loads(run(here, "large", file, "--requests-per-day", 10, "--json").stdout)
    assert other["sources"] == {"history of the task": 2}
    assert other["mean_usd"] == pytest.approx(10 * told["mean_usd"])


def test_a_replay_says_what_another_policy_would_have_cost(here: Path) -> None:
    serve(here, "small", 30)
    done = run(here, "large", "--replay", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["requests"], told["models"]) == (30, {"large": 30})
    assert told["change"]["value"] == pytest.approx(10)
    assert told["total"]["value"] == pytest.approx(10 * told["recorded_usd"])
    same = json.loads(run(here, "small", "--replay", "--json").stdout)
    assert same["change"]["value"] == pytest.approx(1)
    assert "+900.0%" in run(here, "large", "--replay").stdout


def test_longer_answers_of_another_model_count(here: Path) -> None:
    serve(here, "small", 30)
    serve(here, "large", 30, answer=ANSWER + " " + ANSWER)
    told = json.loads(run(here, "small", "--replay", "--json").stdout)
    assert told["models"] == {"small": 60}
    assert told["change"]["value"] < 0.5


@pytest.mark.parametrize(("line", "told"), [
    ("{", ":1:"), ('{"prompt": "a", "hat": 1}', "unknown hat"), ('{"task": "qa"}', "needs prompt or messages"),
])  # fmt: skip
def test_a_line_that_cannot_be_read_is_named(here: Path, line: str, told: str) -> None:
    (here / "bad.jsonl").write_text(line + "\n")
    done = run(here, "small", here / "bad.jsonl", "--requests-per-day", 1)
    assert done.exit_code != 0 and told in done.output


def test_one_source_has_to_be_chosen(here: Path) -> None:
    assert "one of them" in run(here, "small").output
    assert "one of them" in run(here, "small", prompts(here, {"prompt": "a"}), "--replay").output
    assert "need --requests-per-day" in run(here, "small", prompts(here, {"prompt": "a"})).output


def test_what_a_model_in_the_shadow_costs_is_said_to_be_left_out(here: Path) -> None:
    serve(here, "small", LEAST)
    hi = prompts(here, {"prompt": "hi", "task": "qa"})
    plain = [run(here, "small", "--replay"), run(here, "small", hi, "--requests-per-day", 10)]
    text = (here / "small.yaml").read_text()
    (here / "small.yaml").write_text(text.replace("fixed}", "fixed, shadow: {model: large, percent: 100%}}"))
    told = [run(here, "small", "--replay"), run(here, "small", hi, "--requests-per-day", 10)]
    for before, after, n in zip(plain, told, (LEAST, 1), strict=True):
        line = f"{n:,} have a model in the shadow, whose cost is not counted\n"
        assert (line in before.stdout, line in after.stdout) == (False, True), after.output
        assert after.stdout.replace(line, "") == before.stdout
