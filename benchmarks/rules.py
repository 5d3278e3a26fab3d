"""How long a large routing table takes: 1,000 rules, 200 candidates. Run: `python benchmarks/rules.py`; CPU time."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from router.decide import decide
from router.policy import Policy, Traits, load_policy, match
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


def main() -> None:
    offers = [Offer(model=f"m{i}", quality=0.5 + i / 500, expected_cost_usd=Decimal(i) / 1_000) for i in range(200)]
    print(f"select among 200: {median_ms(lambda: plan(offers, strategy='single', bar=0.6)):.2f} ms")
    for name, conditions in (("tags", CONDITIONS[:1]), ("every kind of condition", CONDITIONS)):
        policy = policy_of(conditions)
        matched = median_ms(lambda p=policy: match(p, Traits(REQUEST, task=None, now=NOW)))  # type: ignore[misc]
        decided = median_ms(lambda p=policy: decide(REQUEST, p, None, NOW))  # type: ignore[misc]
        print(f"{name}: match {matched:.2f} ms, whole decision with reasons and prices {decided:.2f} ms")


if __name__ == "__main__":
    main()
