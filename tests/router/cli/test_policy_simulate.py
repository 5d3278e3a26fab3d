"""`clearbar policy simulate`: gates, exit codes, what is shown."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from sums import answers

from router.outcomes import write_outcomes

POLICY = """\
version: 1
models:
  - {{id: tiny, call: replay/tiny, price: {{input: 1, output: 1}}}}
  - {{id: large, call: replay/large, price: {{input: 60, output: 60}}}}
rules:
  - {{candidates: [{model}], strategy: fixed}}
"""


@pytest.fixture
def simulate(clearbar: Callable[..., Any]) -> Callable[..., Any]:
    """Runs the command on `tiny` instead of `large` and 300 sums."""
    for model in ("tiny", "large"):
        Path(f"{model}.yaml").write_text(POLICY.format(model=model), encoding="utf-8")
    write_outcomes("sums.parquet", answers(300).to_pylist())

    def run(*options: str, code: int = 0) -> Any:
        return clearbar("policy", "simulate", "tiny.yaml", "--against", "large.yaml", *options, code=code)

    return run


TABLE = ("--outcomes", "sums.parquet")


@pytest.mark.parametrize(
    ("gates", "code", "verdicts"),
    [
        ([], 0, []),
        (["--max-cost-change", "5%"], 0, ["held"]),
        (["--max-cost-change=-99%"], 1, ["failed"]),
        (["--max-quality-drop", "0.01"], 1, ["failed"]),
        (["--max-quality-drop", "0.32"], 2, ["not enough evidence"]),
        (["--max-denied", "2%"], 0, ["held"]),
        (["--max-denied", "0.1%"], 2, ["not enough evidence"]),
        (["--max-latency-change", "10%"], 2, ["not enough evidence"]),
        (["--max-quality-drop", "0.01", "--max-denied", "0.1%"], 2, ["failed", "not enough evidence"]),
    ],
    ids=["no gate", "cheaper", "not that cheap", "worse", "as bad as that or not", "nobody denied",
         "too few to prove a tenth of a percent", "no times", "2 goes before 1"],
)  # fmt: skip
def test_gates_by_the_whole_interval(
    simulate: Callable[..., Any], gates: list[str], code: int, verdicts: list[str]
) -> None:
    told = simulate(*TABLE, *gates, "--json", code=code)
    assert [gate["verdict"] for gate in told["gates"]] == verdicts
    assert told["exit_code"] == code
    assert told["comparison"]["total"]["requests"] == 300


def test_no_name_means_anything_to_a_terminal_or_a_comment(simulate: Callable[..., Any]) -> None:
    def more(random: Any, right: bool) -> dict[str, Any]:
        return {"team": "<b>\x1b[2J ![i](http://x.example)\n| @all |"}

    parquet.write_table(answers(20, more=more), "named.parquet")
    screen = simulate("--outcomes", "named.parquet", "--by", "team")
    assert "\x1b" not in screen
    comment = simulate("--outcomes", "named.parquet", "--by", "team", "--markdown").partition("<details>")[0]
    (row,) = [line for line in comment.splitlines() if "team=" in line]
    assert row.startswith(r"| team=&lt;b&gt;\[2J \!\[i\](http://x.example) \| @<!-- -->all \| | 20 |")


def test_more_requests_than_anybody_will_see_are_refused(simulate: Callable[..., Any]) -> None:
    assert "is not in the range" in simulate(*TABLE, "--requests", str(10**20), code=3)


def test_a_comment_for_a_pull_request_says_it_all(simulate: Callable[..., Any]) -> None:
    told = simulate(*TABLE, "--by", "task", "--max-cost-change", "5%", "--markdown")
    assert told.startswith("### `tiny.yaml` instead of `large.yaml`\n\n**cost -98.")
    assert "| task=sums | 300 | 100.0% |" in told
    assert "| cost change | 5% | **held** | -98." in told
    assert "asked after: tiny 100%" in told
    assert "asks tiny too" in told.partition("<details>")[2]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "give --outcomes FILE or --ledger STATE"),
        ([*TABLE, "--ledger", "."], "give --outcomes FILE or --ledger STATE"),
        ([*TABLE, "--by", "team"], "'team' is on no request; there are task"),
        ([*TABLE, "--max-cost-change", "a lot"], "'a lot' is no share; write 5% or 0.05"),
        ([*TABLE, "--model", "tiny=huge"], "the outcome table has no model 'huge' (given for 'tiny')"),
        ([*TABLE, "--json", "--markdown"], "give --json or --markdown"),
        (["--outcomes", "none.parquet"], "'none.parquet' does not exist"),
    ],
    ids=["neither", "both", "no such tag", "no share", "no such model", "two forms", "no such file"],
)
def test_what_cannot_be_meant_is_code_3(simulate: Callable[..., Any], options: list[str], complaint: str) -> None:
    assert complaint in " ".join(simulate(*options, code=3).split())


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_policy_of_a_revision_is_compared_as_a_file_is(
    simulate: Callable[..., Any], clearbar: Callable[..., Any]
) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "large.yaml"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    Path("large.yaml").write_text(POLICY.format(model="tiny"), encoding="utf-8")
    told = clearbar("policy", "simulate", "large.yaml", "--against", "HEAD:large.yaml", *TABLE, "--json")
    assert told["comparison"]["models"] == {"before": {"large": 300}, "after": {"tiny": 300}}


def test_what_is_extrapolated_is_in_the_interval_that_is_shown(simulate: Callable[..., Any]) -> None:
    rows = [row for row in answers(300).to_pylist() if row["model"] != "tiny"]
    write_outcomes("without.parquet", rows)
    table = ("--outcomes", "without.parquet")
    quality = simulate(*table, "--json")["comparison"]["total"]["quality"]
    assert quality["best"] - quality["worst"] > 0.9
    told = simulate(*table, "--markdown")
    assert f"[{quality['worst']:+.4f}, {quality['best']:+.4f}]" in told
    assert f"comes as expected: quality {quality['low']:+.4f} to {quality['high']:+.4f}" in told


def test_an_environment_is_compared_as_it_is_there(simulate: Callable[..., Any]) -> None:
    with Path("tiny.yaml").open("a", encoding="utf-8") as policy:
        policy.write("environments: {staging: {models: {tiny: {price: {input: 600, output: 600}}}}}\n")
    assert simulate(*TABLE, "--json")["comparison"]["total"]["cost"]["value"] < -0.9
    told = simulate(*TABLE, "--environment", "staging", "--json")
    assert told["comparison"]["total"]["cost"]["value"] > 8


def test_a_ledger_without_requests_is_not_enough(simulate: Callable[..., Any], tmp_path: Path) -> None:
    from router import Router

    Router("tiny.yaml", tmp_path / "empty").close()
    assert "no request to simulate" in simulate("--ledger", str(tmp_path / "empty"), code=2)
    assert "no ledger here yet" in simulate("--ledger", str(tmp_path / "nowhere"), code=3)


def test_an_environment_that_no_policy_has_is_a_mistake(
    simulate: Callable[..., Any], clearbar: Callable[..., Any]
) -> None:
    told = simulate(*TABLE, "--environment", "prd", code=3)
    assert "--environment 'prd': no policy here has `environments`; leave it out" in told
    assert told in clearbar("policy", "diff", "tiny.yaml", "large.yaml", "--environment", "prd", code=3)
