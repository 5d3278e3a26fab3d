"""The ledger against a provider's usage and bill: every difference has a name, and the names add up."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from router._request import chat_request
from router.errors import InvalidRequestError
from router.spend import ledger as ledger_module
from router.spend.ledger import Ledger
from router.spend.prices import Price
from router.spend.reconcile import RESIDUALS, Cell, Reconciled, match, reconciled
from router.spend.reconcile_shapes import SHAPES, Line, generic, lines
from router.types import Attempt, Usage

DAY = 20_517  # 2026-03-05
PRICE = Price(input=Decimal(1), output=Decimal(4))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "state" / "ledger.sqlite3")
    made.keep_prices([PRICE])
    yield made
    made.close()


@pytest.fixture
def call(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Books a call of so many tokens at an hour of a day."""

    def book(
        read: int, made: int, *, day: int = DAY, hour: float = 12, priced: bool = True, model: str = "gpt-4o"
    ) -> None:
        at_us = int((day * 24 + hour) * 3_600_000_000)
        monkeypatch.setattr(ledger_module, "_now_us", lambda: at_us)
        usage = Usage(input_tokens=read, output_tokens=made)
        cost = PRICE.cost(usage) if priced else None
        attempt = Attempt(model="m", call=f"openai/{model}", outcome="ok", usage=usage, cost_usd=cost,
                          price_id=PRICE.id if priced else None)  # fmt: skip
        ledger.append_request(chat_request([{"role": "user", "content": "hi"}]), None, outcome="ok", attempts=[attempt],
                              unwritten=1, cost_usd=cost, latency_s=0.1, cache="off")  # fmt: skip

    return book


def line(usd: str | None = None, *, day: int = DAY, model: str = "gpt-4o", **more: Any) -> Line:
    return Line(day=day, model=model, usd=None if usd is None else Decimal(usd), **more)


def told(ledger: Ledger, *given: Line) -> Reconciled:
    """The comparison, after looking at what always holds."""
    found = reconciled(ledger, given, ["openai"])
    for cell in found.cells:
        if cell.billed_usd is not None:
            assert cell.ledger_usd + sum(cell.residuals.values()) == cell.billed_usd
    assert found.ledger_usd + sum(found.residuals.values()) == found.billed_usd
    return found


def named(cell: Cell) -> dict[str, Decimal]:
    return {name: usd for name, usd in cell.residuals.items() if usd}


def test_what_agrees_has_no_residual(ledger: Ledger, call: Any) -> None:
    call(1_000_000, 500_000)
    found = told(ledger, line("3"), line(input_tokens=1_000_000, output_tokens=500_000))
    assert (named(found.cells[0]), found.captured_tokens, found.captured_usd) == ({}, 1.0, 1.0)


@pytest.mark.parametrize(
    ("usd", "counted", "credit", "names"),
    [
        ("3.60", (1_200_000, 600_000), None, {"unlogged": "0.6"}),
        ("2.5", (900_000, 400_000), None, {"unbilled": "-0.5"}),
        ("3.30", (1_000_000, 500_000), None, {"mispriced": "0.3"}),
        ("3.30", None, None, {"unexplained": "0.3"}),
        ("3.00", (1_000_000, 500_000), "-0.25", {"credits": "-0.25"}),
        ("3.006", (1_000_000, 500_000), None, {"mispriced": "0.006"}),
        ("3.9", (1_200_000, 600_000), "-1", {"unlogged": "0.6", "mispriced": "0.3", "credits": "-1"}),
    ],
)
def test_each_difference_has_its_name(
    ledger: Ledger, call: Any, usd: str, counted: tuple[int, int] | None, credit: str | None, names: dict[str, str]
) -> None:
    call(1_000_000, 500_000)
    given = [line(usd)]
    if counted:
        given.append(line(input_tokens=counted[0], output_tokens=counted[1]))
    if credit:
        given.append(line(credit_usd=Decimal(credit)))
    assert named(told(ledger, *given).cells[0]) == {name: Decimal(amount) for name, amount in names.items()}


def test_a_bill_in_cents_is_rounded_and_not_mispriced(ledger: Ledger, call: Any) -> None:
    call(1_001, 1_001)  # 0.005005
    found = told(ledger, line("0.01"), line(input_tokens=1_001, output_tokens=1_001))
    assert named(found.cells[0]) == {"rounding": Decimal("0.004995")}


