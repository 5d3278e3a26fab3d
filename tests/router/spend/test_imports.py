"""History of LiteLLM and Langfuse and charges by the seat: read as they are exported, written once, marked."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from router.errors import InvalidRequestError
from router.spend.closing import adjustments, close_month
from router.spend.csv_cells import as_text
from router.spend.focus import focus_rows
from router.spend.focus_check import breaches
from router.spend.focus_frame import Options
from router.spend.imports import write_calls
from router.spend.imports_charges import charge_of, write_charges
from router.spend.imports_files import decimal_of, moment_us, read_rows
from router.spend.imports_shapes import from_langfuse, from_litellm
from router.spend.ledger import Ledger

SPEND_LOG = {
    "request_id": "chatcmpl-1", "call_type": "acompletion", "spend": 0.00123, "total_tokens": 120, "prompt_tokens": 100,
    "completion_tokens": 20, "startTime": "2026-03-05T10:00:00.250000", "endTime": "2026-03-05T10:00:01.750000",
    "model": "claude-sonnet-4-5", "model_group": "sonnet", "custom_llm_provider": "anthropic", "cache_hit": "False",
    "team_id": "t-1", "end_user": "acme", "session_id": "run-9", "user": "u1", "status": "success",
    "request_tags": ["feature:chat", "gold"],
    "metadata": json.dumps({
        "user_api_key_team_alias": "search",
        "usage_object": {"prompt_tokens": 100, "completion_tokens": 20, "cache_read_input_tokens": 40,
                         "prompt_tokens_details": {"cached_tokens": 40},
                         "completion_tokens_details": {"reasoning_tokens": 5}},
    }),
}  # fmt: skip
OBSERVATION = {
    "id": "obs-1", "traceId": "trace-1", "type": "GENERATION", "name": "answer",
    "startTime": "2026-03-05T10:00:00.000Z",
    "endTime": "2026-03-05T10:00:02.000Z", "model": "gpt-4o", "environment": "production", "userId": "acme",
    "usageDetails": {"input": 60, "input_cached_tokens": 40, "output": 15, "output_reasoning_tokens": 5, "total": 120},
    "costDetails": {"input": 0.1, "output": 0.2, "total": 0.3}, "metadata": {"team": "support"}, "tags": ["a", "b"],
}  # fmt: skip
SEATS = {"vendor": "GitHub", "product": "Copilot Business", "month": "2026-03", "quantity": "12", "unit_price": "19",
         "team": "dev", "floor": "2"}  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "state" / "ledger.sqlite3")
    yield made
    made.close()


def test_a_spend_log_becomes_a_request_with_its_call(ledger: Ledger) -> None:
    tally = write_calls(ledger, [from_litellm(SPEND_LOG)])
    assert (tally.written, tally.cost_usd, tally.unpriced) == (1, Decimal("0.00123"), 0)
    request, (attempt,) = ledger.request("litellm:chatcmpl-1"), ledger.attempts("litellm:chatcmpl-1")
    assert request is not None
    assert request["latency_s"] == 1.5
    assert datetime.fromtimestamp(request["at_us"] / 1e6, UTC).isoformat() == "2026-03-05T10:00:00.250000+00:00"
    assert {name: attempt[name] for name in ("model", "call", "input_tokens", "output_tokens", "cached_input_tokens",
                                             "reasoning_tokens", "cost_pusd", "usage_source")} == {
        "model": "sonnet", "call": "anthropic/claude-sonnet-4-5", "input_tokens": 100, "output_tokens": 20,
        "cached_input_tokens": 40, "reasoning_tokens": 5, "cost_pusd": 1_230_000_000, "usage_source": "imported",
    }  # fmt: skip
    assert [attempt[name] for name in ("team", "customer", "run_id", "feature")] == ["search", "acme", "run-9", "chat"]
    assert json.loads(attempt["tags"]) == {"gold": "true", "imported": "litellm", "user": "u1"}


@pytest.mark.parametrize(
    ("changes", "outcome", "cache", "pusd", "calls"),
    [
        ({"spend": 0.0}, "ok", "off", None, 1),
        ({"spend": 0.0, "custom_llm_provider": "ollama"}, "ok", "off", 0, 1),
        ({"spend": 0.0, "status": "failure"}, "error", "off", 0, 1),
        ({"spend": 0.0, "cache_hit": "True"}, "ok", "exact", 0, 0),
        ({"spend": None}, "ok", "off", None, 1),
        ({"spend": 1e-05, "metadata": {}}, "ok", "off", 10_000_000, 1),
    ],
)
def test_zero_is_not_a_price_unless_something_says_so(
    ledger: Ledger, changes: dict[str, Any], outcome: str, cache: str, pusd: int | None, calls: int
) -> None:
    write_calls(ledger, [from_litellm({**SPEND_LOG, **changes})])
    (row,) = ledger.rows("SELECT outcome, cache, cost_pusd FROM requests")
    assert row == {"outcome": outcome, "cache": cache, "cost_pusd": pusd}
    assert len(ledger.rows("SELECT 1 FROM attempts")) == calls


def test_an_observation_becomes_a_request_with_its_call(ledger: Ledger) -> None:
    write_calls(ledger, map(from_langfuse, [OBSERVATION, {**OBSERVATION, "id": "s", "type": "SPAN"}]))
    (attempt,) = ledger.rows("SELECT * FROM attempts")
    assert {name: attempt[name] for name in ("call", "input_tokens", "output_tokens", "cached_input_tokens",
                                             "reasoning_tokens", "cost_pusd", "latency_s")} == {
        "call": "openai/gpt-4o", "input_tokens": 100, "output_tokens": 20, "cached_input_tokens": 40,
        "reasoning_tokens": 5, "cost_pusd": 300_000_000_000, "latency_s": 2.0,
    }  # fmt: skip
    assert [attempt[name] for name in ("team", "customer", "run_id", "feature", "environment")] == [
        "support", "acme", "trace-1", "answer", "production",
    ]  # fmt: skip


def test_a_second_import_changes_nothing_and_rollups_hold_the_first(ledger: Ledger) -> None:
    rows = [from_litellm({**SPEND_LOG, "request_id": f"r{n}"}) for n in range(2_500)]
    assert write_calls(ledger, rows).written == 2_500
    again = write_calls(ledger, [*rows, from_litellm({**SPEND_LOG, "request_id": "new"}), None])
    assert (again.written, again.known, again.unread) == (1, 2_500, 1)
    (row,) = ledger.rollups.sums(["team"])
    assert (row["team"], row["calls"], row["cost_usd"]) == ("search", 2_501, Decimal("0.00123") * 2_501)


def test_what_falls_into_a_closed_month_is_told_as_an_adjustment(ledger: Ledger) -> None:
    close_month(ledger, "2026-03")
    tally = write_calls(ledger, [from_litellm(SPEND_LOG)])
    assert (tally.written, tally.late) == (1, 1)
    assert adjustments(ledger)[0].cost_usd == Decimal("0.00123")


@pytest.mark.parametrize("change", [{"request_id": None}, {"startTime": "soon"}, {"model": ""}])
def test_rows_without_id_time_or_model_are_left_out(ledger: Ledger, change: dict[str, Any]) -> None:
    assert write_calls(ledger, [from_litellm({**SPEND_LOG, **change})]).unread == 1


def test_seats_are_charges_and_focus_purchases(ledger: Ledger) -> None:
    credit = {**SEATS, "product": "Promotion", "unit_price": "-20.5", "quantity": "1"}
    premium = {**SEATS, "product": "Premium requests", "quantity": "1500", "included": "300", "unit_price": "0.04",
               "unit": "Requests"}  # fmt: skip
    tally = write_charges(ledger, [SEATS, credit, premium], "seats")
    assert (tally.written, tally.cost_usd) == (3, Decimal(228) - Decimal("20.5") + 48)
    assert write_charges(ledger, [SEATS, credit, premium], "seats").known == 3
    options = Options()
    rows = list(focus_rows(ledger, options, 0, 1 << 60))
    texts = [{name: as_text(row[name]) for name in options.names} for row in rows]
    assert [str(one) for one in breaches(texts, options.names)] == []
    assert [(row["ChargeCategory"], row["BilledCost"], row["PricingUnit"]) for row in rows] == [
        ("Purchase", 228, "Seats"), ("Credit", Decimal("-20.5"), None), ("Purchase", 48, "Requests"),
    ]  # fmt: skip
    assert json.loads(rows[0]["Tags"]) == {"floor": "2", "imported": "seats", "team": "dev"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"quantity": "many"}, "needs vendor, product, quantity and unit_price"),
        ({"month": "March"}, "no month such as"),
        ({"month": "", "start": "2026-03-05"}, "or start and end"),
        ({"unit_price": "0.0000000000001"}, "more than 12 decimals"),
    ],
)
def test_a_charge_says_what_is_wrong(change: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        charge_of({**SEATS, **change}, "seats")


def test_other_currencies_and_periods_are_read() -> None:
    made = charge_of({**SEATS, "month": "", "start": "2026-03-01", "end": "2026-03-02", "usd_rate": "1.25"}, "seats")
    assert (made["cost_pusd"], made["end_us"] - made["at_us"]) == (285 * 10**12, 2 * 86_400_000_000)


@pytest.mark.parametrize("form", ["json", "wrapped", "jsonl", "csv", "parquet"])
def test_each_kind_of_file_says_the_same(ledger: Ledger, tmp_path: Path, form: str) -> None:
    path = tmp_path / {"wrapped": "logs.json"}.get(form, f"logs.{form}")
    if form in ("json", "wrapped"):
        path.write_text(json.dumps([SPEND_LOG] if form == "json" else {"data": [SPEND_LOG]}), encoding="utf-8")
    elif form == "jsonl":
        path.write_text(json.dumps(SPEND_LOG) + "\n\n", encoding="utf-8")
    elif form == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, SPEND_LOG)
            writer.writeheader()
            writer.writerow({**SPEND_LOG, "request_tags": json.dumps(SPEND_LOG["request_tags"])})
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist([SPEND_LOG]), path)
    assert [from_litellm(row) for row in read_rows(path)] == [from_litellm(SPEND_LOG)]


@pytest.mark.parametrize(("name", "text"), [("a.json", "{"), ("a.jsonl", "{}\n["), ("a.json", "[1]"), ("a.txt", "")])
def test_a_file_that_is_not_what_it_says_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InvalidRequestError, match=name):
        list(read_rows(tmp_path / name))


def test_amounts_and_moments_are_read_as_people_write_them() -> None:
    assert [decimal_of(one) for one in ("$1,234.50", "(3.20)", "1e-3", "", "n/a", "NaN", True, 7)] == [
        Decimal("1234.50"), Decimal("-3.20"), Decimal("0.001"), None, None, None, None, 7,
    ]  # fmt: skip
    assert {moment_us(one) for one in ("2026-03-05", "2026-03-05T01:00:00+01:00", 1772668800, 1772668800000,
                                       "2026-03-05 00:00:00 UTC")} == {1772668800000000}  # fmt: skip
    assert moment_us("soon") is None
