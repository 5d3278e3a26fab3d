"""Metrics of ragas through the router: scores where there are some, and otherwise a reason; never NaN."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evals.scorers.ragas import METRICS, RagasJudge
from evals.types import EvalError, Failed, Scored, Unscored, make_sample
from router import Router
from router.errors import RateLimitedError
from router.transports.fake import FakeTransport
from router.types import Call

POLICY = """\
version: 1
models:
  - {id: judge, call: fake/gpt-judge, price: {input: 10, output: 20}}
  - {id: vectors, call: fake/vectors, price: {input: 1, output: 0}, capabilities: [embedding]}
rules:
  - {candidates: [judge], strategy: fixed}
"""
MESSAGES = ({"role": "user", "content": "Where is the tower?"},)
SAMPLE = make_sample("rag", MESSAGES, "In Paris.", metadata={"contexts": ["The tower stands in Paris.", "It is tall."]})

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def make_router(tmp_path: Path) -> Iterator[Callable[[Any], Router]]:
    try:
        from evals.scorers.ragas import _library

        _library()
    except EvalError as error:
        pytest.skip(str(error))
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    made: list[Router] = []

    def make(script: Any) -> Router:
        made.append(Router(tmp_path / "policy.yaml", tmp_path / "state", FakeTransport({"judge": script})))
        return made[-1]

    yield make
    for router in made:
        router.close()


def obliging(call: Call) -> str:
    """An answer of the wanted shape, made from the JSON Schema in the first message."""
    schema = json.loads(call.messages[0]["content"].partition(":\n")[2])
    return json.dumps(_filled(schema, schema))


def _filled(part: dict[str, Any], whole: dict[str, Any]) -> Any:
    if "$ref" in part:
        return _filled(whole["$defs"][part["$ref"].rsplit("/", 1)[1]], whole)
    match part.get("type"):
        case "object":
            return {
                name: 0 if name == "noncommittal" else _filled(inner, whole)
                for name, inner in part["properties"].items()
            }
        case "array":
            return [_filled(part["items"], whole)]
        case "integer":
            return 1
        case "boolean":
            return True
        case _:
            return "The tower is in Paris."


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_each_metric_scores_through_the_router(make_router: Callable[[Any], Router], metric: str) -> None:
    router = make_router(obliging)
    embedder = "vectors" if metric == "answer_relevancy" else None
    judged = RagasJudge(router, "judge", metric, embedder=embedder).judge(SAMPLE, "In Paris.")
    assert isinstance(judged.score, Scored) and judged.score.value > 0.9, judged.score
    assert judged.cost_usd and judged.calls == len(router._transport.calls)  # type: ignore[attr-defined]


@pytest.mark.parametrize("metric", sorted(METRICS))
@pytest.mark.parametrize("script", [RateLimitedError("no key"), "no JSON at all", '{"wrong": "shape"}'])
def test_a_judge_that_fails_gives_no_number(make_router: Callable[[Any], Router], metric: str, script: Any) -> None:
    embedder = "vectors" if metric == "answer_relevancy" else None
    judged = RagasJudge(make_router(script), "judge", metric, embedder=embedder).judge(SAMPLE, "In Paris.")
    assert isinstance(judged.score, Failed | Unscored)


def test_an_answer_without_statements_is_unscored(make_router: Callable[[Any], Router]) -> None:
    judged = RagasJudge(make_router('{"statements": []}'), "judge", "faithfulness").judge(SAMPLE, "No idea.")
    assert isinstance(judged.score, Unscored) and "nothing to judge" in judged.score.reason


def test_what_a_metric_needs_is_asked_before_it_costs(make_router: Callable[[Any], Router]) -> None:
    router = make_router(obliging)
    bare = make_sample("rag", MESSAGES, "In Paris.")
    judged = RagasJudge(router, "judge", "faithfulness").judge(bare, "In Paris.")
    assert judged.score == Unscored("faithfulness needs retrieved_contexts; the sample has none")
    assert not router._transport.calls  # type: ignore[attr-defined]
    with pytest.raises(EvalError, match="--embedder"):
        RagasJudge(router, "judge", "answer_relevancy")


def test_an_unknown_metric_lists_the_known_ones() -> None:
    with pytest.raises(EvalError, match="faithfulness"):
        RagasJudge(None, "judge", "faith")  # type: ignore[arg-type]


def test_a_suite_names_the_column_with_the_contexts(tmp_path: Path) -> None:
    from evals.scorers.ragas import contexts_of
    from evals.suite import load_suite

    rows = [{"prompt": "a", "reference": "b", "found": ["one", "two"]}, {"prompt": "c", "reference": "d", "found": "x"}]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    text = "version: 1\nname: s\ntasks:\n  a: {source: q.jsonl, scorer: exact, contexts: found}\n"
    (tmp_path / "suite.yaml").write_text(text, encoding="utf-8")
    samples = load_suite(tmp_path / "suite.yaml").samples()
    assert sorted(map(contexts_of, samples)) == [["one", "two"], ["x"]]