def test_calls_without_a_price_are_told_at_the_bills_rate(ledger: Ledger, call: Any) -> None:
    call(750_000, 0)
    call(250_000, 0, priced=False)
    found = told(ledger, line("1"), line(input_tokens=1_000_000, output_tokens=0))
    assert named(found.cells[0]) == {"unpriced": Decimal("0.25")}
    assert found.captured_tokens == 1.0


def test_what_moved_over_midnight_is_late_and_adds_up_to_nothing(ledger: Ledger, call: Any) -> None:
    call(1_000_000, 0, hour=10)
    call(500_000, 0, hour=23.9)
    call(2_000_000, 0, day=DAY + 1)
    usage = [line(input_tokens=1_000_000, output_tokens=0),
             line(input_tokens=2_500_000, output_tokens=0, day=DAY + 1)]  # fmt: skip
    found = told(ledger, line("1"), line("2.5", day=DAY + 1), *usage)
    assert [named(cell) for cell in found.cells] == [{"late": Decimal("-0.5")}, {"late": Decimal("0.5")}]
    assert found.residuals["late"] == 0


def test_a_difference_that_no_call_near_midnight_explains_is_not_late(ledger: Ledger, call: Any) -> None:
    call(1_500_000, 0, hour=10)
    call(2_000_000, 0, day=DAY + 1)
    usage = [line(input_tokens=1_500_000, output_tokens=0),
             line(input_tokens=2_000_000, output_tokens=0, day=DAY + 1)]  # fmt: skip
    found = told(ledger, line("1"), line("2.5", day=DAY + 1), *usage)
    assert [named(cell) for cell in found.cells] == [{"mispriced": Decimal("-0.5")}, {"mispriced": Decimal("0.5")}]


def test_a_model_that_the_ledger_has_never_seen_is_unlogged(ledger: Ledger, call: Any) -> None:
    call(1_000_000, 0)
    found = told(ledger, line("1"), line("7.5", model="gpt-4o-realtime"))
    assert [(cell.model, named(cell)) for cell in found.cells] == [
        ("gpt-4o", {}), ("gpt-4o-realtime", {"unlogged": Decimal("7.5")}),
    ]  # fmt: skip
    assert found.captured_usd == pytest.approx(1 / 8.5)


def test_other_providers_calls_are_not_compared(ledger: Ledger, call: Any) -> None:
    call(1_000_000, 0)
    assert reconciled(ledger, [line("5")], ["anthropic"]).ledger_usd == 0


def test_names_add_up_on_random_differences(ledger: Ledger, call: Any) -> None:
    chance = random.Random(1)
    for _ in range(300):
        tokens = chance.randrange(10_000), chance.randrange(5_000)
        call(*tokens, day=DAY + chance.randrange(5), hour=chance.random() * 24, priced=chance.random() < 0.9,
             model=chance.choice(["gpt-4o", "o3"]))  # fmt: skip
    given = [
        line(f"{chance.random() / 10:.{chance.randrange(2, 9)}f}", day=DAY + day, model=model,
             input_tokens=chance.choice([None, chance.randrange(400_000)]),
             credit_usd=chance.choice([None, Decimal("-0.001")]))
        for day in range(-1, 6) for model in ("gpt-4o-2024-08-06", "o3", "other", "")
    ]  # fmt: skip
    found = told(ledger, *given)
    assert {name for name in RESIDUALS if any(cell.residuals.get(name) for cell in found.cells)} >= {
        "credits", "unpriced", "unlogged", "mispriced",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"), ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"), ("gpt 4o 0806 Inp glbl", "gpt-4o"),
        ("gpt-4o-audio-preview", "gpt-4o-audio-preview"), ("gpt-4.1", "gpt-4.1"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("Claude3Sonnet-input-tokens", "claude-3-sonnet-20240229"), ("claude-sonnet-4", "claude-sonnet-4"),
        ("Generate content output token count Gemini 2.5 Flash", "gemini-2.5-flash"), ("", ""),
    ],
)  # fmt: skip
def test_models_are_matched_by_name_and_version_but_never_by_a_likeness(name: str, ours: str) -> None:
    known = ["claude-3-sonnet-20240229", "claude-sonnet-4-5", "gemini-2.5-flash", "gpt-4o-mini", "gpt-4o", "gpt-4"]
    assert match(name, known) == ours


