"""One call of a judge, the same for rubrics and for metrics of libraries: how it is sent, booked and flagged."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from evals.judges.rubric import family
from evals.plan import Asks

MAX_TOKENS = 1_024
"""For a verdict with its reason; one that is cut off is unreadable, hence unscored."""


def ask_judge(
    router: Asks, model: str, system: str, user: str, *, run_id: str | None = None, max_tokens: int = MAX_TOKENS
) -> Any:
    """A completion by the judge, pinned, at temperature 0 and booked as workflow `eval-judge`."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    tags = {} if run_id is None else {"run_id": run_id}
    return router.complete(
        messages, model=model, task="judge", workflow="eval-judge", temperature=0, max_tokens=max_tokens, **tags
    )


def lost_cost(error: Exception) -> Decimal | None:
    """What a call that failed was billed; None when nobody knows."""
    costs = [attempt.cost_usd for attempt in getattr(error, "attempts", ())]
    return None if None in costs else sum(costs, Decimal(0))


def versions_of(done: Any) -> tuple[str, ...]:
    """What the provider said it served."""
    return tuple(attempt.model_version for attempt in done.attempts[-1:] if attempt.model_version)


def is_kin(router: Asks, judge: str, candidate: str) -> bool:
    """Whether a judge and a candidate are of one family in any of their deployments."""
    deployments = router.policy.deployments
    if candidate not in deployments:
        return family(candidate) in {family(one.call) for one in deployments[judge]}
    families = [{family(one.call) for one in deployments[model]} for model in (judge, candidate)]
    return bool(families[0] & families[1])


def kin_flag(router: Asks, judge: str, candidate: str | None) -> str:
    """What a reason says of a judge that may favour its own."""
    return " [judge of the candidate's family]" if candidate is not None and is_kin(router, judge, candidate) else ""
