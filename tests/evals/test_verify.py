"""Verdicts on recorded answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evals.types import EvalError
from evals.verify import rows_to_verify, verify, worst_usd
from policies import SMALL_AND_LARGE
from router import FakeTransport, Router
from router.cli import cli
from router.errors import ProviderUnavailableError
from router.outcomes import read_outcomes, write_outcomes
from router.types import Call
from router.verify import messages_for, signature


def table(path: Path, count: int = 10) -> Path:
    rows = [
        {
            "query_id": f"q{query}", "task": "sums", "prompt": f"What is {query} + 1?", "model": model,
            "quality": float(model == "large"), "response": f"{query + (1 if model == 'large' else 2)}",
            "input_tokens": 5, "output_tokens": 1, "cost_usd": 0.001,
        }
        for query in range(count)
        for model in ("small", "large")
    ]  # fmt: skip
    write_outcomes(path, rows)
    return path


def checks(call: Call) -> str:
    shown = json.loads(call.messages[1]["content"])
    asked = int(shown["question"].split()[2]) + 1
    return "yes" if int(shown["answer"]) == asked else "no"


@pytest.fixture
def make_router(tmp_path: Path) -> Iterator[Callable[..., Router]]:
    (tmp_path / "policy.yaml").write_text(SMALL_AND_LARGE, encoding="utf-8")
    made: list[Router] = []

    def make(script: Any = checks) -> Router:
        made.append(Router(tmp_path / "policy.yaml", tmp_path / "state", FakeTransport({"small": script})))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_each_answer_gets_the_verdict_that_a_cascade_would_get(
    make_router: Callable[..., Router], tmp_path: Path
) -> None:
    router = make_router()
    rows, unsaid = rows_to_verify(router, "small", read_outcomes(table(tmp_path / "t.jsonl")))
    progress = verify(router, "small", unsaid, at_once=4)
    assert (progress.total, progress.said, progress.failed) == (20, 20, 0)
    assert [row["verified"] for row in rows] == [row["quality"] for row in rows]
    assert {row["verifier"] for row in rows} == {signature("small")}
    assert progress.spent_usd == pytest.approx(Decimal(str(sum(row["verified_usd"] for row in rows))))
    shown = messages_for(unsaid[0]["prompt"], unsaid[0]["response"])
    assert shown in [call.messages for call in router._transport.calls]


def test_a_cap_is_never_passed(make_router: Callable[..., Router], tmp_path: Path) -> None:
    router = make_router()
    _, unsaid = rows_to_verify(router, "small", read_outcomes(table(tmp_path / "t.jsonl")))
    cap = worst_usd(router, "small", unsaid[0]) * 5
    progress = verify(router, "small", unsaid, at_once=4, max_cost_usd=cap)
    assert progress.is_stopped_by_cap
    assert 0 < progress.said < 20
    assert progress.spent_usd <= cap


def test_replies_without_a_verdict_and_failures_leave_the_answer_without_one(
    make_router: Callable[..., Router], tmp_path: Path
) -> None:
    for script, counted in (("maybe", "unread"), (ProviderUnavailableError("down"), "failed")):
        router = make_router(script)
        rows, unsaid = rows_to_verify(router, "small", read_outcomes(table(tmp_path / "t.jsonl", 2)))
        progress = verify(router, "small", unsaid, at_once=1)
        assert getattr(progress, counted) == 4
        assert all(row.get("verified") is None for row in rows)


def test_another_verifiers_table_and_an_unknown_one_are_refused(
    make_router: Callable[..., Router], tmp_path: Path
) -> None:
    path = table(tmp_path / "t.jsonl")
    with pytest.raises(EvalError, match="lists no model 'smal'"):
        rows_to_verify(make_router(), "smal", read_outcomes(path))
    told = [{**row, "verified": 1.0, "verifier": "x@1", "verified_usd": 0.0} for row in read_outcomes(path).to_pylist()]
    write_outcomes(tmp_path / "told.jsonl", told)
    with pytest.raises(EvalError, match="verdicts of x@1"):
        rows_to_verify(make_router(), "small", read_outcomes(tmp_path / "told.jsonl"))


def test_the_command_adds_three_columns_and_goes_on_where_a_cap_stopped_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.yaml").write_text(SMALL_AND_LARGE, encoding="utf-8")
    monkeypatch.setattr("router._router.DispatchTransport", lambda: FakeTransport({"small": checks}))
    before, out = table(tmp_path / "t.parquet"), tmp_path / "verified.parquet"

    def clearbar(outcomes: Path, *more: str) -> Any:
        shared = [
            "--verifier",
            "small",
            "--out",
            str(out),
            "--policy",
            str(tmp_path / "policy.yaml"),
            "--yes",
            "--json",
        ]
        return CliRunner().invoke(
            cli, ["eval", "verify", "--outcomes", str(outcomes), *shared, *more], standalone_mode=False
        )

    first = clearbar(before, "--max-cost-usd", "0.0005")
    stopped = json.loads(first.stdout)
    second = clearbar(out)
    assert (first.return_value, second.return_value) == (2, 0)
    assert stopped["stopped_by_cap"] and stopped["said"] < 20
    assert stopped["said"] + json.loads(second.stdout)["said"] == 20
    verified = read_outcomes(out)
    assert verified["verified"].to_pylist() == verified["quality"].to_pylist()
    assert verified.num_rows == 20


def test_a_file_that_cannot_be_written_is_told_before_anything_is_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.yaml").write_text(SMALL_AND_LARGE, encoding="utf-8")
    asked: list[Call] = []
    transport = FakeTransport({"small": lambda call: asked.append(call) or "yes"})
    monkeypatch.setattr("router._router.DispatchTransport", lambda: transport)
    words = ["eval", "verify", "--outcomes", str(table(tmp_path / "t.parquet")), "--verifier", "small", "--yes"]
    words += ["--policy", str(tmp_path / "policy.yaml"), "--out"]
    done = CliRunner().invoke(cli, [*words, str(tmp_path / "no folder" / "t.parquet")])
    assert "cannot be written" in str(done.exception)
    assert not asked
    for ending in ("parquet", "jsonl", "csv"):  # what an interrupted command leaves goes on
        path = tmp_path / f"untouched.{ending}"
        CliRunner().invoke(cli, [*words, str(path), "--max-cost-usd", "0"])
        assert read_outcomes(path).num_rows == 20
        again = CliRunner().invoke(cli, [*words[:3], str(path), *words[4:], str(path), "--json"])
        assert json.loads(again.stdout)["said"] == 20
