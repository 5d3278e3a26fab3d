"""The top-level functions: the same as `Router`'s methods, over one default router."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router._router import Router
    from router.decisions import Decision
    from router.deferred.runner import Ran
    from router.deferred.ticket import Ticket
    from router.types import Completion, Message

_lock = threading.Lock()
_default: list[Router] = []


def default_router() -> Router:
    """The router behind the top-level functions, made on first use.

    Raises:
        ConfigurationError: no policy was found; the message names the ways to give one.
    """
    if not _default:
        from router._router import Router

        with _lock:
            if not _default:
                made = Router()
                atexit.register(made.close)
                _default.append(made)
    return _default[0]


def complete(
    messages: Sequence[Message],
    *,
    model: str | None = None,
    task: str | None = None,
    team: str | None = None,
    feature: str | None = None,
    workflow: str | None = None,
    run_id: str | None = None,
    customer: str | None = None,
    agent: str | None = None,
    environment: str | None = None,
    tags: Mapping[str, str] | None = None,
    bar: float | None = None,
    max_cost_usd: Decimal | str | float | None = None,
    timeout_s: float | None = None,
    stream: bool = False,
    cache: str | Mapping[str, Any] | None = None,
    **openai_params: Any,
) -> Any:
    """Answer a chat request with the cheapest model that clears the task's bar.

    Args:
        messages: OpenAI chat messages; passed on untouched.
        model: a policy model id pins it (limits still apply); None or "auto" routes.
        task: label of the kind of work; without one the trained classifier guesses.
        team: who spends; this and the next six are tags on every ledger row.
        feature: product feature.
        workflow: the unit that analysis and budgets look at.
        run_id: one run of a workflow; outcomes are joined to it.
        customer: whose request it is.
        agent: which agent asked.
        environment: such as production or staging.
        tags: further free-form tags.
        bar: required quality in [0, 1]; may only raise the policy's.
        max_cost_usd: upper bound in USD over all attempts; a model whose worst case is above it is not asked.
        timeout_s: seconds for the whole request, retries and fallback included.
        stream: True returns an iterator of OpenAI chunks with `.completion` at its end.
        cache: `"no-cache"` asks anew and stores the answer, `"no-store"` keeps nothing of this request,
            `"max-age=3600"` takes no stored answer older than so many seconds; dicts such as `{"max-age": 3600}` too.
        **openai_params: temperature, tools, response_format and so on, passed on untouched.

    Returns:
        A `Completion`: OpenAI-shaped, plus `.decision`, `.cost_usd`, `.attempts`, `.cache`.

    Raises:
        RouterError: one of its children; see `router.errors` for the tree.
    """
    return default_router().complete(
        messages, model=model, task=task, team=team, feature=feature, workflow=workflow, run_id=run_id,
        customer=customer, agent=agent, environment=environment, tags=tags, bar=bar, max_cost_usd=max_cost_usd,
        timeout_s=timeout_s, stream=stream, cache=cache, **openai_params,
    )  # fmt: skip


async def acomplete(messages: Sequence[Message], **options: Any) -> Any:
    """`complete()` without blocking the event loop; with `stream=True` use `async for`."""
    return await default_router().acomplete(messages, **options)


def submit(messages: Sequence[Message], *, deadline_s: float = 86_400.0, **options: Any) -> Ticket:
    """Put a chat request that can wait into the queue, for a provider's batch API; see `Router.submit`."""
    return default_router().submit(messages, deadline_s=deadline_s, **options)


def result(ticket_id: str) -> Completion | None:
    """The answer of a request that was submitted; None while there is none."""
    return default_router().result(ticket_id)


def run_batches() -> Ran:
    """Work once on what was submitted; `clearbar batch run` does it again and again."""
    return default_router().run_batches()


def explain(messages: Sequence[Message], **options: Any) -> Decision:
    """Where `complete()` would send this request, and why; nothing is sent, spent or recorded."""
    return default_router().explain(messages, **options)


def embed(input: str | Sequence[str], **options: Any) -> Completion:
    """Embed one text or several; `.data[i].embedding` holds the vectors."""
    return default_router().embed(input, **options)


def record_outcome(run_id: str, name: str, value: float, at: float | None = None) -> None:
    """Note a business outcome of a workflow run; `at` is seconds since 1970, default now."""
    default_router().record_outcome(run_id, name, value, at)


def record_feedback(decision_id: str, score: float) -> None:
    """Note how good an answer was, from 0 to 1; the id is `completion.id`."""
    default_router().record_feedback(decision_id, score)


def reject(decision_id: str) -> None:
    """Note that an answer was wrong (feedback 0), and forget it where it was cached."""
    default_router().reject(decision_id)
