"""Trace a trained plan over recorded outcomes, from its cheapest to its best operating point.

The real selection and flow code runs; only the transport answers out of the table. Neither `quality` nor
`reference` is read, and of a model only what it answered to a query it was asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from router import flow
from router.climb import Listener
from router.errors import OutcomesError
from router.select import best_trade
from router.transports.replay import ReplayTransport
from router.types import Call, Deployment, Reply, Sleep

if TYPE_CHECKING:
    import pyarrow as pa

    from router.predict import Predictor
    from router.predict.cascade import Choice, Climb
    from router.predict.labels import Floats

Strategy = Literal["single", "cascade"]


def replay(predictor: Predictor, outcomes: pa.Table, points: int, strategy: Strategy = "cascade") -> pa.Table:
    """Decide every query of a table at every operating point.

    Args:
        predictor: a trained artifact; whether it was promoted does not matter here.
        outcomes: an outcome table read without quality (`read_outcomes(..., needs_quality=False)`).
        points: number of operating points, at least 1; 0 is the cheapest, the last the best quality.
        strategy: `single` makes one call per query. `cascade` may look at answers before asking on; it equals
            `single` where training found nothing that looking could tell.

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
    recorded: dict[str, set[str]] = {}
    for row in rows:
        recorded.setdefault(row["query_id"], set()).add(row["model"])
    dial = predictor.dial(points, strategy).tolist()
    table: dict[str, list[Any]] = {"point": [], "query_id": [], "calls": [], "answer_model": []}
    for number, query in enumerate(queries):
        asked = _Query(
            predictor,
            query,
            predictions.quality[number],
            predictions.cost_usd[number],
            recorded[query["query_id"]],
            transport,
        )
        for point, price in enumerate(dial):
            called, answered = asked.at(price, strategy)
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


class _Query:
    """One recorded query, decided at many operating points."""

    def __init__(
        self,
        predictor: Predictor,
        query: Mapping[str, Any],
        quality: Floats,
        cost_usd: Floats,
        models: Collection[str],
        transport: ReplayTransport,
    ) -> None:
        self._predictor, self._query, self._transport = predictor, query, transport
        self._quality, self._models = quality, models
        self._columns = [place for place, name in enumerate(predictor.models) if name in models]
        self._own_quality, self._own_cost = quality[self._columns].tolist(), cost_usd[self._columns].tolist()
        self._labels = predictor.labels(query["task"], query.get("subtask") or None)
        self._climb: Climb | None = None
        self._served: dict[tuple[bool, float], tuple[list[str], str]] = {}

    def at(self, price: float, strategy: Strategy) -> tuple[list[str], str]:
        """The models called, in order, and the one whose answer is returned."""
        choice = self._predictor.choice(price, *self._labels) if strategy == "cascade" else None
        climbs = choice is not None and choice.ladder is not None
        price = choice.price if choice is not None else price
        if (climbs, price) not in self._served:
            self._served[climbs, price] = self._ladder(choice) if choice and climbs else self._one(price)
        return self._served[climbs, price]

    def _one(self, price: float) -> tuple[list[str], str]:
        best = best_trade(self._own_quality, self._own_cost, price)
        return self._send([self._predictor.models[self._columns[best]]], None)

    def _ladder(self, choice: Choice) -> tuple[list[str], str]:
        if self._climb is None:
            self._climb = self._predictor.climb(choice, self._quality, self._query["prompt"], *self._labels)
        climb = self._climb.again(choice.price)
        plan = [name for model in climb.models if (name := self._predictor.models[model]) in self._models]
        return self._send(plan, Listener(climb, self._predictor.models)) if plan else self._one(choice.price)

    def _send(self, plan: Sequence[str], listener: Listener | None) -> tuple[list[str], str]:
        """Run the flow over a plan."""
        calls = [[self._call(model)] for model in plan]
        called: list[str] = []
        steps = flow.run(calls, now_s=0.0, listener=listener)
        step = next(steps)
        try:
            while True:
                outcome: Reply | None = None
                if not isinstance(step, Sleep):
                    called.append(step.model)
                    outcome = self._transport.send(step)
                step = steps.send(flow.Heard(now_s=0.0, outcome=outcome))
        except StopIteration as done:
            return called, done.value[0].model

    def _call(self, model: str) -> Call:
        return Call(
            request_id=self._query["query_id"],
            model=model,
            deployment=Deployment(call=f"replay/{model}"),
            kind="chat",
            messages=({"role": "user", "content": self._query["prompt"]},),
            params={},
            timeout_s=flow.DEFAULT_TIMEOUT_S,
            wants_logprobs=True,
        )
