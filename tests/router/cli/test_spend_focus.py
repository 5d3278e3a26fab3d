"""`clearbar spend focus`: a file that keeps the rules, and the check that says where one does not."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import router
from policies import ONE_MODEL


@pytest.fixture
def run(clearbar: Callable[..., Any]) -> Any:
    Path("policy.yaml").write_text(ONE_MODEL, encoding="utf-8")
    with router.Router("policy.yaml", None, router.FakeTransport({})) as one:
        for team in ("search", "search", "support"):
            one.complete([{"role": "user", "content": "four words are here"}], team=team)
    return partial(clearbar, "spend", "focus")


@pytest.mark.parametrize("name", ["focus.csv", "focus.parquet"])
@pytest.mark.parametrize("profile", ["1.2", "1.3"])
def test_what_is_written_passes_the_check(run: Any, name: str, profile: str) -> None:
    assert "4 rows" in run("--out", name, "--profile", profile)
    assert f"keeps the MUST rules of FOCUS {profile}" in run("--check", name, "--profile", profile)


def test_without_a_file_csv_goes_to_standard_output(run: Any) -> None:
    rows = list(csv.DictReader(run("--account", "fake=acct-7").splitlines()))
    assert {(row["BillingAccountId"], row["SubAccountId"], row["SkuMeter"]) for row in rows} == {
        ("acct-7", team, meter) for team in ("search", "support") for meter in ("Input Tokens", "Output Tokens")
    }


def test_days_are_included_to_their_end_and_others_are_not(run: Any) -> None:
    assert len(run("--from", "2020-01-01", "--to", "2020-01-31").splitlines()) == 1
    assert "no day such as" in run("--from", "yesterday", code=3)


def test_the_check_names_rows_and_ends_with_one(run: Any) -> None:
    run("--out", "focus.csv")
    text = Path("focus.csv").read_text(encoding="utf-8")
    Path("focus.csv").write_text(text.replace("Usage-Based", "Often"), encoding="utf-8")
    told = run("--check", "focus.csv", code=1)
    assert "row 1, ChargeFrequency: MUST be one of One-Time, Recurring, Usage-Based; it is 'Often'" in told


def test_parquet_needs_a_file_and_an_account_a_provider(run: Any) -> None:
    assert "--format parquet needs --out" in run("--format", "parquet", code=3)
    assert "is no PROVIDER=ID" in run("--account", "acct", code=3)
