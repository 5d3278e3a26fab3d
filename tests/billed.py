"""Random calls to the loopback provider, which keeps its own bill of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

from loopback import Provider, Step, cut_stream, status

import router
from router.tokens import count_tokens

POLICY = """
version: 1
models:
  - id: small
    call: openai/small
    PLACE
    price:
      input: 0.15
      output: 0.6
      cached_input: 0.0375
      above: {tokens: 3000, input: 0.3, output: 0.9, cached_input: 0.075}
      batch:
        input: 0.075
        output: 0.3
        cached_input: 0.01875
        above: {tokens: 3000, input: 0.15, output: 0.45, cached_input: 0.0375}
  - id: large
    call: openai/large
    PLACE
    price: {input: 2.5, output: 10, cached_input: 1.25, reasoning: 12, discount: 0.175}
  - id: credits
    call: openai/credits
    PLACE
    price: {input: 3, output: 15, committed: 0.25, credits: {unit: credits, usd: 0.0123, prepaid: true}}
  - id: unpriced
    call: openai/mystery-9000
    PLACE
rules:
  - {candidates: [small], strategy: fixed}
"""
TEAMS = (None, "search", "support", 'a,b\n"c"')
WORDS = "one two three four five six seven eight nine ten".split()

RATES = {
    "small": {"input": "0.15", "cached": "0.0375", "output": "0.6", "reasoning": "0.6"},
    "small>3000": {"input": "0.3", "cached": "0.075", "output": "0.9", "reasoning": "0.9"},
    "small batch": {"input": "0.075", "cached": "0.01875", "output": "0.3", "reasoning": "0.3"},
    "small>3000 batch": {"input": "0.15", "cached": "0.0375", "output": "0.45", "reasoning": "0.45"},
    "large": {"input": "2.0625", "cached": "1.03125", "output": "8.25", "reasoning": "9.9"},
    "credits": {"input": "0.027675", "cached": "0.027675", "output": "0.138375", "reasoning": "0.138375"},
}
"""The provider's prices, written down a second time."""


class Bill:
    """The provider's side: what it served, by model and raw figure, at its own prices."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.usd = Decimal(0)
        self.unpriced_tokens = 0

    def serve(self, body: dict[str, Any]) -> Step:
        """Answer, fail or cut, and note what it costs."""
        kind = self._random.random()
        if kind < 0.06:
            return status(
                500 if kind < 0.001 else self._random.choice([400, 401])
            )  # a 500 is tried again, after a pause
        text = " ".join(self._random.choice(WORDS) for _ in range(self._random.randint(1, 8)))
        if body.get("stream") and kind < 0.5:
            # Nobody is told the usage of a stream that ends early; both sides bill what was sent of it.
            kept = " ".join(text.split()[:2]) + (" " if text.count(" ") > 1 else "")
            message = body["messages"][0]["content"]
            self._note(body["model"], "standard", 7 + count_tokens(message), 0, count_tokens(kept), 0)
            return cut_stream(3, clean=True, text=text)
        read, made = self._random.randint(1, 6000), self._random.randint(1, 2000)
        cached, thought = self._random.randint(0, read), self._random.randint(0, made)
        tier = "batch" if body["model"] == "small" and self._random.random() < 0.2 else "standard"
        self._note(body["model"], tier, read, cached, made, thought)
        usage = {
            "prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }  # fmt: skip
        fields = {} if body.get("stream") else {"service_tier": "default" if tier == "standard" else tier}
        if body.get("stream") and tier == "batch":
            fields = {"service_tier": tier}
        return Step(text=text, usage=usage, fields=fields)

    def _note(self, model: str, tier: str, read: int, cached: int, made: int, thought: int) -> None:
        counts = {"input": read - cached, "cached": cached, "output": made - thought, "reasoning": thought}
        for meter, count in counts.items():
            self.tokens[model, meter] += count
        name = model + (">3000" if model == "small" and read > 3000 else "") + (" batch" if tier == "batch" else "")
        if name not in RATES:
            self.unpriced_tokens += read + made
            return
        rates = RATES[name]
        self.usd += sum(count * Decimal(rates[meter]) for meter, count in counts.items()) / 1_000_000


def write_policy(path: Path, provider: Provider) -> Path:
    """The policy of these calls, over a provider on this machine."""
    place = f"api_base: {provider.url}\n    api_key_env: CLEARBAR_KEY"
    text = POLICY.replace("PLACE", place)
    path.write_text(text, encoding="utf-8")
    return path


def play(one: router.Router, count: int, seed: int, threads: int = 1) -> None:
    """Ask so many random questions; what fails or is cut is part of it."""
    asked = random.Random(seed)
    jobs: Sequence[dict[str, Any]] = [
        {
            "model": asked.choices(["small", "large", "credits", "unpriced"], [6, 3, 1, 1])[0],
            "stream": asked.random() < 0.3, "team": asked.choice(TEAMS), "customer": asked.choice([None, "acme"]),
            "run_id": f"run-{asked.randrange(50)}", "tags": {"plan": "gold"} if asked.random() < 0.1 else {},
        }
        for _ in range(count)
    ]  # fmt: skip

    def ask(options: dict[str, Any]) -> None:
        try:
            answer = one.complete([{"role": "user", "content": "one two three"}], timeout=60, **options)
            if options["stream"]:
                for _ in answer:
                    pass
        except router.RouterError:
            pass

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, jobs))
