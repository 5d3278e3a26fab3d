"""Statements: every split adds up, every line says where it comes from, and the page is deaf to what tags hold."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router._request import chat_request
from router.errors import InvalidRequestError
from router.spend import ledger as ledger_module
from router.spend.closing import close_month
from router.spend.closing_files import archive
from router.spend.ledger import Ledger
from router.spend.statement import Statement, statement
from router.spend.statement_files import as_csv, as_json, write_parquet
from router.spend.statement_page import as_html
from router.spend.statement_split import Pool, pool_of_amount, pool_of_calls, shares
from router.types import Attempt, Usage

MONTH = "2026-03"
HOSTILE = "</style><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    at_us = int(datetime(2026, 3, 10, tzinfo=UTC).timestamp()) * 1_000_000
    monkeypatch.setattr(ledger_module, "_now_us", lambda: at_us)
    made = Ledger(tmp_path / "state" / "ledger.sqlite3")
    yield made
    made.close()


def spend(ledger: Ledger, cost: str | None = "0.25", *, key: str | None = None, **tags: Any) -> str:
    cost_usd = None if cost is None else Decimal(cost)
    request = chat_request([{"role": "user", "content": "hi"}], **tags)
    attempt = Attempt(model="m", call="openai/m", outcome="ok", cost_usd=cost_usd, latency_s=0.1,
                      usage=Usage(input_tokens=30, output_tokens=4))  # fmt: skip
    ledger.append_request(request, None, outcome="ok", attempts=[attempt], unwritten=1, cost_usd=cost_usd,
                          latency_s=0.5, cache="miss" if key else "off", cache_key=key)  # fmt: skip
    return request.id


def hit(ledger: Ledger, key: str, **tags: Any) -> None:
    ledger.append_request(chat_request([{"role": "user", "content": "hi"}], **tags), None, outcome="ok", attempts=[],
                          cost_usd=Decimal(0), latency_s=0.0, cache="exact", cache_key=key, model="m")  # fmt: skip


def charge(ledger: Ledger, cost: str, team: str | None = None) -> None:
    at_us = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 1_000_000
    with ledger.batch() as connection:
        connection.execute(
            "INSERT INTO charges (id, at_us, end_us, vendor, product, category, quantity, unit, unit_price, cost_pusd, "
            "source, team, tags) VALUES (?, ?, ?, 'GitHub', 'Pilot', 'Purchase', '1', 'Seats', ?, ?, 'test', ?, '{}')",
            (f"c{cost}{team}", at_us, at_us, cost, int(Decimal(cost) * 10**12), team),
        )


def by_scope(one: Statement) -> dict[Any, Any]:
    """Lines by their scope, after looking at what always holds."""
    assert sum((line.total_usd for line in one.lines), Decimal(0)) == one.total_usd == one.ledger_usd + one.stated_usd
    assert sum((line.cache_usd for line in one.lines), Decimal(0)) == 0
    for pool in one.pools:
        assert sum((line.shared_usd.get(pool.name, Decimal(0)) for line in one.lines), Decimal(0)) == pool.usd
    return {line.scope[0] if len(line.scope) == 1 else line.scope: line for line in one.lines}


def test_each_scope_has_its_own_calls_and_unknown_costs_are_counted_beside(ledger: Ledger) -> None:
    spend(ledger, "0.5", team="a", customer="x")
    spend(ledger, "0.25", team="a")
    spend(ledger, None, team="b")
    spend(ledger, "1")
    one = statement(ledger, MONTH, ["team"])
    lines = by_scope(one)
    assert {scope: (line.calls_usd, line.calls, line.unpriced) for scope, line in lines.items()} == {
        "a": (Decimal("0.75"), 2, 0), "b": (0, 1, 1), None: (Decimal(1), 1, 0),
    }  # fmt: skip
    assert (one.unpriced, one.closed, lines["a"].input_tokens) == (1, None, 60)
    assert [line.scope for line in one.lines] == [(None,), ("a",), ("b",)]
    assert set(by_scope(statement(ledger, MONTH, ["team", "customer"]))) == {
        ("a", "x"), ("a", None), ("b", None), (None, None),
    }  # fmt: skip
    assert by_scope(statement(ledger, "2026-04", ["team"]))[None].total_usd == 0


@pytest.mark.parametrize(
    ("method", "a", "b"),
    [("equal", "0.05", "0.05"), ("spend", "0.075", "0.025"), ("requests", "0.025", "0.075")],
)
def test_what_is_shared_is_split_by_the_method_that_is_named(ledger: Ledger, method: str, a: str, b: str) -> None:
    spend(ledger, "3", team="a")
    for cost in ("1", "0", "0"):
        spend(ledger, cost, team="b")
    spend(ledger, "0.1", team="ml", workflow="eval")
    one = statement(ledger, MONTH, ["team"], [pool_of_calls(f"workflow=eval:{method}")])
    lines = by_scope(one)
    assert {scope: line.shared_usd["workflow=eval"] for scope, line in lines.items()} == {
        "a": Decimal(a), "b": Decimal(b)
    }  # fmt: skip
    assert (one.pools[0].method, one.pools[0].calls, one.pools[0].is_stated) == (method, 1, False)


def test_amounts_beside_the_ledger_are_split_too_and_stay_apart(ledger: Ledger) -> None:
    for team in "abc":
        spend(ledger, "1", team=team)
    one = statement(ledger, MONTH, ["team"], [pool_of_amount("gateway=0.01:equal"), pool_of_amount("credit=-1:spend")])
    lines = by_scope(one)
    assert (one.ledger_usd, one.stated_usd, one.total_usd) == (3, Decimal("-0.99"), Decimal("2.01"))
    assert sorted(line.shared_usd["gateway"] for line in lines.values()) == [
        Decimal("0.003333333333"), Decimal("0.003333333333"), Decimal("0.003333333334"),
    ]  # fmt: skip


def test_charges_go_to_their_team_and_the_others_are_split(ledger: Ledger) -> None:
    spend(ledger, "1", team="a")
    spend(ledger, "3", team="b")
    charge(ledger, "19", "a")
    charge(ledger, "40")
    lines = by_scope(statement(ledger, MONTH, ["team"]))
    assert (lines["a"].charges_usd, lines["a"].shared_usd["charges"], lines["b"].total_usd) == (19, 10, 33)


@pytest.mark.parametrize(
    ("policy", "moves", "moved"),
    [
        ("first_payer", {"a": "0", "b": "0", "c": "0"}, "0"),
        ("beneficiary", {"a": "-3", "b": "2", "c": "1"}, "3"),
        ("split", {"a": "-2.25", "b": "1.5", "c": "0.75"}, "2.25"),
    ],
)
def test_answers_that_serve_again_are_paid_for_as_the_policy_says(
    ledger: Ledger, policy: Any, moves: dict[str, str], moved: str
) -> None:
    spend(ledger, "3", key="k", team="a")
    for team in "bbc":
        hit(ledger, "k", team=team)
    hit(ledger, "older", team="c")
    one = statement(ledger, MONTH, ["team"], cache=policy)
    lines = by_scope(one)
    assert {scope: line.cache_usd for scope, line in lines.items()} == {k: Decimal(v) for k, v in moves.items()}
    assert (one.moved_usd, one.unmoved_hits, lines["b"].hits) == (Decimal(moved), 1, 2)


def test_a_closed_month_says_so_and_an_archived_one_reads_the_same(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend(ledger, "3", key="k", team="a")
    hit(ledger, "k", team="b")
    spend(ledger, None, team="b", tags={"plan": "gold"})
    spend(ledger, "0.125", workflow="eval")
    at_us = int(datetime(2026, 4, 10, tzinfo=UTC).timestamp()) * 1_000_000
    monkeypatch.setattr(ledger_module, "_now_us", lambda: at_us)
    spend(ledger, "7", team="a")
    closing = close_month(ledger, MONTH)
    pools = [pool_of_calls("workflow=eval:requests")]
    before = statement(ledger, MONTH, ["team", "plan"], pools, cache="split")
    assert before.closed == closing.sha256
    made = archive(ledger, "2026-04", tmp_path / "old", "csv")
    assert statement(ledger, MONTH, ["team", "plan"], pools, cache="split") == before
    made[1].path.unlink()
    with pytest.raises(InvalidRequestError, match="which is not there; bring it back"):
        statement(ledger, MONTH, ["team"])


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_parts_add_up_and_are_within_one_of_their_share(total: int, weights: list[int]) -> None:
    parts = shares(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        exact = total * weight / whole if whole else total / len(weights)
        assert abs(part - exact) <= 1 + abs(exact) * 1e-9


@pytest.mark.parametrize("text", ["eval", "workflow=eval", "workflow=eval:half", "workflow=:equal", "=eval:equal"])
def test_a_pool_of_calls_says_what_is_wrong(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="such as workflow=eval"):
        pool_of_calls(text)


@pytest.mark.parametrize("text", ["gateway:equal", "gateway=much:equal", "gateway=NaN:equal", "=1:equal", "x=1:half"])
def test_a_pool_of_an_amount_says_what_is_wrong(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"such as gateway=120\.50"):
        pool_of_amount(text)


def test_scopes_and_pools_need_names(ledger: Ledger) -> None:
    twice = [Pool(name="x", method="equal", stated_pusd=1)] * 2
    for by, pools in (([], []), (["team", "team"], []), (["team"], twice), (["te'am"], [])):
        with pytest.raises(InvalidRequestError):
            statement(ledger, MONTH, by, pools)


@pytest.fixture
def hostile(ledger: Ledger) -> Statement:
    spend(ledger, "1234.5", team=HOSTILE)
    spend(ledger, "0.000000000001", team='a,"b"\n')
    spend(ledger, None)
    return statement(ledger, MONTH, ["team"], [pool_of_amount("<b>seats</b>=5:spend")])


def test_files_carry_every_digit(hostile: Statement, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    rows = list(csv.DictReader(io.StringIO(as_csv(hostile))))
    assert {row["team"] for row in rows} == {HOSTILE, 'a,"b"\n', ""}
    for row in rows:
        parts = [Decimal(row[name]) for name in ("calls_usd", "charges_usd", "shared:<b>seats</b>", "cache_usd")]
        assert sum(parts) == Decimal(row["total_usd"])
    assert sum(Decimal(row["total_usd"]) for row in rows) == hostile.total_usd
    write_parquet(tmp_path / "s.parquet", hostile)
    assert sum(row["total_usd"] for row in pq.read_table(tmp_path / "s.parquet").to_pylist()) == hostile.total_usd
    told = json.loads(as_json(hostile))
    assert (told["total_usd"], told["pools"][0]["method"]) == ("1239.500000000001", "spend")


def test_a_spreadsheet_takes_no_name_for_a_formula(ledger: Ledger) -> None:
    spend(ledger, "1", team="=1+1")
    (row,) = csv.DictReader(io.StringIO(as_csv(statement(ledger, MONTH, ["team"]))))
    assert row["team"] == "'=1+1"


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_complete_and_escapes_what_tags_hold(hostile: Statement) -> None:
    page = Elements(as_html(hostile))
    assert not {"script", "img", "link", "b"} & set(page.tags)
    assert HOSTILE in page.text
    assert "$1,239.500000000001" in page.text
    assert "1 call has no known cost" in page.text
    assert "http" not in as_html(hostile).replace('http-equiv="Content-Security-Policy"', "")


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")
def test_in_a_browser_the_page_has_its_style_and_nothing_else_runs(hostile: Statement, tmp_path: Path) -> None:
    page = tmp_path / "statement.html"
    page.write_text(as_html(hostile), encoding="utf-8")
    arguments = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--proxy-server=127.0.0.1:9", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1200,900", f"--screenshot={tmp_path / 'shot.png'}", "--enable-logging=stderr", "--dump-dom",
        page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(arguments, capture_output=True, timeout=120, check=True,
                          env={**os.environ, "HOME": str(tmp_path)})  # fmt: skip
    assert "<title>Statement of 2026-03 by team</title>" in done.stdout.decode()
    assert "Content Security Policy" not in done.stderr.decode()  # it would say that our style was refused
    assert (tmp_path / "shot.png").stat().st_size > 10_000
