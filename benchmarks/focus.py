"""FOCUS rows = ledger = the provider's own bill, to the last decimal, over random calls through litellm on loopback.

Calls are whole and streamed, cached, thinking, in two bands and tiers, at list prices, discounts and prepaid credits,
refused, failing, cut half way and without a price. The provider adds up what it served at prices written down a second
time (`tests/billed.py`); nothing is compared with a tolerance.

    python benchmarks/focus.py [--requests 100000]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from decimal import Decimal, localcontext
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from _results import write
from billed import Bill, play, write_policy
from loopback import Provider

import router
from router.spend.focus import focus_rows
from router.spend.focus_check import breaches
from router.spend.focus_files import read_rows, write_csv
from router.spend.focus_frame import Options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ["CLEARBAR_KEY"] = "k"
    provider, bill = Provider(), Bill(given.seed)
    provider.handler = bill.serve
    with tempfile.TemporaryDirectory() as folder:
        policy = write_policy(Path(folder) / "policy.yaml", provider)
        with router.Router(policy, Path(folder) / "state") as one:
            began = time.monotonic()
            for start in range(0, given.requests, 1_000):
                play(one, min(1_000, given.requests - start), seed=given.seed + start, threads=8)
                provider.requests.clear()  # of which it would keep every byte
            played_s = time.monotonic() - began
            began = time.monotonic()
            path = Path(folder) / "focus.csv"
            count = write_csv(path, Options().names, focus_rows(one.ledger, Options(), 0, 1 << 60))
            written_s = time.monotonic() - began
            (kept,) = one.ledger.rows(
                "SELECT COUNT(*) AS calls, SUM(cost_pusd) AS pusd, SUM(cost_pusd IS NULL) AS unpriced FROM attempts"
            )
        with read_rows(path) as (header, rows):
            texts = list(rows)
        broken = list(breaches(texts, header))
    with localcontext() as context:
        context.prec = 60
        focus = sum(Decimal(row["EffectiveCost"]) for row in texts)
        rounding = sum(Decimal(row["EffectiveCost"]) for row in texts if "pico" in row["ChargeDescription"])
        ledger = Decimal(kept["pusd"]) / 10**12
        tokens = sum(Decimal(row["x_UnpricedQuantity"] or 0) for row in texts if row["x_UnpricedUnit"] == "Tokens")
    print(f"{kept['calls']} calls in {played_s:.0f} s; {count} rows in {written_s:.1f} s, {len(broken)} rules broken")
    print(f"FOCUS     {focus:f}\nledger    {ledger:f}\nprovider  {bill.usd:f} (rounding of calls {rounding:f})")
    print(f"unpriced  {kept['unpriced']} calls, {tokens:f} tokens; the provider says {bill.unpriced_tokens}")
    provider.close()
    held = focus == ledger == bill.usd + rounding and tokens == bill.unpriced_tokens and not broken
    print("equal to the last decimal" if held else "NOT EQUAL")
    write("focus", {
        "requests": given.requests, "calls": kept["calls"], "rows": count, "rules_broken": len(broken),
        "focus_usd": f"{focus:f}", "ledger_usd": f"{ledger:f}", "provider_usd": f"{bill.usd:f}",
        "rounding_usd": f"{rounding:f}", "unpriced_tokens": f"{tokens:f}", "export_s": round(written_s, 1),
        "is_equal": held,
    })  # fmt: skip
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
