"""What the semantic cache would do with a question, and why: a look from outside, which notes nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from router.cache.asked import objection
from router.cache.partition import NotAlike
from router.cache.tier import SemanticCache
from router.cache.vetoes import traits, vetoes
from router.policy import Caching
from router.types import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A stored question that is near."""

    request_id: str
    model: str
    similarity: float
    answer: int
    """Equal answers have equal numbers, from 1 in the order of their nearest question."""
    vetoes: tuple[str, ...]
    """Between the two alone: several questions with one answer may show that a trait does not matter to it."""
    created_s: float
    text: str | None
    """The stored question, where it may be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The verdict and its reasons."""

    outcome: str
    reason: str
    p_wrong: float | None = None
    threshold: float = 0.0
    labels: int = 0
    nearest: tuple[Near, ...] = ()


def see(
    cache: SemanticCache, request: Request, caching: Caching, *, task: str | None, clearing: Collection[str],
    shows_text: bool,
) -> Seen:  # fmt: skip
    """Look a request up without serving, counting or learning anything that lasts.

    Args:
        cache: of a process that serves nobody: its memory takes the labels for requests of now.
        request: as it would come.
        caching: what its rule says.
        task: as decided.
        clearing: models whose answers clear the bar that holds for this request.
        shows_text: whether stored questions may be shown.
    """
    try:
        asked = cache.asked(request, caching, task)
    except NotAlike as refusal:
        return Seen(outcome="refused", reason=str(refusal))
    promise = cache.promise(caching)
    promise.take_in(asked.partition)
    standing = promise.recount(task or "")
    decision = promise.tier.lookup(asked.partition, asked.text, asked.vector, task=task or "", truncated=asked.is_cut)
    outcome, reason = str(decision.outcome), decision.reason
    if decision.entry is not None and (why := objection(promise.stored(decision), asked, clearing)):
        outcome, reason = "miss", why
    numbers: dict[str, int] = {}
    mine = traits(asked.text)
    nearest = tuple(
        Near(
            request_id=stored.request_id,
            model=stored.model,
            similarity=voter.cosine,
            answer=numbers.setdefault(voter.answer, len(numbers) + 1),
            vetoes=vetoes(mine, voter.traits),
            created_s=stored.created_s,
            text=text if shows_text else None,
        )
        for voter, stored, text in promise.near(decision)
    )
    return Seen(outcome=outcome, reason=reason, p_wrong=decision.p_wrong, threshold=decision.threshold,
                labels=standing.labels, nearest=nearest)  # fmt: skip
