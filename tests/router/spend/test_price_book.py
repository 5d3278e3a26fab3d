"""Price books: what holds, what was known, and what past calls cost by another one."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from router.errors import PolicyError
from router.policy import load_policy
from router.spend.ledger import Ledger
from router.spend.prices import Price
from router.spend.prices.book import Entries, book_as_of, book_files, read_book, with_news, write_book
from router.spend.prices.changes import changes
from router.spend.prices.entry import PriceEntry
from router.spend.prices.installed import installed_prices
from router.spend.prices.rerate import attempts_between, rerated
from router.types import Attempt, Request, Usage

D = Decimal
NOW = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
LATER = datetime(2026, 4, 1, tzinfo=UTC)


def entries(*stated: dict[str, Any]) -> Entries:
    return tuple(PriceEntry.model_validate({"output": "4", **one}) for one in stated)


def find(**known: Entries) -> Any:
    return lambda call: (known[call], "somebody") if call in known else None


def test_a_new_price_holds_from_the_day_it_became_known_and_the_old_one_stays() -> None:
    first = with_news({}, ["m"], find(m=entries({"input": "3"})), NOW.date())
    assert [entry.effective for entry in first["m"]] == [None]
    second = with_news(first, ["m"], find(m=entries({"input": "2"})), LATER.date())
    assert [(entry.effective, entry.input) for entry in second["m"]] == [(None, 3), (LATER.date(), 2)]


def test_a_price_with_a_day_of_its_own_holds_from_that_day_even_if_it_became_known_later() -> None:
    known = {"m": entries({"input": "3"})}
    news = with_news(
        known, ["m"], find(m=entries({"input": "10"}, {"input": "2", "effective": "2026-02-01"})), NOW.date()
    )
    assert [(entry.effective, entry.input) for entry in news["m"]] == [(None, 3), (date(2026, 2, 1), 2)]


def test_the_same_price_is_no_news_and_what_nobody_finds_stays() -> None:
    known = {"m": entries({"input": "3"}), "gone": entries({"input": "9"})}
    assert with_news(known, ["m", "gone", "unknown"], find(m=entries({"input": "3.00"})), NOW.date()) == known


def test_a_folder_remembers_what_was_known_when(tmp_path: Path) -> None:
    assert book_as_of(tmp_path / "none") is None
    old = write_book(tmp_path, {"m": entries({"input": "3", "above": {"tokens": "200000", "input": "6"}})}, "a", NOW)
    write_book(tmp_path, {"m": entries({"input": "3"}, {"input": "2", "effective": "2026-02-01"})}, "b", LATER)
    assert old.name == "2026-03-10T09-30-00Z.json"
    assert [known for known, _ in book_files(tmp_path)] == [NOW, LATER]
    then, now = book_as_of(tmp_path, NOW), book_as_of(tmp_path)
    assert then is not None
    assert now is not None
    # In March nobody knew that the price had fallen in February.
    assert (
        then.price("m", date(2026, 2, 15))
        == entries({"input": "3", "above": {"tokens": "200000", "input": "6"}})[0].price()
    )
    assert now.price("m", date(2026, 2, 15)) == entries({"input": "2", "effective": "2026-02-01"})[0].price()
    assert now.price("m", date(2026, 1, 15)) == entries({"input": "3"})[0].price()
    assert now.price("other", date(2026, 1, 15)) is None
    assert book_as_of(tmp_path, datetime(2026, 1, 1, tzinfo=UTC)) is None
    with pytest.raises(FileExistsError):
        write_book(tmp_path, {}, "c", LATER)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("prices.yaml", "version: 1\nprices: {}", "named by the moment it was known"),
        ("2026-13-01.yaml", "version: 1\nprices: {}", "named by the moment it was known"),
        ("2026-03-01.yaml", "version: 1\nprices: {m: {input: 1}}", "key 'output' is missing"),
        ("2026-03-01.yaml", "version: 1\nprices: {m: {input: -1, output: 1}}", "input '-1': must be greater"),
        ("2026-03-01.yaml", "version: 1\nprices: {m: [{input: 1, output: 1}, {input: 2, output: 1}]}", "the same day"),
        ("2026-03-01.yaml", "version: 1\nprices: {m: {input: 1, output: 1, inptu: 2}}", "unknown key 'inptu'"),
    ],
)
def test_a_broken_book_says_where_and_why(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError, match=told):
        book_as_of(tmp_path)


def test_a_policy_takes_its_own_price_then_the_newest_book_then_the_bundled_map(tmp_path: Path) -> None:
    text = """
