"""How long a large routing table takes: 1,000 rules, of which the last matches, and 200 candidates; CPU time.

`match and select` is what the table itself takes: the rule, then the order of the candidates with each one's reason.
`decide` is everything: evidence, prices and expected costs of all 200, too. The floor, in the same run, is a loop that
compares one value a rule, and the sorting of 200 prices.

    python benchmarks/rules.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from _results import write

from router.decide import decide
from router.policy import Policy, Traits, load_policy
from router.select import Offer, plan
from router.types import Request, Tags

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
REQUEST = Request(
    id="r",
    messages=({"role": "user", "content": "Please tell me what the weather is like in the north. " * 20},),
    tags=Tags(customer="nobody", extra={"plan": "gold"}),
)
CONDITIONS = (
    "tags: {{customer: c{0}, plan: [gold, silver]}}", "task: t{0}, language: de",
    "modality: image, tags: {{team: a{0}}}",
    "time: {{days: sun, hours: 00:00-00:01}}", "findings: iban", "input_tokens: {{min: 90000}}",
)  # fmt: skip


def policy_of(conditions: tuple[str, ...]) -> Policy:
    models = "".join(
        f"  - {{id: m{i}, call: fake/m{i}, price: {{input: {1 + i / 10}, output: 2}}}}\n" for i in range(200)
    )
    rules = "".join(
        f"  - {{when: {{{conditions[i % len(conditions)].format(i)}}}, candidates: m1, strategy: fixed}}\n"
        for i in range(999)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "policy.yaml")
        text = f"version: 1\nmodels:\n{models}rules:\n{rules}  - {{candidates: 'm*', bar: 0}}\n"
        path.write_text(text, encoding="utf-8")
        return load_policy(path)


def median_ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(200):
        began = time.thread_time()
        work()
        taken.append(time.thread_time() - began)
    return 1_000 * statistics.median(taken)


def floor(offers: list[Offer]) -> object:
    """A comparison a rule, and the candidates by their price."""
    for number in range(1_000):
        if number == -1:
            break
    return sorted(offers, key=lambda offer: offer.expected_cost_usd or 0)


def main() -> None:
    offers = [Offer(model=f"m{i}", quality=0.5 + i / 500, expected_cost_usd=Decimal(i) / 1_000) for i in range(200)]
    figures: dict[str, Any] = {"rules": 1_000, "candidates": 200, "floor_ms": _figure(lambda: floor(offers))}
    figures["select_ms"] = _figure(lambda: plan(offers, strategy="single", bar=0.6))
    cases = {"tags": CONDITIONS[:1], "mixed": CONDITIONS, "without task or tags": CONDITIONS[3:]}
    for name, conditions in cases.items():
        policy = policy_of(conditions)

        def matched(policy: Policy = policy) -> object:
            return policy.table.match(Traits(REQUEST, task=None, now=NOW))

        def both(matched: Callable[[], object] = matched) -> object:
            return matched(), plan(offers, strategy="single", bar=0.6)

        def decided(policy: Policy = policy) -> object:
            return decide(REQUEST, policy, None, NOW)

        row = {"match_ms": _figure(matched), "match_and_select_ms": _figure(both), "decide_ms": _figure(decided)}
        figures[name] = {**row, "floors": round(row["match_and_select_ms"] / _figure(lambda: floor(offers)), 1)}
        print(f"{name}: {figures[name]}")
    print(write("rules", figures))


def _figure(work: Callable[[], object]) -> float:
    return round(median_ms(work), 3)


if __name__ == "__main__":
    main()
