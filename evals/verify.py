"""A verifier's verdicts on recorded answers, for cascades that may ask it.

They become the columns `verified`, `verifier` and `verified_usd` of an outcome table. The prompt is the one that a
cascade uses live (`router.verify`), which sees no reference. Queries are taken in random order, all answers of one
together, so that verdicts that end at a cap are those of a fair sample.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from evals.judges.asking import lost_cost
from evals.plan import ANY_AMOUNT, Asks
from evals.types import EvalError
from router.config import suggestion
from router.errors import RouterError
from router.verify import PARAMS, messages_for, signature, verdict_of

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


@dataclass(slots=True)
class Verifying:
    """How far it is."""

    total: int
    """Answers without a verdict at the start."""
    said: int = 0
    unread: int = 0
    """Replies that hold no verdict."""
    failed: int = 0
    spent_usd: Decimal = Decimal(0)
    is_stopped_by_cap: bool = False


def rows_to_verify(router: Asks, model: str, table: pa.Table, *, seed: int = 0) -> tuple[list[Row], list[Row]]:
    """All rows of an outcome table, and those of them that the verifier has said nothing about.

    Raises:
        EvalError: the policy has no such model or not its price, or the table has another verifier's verdicts.
    """
    known = list(router.policy.models)
    if model not in known:
        raise EvalError(f"the policy lists no model {model!r} to verify{suggestion(model, known)}")
    if not router.policy.prices[model]:
        raise EvalError(f"nobody knows the price of {model!r}, and a verdict must be worth its price; add `price`")
    rows: list[Row] = table.to_pylist()
    others = {row.get("verifier") for row in rows if row.get("verified") is not None} - {signature(model)}
    if others:
        raise EvalError(
            f"the table has verdicts of {', '.join(map(str, sorted(others, key=str)))}; a table has one verifier: give "
            "the one without these columns"
        )
    open_ = [row for row in rows if row.get("verified") is None and row["response"].strip()]
    queries = sorted({row["query_id"] for row in open_})
    Random(seed).shuffle(queries)  # noqa: S311  a fair order, no secret
    place = {query: number for number, query in enumerate(queries)}
    return rows, sorted(open_, key=lambda row: place[row["query_id"]])


def worst_usd(router: Asks, model: str, row: Row) -> Decimal:
    """The most that one verdict can cost."""
    decision = router.explain(
        [*messages_for(row["prompt"], row["response"])], model=model, max_cost_usd=ANY_AMOUNT, **PARAMS
    )
    # Without a plan nothing would be sent, as where an answer does not fit its context.
    worst = next((one.worst_cost_usd for one in decision.candidates if one.model in decision.plan), None)
    return Decimal(0) if worst is None else worst


def verify(
    router: Asks,
    model: str,
    rows: list[Row],
    *,
    at_once: int,
    max_cost_usd: Decimal | None = None,
    on_progress: Callable[[Verifying], None] = lambda _: None,
) -> Verifying:
    """Ask about each row and write what came of it into the row.

    Args:
        router: sends the calls, pinned to the verifier and booked as workflow `eval-verify`.
        model: policy id of the verifier.
        rows: of `rows_to_verify`; changed in place, so that what was paid for is there after an interruption.
        at_once: calls at once.
        max_cost_usd: nothing is sent that could take the sum above it.
        on_progress: called after each batch.
    """
    progress = Verifying(total=len(rows))
    with ThreadPoolExecutor(at_once) as pool:
        for start in range(0, len(rows), at_once):
            batch = fits = rows[start : start + at_once]
            if max_cost_usd is not None:
                fits, left = [], max_cost_usd - progress.spent_usd
                for row in batch:
                    left -= worst_usd(router, model, row)
                    if left >= 0:
                        fits.append(row)
                progress.is_stopped_by_cap = len(fits) < len(batch)
            for row, (verdict, cost, is_failed) in zip(
                fits, pool.map(lambda row: _ask(router, model, row), fits), strict=True
            ):
                progress.spent_usd += cost
                progress.failed += is_failed
                progress.said += verdict is not None
                progress.unread += verdict is None and not is_failed
                if verdict is not None:
                    row |= {"verified": verdict, "verifier": signature(model), "verified_usd": float(cost)}
            on_progress(progress)
            if progress.is_stopped_by_cap:
                break
    return progress


def _ask(router: Asks, model: str, row: Row) -> tuple[float | None, Decimal, bool]:
    """The verdict, what was billed, and whether the call failed."""
    messages = [*messages_for(row["prompt"], row["response"])]
    try:
        done = router.complete(messages, model=model, task="verify", workflow="eval-verify", **PARAMS)
    except RouterError as error:
        cost = lost_cost(error)
        # A lost call may still be billed: its worst case counts.
        return None, worst_usd(router, model, row) if cost is None else cost, True
    return verdict_of(str(done.text)), done.cost_usd or Decimal(0), False
