"""What is summed beside the rows is what the rows say, at any moment, for any columns and any stretch of time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router._request import chat_request
from router.spend.cubes import CUBES, cover, cube_for
from router.spend.ledger import Ledger
from router.spend.rollups import CHUNK
from router.spend.windows import DAY_US, HOUR_US, MINUTE_US
from router.types import Attempt

NOW_US = 1_763_800_000_000_000
HI = [{"role": "user", "content": "hi"}]
NAMES = ("team", "customer", "environment", "model", "call", "task", "tags.plan")
WRITER = """
import sys
from pathlib import Path
from decimal import Decimal
from router._request import chat_request
from router.spend.ledger import Ledger
from router.types import Attempt
ledger = Ledger(Path(sys.argv[1]))
for n in range(int(sys.argv[2])):
    request = chat_request([{"role": "user", "content": "hi"}], team=sys.argv[3], customer=f"c{n % 7}")
    price = Decimal("0.000000000001")
    call = Attempt(model="m", call="fake/m", outcome="ok", usage=None, cost_usd=price, latency_s=1.0)
    ledger.append_request(request, None, outcome="ok", attempts=[call], unwritten=1, cost_usd=None, latency_s=1.0,
                          cache="off")
ledger.close()
"""


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """One row of either table."""
    back_us = draw(st.sampled_from([0, MINUTE_US, HOUR_US, 3 * HOUR_US, DAY_US, 40 * DAY_US]))
    tag = st.sampled_from([None, "a", "b"])
    return {
        "table": draw(st.sampled_from(["attempts", "requests"])),
        "at_us": NOW_US - back_us - draw(st.integers(0, 2 * MINUTE_US)),
        "cost_pusd": draw(st.one_of(st.none(), st.integers(0, 9 * 10**18))),
        "is_bad": draw(st.booleans()),
        "attempts": draw(st.integers(0, 1)),
        "input_tokens": draw(st.one_of(st.none(), st.integers(0, 100))),
        "tags": draw(st.sampled_from(["{}", '{"plan": "gold"}', '{"plan": "free"}'])),
        **{name: draw(tag) for name in ("team", "customer", "environment", "task")},
        "model": draw(st.sampled_from(["m", "n"])),
    }


def insert(ledger: Ledger, rows: Sequence[Mapping[str, Any]], first: int) -> None:
    with ledger.batch() as connection:
        for number, row in enumerate(rows, first):
            tags = [row[name] for name in ("team", "customer", "environment", "task", "tags")]
            if row["table"] == "attempts":
                connection.execute(
                    "INSERT INTO attempts (request_id, number, at_us, model, call, outcome, latency_s, cost_pusd, "
                    "input_tokens, team, customer, environment, task, tags) VALUES (?,0,?,?,?,?,0.5,?,?,?,?,?,?,?)",
                    (str(number), row["at_us"], row["model"], f"fake/{row['model']}",
                     "failed" if row["is_bad"] else "ok", row["cost_pusd"], row["input_tokens"], *tags),
                )  # fmt: skip
            else:
                connection.execute(
                    "INSERT INTO requests (id, at_us, kind, model_served, outcome, cache, attempts, latency_s, "
                    "team, customer, environment, task, tags) VALUES (?,?,'chat',?,?,'exact',?,1.0,?,?,?,?,?)",
                    (str(number), row["at_us"], row["model"], "error" if row["is_bad"] else "ok",
                     row["attempts"], *tags),
                )  # fmt: skip


def value(row: Mapping[str, Any], name: str) -> str | None:
    if name == "tags.plan":
        return {"{}": None, '{"plan": "gold"}': "gold", '{"plan": "free"}': "free"}[row["tags"]]
    if name == "call":
        return f"fake/{row['model']}" if row["table"] == "attempts" else None
    found: str | None = row[name]
    return found


def told(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], since_us: int, until_us: int, where: Mapping[str, str],
    step_us: int | None,
) -> dict[Any, tuple[Any, ...]]:  # fmt: skip
    """The same sums, by hand."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        if since_us <= row["at_us"] < until_us and all((value(row, name) or "") == where[name] for name in where):
            step = row["at_us"] // step_us * step_us if step_us else None
            groups.setdefault((step, *(value(row, name) for name in names)), []).append(row)
    return {
        key: (
            sum(row["table"] == "attempts" or row["attempts"] == 0 for row in found),
            sum(row["table"] == "attempts" for row in found),
            sum(row["table"] == "attempts" and row["is_bad"] for row in found),
            sum(row["table"] == "requests" and row["is_bad"] for row in found),
            sum(row["table"] == "attempts" and row["cost_pusd"] is None for row in found),
            sum(row["input_tokens"] or 0 for row in found if row["table"] == "attempts"),
            Decimal(sum(row["cost_pusd"] or 0 for row in found if row["table"] == "attempts")) / 10**12,
        )
        for key, found in groups.items()
        if any(row["table"] == "attempts" or row["attempts"] == 0 or row["is_bad"] for row in found)
    }


