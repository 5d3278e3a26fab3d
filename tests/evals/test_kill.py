"""kill -9 at any moment: the resumed run ends as if nothing had happened, and no finished cell is asked twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from loopback import Provider

from evals.store import Run
from evals.types import Cell, Result, Scored

POLICY = """\
version: 1
models:
  - {{id: small, call: openai/small, api_base: "{base}", price: {{input: 1, output: 2}}}}
  - {{id: large, call: openai/large, api_base: "{base}", price: {{input: 10, output: 20}}}}
rules:
  - {{candidates: [small, large], strategy: fixed}}
"""
SUITE = """\
version: 1
name: capitals
tasks:
  capitals: {source: capitals.jsonl, scorer: exact, params: {max_tokens: 4}}
"""
SAMPLES = 60
CALLS = 2 * SAMPLES
SEND = """
import asyncio, json, sys, urllib.request
from pathlib import Path
from evals.plan import plan_run
from evals.runner import execute
from evals.store import Run
from evals.suite import load_suite
from router import Router
from router.types import Reply

folder, base = Path(sys.argv[1]), sys.argv[2]

class Plain:
    # OpenAI's protocol by urllib: litellm's import takes longer than a whole run here.
    def send(self, call):
        body = {"model": call.deployment.call.partition("/")[2], "messages": list(call.messages), **call.params}
        request = urllib.request.Request(base + "/chat/completions", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return Reply(payload=json.load(answer))

    async def asend(self, call):
        await asyncio.sleep(0.01)  # so that a kill finds calls under way
        return await asyncio.to_thread(self.send, call)

    def close(self):
        pass

suite, run = load_suite(folder / "suite.yaml"), Run(folder / "run")
with Router(folder / "policy.yaml", folder / "state", Plain()) as router:
    plan = plan_run(suite, router, ["small", "large"], run)
    execute(plan, suite, router, run, concurrency=3, on_progress=lambda progress: print(progress.finished, flush=True))
"""


@pytest.mark.parametrize(
    "kills",
    [pytest.param(5, id="5 kills"), pytest.param(50, id="50 kills", marks=pytest.mark.long)],
)
def test_a_run_killed_at_random_moments_ends_like_one_that_never_was(
    provider: Provider, tmp_path: Path, kills: int
) -> None:
    random = Random(20260101)
    whole = finished(ask(provider, folder_of(provider, tmp_path / "whole")))
    assert len(whole) == len(provider.requests) == CALLS
    midway = 0
    folder, before = folder_of(provider, tmp_path / "series-0"), Counter[str]()
    provider.requests.clear()
    for number in range(kills):
        process = start(provider, folder)
        reported = 0
        if random.random() < 0.2:  # at any moment, such as while it starts
            time.sleep(random.random())
        else:
            reported = heard(process, random.randint(1, CALLS // 2))
            time.sleep(random.uniform(0, 0.02))
        process.kill()
        rest = process.communicate()[0].split()
        reported = max([reported, *map(int, rest)])
        seen = Run(folder / "run")
        history = list(seen.history()) if seen.exists else []
        assert len(history) >= len(before) + reported, "an answer was reported, but is not on disk"
        now = Counter(key(result.cell) for result in history)
        assert not now or max(now.values()) == 1, "a cell was counted twice"
        midway += len(before) < len(now) < CALLS
        before = now
        if len(now) == CALLS:
            require_like(whole, folder, provider)
            folder, before = folder_of(provider, tmp_path / f"series-{number + 1}"), Counter[str]()
            provider.requests.clear()
    ask(provider, folder)
    require_like(whole, folder, provider)
    assert midway >= kills // 3, "hardly any kill hit a run that was at work"


def heard(process: subprocess.Popen[str], lines: int) -> int:
    """Read so many reports of a run, or fewer if it ends; the last one read."""
    assert process.stdout is not None
    last = 0
    for line in process.stdout:
        last = int(line)
        if last >= lines:
            break
    return last


def require_like(whole: dict[str, Result], folder: Path, provider: Provider) -> None:
    """The same cells with the same scores; each asked once, and again only where its answer never came to disk."""
    assert {name: facts(result) for name, result in finished(folder).items()} == {
        name: facts(result) for name, result in whole.items()
    }
    asked = Counter(
        f"{request.body['model']} {request.body['messages'][-1]['content']}" for request in provider.requests
    )
    prompts = {sample.id: str(sample.messages[-1]["content"]) for sample in Run(folder / "run").samples()}
    finished_at = json.loads((folder / "finished.json").read_text(encoding="utf-8"))
    for cell in Run(folder / "run").results():
        name = f"{cell.candidate} {prompts[cell.sample]}"
        assert asked[name] >= 1
        assert key(cell) not in finished_at or asked[name] == finished_at[key(cell)], f"{name} was asked once more"


def ask(provider: Provider, folder: Path) -> Path:
    process = start(provider, folder)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return folder


def start(provider: Provider, folder: Path) -> subprocess.Popen[str]:
    note_finished(provider, folder)
    return subprocess.Popen(
        [sys.executable, "-c", SEND, str(folder), provider.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def note_finished(provider: Provider, folder: Path) -> None:
    """Write down how often each finished cell has been asked so far: from here on, never again."""
    run = Run(folder / "run")
    counts: dict[str, int] = {}
    if run.exists:
        asked = Counter(
            f"{request.body['model']} {request.body['messages'][-1]['content']}" for request in provider.requests
        )
        prompts = {sample.id: str(sample.messages[-1]["content"]) for sample in run.samples()}
        counts = {key(cell): asked[f"{cell.candidate} {prompts[cell.sample]}"] for cell in run.results()}
    note = folder / "finished.json"
    earlier = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    note.write_text(json.dumps(counts | earlier), encoding="utf-8")


def folder_of(provider: Provider, folder: Path) -> Path:
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY.format(base=provider.url), encoding="utf-8")
    (folder / "suite.yaml").write_text(SUITE, encoding="utf-8")
    rows = [{"prompt": f"capital {i}", "reference": f"capital {i}"} for i in range(SAMPLES)]
    (folder / "capitals.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def finished(folder: Path) -> dict[str, Result]:
    return {key(cell): result for cell, result in Run(folder / "run").results().items()}


def key(cell: Cell) -> str:
    return f"{cell.candidate} {cell.sample} {cell.repeat}"


def facts(result: Result) -> tuple[object, ...]:
    """Everything but how long it took."""
    assert isinstance(result.score, Scored)
    return result.score.value, result.response, result.input_tokens, result.output_tokens, result.cost_usd
