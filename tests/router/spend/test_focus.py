"""FOCUS rows add up to the ledger and to the provider's own bill, and keep the specification's rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest
from billed import Bill, play, write_policy
from loopback import Provider

import router
from router._request import chat_request
from router.errors import InvalidRequestError
from router.spend.csv_cells import as_text
from router.spend.focus import focus_rows
from router.spend.focus_check import breaches
from router.spend.focus_files import read_rows, write_csv, write_parquet
from router.spend.focus_frame import Options
from router.spend.ledger import Ledger
from router.spend.prices import Price, Terms, Variant
from router.spend.prices.rates import Rates
from router.types import Attempt, Usage

FOREVER = 1 << 60
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "state" / "ledger.sqlite3")
    yield made
    made.close()


def book(ledger: Ledger, price: Price | None, *usages: Usage | None, kept: bool = True, **tags: Any) -> None:
    """One attempt a usage, billed at a price (None: unknown)."""
    if price is not None and kept:
        ledger.keep_prices([price])
    for usage in usages:
        cost = price.cost(usage) if price and usage else None
        attempt = Attempt(
            model="m", call="openai/m", outcome="ok", usage=usage, cost_usd=cost, price_id=price and price.id
        )
        ledger.append_request(chat_request(HI, **tags), None, outcome="ok", attempts=[attempt], unwritten=1,
                              cost_usd=cost, latency_s=0.1, cache="off")  # fmt: skip


def told(ledger: Ledger, **options: Any) -> list[dict[str, Any]]:
    """The rows of everything, which keep all rules."""
    held = Options(**options)
    rows = list(focus_rows(ledger, held, 0, FOREVER))
    texts = [{name: as_text(row[name]) for name in held.names} for row in rows]
    assert [str(one) for one in breaches(texts, held.names, held.profile)] == []
    return rows


def ledger_usd(ledger: Ledger) -> Decimal:
    (row,) = ledger.rows("SELECT SUM(cost_pusd) AS pusd FROM attempts")
    return Decimal(row["pusd"]) / 10**12


def compare(one: router.Router, bill: Bill) -> list[dict[str, Any]]:
    """Rows of a router's ledger, which add up to it and to the provider's bill."""
    rows = told(one.ledger)
    with localcontext() as context:
        context.prec = 60
        assert sum(row["EffectiveCost"] for row in rows) == ledger_usd(one.ledger)
        # Calls at odd prices are rounded to whole pico-dollars, each by itself; a row says by how much in all.
        rounding = sum(row["EffectiveCost"] for row in rows if "pico" in row["ChargeDescription"])
        assert ledger_usd(one.ledger) == bill.usd + rounding
        assert abs(rounding) <= Decimal("5e-13") * len(one.ledger.rows("SELECT 1 FROM attempts"))
    tokens: Counter[tuple[str, str]] = Counter()
    for row in rows:
        call, _, meter = (row["SkuId"] or "").rpartition("/")
        tokens[call.removeprefix("openai/"), meter] += int(row["ConsumedQuantity"] or row["x_UnpricedQuantity"] or 0)
    served: Counter[tuple[str, str]] = Counter()
    apart = {("large", "reasoning")}  # a meter with a price of its own; elsewhere thinking is output
    for (model, meter), count in bill.tokens.items():
        model = model.replace("unpriced", "mystery-9000")
        name = "cached_input" if meter == "cached" else meter
        served[model, "output" if name == "reasoning" and (model, name) not in apart else name] += count
    assert +tokens == +served
    return rows


def test_random_calls_add_up_to_the_providers_bill(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARBAR_KEY", "k")
    bill = Bill(seed=1)
    provider.handler = bill.serve
    with router.Router(write_policy(tmp_path / "policy.yaml", provider), tmp_path / "state") as one:
        play(one, 2_000, seed=2, threads=4)
        rows = compare(one, bill)
        (broken,) = one.ledger.rows("SELECT COUNT(*) AS cut FROM attempts WHERE outcome = 'error' AND cost_pusd > 0")
    assert broken["cut"] > 50
    assert sum(row["x_UnpricedQuantity"] or 0 for row in rows) == bill.unpriced_tokens > 0
    assert {row["x_CostStatus"] for row in rows} == {"Reported", "Estimated", "Unknown"}
    for write, name in ((write_csv, "focus.csv"), (write_parquet, "focus.parquet")):
        write(tmp_path / name, Options().names, rows)
        with read_rows(tmp_path / name) as (header, texts):
            kept = list(texts)
        assert header == list(Options().names)
        assert [str(one) for one in breaches(kept, header)] == []
        with localcontext() as context:
            context.prec = 60
            assert sum(Decimal(row["EffectiveCost"]) for row in kept) == sum(row["EffectiveCost"] for row in rows)
        assert [row["Tags"] for row in kept] == [row["Tags"] for row in rows]


def test_a_row_a_meter_and_thinking_stands_with_the_output_unless_it_is_priced(ledger: Ledger) -> None:
    usage = Usage(input_tokens=100, output_tokens=50, cached_input_tokens=40, cache_write_1h_tokens=10,
                  reasoning_tokens=20)  # fmt: skip
    plain = Price(input=Decimal(2), output=Decimal(8), cached_input=Decimal("0.5"), cache_write_1h=Decimal(4))
    book(ledger, plain, usage, usage, team="a", run_id="r1")
    rows = {row["SkuId"]: row for row in told(ledger)}
    assert {sku: int(row["ConsumedQuantity"]) for sku, row in rows.items()} == {
        "openai/m/input": 100, "openai/m/cached_input": 80, "openai/m/cache_write_1h": 20, "openai/m/output": 100,
    }  # fmt: skip
    output = rows["openai/m/output"]
    assert (output["EffectiveCost"], output["x_ReasoningTokens"]) == (Decimal("0.0008"), 40)
    assert (output["x_CallCount"], output["x_WorkflowRunCount"], output["Tags"]) == (2, 1, '{"team": "a"}')
    assert '"x_TokenDirection": "Output"' in output["SkuPriceDetails"]


def test_tiers_and_bands_have_skus_of_their_own_and_stand_in_one_group_each(ledger: Ledger) -> None:
    price = Price(
        input=Decimal(1), output=Decimal(1),
        variants=(
            Variant(tier="batch", rates=Rates(input=Decimal("0.5"), output=Decimal("0.5"))),
            Variant(above=1000, rates=Rates(input=Decimal(2), output=Decimal(2))),
        ),
    )  # fmt: skip
    calls = [(500, "standard"), (600, "standard"), (1500, "standard"), (500, "batch"), (500, "flex")]
    book(ledger, price, *(Usage(input_tokens=n, output_tokens=0, service_tier=tier) for n, tier in calls))
    found = sorted((row["SkuPriceId"], int(row["ConsumedQuantity"]), row["ListUnitPrice"]) for row in told(ledger))
    assert found == [
        ("openai/m/input/batch/above-0", 500, Decimal("0.5")),
        ("openai/m/input/standard/above-0", 1600, Decimal(1)),
        ("openai/m/input/standard/above-1000", 1500, Decimal(2)),
    ]


def test_list_contracted_effective_and_billed_cost_are_told_apart(ledger: Ledger) -> None:
    terms = Terms(discount=Decimal("0.2"), committed=Decimal("0.5"), unit="credits", usd_per_unit=Decimal("0.01"),
                  prepaid=True)  # fmt: skip
    book(
        ledger,
        Price(input=Decimal("0.004"), output=Decimal(1), terms=terms),
        Usage(input_tokens=10**6, output_tokens=0),
    )
    (row,) = told(ledger)
    assert [row[name] for name in ("ListCost", "ContractedCost", "EffectiveCost", "BilledCost")] == [
        Decimal("0.01"), Decimal("0.008"), Decimal("0.004"), 0,
    ]  # fmt: skip
    assert (row["PricingCurrency"], row["PricingCurrencyListUnitPrice"]) == ("credits", 1)
    assert (row["PricingCategory"], row["CommitmentDiscountStatus"]) == ("Committed", "Used")


def test_an_unknown_price_is_a_row_with_its_quantity_and_so_is_a_lost_call(ledger: Ledger) -> None:
    book(ledger, None, Usage(input_tokens=30, output_tokens=4), None)
    rows = {row["SkuId"]: row for row in told(ledger)}
    assert {sku: (row["x_UnpricedQuantity"], row["x_UnpricedUnit"]) for sku, row in rows.items()} == {
        "openai/m/input": (30, "Tokens"), "openai/m/output": (4, "Tokens"), "openai/m/calls": (1, "Requests"),
    }  # fmt: skip
    assert {(row["BilledCost"], row["x_CostStatus"], row["ChargeCategory"]) for row in rows.values()} == {
        (0, "Unknown", "Adjustment")
    }


def test_a_cost_whose_price_is_not_known_any_more_is_one_lump(ledger: Ledger) -> None:
    book(ledger, Price(input=Decimal(7), output=Decimal(7)), Usage(input_tokens=10, output_tokens=3), kept=False)
    (row,) = told(ledger)
    assert (row["SkuMeter"], row["PricingQuantity"], row["BilledCost"]) == ("Calls", 1, Decimal("0.000091"))


def test_calls_that_were_rounded_to_pico_dollars_have_a_row_that_makes_it_good(ledger: Ledger) -> None:
    odd = Price(input=Decimal("0.0000004"), output=Decimal(1))
    book(ledger, odd, *[Usage(input_tokens=1, output_tokens=0)] * 3)
    rows = told(ledger)
    assert sum(row["EffectiveCost"] for row in rows) == ledger_usd(ledger) == 0
    assert [row["EffectiveCost"] for row in rows] == [Decimal("0.0000000000012"), Decimal("-0.0000000000012")]


@pytest.mark.parametrize("profile", ["1.2", "1.3"])
def test_each_profile_has_its_columns(ledger: Ledger, profile: str) -> None:
    book(ledger, Price(input=Decimal(1), output=Decimal(1)), Usage(input_tokens=1, output_tokens=1), agent="bot")
    rows = told(ledger, profile=profile, accounts={"openai": "org-1"})
    assert ("ServiceProviderName" in rows[0]) == (profile == "1.3")
    assert (rows[0]["BillingAccountId"], rows[0]["ProviderName"]) == ("org-1", "OpenAI")
    draft = told(ledger, profile=profile, is_draft=True)
    assert draft[0]["PrincipalId"] == "bot"
    assert '"ModelId": "m"' in draft[0]["SkuPriceDetails"]


GOOD = {"PricingQuantity": "0.5", "ListUnitPrice": "2", "ListCost": "1"}


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("BilledCost", "", "MUST NOT be null"),
        ("BilledCost", "1e-3", "plain decimal"),
        ("BilledCost", "+1", "plain decimal"),
        ("BilledCost", "1,000", "plain decimal"),
        ("ListCost", "1.000000000000000001", "MUST be ListUnitPrice x PricingQuantity"),
        ("ContractedUnitPrice", "-1", "MUST NOT be negative"),
        ("ChargeCategory", "usage", "MUST be one of"),
        ("ChargeCategory", "Purchase", "MUST NOT be Usage-Based"),
        ("ChargeCategory", "Credit", "MUST be null when ChargeCategory is not Usage"),
        ("ChargeCategory", "Tax", "MUST be null when ChargeCategory is Tax"),
        ("ChargeClass", "Fix", "MUST be one of"),
        ("ChargePeriodEnd", "2026-11-01T00:00:00+00:00", "MUST be a moment"),
        ("ChargePeriodEnd", "2026-01-01T00:00:00Z", "MUST be after ChargePeriodStart"),
        ("BillingPeriodStart", "2027-01-01T00:00:00Z", "MUST be after BillingPeriodStart"),
        ("BillingPeriodEnd", "2020-01-01T00:00:00Z", "MUST be after"),
        ("BillingCurrency", "dollars", "ISO 4217"),
        ("PricingUnit", "tokens", "MUST be a unit"),
        ("PricingUnit", "", "MUST NOT be null when ChargeCategory is Usage"),
        ("ConsumedQuantity", "0", "MUST be positive"),
        ("SkuPriceId", "", "MUST NOT be null"),
        ("SkuId", "other", "MUST have one SkuId"),
        ("Tags", "{", "MUST be JSON"),
        ("Tags", '{"a": [1]}', "one JSON object of plain values"),
        ("SkuPriceDetails", '{"F_Mine": 1}', "F_ is for keys"),
        ("CommitmentDiscountStatus", "Used", "MUST be set for usage under a commitment"),
        ("PricingCategory", "Committed", "MUST be Committed exactly"),
        ("SubAccountId", "", "MUST be null when SubAccountId is null"),
    ],
)  # fmt: skip
def test_the_checker_sees_each_broken_rule(ledger: Ledger, column: str, value: str, rule: str) -> None:
    book(ledger, Price(input=Decimal(1), output=Decimal(1)), *[Usage(input_tokens=5, output_tokens=0)] * 2, team="a")
    (row,) = told(ledger)
    good = {name: as_text(given) for name, given in row.items()}
    found = list(breaches([good, {**good, column: value}], good))
    assert found
    assert {one.row for one in found} == {2}
    assert any(rule in one.rule for one in found), [str(one) for one in found]


def test_the_checker_sees_missing_and_foreign_columns() -> None:
    found = {(one.column, one.rule) for one in breaches([], ["BilledCost", "Mine", "x_Mine"])}
    assert ("EffectiveCost", "MUST be present") in found
    assert ("Mine", "a column that FOCUS does not define MUST begin with x_") in found
    assert not any(column == "x_Mine" for column, _ in found)
    assert {("ChargeClass", "MUST be present"), ("PricingQuantity", "MUST be present")} <= found
    assert not any(column in ("SkuId", "ChargeFrequency") for column, _ in found)  # these are conditional


def test_the_checker_takes_columns_that_only_others_have(ledger: Ledger) -> None:
    book(ledger, Price(input=Decimal(1), output=Decimal(1)), Usage(input_tokens=5, output_tokens=0))
    (row,) = told(ledger)
    left_out = ("SkuId", "SkuMeter", "SkuPriceId", "SkuPriceDetails", "ConsumedQuantity", "ConsumedUnit", "Tags")
    other = {name: as_text(value) for name, value in row.items() if name not in left_out and not name.startswith("x_")}
    other |= {"RegionId": "eu-central-1", "ServiceCategory": "Compute", "ServiceSubcategory": "Virtual Machines"}
    assert list(breaches([other], other)) == []


def test_parquet_refuses_what_it_would_round(tmp_path: Path) -> None:
    row = {**dict.fromkeys(Options().names), "BilledCost": Decimal("1e-19")}
    with pytest.raises(InvalidRequestError, match="write --format csv, which is exact"):
        write_parquet(tmp_path / "a.parquet", Options().names, [row])
    write_csv(tmp_path / "a.csv", Options().names, [row])
    with read_rows(tmp_path / "a.csv") as (_, rows):
        assert [one["BilledCost"] for one in rows] == ["0.0000000000000000001"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a,b\n1\n", b"PAR1nothing"])
def test_a_file_that_is_no_table_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ("bad.parquet" if content.startswith(b"PAR1") else "bad.csv")
    path.write_bytes(content)
    with pytest.raises(InvalidRequestError, match=str(path)), read_rows(path) as (_, rows):
        list(rows)
