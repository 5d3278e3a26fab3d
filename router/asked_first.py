"""Who is asked before, or instead of, whom the plan would ask: a canary, a session's model, the model of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.learned import LearnedPlan
from router.offers import Sheet
from router.policy import Bar, Canary, Rule
from router.route import Route
from router.select import Offer, cheapest_first, clearing_alone
from router.sessions import Session
from router.types import Request
from router.warmth import Known

if TYPE_CHECKING:
    from router.predict.online import Lessons


@dataclass(frozen=True, slots=True)
class Trial:
    """A rule's canary, as one request meets it."""

    canary: Canary
    is_drawn: bool
    stopped: str | None

    @property
    def chance(self) -> float:
        """The chance of what was drawn."""
        if self.stopped is not None:
            return 1.0
        return self.canary.percent if self.is_drawn else 1.0 - self.canary.percent


def trial_of(request: Request, route: Route, known: Known) -> Trial | None:
    """Whether a request is its rule's canary's; None where there is none, or the tag is missing that is drawn by."""
    canary = route.rule.canary if route.rule is not None else None
    if canary is None:
        return None
    value = canary.value(request)
    if value is None:
        return None
    stopped = known.canary(canary.key(route.name))
    return Trial(canary, stopped is None and canary.draws(route.name, value), stopped)


def tried_by(trial: Trial | None, sheet: Sheet, fallback: list[Offer]) -> tuple[Canary | None, list[Offer]]:
    """The canary, if it takes the request and may have it; and who stands by, with it among them."""
    if trial is None or not trial.is_drawn:
        return None, fallback
    offer = sheet.offer(trial.canary.model, needs_evidence=False, is_tried=True)
    return (None if offer.barred else trial.canary), [*fallback, offer]


def led(
    tried: Canary | None, stays: str | None, trial: Trial | None, learned: LearnedPlan | str | None, audited: float
) -> tuple[LearnedPlan | str | None, float]:
    """What is left of the learned plan where a canary or a session's model is asked first; with the chance of it."""
    if tried is not None and trial is not None:
        return f"canary {tried.model} is asked, whatever was learned", trial.chance
    audited *= trial.chance if trial is not None and not trial.is_drawn else 1.0
    if stays is not None and isinstance(learned, LearnedPlan) and learned.order != (stays,):
        return f"the session stays with {stays}, which clears the bar by itself", audited
    return learned, audited


def session_of(request: Request, route: Route) -> Session | None:
    """The session of a request, where its rule is sticky and its tag is set."""
    sticky = route.rule.sticky if route.rule is not None else None
    value = request.tags.get(sticky.by) if sticky is not None else None
    return Session(route.name, value, sticky.idle) if sticky is not None and value else None


def stays_with(
    settled: str | None, offers: Sequence[Offer], rule: Rule, bar: Bar, learned: LearnedPlan | str | None
) -> str | None:
    """The session's model, unless it may not serve, does not clear the bar, or another one saves enough.

    Args:
        settled: the session's model.
        offers: of the rule's candidates.
        rule: sticky, or without a session.
        bar: that holds.
        learned: the learned plan, if one would serve; else the table's first is whom it would switch to.
    """
    able = [offer for offer in offers if offer.barred is None]
    if rule.strategy != "fixed":
        clearing = clearing_alone(offers, strategy=rule.strategy, bar=bar.min)
        able = cheapest_first([offer for offer in able if offer.model in clearing])
    usd = {offer.model: offer.expected_cost_usd for offer in offers}
    if rule.sticky is None or settled not in [offer.model for offer in able]:
        return None
    moves = learned.order[0] if isinstance(learned, LearnedPlan) else able[0].model
    return None if rule.sticky.switches(usd[settled], usd.get(moves)) else settled


def audited_by(
    learned: LearnedPlan, lessons: Lessons, rule: Rule, sheet: Sheet, share: float
) -> tuple[LearnedPlan | str, float]:
    """The plan, or now and then nothing but the model that a drop is held against; with the chance of what was drawn.

    Only so can feedback tell what the plan loses.
    """
    other = lessons.bar.vs
    if share == 0 or other is None or other not in rule.candidates or learned.order == (other,):
        return learned, 1.0
    if sheet.offer(other, needs_evidence=True).barred is not None:
        return learned, 1.0
    if lessons.audits(sheet.request.id, share):
        return f"audit: drawn for {other} alone with a chance of {share:g}, to hear what the learned plan loses", share
    return learned, 1.0 - share
