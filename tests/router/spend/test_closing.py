"""Closed months: fixed by a chain of hashes, re-addable from files, archived without losing a cent."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from router._request import chat_request
from router.errors import InvalidRequestError
from router.spend import ledger as ledger_module
from router.spend.closing import BEGINNING, adjustments, close_month, closings
from router.spend.closing_files import archive, named, verify, verify_file
from router.spend.focus import focus_rows
from router.spend.focus_frame import Options
from router.spend.imports_charges import write_charges
from router.spend.ledger import Ledger
from router.types import Attempt, Usage

NOW = datetime(2026, 5, 2, tzinfo=UTC)


def us(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "state" / "ledger.sqlite3")
    yield made
    made.close()


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the ledger's clock."""
    return lambda *moment: monkeypatch.setattr(ledger_module, "_now_us", lambda: us(*moment))


def spend(ledger: Ledger, cost: str | None = "0.25", **tags: Any) -> None:
    cost_usd = None if cost is None else Decimal(cost)
    attempt = Attempt(model="m", call="openai/m", outcome="ok", cost_usd=cost_usd, latency_s=0.125,
                      usage=Usage(input_tokens=3, output_tokens=4))  # fmt: skip
    ledger.append_request(chat_request([{"role": "user", "content": "hi"}], **tags), None, outcome="ok",
                          attempts=[attempt], unwritten=1, cost_usd=cost_usd, latency_s=0.5, cache="off")  # fmt: skip


@pytest.fixture
def spring(ledger: Ledger, at: Any) -> Ledger:
    """Two calls in March, one in April, one in May."""
    at(2026, 3, 1)
    spend(ledger, team='a,b\n"c"')
    at(2026, 3, 31, 23, 59, 59)
    spend(ledger, None)
    at(2026, 4, 1)
    spend(ledger, "0.000000000001")
    at(2026, 5, 1)
    spend(ledger)
    return ledger


def test_a_close_says_what_a_month_came_to_and_hangs_on_the_one_before(spring: Ledger) -> None:
    march = close_month(spring, "2026-03")
    april = close_month(spring, "2026-04")
    attempts = march.tables["attempts"]
    assert (attempts.rows, attempts.cost_usd, attempts.unpriced) == (2, "0.25", 1)
    assert (march.previous, april.previous) == (BEGINNING, march.sha256)
    assert april.cost_usd == Decimal("1e-12")
    assert closings(spring) == [march, april]
    assert list(verify(spring)) == []


@pytest.mark.parametrize(
    ("months", "says"),
    [
        (["2026-03", "2026-03"], "2026-03 is closed"),
        (["2026-03", "2026-04", "2026-03"], "lies before 2026-04"),
        (["2026-04"], "cannot be closed before 2026-03, which has rows"),
        (["2999-01"], "2999-01 is not over yet"),
        (["March"], "'March' is no month such as 2026-11"),
    ],
)
def test_a_month_is_closed_once_and_in_order(spring: Ledger, months: list[str], says: str) -> None:
    for month in months[:-1]:
        close_month(spring, month)
    with pytest.raises(InvalidRequestError, match=says):
        close_month(spring, months[-1])
    assert len(closings(spring)) == len(months) - 1


def test_months_without_rows_may_be_closed_or_left_out(spring: Ledger) -> None:
    assert close_month(spring, "2026-01").tables["attempts"].rows == 0
    assert close_month(spring, "2026-03").tables["attempts"].rows == 2


def test_what_comes_late_is_an_adjustment_and_a_focus_correction(spring: Ledger, at: Any) -> None:
    close_month(spring, "2026-03")
    assert adjustments(spring) == []
    at(2026, 3, 15)
    spend(spring, "0.5")
    (late,) = adjustments(spring, "2026-03")
    assert (late.table, late.rows, late.cost_usd) == ("attempts", 1, Decimal("0.5"))
    assert list(verify(spring)) == []
    rows = list(focus_rows(spring, Options(), us(2026, 3, 1), us(2026, 4, 1)))
    assert [(row["ChargeClass"], row["BilledCost"]) for row in rows if row["BilledCost"]] == [
        (None, Decimal("0.25")), ("Correction", Decimal("0.5")),
    ]  # fmt: skip


def tamper(ledger_path: Path, *statements: str) -> None:
    with sqlite3.connect(ledger_path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE attempts SET cost_pusd = cost_pusd + 1 WHERE seq = 1", "attempts: cost_usd is 0.250000000001"),
        ("UPDATE attempts SET team = 'other' WHERE seq = 1", "attempts: sha256 is"),
        ("DELETE FROM attempts WHERE seq = 2", "attempts: rows is 1, the close says 2"),
        ("UPDATE requests SET latency_s = 9 WHERE seq = 1", "requests: sha256 is"),
        ("UPDATE closings SET content = replace(content, '0.25', '0.24') WHERE number = 1", "the close was changed"),
        ("DELETE FROM closings WHERE number = 1", "hangs on"),
    ],
)
def test_whoever_changes_a_closed_month_is_found(spring: Ledger, tmp_path: Path, statement: str, says: str) -> None:
    close_month(spring, "2026-03")
    close_month(spring, "2026-04")
    words = statement.split()
    table = words[1] if words[0] == "UPDATE" else words[2]
    drop = [f"DROP TRIGGER {table}_keep_{verb}" for verb in ("update", "delete")]
    tamper(tmp_path / "state" / "ledger.sqlite3", *drop, statement)
    assert says in "\n".join(verify(spring))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_archive_takes_the_rows_out_and_they_still_add_up(spring: Ledger, tmp_path: Path, form: Any) -> None:
    before = {row["team"]: row["cost_usd"] for row in spring.rollups.sums(["team"])}
    march = close_month(spring, "2026-03")
    close_month(spring, "2026-04")
    made = archive(spring, "2026-04", tmp_path / "old", form)
    assert [(one.month, one.table, one.rows) for one in made] == [
        ("2026-03", "requests", 2), ("2026-03", "attempts", 2), ("2026-03", "entries", 0), ("2026-03", "charges", 0),
    ]  # fmt: skip
    assert [row["seq"] for row in spring.rows("SELECT seq FROM attempts")] == [3, 4]
    assert list(verify(spring)) == []
    assert {row["team"]: row["cost_usd"] for row in spring.rollups.sums(["team"])} == before
    assert archive(spring, "2026-04", tmp_path / "old", form) == []
    with pytest.raises(sqlite3.IntegrityError, match="append-only"), spring.batch() as connection:
        connection.execute("DELETE FROM attempts")
    assert march.cost_usd == Decimal("0.25")


