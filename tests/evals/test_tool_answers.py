"""An answer that calls a tool is kept as its calls, and scored as such."""

from __future__ import annotations

import json
from pathlib import Path

from evals.plan import plan_run
from evals.runner import execute
from evals.store import Run
from evals.suite import load_suite
from evals.types import Scored
from router import FakeTransport, Router

SUITE = """
version: 1
name: tools
tasks:
  weather:
    source: rows.jsonl
    scorer: tool_call
    params: {tools: '[{"type": "function", "function": {"name": "weather"}}]'}
"""
CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
ANSWER = {
    "choices": [{"index": 0, "message": {"content": None, "tool_calls": [CALL]}, "finish_reason": "tool_calls"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 5},
}


def test_a_tool_call_is_scored(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE, encoding="utf-8")
    reference = json.dumps([{"name": "weather", "arguments": {"city": "Oslo"}}])
    row = json.dumps({"prompt": "Weather in Oslo?", "reference": reference})
    (tmp_path / "rows.jsonl").write_text(row + "\n", encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(
        "version: 1\nmodels: {small: {call: fake/small, price: {input: 1, output: 1}}}\n"
        "rules: [{candidates: small, strategy: fixed}]",
        encoding="utf-8",
    )
    transport, suite, run = FakeTransport({"small": ANSWER}), load_suite(tmp_path / "suite.yaml"), Run(tmp_path / "run")
    with Router(tmp_path / "policy.yaml", tmp_path / "state", transport) as router:
        execute(plan_run(suite, router, ["small"], run), suite, router, run)
    (result,) = run.results().values()
    assert result.score == Scored(1.0, "")
    assert transport.calls[0].params["tools"][0]["function"]["name"] == "weather"
