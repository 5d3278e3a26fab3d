"""Where a request goes, and why: joins policy, evidence, predictions and prices into one decision.

No I/O and no clock: the same request, policy, artifact and moment give the same decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from router.asked_after import shade_of
from router.asked_first import audited_by, led, session_of, stays_with, trial_of, tried_by
from router.decisions import Candidate, Decision, TaskGuess
from router.errors import NoRouteError
from router.facts import facts_of
from router.foreseen import foresight_of, learned_for, verifier_note
from router.learned import Foresight, LearnedPlan
from router.offers import Sheet
from router.policy import ANYTHING, OFF, Bar, Caching, Canary, Policy, Rule, RuleData, Traits
from router.route import Route, bar_of, guess_of, in_tool_loop, route_of, time_limit
from router.select import Offer, cheapest_first, clearing_alone, plan, staying
from router.sessions import Session
from router.tokens import count_request
from router.types import Request
from router.warmth import Known

if TYPE_CHECKING:
    from router.climb import Listener
    from router.predict import Predictor
    from router.predict.online import Experience, Lessons

UNKNOWN = Known()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A decision, and what the rule behind it allows."""

    decision: Decision
    limit_usd: Decimal | None
    """Upper bound over everything the request may be billed."""
    input_bound: int
    """Upper bound of its input tokens; only counted under a limit or a budget, else 0."""
    is_bounded: bool
    """Whether a limit or a budget needs every call to say where its output stops."""
    caching: Caching
    """What the rule says of the cache."""
    clearing: frozenset[str] = frozenset()
    """Models whose stored answers clear the bar that holds for this request; only known where they may be served."""
    listener: Listener | None = None
    """Hears the answers where the plan is a cascade."""
    canary: Canary | None = None
    """The model on trial that takes the request."""
    session: Session | None = None
    """The session that the answer belongs to, where the rule is sticky."""
    data: RuleData = ANYTHING
    """Where the request may be sent, and what may be kept of it."""
    latest_s: float | None = None
    """Seconds after its start by which the request should be answered; no rung starts that would end later."""