version: 1
models:
  - {id: own, call: openai/gpt-4o, price: {input: 7, output: 8}}
  - {id: booked, call: openai/gpt-4o-mini}
  - {id: bundled, call: openai/gpt-4.1-mini}
  - {id: unknown, call: openai/nosuch}
rules: [{candidates: own, strategy: fixed}]
"""
    (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")
    before = load_policy(tmp_path / "policy.yaml")
    (tmp_path / "prices").mkdir()
    book = "version: 1\nprices:\n  openai/gpt-4o-mini: {input: 1, output: 2}\n  openai/gpt-4o: {input: 1, output: 2}\n"
    (tmp_path / "prices" / "2026-03-01.yaml").write_text(book, encoding="utf-8")
    loaded = load_policy(tmp_path / "policy.yaml")
    assert {name: [price.input for price in known] for name, known in loaded.prices.items()} == {
        "own": [7], "booked": [1], "bundled": [before.prices["bundled"][0].input], "unknown": [],
    }  # fmt: skip
    assert loaded.version != before.version
    assert load_policy(tmp_path / "policy.yaml").version == loaded.version


def test_changes_are_told_rate_by_rate() -> None:
    before = PriceEntry.model_validate({"input": "2", "output": "8", "batch": "1"}).price()
    after = PriceEntry.model_validate({"input": "3", "output": "8", "above": {"tokens": "1000", "input": "6"}}).price()
    told = {one.rate: (one.before, one.after, one.share) for one in changes("m", before, after)}
    assert told["input"] == (2, 3, D("0.5"))
    assert told["batch input"] == (1, None, None)
    assert told["input above 1,000"] == (None, 6, None)
    assert "output" not in told
    assert changes("m", before, before) == []
    assert {one.after for one in changes("m", before, None)} == {None}


def test_installed_packages_know_prices_and_say_nothing_of_unknown_models() -> None:
    found = installed_prices("openai/gpt-4o-mini")
    assert found is not None
    assert found[0][-1].input == D("0.15")
    assert installed_prices("openai/nosuch") is installed_prices("nosuch") is None


def test_genai_prices_brings_history() -> None:
    pytest.importorskip("genai_prices", reason="pip install 'clearbar[prices]'")
    found = installed_prices("openai/o3")
    assert found is not None
    assert found[1] == "genai-prices"
    assert [(entry.effective, entry.input) for entry in found[0]] == [(None, 10), (date(2025, 6, 10), 2)]


def test_a_period_is_rerated_and_unknown_is_never_zero(tmp_path: Path) -> None:
    used = Usage(input_tokens=1_000_000, output_tokens=0)
    made = [
        Attempt(model="m", call="x/m", outcome="ok", usage=used, cost_usd=D(3)),
        Attempt(model="m", call="x/m", outcome="ok", usage=used, cost_usd=None),
        Attempt(model="m", call="x/m", outcome="error", usage=None, cost_usd=D(0)),
        Attempt(model="m", call="x/m", outcome="error", usage=None, cost_usd=None),
        Attempt(model="n", call="x/n", outcome="ok", usage=used, cost_usd=D(5)),
    ]
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    for number, attempt in enumerate(made):
        ledger.append_attempt(Request(id=f"r{number}"), 0, attempt)
    rows = list(attempts_between(ledger.rows, 0, 2**62))
    assert list(attempts_between(ledger.rows, 0, 1)) == []
    ledger.close()
    cheaper = Price(input=D(2), output=D(2))
    m, n = sorted(rerated(rows, lambda model, call, day: cheaper if model == "m" else None), key=lambda one: one.model)
    assert (m.calls, m.compared, m.billed_usd, m.rerated_usd, m.difference_usd) == (4, 2, 3, 2, -1)
    assert (m.newly_known, m.newly_usd, m.unknown) == (1, 2, 1)
    assert (n.calls, n.compared, n.billed_usd, n.unknown) == (1, 0, 0, 1)


def test_every_attempt_is_rerated_once_over_several_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.spend.prices.rerate.PAGE", 3)
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    for number in range(10):
        ledger.append_attempt(Request(id=f"r{number}"), 0, Attempt(model="m", call="m", outcome="ok", cost_usd=D(1)))
    assert sorted(row["request_id"] for row in attempts_between(ledger.rows, 0, 2**62)) == [f"r{n}" for n in range(10)]
    ledger.close()


def test_a_book_reads_what_a_person_wrote(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "version: 1\nsource: contract B\nprices: {x/m: {input: 3, output: 15, discount: 0.1}}", encoding="utf-8"
    )
    book = read_book(path)
    assert (book.source, book.known_at) == ("contract B", None)
    price = book.price("x/m", NOW.date())
    assert price is not None
    assert (price.input, price.costs(price.input).list_usd) == (D("2.7"), 3)
