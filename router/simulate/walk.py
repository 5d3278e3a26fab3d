"""One request's way through a plan, answered out of a table: the real flow, limits and prices, and no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from router import flow
from router._calls import calls_of
from router.decide import Ruling
from router.errors import BudgetExceededError, ModelNotFoundError, ProviderError, RouterError
from router.policy import Policy
from router.spend.meter import Meter
from router.transports.replay import ReplayTransport
from router.types import Call, Reply, Request, Sleep

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """How far it came."""

    asked: tuple[str, ...]
    """Models of the policy, in order."""
    answered: str | None = None
    missing: str | None = None
    """The model at which it ended, because the table has no answer of it to this query."""
    denied: str | None = None
    cost_usd: float | None = 0.0
    latency_s: float | None = 0.0


def walk(
    request: Request, ruling: Ruling, policy: Policy, rows: Mapping[str, Row], transport: ReplayTransport
) -> Walked:
    """Walk a plan to its answer.

    Args:
        request: what is asked; its id is the query's.
        ruling: what was decided.
        policy: whose prices count; where it has none for a model, the table's cost does.
        rows: the query's rows by the policy's models.
        transport: over the table.
    """
    decision = ruling.decision
    if not decision.plan:
        return Walked(asked=(), denied=f"no model may serve ({decision.rule})")
    meter = Meter(policy.prices, ruling.limit_usd, ruling.input_bound)
    steps = flow.run(
        calls_of(request, ruling, policy, None), now_s=0.0, listener=ruling.listener, latest_s=ruling.latest_s
    )
    way = _Way(meter, rows, transport)
    try:
        step = next(steps)
        while True:
            if isinstance(step, Call) and step.role == "answer" and step.model not in rows:
                return way.ended(missing=step.model)
            step = steps.send(way.heard(step))
    except StopIteration as done:
        return way.ended(answered=done.value[0].model)
    except BudgetExceededError:
        return way.ended(denied=f"above max_cost_usd ({decision.rule})")
    except RouterError as error:
        return way.ended(denied=f"{type(error).__name__} ({decision.rule})")


class _Way:
    """What was asked on the way, at which price and in which time."""

    def __init__(self, meter: Meter, rows: Mapping[str, Row], transport: ReplayTransport) -> None:
        self._meter, self._rows, self._transport = meter, rows, transport
        self._asked: list[str] = []
        self._now_s = 0.0
        self._cost_usd: float | None = 0.0
        self._latency_s: float | None = 0.0

    def heard(self, step: Call | Sleep) -> flow.Heard:
        """What comes of a step."""
        if isinstance(step, Sleep):
            self._now_s += step.seconds
            return flow.Heard(now_s=self._now_s, outcome=None)
        if step.role == "verifier":  # tables hold no answer of its own
            return flow.Heard(now_s=self._now_s, outcome=None)
        if refusal := self._meter.refusal(step):
            return flow.Heard(now_s=self._now_s, outcome=refusal)
        row = self._rows[step.model]
        outcome: Reply | ProviderError
        try:
            outcome = self._transport.send(replace(step, model=row["model"]))
        except ModelNotFoundError as error:
            outcome = error
        took_s = row.get("latency_s")
        self._now_s += took_s or 0.0
        self._latency_s = None if took_s is None or self._latency_s is None else self._latency_s + took_s
        paid = self._meter.settle(step, outcome, took_s or 0.0).cost_usd
        usd = float(paid) if paid is not None else row.get("cost_usd")
        self._cost_usd = None if usd is None or self._cost_usd is None else self._cost_usd + usd
        self._asked.append(step.model)
        return flow.Heard(now_s=self._now_s, outcome=outcome)

    def ended(self, *, answered: str | None = None, missing: str | None = None, denied: str | None = None) -> Walked:
        """Where it ended."""
        return Walked(asked=tuple(self._asked), answered=answered, missing=missing, denied=denied,
                      cost_usd=self._cost_usd, latency_s=self._latency_s)  # fmt: skip
