"""`clearbar prices`: from a policy and a ledger to tables and a book."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import router

POLICY = """
version: 1
models:
  - {id: small, call: fake/small, price: {input: 1, output: 4}}
  - {id: mini, call: openai/gpt-4o-mini}
  - {id: secret, call: openai/nosuch}
rules: [{candidates: small, strategy: fixed}]
"""
BOOK = "version: 1\nprices: {openai/gpt-4o-mini: {input: 9, output: 9}, fake/small: {input: 2, output: 8}}"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, clearbar: Callable[..., Any]) -> Any:
    monkeypatch.setenv("CLEARBAR_POLICY", "policy.yaml")
    Path("policy.yaml").write_text(POLICY, encoding="utf-8")
    Path("mine.yaml").write_text(BOOK, encoding="utf-8")
    return partial(clearbar, "prices")


def test_show_says_what_is_billed_and_who_says_so(run: Any) -> None:
    rows = {row["model"]: row for row in run("show", "--json")}
    assert (rows["small"]["source"], rows["small"]["input"]) == ("policy", "1")
    assert rows["mini"]["source"] == "litellm"
    assert (rows["secret"]["source"], rows["secret"]["id"]) == ("unknown", None)
    assert "unknown" in run("show")


def test_update_writes_a_book_that_the_next_show_and_router_bill_by(run: Any) -> None:
    changed = {(one["call"], one["rate"]): one for one in run("diff", "--from", "mine.yaml", "--json")}
    assert (changed["openai/gpt-4o-mini", "input"]["after"], changed["fake/small", "input"]["after"]) == ("9", "2")
    assert not Path("prices").exists()
    told = run("update", "--from", "mine.yaml")
    assert "no price is known for openai/nosuch" in told
    (book,) = Path("prices").iterdir()
    rows = {row["model"]: row for row in run("show", "--json")}
    assert (rows["mini"]["source"], rows["mini"]["input"]) == (f"book {book.name}", "9")
    assert rows["small"]["source"] == "policy"
    assert "nothing new" in run("update", "--from", "mine.yaml")
    assert len(list(Path("prices").iterdir())) == 1


def test_update_without_a_file_asks_the_installed_packages(run: Any) -> None:
    run("update")
    (book,) = Path("prices").iterdir()
    assert json.loads(book.read_text(encoding="utf-8"))["prices"]["openai/gpt-4o-mini"][-1]["input"] == "0.15"


def test_rerate_holds_past_calls_against_another_book(run: Any) -> None:
    with router.Router("policy.yaml", None, router.FakeTransport({})) as one:
        for _ in range(3):
            one.complete([{"role": "user", "content": "four words are here"}], model="small")
    (row,) = run("rerate", "--from", "2020-01-01", "--book", "mine.yaml", "--json")
    assert (row["model"], row["calls"], row["compared"], row["unknown"]) == ("small", 3, 3, 0)
    assert float(row["rerated_usd"]) == 2 * float(row["billed_usd"]) > 0
    (row,) = run("rerate", "--from", "2020-01-01", "--json")
    assert float(row["difference_usd"]) == 0
    (row,) = run("rerate", "--from", "2020-01-01", "--book", "installed", "--json")
    assert (row["compared"], row["unknown"], float(row["rerated_usd"])) == (0, 3, 0)
    assert run("rerate", "--from", "2020-01-01", "--to", "2020-02-01", "--json") == []
    assert "small" in run("rerate", "--from", "2020-01-01")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("rerate", "--from", "yesterday"), "'yesterday' is no day such as 2026-07-01"),
        (("rerate", "--from", "2020-01-01", "--book", "2020-01-01"), "holds no book that was known on 2020-01-01"),
        (("rerate", "--from", "2020-01-01"), "no ledger here yet"),
        (("diff", "--from", "nosuch.yaml"), "nosuch.yaml"),
    ],
)
def test_a_mistake_ends_in_one_clear_line(run: Any, arguments: tuple[str, ...], told: str) -> None:
    assert told in run(*arguments, code=3)