def test_sums_of_archived_months_are_not_deleted_because_nothing_could_make_them_again(
    spring: Ledger, tmp_path: Path
) -> None:
    close_month(spring, "2026-03")
    archive(spring, "2026-04", tmp_path / "files")
    before = spring.rollups.sums(["team"])
    with pytest.raises(InvalidRequestError, match=r"rows of 2026-03 were archived.*nothing was deleted"):
        spring.rollups.rebuild()
    assert spring.rollups.sums(["team"]) == before


def test_a_csv_file_is_added_up_without_the_database_and_a_changed_one_is_found(spring: Ledger, tmp_path: Path) -> None:
    march = close_month(spring, "2026-03")
    archive(spring, "2026-04", tmp_path, "csv", keep=True)
    assert len(spring.rows("SELECT 1 FROM attempts")) == 4
    path = tmp_path / "2026-03.attempts.csv"
    assert list(verify_file(path, march, "attempts")) == []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["cost_pusd"] or 0) for row in rows) == 250_000_000_000  # by anybody's means
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("250000000000", "240000000000"), encoding="utf-8")
    found = "\n".join(verify_file(path, march, "attempts"))
    assert "cost_usd is 0.24, the close says 0.25" in found
    path.write_text(text.splitlines()[0].replace("seq", "number"), encoding="utf-8")
    assert "has columns" in "\n".join(verify_file(path, march, "attempts"))


def test_nothing_is_removed_where_a_file_exists_or_rows_differ(spring: Ledger, tmp_path: Path) -> None:
    close_month(spring, "2026-03")
    (tmp_path / "2026-03.requests.parquet").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidRequestError, match="exists already"):
        archive(spring, "2026-04", tmp_path)
    tamper(tmp_path / "state" / "ledger.sqlite3", "DROP TRIGGER attempts_keep_update",
           "UPDATE attempts SET error = 'x' WHERE seq = 1")  # fmt: skip
    with pytest.raises(InvalidRequestError, match="nothing was removed"):
        archive(spring, "2026-04", tmp_path / "other")
    assert len(spring.rows("SELECT 1 FROM attempts")) == 4


def test_the_newest_row_of_all_is_never_archived(ledger: Ledger, at: Any, tmp_path: Path) -> None:
    at(2026, 3, 1)
    spend(ledger)
    close_month(ledger, "2026-03")
    with pytest.raises(InvalidRequestError, match="holds the newest row of all"):
        archive(ledger, "2026-04", tmp_path)
    assert len(ledger.rows("SELECT 1 FROM attempts")) == 1


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_focus_rows_of_an_archived_month_come_from_its_files(
    spring: Ledger, at: Any, tmp_path: Path, form: Any
) -> None:
    seats = {"vendor": "GitHub", "product": "Copilot", "quantity": "3", "unit_price": "19.5"}
    write_charges(spring, [{**seats, "month": "2026-03"}, {**seats, "month": "2026-05"}], "seats")
    close_month(spring, "2026-03")
    close_month(spring, "2026-04")
    at(2026, 3, 20)
    spend(spring, "0.75")
    period = us(2026, 2, 1), us(2026, 6, 1)
    before = list(focus_rows(spring, Options(), *period))
    archive(spring, "2026-05", tmp_path / "old", form)
    assert list(focus_rows(spring, Options(), *period)) == before
    assert {row["ChargeClass"] for row in before} == {None, "Correction"}
    assert [row["BilledCost"] for row in before if row["ChargeCategory"] == "Purchase"] == [Decimal("58.5")] * 2


def test_charges_of_archived_months_are_not_booked_again(spring: Ledger, tmp_path: Path) -> None:
    seats = {"vendor": "v", "product": "p", "quantity": "3", "unit_price": "10", "month": "2026-03"}
    write_charges(spring, [seats, {**seats, "month": "2026-05"}], "seats")
    close_month(spring, "2026-03")
    assert write_charges(spring, [{**seats, "product": "late"}], "seats").late == 1
    archive(spring, "2026-04", tmp_path / "files")
    tally = write_charges(spring, [seats, {**seats, "month": "2026-05"}], "seats")
    assert (tally.written, tally.archived, tally.known) == (0, 1, 1)


def test_a_lost_archive_is_told(spring: Ledger, tmp_path: Path) -> None:
    close_month(spring, "2026-03")
    archive(spring, "2026-04", tmp_path / "old")
    (tmp_path / "old" / "2026-03.attempts.parquet").unlink()
    assert "which is not there" in "\n".join(verify(spring))


def test_files_are_known_by_their_names() -> None:
    assert named(Path("x/2026-03.attempts.csv")) == ("2026-03", "attempts")
    for wrong in ("march.csv", "2026-03.nosuch.csv", "2026-03.attempts.txt"):
        with pytest.raises(InvalidRequestError):
            named(Path(wrong))
