"""Trace a trained plan over recorded outcomes, from its cheapest to its best operating point.

The real selection and flow code runs; only the transport answers out of the table. Neither `quality` nor
`reference` is read, and of a model only what it answered to a query it was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from router import flow
from router.errors import OutcomesError
from router.select import best_trade
from router.transports.replay import ReplayTransport
from router.types import Call, Deployment, Reply, Sleep

if TYPE_CHECKING:
    import pyarrow as pa

    from router.predict import Predictor

Strategy = Literal["single", "cascade"]


def replay(predictor: Predictor, outcomes: pa.Table, points: int, strategy: Strategy = "cascade") -> pa.Table:
    """Decide every query of a table at every operating point.

    Args:
        predictor: a trained artifact; whether it was promoted does not matter here.
        outcomes: an outcome table read without quality (`read_outcomes(..., needs_quality=False)`).
        points: number of operating points, at least 1; 0 is the cheapest, the last the best quality.
        strategy: `single` makes one call per query. `cascade` may look at an answer before asking on; this
            predictor holds no acceptance rule, so its cascades have one step.

    Returns:
        One row per point and query: `point` int64, `query_id`, `calls` (models called, in order), `answer_model`.

    Raises:
        OutcomesError: the table has a model that the artifact was not trained on, or `points` is below 1.
    """
    import pyarrow as pa

    if points < 1:
        raise OutcomesError(f"points must be 1 or more, got {points}")
    if strategy not in ("single", "cascade"):
        raise OutcomesError(f"strategy must be single or cascade, got {strategy!r}")
    unknown = sorted(set(outcomes["model"].unique().to_pylist()) - set(predictor.models))
    if unknown:
        raise OutcomesError(
            f"the artifact was not trained on {', '.join(unknown)}; train again with outcomes of these models"
        )
    rows = outcomes.select(["query_id", "model", "response", "input_tokens", "output_tokens"]).to_pylist()
    transport = ReplayTransport.of_rows(rows)
    queries = _queries(outcomes)
    predictions = predictor.predict_many(
        [query["prompt"] for query in queries],
        [query["task"] for query in queries],
        [query.get("subtask") or None for query in queries],
    )
    columns = {name: index for index, name in enumerate(predictor.models)}
    recorded: dict[str, list[str]] = {}
    for row in rows:
        recorded.setdefault(row["query_id"], []).append(row["model"])
    dial = predictor.dial(points).tolist()
    table: dict[str, list[Any]] = {"point": [], "query_id": [], "calls": [], "answer_model": []}
    for number, query in enumerate(queries):
        models = recorded[query["query_id"]]
        chosen = [columns[model] for model in models]
        quality = predictions.quality[number, chosen].tolist()
        cost_usd = predictions.cost_usd[number, chosen].tolist()
        for point, quality_per_usd in enumerate(dial):
            first = models[best_trade(quality, cost_usd, quality_per_usd)]
            called, answered = _send(query, [first], transport)
            table["point"].append(point)
            table["query_id"].append(query["query_id"])
            table["calls"].append(called)
            table["answer_model"].append(answered)
    return pa.table(table).sort_by("point")


def _queries(outcomes: pa.Table) -> list[dict[str, Any]]:
    """One row per query, in the order of the table."""
    names = [name for name in ("query_id", "task", "subtask", "prompt") if name in outcomes.column_names]
    first: dict[str, dict[str, Any]] = {}
    for row in outcomes.select(names).to_pylist():
        first.setdefault(row["query_id"], row)
    return list(first.values())


def _send(query: Mapping[str, Any], plan: Sequence[str], transport: ReplayTransport) -> tuple[list[str], str]:
    """Run the flow over a plan; returns the models called, in order, and the one that answered."""
    calls = [
        [
            Call(
                request_id=query["query_id"],
                model=model,
                deployment=Deployment(call=f"replay/{model}"),
                kind="chat",
                messages=({"role": "user", "content": query["prompt"]},),
                params={},
                timeout_s=flow.DEFAULT_TIMEOUT_S,
            )
        ]
        for model in plan
    ]
    called: list[str] = []
    steps = flow.run(calls, now_s=0.0)
    step = next(steps)
    try:
        while True:
            outcome: Reply | None = None
            if not isinstance(step, Sleep):
                called.append(step.model)
                outcome = transport.send(step)
            step = steps.send(flow.Heard(now_s=0.0, outcome=outcome))
    except StopIteration as done:
        return called, done.value[0].model