def seen(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[Any, tuple[Any, ...]]:
    figures = ("requests", "calls", "failed", "errors", "unpriced", "input_tokens", "cost_usd")
    return {
        (row.get("at_us"), *(row[name] for name in names)): tuple(row[name] for name in figures)
        for row in rows
        if row["requests"] or row["errors"]
    }


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.lists(calls(), max_size=12), st.integers(0, 10)), min_size=1, max_size=4),
    st.lists(st.sampled_from(NAMES), unique=True, max_size=3),
    st.one_of(st.just(0), st.integers(NOW_US - 41 * DAY_US, NOW_US)),
    st.integers(0, 3 * DAY_US),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["", "a", "gold"]), max_size=1),
    st.sampled_from([None, MINUTE_US, HOUR_US, DAY_US]),
)
def test_sums_are_those_of_the_rows_wherever_rolling_stopped(
    batches: list[tuple[list[dict[str, Any]], int]], names: list[str], since_us: int, length_us: int,
    where: dict[str, str], step_us: int | None,
) -> None:  # fmt: skip
    until_us = since_us + length_us if since_us else NOW_US + 1
    rows = [row for batch, _ in batches for row in batch]
    with tempfile.TemporaryDirectory() as folder, closing(Ledger(Path(folder) / "l.sqlite3")) as ledger:
        written = 0
        for batch, most in batches:
            insert(ledger, batch, written)
            written += len(batch)
            with ledger.batch() as connection:
                ledger.rollups.roll(connection, NOW_US, most)
        expected = told(rows, names, since_us, until_us, where, step_us)
        if cube_for({*names, *where}, step_us) is not None:
            kept = ledger.rollups.sums(names, since_us, until_us, where=where, step_us=step_us)
            assert seen(kept, names) == expected
        assert seen(ledger.scan(names, where, since_us, until_us, step_us), names) == expected
        ledger.rollups.rebuild()
        if cube_for({*names, *where}, step_us) is not None:
            kept = ledger.rollups.sums(names, since_us, until_us, where=where, step_us=step_us)
            assert seen(kept, names) == expected


@given(st.sampled_from(CUBES), st.integers(0, 100 * DAY_US), st.integers(0, 100 * DAY_US), st.integers(0, 50 * DAY_US))
def test_a_period_is_covered_without_gap_or_overlap(cube: Any, since_us: int, length_us: int, floor_us: int) -> None:
    parts = cover(cube, since_us, since_us + length_us, {0: floor_us})
    edges = [part.since_us for part in parts] + [since_us + length_us]
    assert [part.until_us for part in parts] == edges[1:]
    assert edges[0] == since_us
    for part in parts:
        if part.level is not None:
            assert part.since_us % part.level.width_us == part.until_us % part.level.width_us == 0
            assert part.level.number != 0 or part.since_us >= floor_us


def test_two_processes_sum_each_row_once(tmp_path: Path) -> None:
    path, each = tmp_path / "l.sqlite3", 2 * CHUNK + 100
    with closing(Ledger(path)) as ledger:
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(each), team]) for team in ("a", "b")]
        assert [writer.wait() for writer in writers] == [0, 0]
        (rolled,) = ledger.rows("SELECT SUM(calls) AS n FROM cells WHERE level = 2")
        assert rolled["n"] >= 2 * CHUNK
        rows = {row["team"]: row for row in ledger.rollups.sums(["team"])}
        assert {team: (row["requests"], row["calls"]) for team, row in rows.items()} == dict.fromkeys(
            "ab", (each, each)
        )
        assert rows["a"]["cost_usd"] == Decimal(each) / 10**12
        assert len(ledger.rollups.sums(["customer", "team"])) == 14


def test_thousands_of_customers_do_not_swell_the_other_sums(ledger: Ledger) -> None:
    with ledger.batch():
        for n in range(2 * CHUNK):
            call = Attempt(model="m", call="fake/m", outcome="ok", usage=None, cost_usd=Decimal(1), latency_s=0.5)
            ledger.append_attempt(chat_request(HI, team=f"t{n % 3}", customer=f"c{n}"), 0, call)
    (row,) = ledger.rows("SELECT COUNT(*) AS n FROM cells WHERE level = 1")
    assert row["n"] <= 3 * 2
    assert sum(row["calls"] for row in ledger.rollups.sums(["customer"])) == 2 * CHUNK


def test_columns_that_no_cube_has_are_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="no sums are kept by run_id"):
        ledger.rollups.sums(["run_id"])


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path / "l.sqlite3")) as made:
        yield made
