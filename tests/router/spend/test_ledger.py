"""Rows that are only ever appended, by many threads and processes, and that add up exactly."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router._request import chat_request
from router.errors import StoreError
from router.spend.ledger import Ledger
from router.spend.money import from_pico, to_pico
from router.spend.prices import Price
from router.types import Attempt, Request, Usage

HI = [{"role": "user", "content": "hi"}]


def attempt(cost: str | None = "0.1", model: str = "m") -> Attempt:
    cost_usd = None if cost is None else Decimal(cost)
    usage = Usage(input_tokens=3, output_tokens=4, cached_input_tokens=1, reasoning_tokens=2)
    return Attempt(model=model, call=f"fake/{model}", outcome="ok", usage=usage, cost_usd=cost_usd, latency_s=0.5)


def finish(ledger: Ledger, request: Request, *attempts: Attempt, unwritten: int | None = None) -> None:
    ledger.append_request(
        request, None, outcome="ok", attempts=attempts, unwritten=len(attempts) if unwritten is None else unwritten,
        cost_usd=sum((a.cost_usd for a in attempts if a.cost_usd is not None), Decimal(0)), latency_s=1.0, cache="off",
    )  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "state" / "ledger.sqlite3")
    yield made
    made.close()


def test_a_request_and_its_attempts_carry_the_tags(ledger: Ledger) -> None:
    request = chat_request(HI, team="search", customer="acme", tags={"plan": "gold"}, task="qa")
    ledger.append_attempt(request, 0, attempt("0.25"))
    finish(ledger, request, attempt("0.25"), attempt("0.5"), unwritten=1)
    row = ledger.request(request.id)
    assert row is not None
    assert (row["team"], row["customer"], row["tags"], row["task"]) == ("search", "acme", '{"plan": "gold"}', "qa")
    assert (row["attempts"], from_pico(row["cost_pusd"])) == (2, Decimal("0.75"))
    attempts = ledger.attempts(request.id)
    assert [(one["number"], one["team"], from_pico(one["cost_pusd"])) for one in attempts] == [
        (0, "search", Decimal("0.25")), (1, "search", Decimal("0.5")),
    ]  # fmt: skip
    assert [attempts[0][name] for name in ("input_tokens", "cached_input_tokens", "usage_source")] == [3, 1, "provider"]


def test_a_price_outlives_the_policy_that_gave_it(ledger: Ledger) -> None:
    price = Price(input=Decimal("0.5"), output=Decimal(2), cached_input=Decimal("0.1"))
    ledger.keep_prices([price, price])
    ledger.keep_prices([price])
    kept = ledger.price(price.id)
    assert kept is not None
    assert kept.content == price.content
    assert ledger.price("nosuch") is None


def test_an_unknown_request_has_no_row(ledger: Ledger) -> None:
    assert ledger.request("nosuch") is None
    assert ledger.attempts("nosuch") == []


@pytest.mark.parametrize("table", ["requests", "attempts", "feedback", "outcomes"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}"])
def test_rows_cannot_be_changed_or_removed(ledger: Ledger, table: str, statement: str, tmp_path: Path) -> None:
    request = chat_request(HI)
    finish(ledger, request, attempt())
    ledger.append_feedback(request.id, 1.0)
    ledger.append_outcome("run", "sold", 1.0, at_s=5.0)
    column = {"feedback": "score", "outcomes": "value"}.get(table, "latency_s")
    connection = sqlite3.connect(tmp_path / "state" / "ledger.sqlite3")
    with pytest.raises(sqlite3.IntegrityError, match="the ledger is append-only"):
        connection.execute(statement.format(table, column, 0))
    connection.close()


def test_a_request_cannot_be_written_twice(ledger: Ledger) -> None:
    request = chat_request(HI)
    finish(ledger, request, attempt())
    with pytest.raises(sqlite3.IntegrityError):
        finish(ledger, request)


def test_half_a_request_is_never_written(ledger: Ledger) -> None:
    request = chat_request(HI)
    ledger.append_attempt(request, 1, attempt())
    with pytest.raises(sqlite3.IntegrityError):
        finish(ledger, request, attempt(), attempt())  # its second attempt is there already
    assert ledger.request(request.id) is None
    assert [one["number"] for one in ledger.attempts(request.id)] == [1]


def test_text_without_a_utf8_form_still_reaches_the_ledger(ledger: Ledger) -> None:
    request = chat_request(HI, team="a\ud800b", task="t\udfff")
    finish(ledger, request, attempt(model="m\ud800"))
    row = ledger.request(request.id)
    assert row is not None
    assert (row["team"], row["task"]) == ("a?b", "t?")


@given(st.decimals(0, 10_000, places=12))
def test_dollars_survive_the_way_to_picodollars_and_back(amount: Decimal) -> None:
    assert from_pico(to_pico(amount)) == amount


def test_an_unknown_cost_stays_unknown(ledger: Ledger) -> None:
    assert to_pico(None) is None
    assert from_pico(None) is None
    finish(ledger, chat_request(HI), attempt(None), attempt("0.1"))
    (row,) = ledger.rollups.sums(["model"])
    assert (row["cost_usd"], row["unpriced"], row["calls"], row["requests"]) == (Decimal("0.1"), 1, 2, 1)


def test_sums_are_exact_where_floats_are_not(ledger: Ledger) -> None:
    request = chat_request(HI, team="a")
    for number in range(1000):
        ledger.append_attempt(request, number, attempt("0.000001100001"))
    (row,) = ledger.rollups.sums(["team"])
    assert row["cost_usd"] == Decimal("0.001100001000")


def test_sums_do_not_end_where_sqlites_integers_do(ledger: Ledger) -> None:
    request = chat_request(HI)
    for number in range(30):
        ledger.append_attempt(request, number, attempt("999999.999999999999"))
    assert ledger.rollups.sums(["model"])[0]["cost_usd"] == Decimal("999999.999999999999") * 30


def test_spend_is_grouped_dearest_first(ledger: Ledger) -> None:
    for team, model, cost in (("a", "x", "1"), ("b", "x", "5"), ("a", "y", "2"), (None, "x", "9")):
        finish(ledger, chat_request(HI, team=team), attempt(cost, model))
    assert [(row["team"], row["cost_usd"]) for row in ledger.rollups.sums(["team"])] == [(None, 9), ("b", 5), ("a", 3)]
    assert [(row["team"], row["model"]) for row in ledger.rollups.sums(["team", "model"])] == [
        (None, "x"), ("b", "x"), ("a", "y"), ("a", "x"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["nosuch", "1; DROP TABLE requests"])
def test_only_known_columns_group(ledger: Ledger, name: str) -> None:
    with pytest.raises(ValueError, match="rows have no column"):
        ledger.scan([name])
    with pytest.raises(ValueError, match="no sums are kept by"):
        ledger.rollups.sums([name])


def test_threads_write_together_and_leave_no_files_open(ledger: Ledger) -> None:
    def write() -> None:
        finish(ledger, chat_request(HI), attempt("0.01"))

    finish(ledger, chat_request(HI), attempt("0.01"))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        threads = [threading.Thread(target=write) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (row,) = ledger.rollups.sums(["model"])
    assert (row["calls"], row["cost_usd"]) == (201, Decimal("2.01"))
    if before:
        assert len(os.listdir("/proc/self/fd")) - before < 100  # at most the last round's connections


WRITER = """
import sys
from decimal import Decimal
from pathlib import Path
from router._request import chat_request
from router.spend.ledger import Ledger
from router.types import Attempt
ledger = Ledger(Path(sys.argv[1]))
for _ in range(200):
    request = chat_request([{"role": "user", "content": "hi"}], team=sys.argv[2])
    attempt = Attempt(model="m", call="fake/m", outcome="ok", cost_usd=Decimal("0.001"))
    ledger.append_request(request, None, outcome="ok", attempts=[attempt], unwritten=1, cost_usd=Decimal("0.001"),
                          latency_s=0.0, cache="off")
