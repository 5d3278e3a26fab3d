"""`clearbar spend import` into a ledger that need not exist yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

LOG = {"request_id": "r1", "spend": 0.5, "prompt_tokens": 10, "completion_tokens": 2,
       "startTime": "2026-03-05T10:00:00Z",
       "model": "gpt-4o", "custom_llm_provider": "openai", "team_id": "search"}  # fmt: skip


@pytest.fixture
def run(clearbar: Callable[..., Any]) -> Any:
    return partial(clearbar, "spend")


def test_a_team_sees_its_history_on_day_one(run: Any) -> None:
    rows = [LOG, {**LOG, "request_id": "r2", "spend": 0.0}, {"model": "x"}]
    Path("logs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    told = run("import", "logs.jsonl", "--shape", "litellm")
    assert "2 written, $0.5; left out: 1 without id, time or model" in told
    assert "1 of them of unknown cost" in told
    assert "0 written" in run("import", "logs.jsonl", "--shape", "litellm")
    statement = json.loads(run("statement", "--month", "2026-03", "--format", "json"))
    assert (statement["total_usd"], statement["lines"][0]["scope"]) == ("0.5", ["search"])


def test_seats_join_the_statement(run: Any) -> None:
    Path("seats.csv").write_text(
        "vendor,product,month,quantity,unit_price,team\nGitHub,Copilot,2026-03,3,19,dev\n", encoding="utf-8"
    )
    assert run("import", "seats.csv", "--shape", "seats", "--json")["cost_usd"] == "57"
    assert "57" in run("statement", "--month", "2026-03")
    Path("seats.csv").write_text("vendor\nGitHub\n", encoding="utf-8")
    assert "a charge needs vendor" in run("import", "seats.csv", "--shape", "seats", code=3)
