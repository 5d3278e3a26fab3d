"""`clearbar spend close|archive|verify` from a terminal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import router
from policies import ONE_MODEL
from router.spend import ledger as ledger_module


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, clearbar: Callable[..., Any]) -> Any:
    """Over a ledger of two months."""
    Path("policy.yaml").write_text(ONE_MODEL, encoding="utf-8")
    for month in (3, 4):
        at_us = int(datetime(2026, month, 5, tzinfo=UTC).timestamp()) * 1_000_000
        monkeypatch.setattr(ledger_module, "_now_us", lambda at_us=at_us: at_us)
        with router.Router("policy.yaml", None, router.FakeTransport({})) as one:
            one.complete([{"role": "user", "content": "four words are here"}])
    return partial(clearbar, "spend")


def test_a_month_goes_from_open_to_closed_to_a_file_and_is_added_up_again(run: Any) -> None:
    assert "2026-03" in run("close", "--month", "2026-03")
    (told,) = run("close", "--json")
    assert (told["month"], told["tables"]["attempts"]["rows"], told["adjustments"]) == ("2026-03", 1, [])
    assert "2026-03 is closed" in run("close", "--month", "2026-03", code=3)
    assert "rows moved" in run("archive", "--before", "2026-04", "--out", "old", "--format", "csv")
    assert "1 closed months hold" in run("verify")
    told = "not in it: rows of 2026-03, which were archived"
    policy = ["--policy", "policy.yaml"]
    assert told in run("--by", "run_id") and told in run("units")
    assert told in run("savings", *policy)
    assert told in run("estimate", "--replay", "--since", "2026-03-01", *policy)
    assert told not in run("--by", "run_id", "--since", "2026-04-01") + run("--by", "team")
    path = Path("old/2026-03.attempts.csv")
    assert "1 files hold" in run("verify", str(path))
    path.write_text(path.read_text(encoding="utf-8").replace("small", "large"), encoding="utf-8")
    assert "sha256 is" in run("verify", str(path), code=1)
    assert "sha256 is" in run("verify", code=1)


def test_a_file_of_an_open_month_is_not_compared(run: Any) -> None:
    Path("2026-04.attempts.csv").write_text("seq\n", encoding="utf-8")
    assert "2026-04 is not closed" in run("verify", "2026-04.attempts.csv", code=3)
    assert "nothing closed before" in run("archive", "--before", "2026-04", "--out", "old")
