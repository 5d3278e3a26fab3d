"""How long `acomplete()` holds up an event loop where the semantic cache is asked, beside embedding on the loop.

While questions of some word pieces are answered by a model that takes no time, a task on the same loop does nothing but
look at the clock. The figures are the longest and the median of its longest pauses, one for each question. The floor
is the loop without requests; the peer, "on the loop", embeds each question where the request runs.

    python benchmarks/event_loop.py [--questions 30]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from _results import write

import router
from router.embedding import missing, shared

WORDS = "how do i reset the password of my online bank account when the phone is lost and no one can help me".split()
LENGTHS = (10, 50, 250)
POLICY = """
version: 1
models: [{id: small, call: fake/small, price: {input: 1, output: 4}}]
rules: [{candidates: [small], strategy: fixed, cache: shadow}]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=30, help="of each length")
    count = parser.parse_args().questions
    if reason := missing():
        sys.exit(reason)
    shared().load()
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder, "policy.yaml")
        policy.write_text(POLICY, encoding="utf-8")
        with router.Router(policy, folder, router.FakeTransport({"small": "Yes."})) as one:
            asyncio.run(one.acomplete([{"role": "user", "content": "hello"}]))
            for pieces in LENGTHS:
                chance = random.Random(pieces)
                texts = [" ".join(chance.choices(WORDS, k=pieces - 2)) for _ in range(2 * count)]

                async def ask(text: str) -> None:
                    await one.acomplete([{"role": "user", "content": text}])

                async def embed(text: str) -> None:
                    shared().embed([text])

                async def nothing(_: str) -> None:
                    await asyncio.sleep(0.01)

                ways = {"acomplete": (ask, texts[:count]), "on the loop": (embed, texts[count:]),
                        "nothing": (nothing, texts[:count])}  # fmt: skip
                row = {name: pauses(act, given) for name, (act, given) in ways.items()}
                figures[f"pieces_{pieces}_ms"] = row
                print(f"{pieces:>4} pieces: {row}")
    print(write("event_loop", figures))


def pauses(act: Callable[[str], Awaitable[None]], texts: list[str]) -> dict[str, float]:
    """Longest pause of a loop during each text's request, in ms: the longest of all, and their median."""

    async def run() -> list[float]:
        found, longest = [], 0.0

        async def watch() -> None:
            nonlocal longest
            last = time.perf_counter()
            while True:
                await asyncio.sleep(0)
                now = time.perf_counter()
                longest, last = max(longest, now - last), now

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0.01)
        for text in texts:
            longest = 0.0
            await act(text)
            await asyncio.sleep(0)
            found.append(longest * 1e3)
        watcher.cancel()
        return found

    found = asyncio.run(run())
    return {"longest": round(max(found), 2), "median": round(statistics.median(found), 2)}


if __name__ == "__main__":
    main()