def decide(
    request: Request,
    policy: Policy,
    predictor: Predictor | None,
    now: datetime,
    experience: Experience | None = None,
    known: Known = UNKNOWN,
    squeezed: str | None = None,
) -> Ruling:
    """Decide about one request at a moment (prices are dated, and evidence expires).

    Args:
        request: what is asked.
        policy: the routing table.
        predictor: the artifact's predictions, if there is one.
        now: the moment.
        experience: what feedback taught; looked at only where the rule learns from feedback.
        known: which providers' prompt caches are warm, which models think, and how long they take.
        squeezed: the budget that asks for cheaper routes, if one does: then nothing is explored, the caller's own bar
            yields to the policy's, and a fixed rule's models are taken by price.

    Returns:
        The ruling; its decision's `plan` is empty when no model may serve.

    Raises:
        UnknownModelError: the request pins a model that the policy does not list.
    """
    guess = guess_of(request, predictor, policy)
    traits = Traits(request, task=guess.task, now=now, used=known.used, told=known.asked)
    route = route_of(request, policy, traits)
    limits = (request.max_cost_usd, route.rule.max_cost_usd if route.rule else None)
    limit = min((limit for limit in limits if limit is not None), default=None)
    bar = bar_of(request, policy, guess, route, is_squeezed=squeezed is not None)
    is_bounded = limit is not None or bool(policy.budgets.about(request.tags))
    bound = count_request(request) if is_bounded else 0
    lessons = _lessons(experience, policy, guess, route, bar)
    offers: list[Offer] = []
    order: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    learned: LearnedPlan | str | None = None
    share, audited = 0.0, 1.0
    session = session_of(request, route)
    settled = known.session(session) if session is not None else None
    stays: str | None = None
    tried: Canary | None = None
    sheet: Sheet | None = None
    trial = trial_of(request, route, known) if squeezed is None else None
    time = time_limit(route, guess, predictor, known)
    if route.rule is not None:
        foresight = foresight_of(request, guess, predictor, route)
        sheet = Sheet(
            request,
            policy,
            task=guess.task,
            bar=bar,
            limit=limit,
            input_bound=bound,
            now=now,
            known=known,
            time=time,
            data=route.rule.data,
        )
        is_stopped = lessons is not None and lessons.watch.raised  # an alarm trusts no learned plan
        learned = None if is_stopped else learned_for(request, guess.task, foresight, route.rule, bar, sheet)
        share = policy.learning_of(route.rule).explore
        if lessons is not None and isinstance(learned, LearnedPlan) and not in_tool_loop(request):
            learned, audited = audited_by(learned, lessons, route.rule, sheet, share)
        offers, fallback = _offers(sheet, route.rule, foresight, is_led=isinstance(learned, LearnedPlan))
        if lessons is not None:
            offers, fallback = lessons.adjust(offers, fallback)
        if squeezed is not None and route.rule.strategy == "fixed":
            offers = cheapest_first(offers)
        if squeezed is None:
            tried, fallback = tried_by(trial, sheet, fallback)
            stays = stays_with(settled, offers, route.rule, bar, learned) if tried is None else None
            learned, audited = led(tried, stays, trial, learned, audited)
        order, candidates = plan(
            offers,
            strategy=route.rule.strategy,
            bar=bar.min,
            fallback=fallback,
            learned=learned.order if isinstance(learned, LearnedPlan) else (),
        )
    if (first := tried.model if tried is not None else stays) is not None:
        why = "the session's model" if tried is None else tried.shown()
        order, candidates = staying(first, order, candidates, why)
    strategy = learned.strategy if isinstance(learned, LearnedPlan) else route.strategy_alone
    if (
        lessons is not None
        and squeezed is None
        and first is None
        and strategy != "cascade"
        and not in_tool_loop(request)
    ):
        order, candidates = lessons.explore(order, candidates, offers, share=share, request_id=request.id)
    # A tight budget tries nothing, and a canary's answer is no measure for another model.
    has_shade = squeezed is None and tried is None
    decision = Decision(
        id=request.id,
        task=guess,
        rule=route.name,
        strategy=strategy,
        bar=bar.min,
        plan=order,
        candidates=candidates,
        policy_version=policy.version,
        artifact_version=predictor.version if predictor else None,
        propensity=audited * _propensity(order, candidates),
        feedback_row=experience.row if experience is not None and lessons is not None else 0,
        promise=learned.promise if isinstance(learned, LearnedPlan) else learned,
        max_drop=bar.max_drop,
        versus=bar.vs,
        squeezed=squeezed,
        facts=facts_of(request, now, known, time, traits.asked, settled, trial.stopped if trial else None),
        canary=tried.key(route.name) if tried is not None else None,
        shadow=shade_of(request, route, sheet, order) if sheet is not None and has_shade else None,
        max_latency_ms=time.most_ms if time is not None else None,
        data=(route.rule.data.shown() or None) if route.rule is not None else None,
        verifier=verifier_note(request, policy, route.rule, predictor, learned, now),
    )
    # What a canary says is nobody else's answer: it may be rolled back.
    caching = route.rule.cache if route.rule is not None and tried is None else OFF
    clearing: frozenset[str] = frozenset()
    if caching.looks_alike and order:
        # The plan's own choice, or the last rung of a cascade; beside it, whoever clears the bar alone.
        chosen = learned.order[-1] if isinstance(learned, LearnedPlan) else order[0]
        clearing = clearing_alone(offers, strategy=route.strategy, bar=bar.min) | {chosen}
    listener = learned.listener if isinstance(learned, LearnedPlan) else None
    return Ruling(
        decision=decision,
        limit_usd=limit,
        input_bound=bound,
        is_bounded=is_bounded,
        caching=caching,
        clearing=clearing,
        listener=listener,
        session=session if tried is None else None,
        canary=tried,
        data=route.rule.data if route.rule is not None else ANYTHING,
        latest_s=time.most_s if time is not None else None,
    )


def no_route(decision: Decision) -> NoRouteError:
    """The error for an empty plan, with every candidate's reason."""
    reasons = "; ".join(f"{candidate.model}: {candidate.reason}" for candidate in decision.candidates)
    return NoRouteError(
        f"no model may serve this request (task {decision.task.task or 'unknown'}, {decision.rule}): "
        f"{reasons or decision.data or 'add a rule without `when` to the policy'}"
    )


def _offers(sheet: Sheet, rule: Rule, foresight: Foresight | None, *, is_led: bool) -> tuple[list[Offer], list[Offer]]:
    """What candidates and fallbacks offer; `is_led` by a learned plan, which rests on what the artifact expects."""
    # An artifact that did not beat the table on held-out queries judges nobody: the evidence's means do.
    is_judge = foresight is not None and "single" in foresight.predictor.promoted
    expects = foresight.by_model if foresight is not None and (is_judge or is_led) else {}
    measured = rule.strategy != "fixed"
    return (
        [sheet.offer(one, expects.get(one), needs_evidence=measured, is_judged=is_judge) for one in rule.candidates],
        [
            sheet.offer(one, expects.get(one), needs_evidence=False, is_judged=is_judge, is_spare=True)
            for one in rule.fallback
        ],
    )


def _lessons(experience: Experience | None, policy: Policy, guess: TaskGuess, route: Route, bar: Bar) -> Lessons | None:
    """What feedback says, where the rule wants to hear it."""
    task = guess.task
    if experience is None or task is None or route.rule is None or not policy.learning_of(route.rule).from_feedback:
        return None
    evidence = {model: (one.mean, one.n) for (of, model), one in policy.evidence.items() if of == task}
    return experience.lessons(task, bar, evidence)


def _propensity(order: Sequence[str], candidates: Sequence[Candidate]) -> float:
    chances = {candidate.model: candidate.propensity for candidate in candidates}
    chance = chances.get(order[0]) if order else None
    return 1.0 if chance is None else chance
