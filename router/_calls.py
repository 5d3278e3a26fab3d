"""A plan as the calls that carry it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router import flow
from router.decide import Ruling
from router.policy import Policy
from router.spend.meter import output_cap
from router.types import Call, Request


def calls_of(request: Request, ruling: Ruling, policy: Policy, deadline_s: float | None) -> list[list[Call]]:
    """For each model of the plan, one call per deployment that may have the request's data."""
    return [
        [
            Call(
                request_id=request.id,
                model=model,
                deployment=deployment,
                kind=request.kind,
                messages=request.messages,
                params=_params(request, policy, model, is_bounded=ruling.is_bounded),
                timeout_s=flow.DEFAULT_TIMEOUT_S,
                deadline_s=deadline_s,
                stream=request.stream and ruling.listener is None,
                wants_logprobs=ruling.listener is not None and ruling.listener.reads_logprobs(model),
            )
            for deployment in policy.deployments[model]
            if ruling.data.allows(deployment)
        ]
        for model in ruling.decision.plan
    ]


def _params(request: Request, policy: Policy, model: str, *, is_bounded: bool) -> Mapping[str, Any]:
    if not is_bounded or request.kind == "embedding" or output_cap(request.params):
        return request.params
    # A limit is only a limit if the provider is told where to stop.
    return {**request.params, "max_tokens": policy.models[model].max_output_tokens}