OPENAI = [
    {"object": "bucket", "start_time": 1772668800, "end_time": 1772755200, "results": [
        {"input_tokens": 100, "output_tokens": 20, "input_cached_tokens": 40, "model": "gpt-4o"}]},
    {"object": "bucket", "start_time": 1772668800, "results": [
        {"amount": {"value": Decimal("0.06"), "currency": "usd"}, "line_item": "gpt-4o-2024-08-06, input"}]},
]  # fmt: skip
ANTHROPIC = [
    {"starting_at": "2026-03-05T00:00:00Z", "results": [
        {"uncached_input_tokens": 50, "cache_read_input_tokens": 30, "output_tokens": 7, "model": "claude-sonnet-4-5",
         "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5}}]},
    {"starting_at": "2026-03-05T00:00:00Z", "results": [
        {"currency": "USD", "amount": "123.45", "model": "claude-sonnet-4-5", "description": "Sonnet Usage - Input"}]},
]  # fmt: skip
AZURE = [{"Date": "03/05/2026", "MeterName": "gpt 4o 0806 Outp glbl Tokens", "UnitOfMeasure": "1K", "Quantity": "2.5",
          "CostInBillingCurrency": "0.025", "ChargeType": "Usage"}]  # fmt: skip
BEDROCK = [
    {"lineItem/UsageStartDate": "2026-03-05T00:00:00Z", "lineItem/ProductCode": "AmazonBedrock",
     "lineItem/UsageType": "USE1-Claude3Sonnet-input-tokens", "lineItem/UsageAmount": "4", "pricing/unit": "1K tokens",
     "lineItem/UnblendedCost": "0.012", "lineItem/LineItemType": "Usage"},
    {"lineItem/UsageStartDate": "2026-03-05T00:00:00Z", "lineItem/ProductCode": "AmazonEC2",
     "lineItem/UsageType": "BoxUsage", "lineItem/UnblendedCost": "5", "lineItem/LineItemType": "Usage"},
]  # fmt: skip
GEMINI = [{"usage_start_time": "2026-03-05 10:00:00 UTC", "cost": Decimal("0.5"),
           "sku": {"description": "Generate content input token count Gemini 2.5 Flash"}, "usage": {"amount": 1000},
           "credits": [{"name": "promotion", "amount": Decimal("-0.1")}]}]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "rows", "expected"),
    [
        ("openai", OPENAI, [(100, 20, None, None), (None, None, "0.06", None)]),
        ("anthropic", ANTHROPIC, [(100, 7, None, None), (None, None, "1.2345", None)]),
        ("azure", AZURE, [(None, 2500, "0.025", None)]),
        ("azure", [{**AZURE[0], "ChargeType": "Refund"}], [(None, None, None, "-0.025")]),
        ("bedrock", BEDROCK, [(4000, None, "0.012", None)]),
        ("gemini", GEMINI, [(1000, None, "0.5", None), (None, None, None, "-0.1")]),
    ],
)
def test_each_providers_shape_is_read(shape: str, rows: list[Any], expected: list[tuple[Any, ...]]) -> None:
    found = lines(rows, SHAPES[shape][1])
    assert {one.day for one in found} == {DAY}
    assert [(one.input_tokens, one.output_tokens, one.usd, one.credit_usd) for one in found] == [
        (read, made, usd and Decimal(usd), credit and Decimal(credit)) for read, made, usd, credit in expected
    ]


def test_any_other_shape_is_read_by_a_mapping() -> None:
    read = generic({"day": "when", "model": "what", "usd": "cents", "input_tokens": "kilo",
                    "multiply": {"usd": "0.01", "input_tokens": "1000"}, "providers": ["x"]})  # fmt: skip
    (one,) = lines([{"when": "2026-03-05", "what": "m", "cents": "150", "kilo": "2"}], read)
    assert (one.model, one.usd, one.input_tokens, one.output_tokens) == ("m", Decimal("1.50"), 2000, None)
    for wrong in ({"model": "m"}, {"day": "d", "price": "p"}):
        with pytest.raises(InvalidRequestError, match="the mapping knows day, model"):
            generic(wrong)


def test_a_file_of_another_shape_is_not_taken_for_an_empty_bill() -> None:
    with pytest.raises(InvalidRequestError, match="look at --shape"):
        lines([{"hello": 1}], SHAPES["openai"][1])