ledger.close()
"""


def test_two_processes_share_one_file_from_the_first_row(tmp_path: Path) -> None:
    path, root = tmp_path / "fresh" / "ledger.sqlite3", Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), team], env=environment) for team in "ab"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    ledger = Ledger(path)
    assert sorted((row["team"], row["requests"], row["cost_usd"]) for row in ledger.rollups.sums(["team"])) == [
        ("a", 200, Decimal("0.2")), ("b", 200, Decimal("0.2")),
    ]  # fmt: skip
    ledger.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_writes_by_a_connection_of_its_own(ledger: Ledger) -> None:
    finish(ledger, chat_request(HI, team="parent"), attempt())
    child = os.fork()
    if child == 0:
        finish(ledger, chat_request(HI, team="child"), attempt())
        ledger.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    finish(ledger, chat_request(HI, team="parent"), attempt())
    assert {row["team"]: row["requests"] for row in ledger.rollups.sums(["team"])} == {"parent": 2, "child": 1}


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    Ledger(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match=r"ledger\.sqlite3: has schema 99, this version knows \d+; upgrade clearbar"):
        Ledger(path)


@pytest.mark.parametrize("content", [b"this is no database " * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="move it away to start afresh"):
        Ledger(path)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file.*: cannot be made \(.*\); give another state folder"):
        Ledger(tmp_path / "file" / "ledger.sqlite3")
