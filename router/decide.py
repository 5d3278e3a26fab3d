"""Where a request goes, and why: joins policy, evidence, predictions and prices into one decision.

No I/O and no clock: the same request, policy, artifact and moment give the same decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from router.config import suggestion
from router.decisions import Candidate, Decision, TaskGuess
from router.errors import UnknownModelError
from router.facts import facts_of
from router.learned import Foresight, LearnedPlan, learned_plan, strategies_of
from router.offers import Sheet
from router.pace import TimeLimit
from router.policy import ANYTHING, OFF, Bar, Caching, Canary, Policy, Rule, RuleData, Traits, match
from router.select import Offer, cheapest_first, clearing_alone, plan, staying
from router.sessions import Session
from router.spend.meter import choices_of
from router.tokens import count_request
from router.types import Request
from router.verify import Verifier, signature
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
    guess = _guess(request, predictor, policy)
    traits = Traits(request, task=guess.task, now=now, used=known.used, told=known.asked)
    route = _route(request, policy, traits)
    limits = (request.max_cost_usd, route.rule.max_cost_usd if route.rule else None)
    limit = min((limit for limit in limits if limit is not None), default=None)
    bar = _bar(request, policy, guess, route, is_squeezed=squeezed is not None)
    is_bounded = limit is not None or bool(policy.budgets.about(request.tags))
    bound = count_request(request) if is_bounded else 0
    lessons = _lessons(experience, policy, guess, route, bar)
    offers: list[Offer] = []
    order: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    learned: LearnedPlan | str | None = None
    share, audited = 0.0, 1.0
    session = _session(request, route)
    settled = known.session(session) if session is not None else None
    stays: str | None = None
    tried: Canary | None = None
    trial = _trial(request, route, known) if squeezed is None else None
    time = _time_limit(route, guess, predictor, known)
    if route.rule is not None:
        foresight = _foresight(request, guess, predictor, route)
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
        learned = None if is_stopped else _learned(request, guess.task, foresight, route.rule, bar, sheet)
        share = policy.learning_of(route.rule).explore
        if lessons is not None and isinstance(learned, LearnedPlan) and not _in_tool_loop(request):
            learned, audited = _audited(learned, lessons, route.rule, sheet, share)
        offers, fallback = _offers(sheet, route.rule, foresight, is_led=isinstance(learned, LearnedPlan))
        if lessons is not None:
            offers, fallback = lessons.adjust(offers, fallback)
        if squeezed is not None and route.rule.strategy == "fixed":
            offers = cheapest_first(offers)
        if squeezed is None:
            tried, fallback = _tried(trial, sheet, fallback)
            stays = _stays(settled, offers, route.rule, bar, learned) if tried is None else None
            learned, audited = _led(tried, stays, trial, learned, audited)
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
        and not _in_tool_loop(request)
    ):
        order, candidates = lessons.explore(order, candidates, offers, share=share, request_id=request.id)
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
        max_latency_ms=time.most_ms if time is not None else None,
        data=(route.rule.data.shown() or None) if route.rule is not None else None,
        verifier=_verifier_note(request, policy, route.rule, predictor, learned),
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


def _time_limit(route: _Route, guess: TaskGuess, predictor: Predictor | None, known: Known) -> TimeLimit | None:
    """What the rule says of latency, and what is known of its models'."""
    if route.rule is None or route.rule.max_latency_ms is None:
        return None
    names = dict.fromkeys([*route.rule.candidates, *route.rule.fallback])
    found = [known.pace(name, guess.task) or (predictor and predictor.pace(name, guess.task)) for name in names]
    return TimeLimit(most_ms=route.rule.max_latency_ms, paces={pace.model: pace for pace in found if pace})


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


@dataclass(frozen=True, slots=True)
class _Trial:
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


def _trial(request: Request, route: _Route, known: Known) -> _Trial | None:
    """Whether a request is its rule's canary's; None where there is none, or the tag is missing that is drawn by."""
    canary = route.rule.canary if route.rule is not None else None
    if canary is None:
        return None
    value = request.tags.get(canary.by) if canary.by else request.id
    if value is None:
        return None
    stopped = known.canary(canary.key(route.name))
    return _Trial(canary, stopped is None and canary.draws(route.name, value), stopped)


def _tried(trial: _Trial | None, sheet: Sheet, fallback: list[Offer]) -> tuple[Canary | None, list[Offer]]:
    """The canary, if it takes the request and may have it; and who stands by, with it among them."""
    if trial is None or not trial.is_drawn:
        return None, fallback
    offer = sheet.offer(trial.canary.model, needs_evidence=False)
    return (None if offer.barred else trial.canary), [*fallback, offer]


def _led(
    tried: Canary | None, stays: str | None, trial: _Trial | None, learned: LearnedPlan | str | None, audited: float
) -> tuple[LearnedPlan | str | None, float]:
    """What is left of the learned plan where a canary or a session's model is asked first; with the chance of it."""
    if tried is not None and trial is not None:
        return f"canary {tried.model} is asked, whatever was learned", trial.chance
    audited *= trial.chance if trial is not None and not trial.is_drawn else 1.0
    if stays is not None and isinstance(learned, LearnedPlan) and learned.order != (stays,):
        return f"the session stays with {stays}, which clears the bar by itself", audited
    return learned, audited


def _session(request: Request, route: _Route) -> Session | None:
    """The session of a request, where its rule is sticky and its tag is set."""
    sticky = route.rule.sticky if route.rule is not None else None
    value = request.tags.get(sticky.by) if sticky is not None else None
    return Session(route.name, value, sticky.idle) if sticky is not None and value else None


def _stays(
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


def _lessons(
    experience: Experience | None, policy: Policy, guess: TaskGuess, route: _Route, bar: Bar
) -> Lessons | None:
    """What feedback says, where the rule wants to hear it."""
    task = guess.task
    if experience is None or task is None or route.rule is None or not policy.learning_of(route.rule).from_feedback:
        return None
    evidence = {model: (one.mean, one.n) for (of, model), one in policy.evidence.items() if of == task}
    return experience.lessons(task, bar, evidence)


def _audited(
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


def _in_tool_loop(request: Request) -> bool:
    """Whether another model would have to go on with what this one began."""
    return bool(request.params.get("tools") or request.params.get("functions")) or any(
        message.get("role") in ("tool", "function") or message.get("tool_calls") for message in request.messages
    )


def _propensity(order: Sequence[str], candidates: Sequence[Candidate]) -> float:
    chances = {candidate.model: candidate.propensity for candidate in candidates}
    chance = chances.get(order[0]) if order else None
    return 1.0 if chance is None else chance


@dataclass(frozen=True, slots=True)
class _Route:
    """What a request is held against."""

    name: str
    strategy: str
    rule: Rule | None
    """None: nothing in the policy is for this request."""

    @property
    def strategy_alone(self) -> str:
        """The strategy where no learned plan serves: without one there are no answers to look at."""
        return "single" if self.strategy == "cascade" else self.strategy

    @property
    def needs_evidence(self) -> bool:
        return self.rule is not None and self.rule.strategy != "fixed"


def _route(request: Request, policy: Policy, traits: Traits) -> _Route:
    if request.model is not None:
        if request.model not in policy.models:
            hint = suggestion(request.model, list(policy.models))
            raise UnknownModelError(f"the policy {policy.path} lists no model {request.model!r}{hint}")
        rule = Rule(candidates=[request.model], strategy="fixed", data=_data(policy, traits))
        return _Route("pinned", "pinned", rule)
    if request.kind == "embedding":
        # Vectors of different models do not compare, so there is one model and no fallback.
        able = [name for name, model in policy.models.items() if "embedding" in (model.capabilities or ())]
        if not able:
            return _Route("no model has the capability embedding", "none", None)
        return _Route("embedding", "fixed", Rule(candidates=able[:1], strategy="fixed", data=_data(policy, traits)))
    position = match(policy, traits)
    if position is None:
        return _Route("no rule matches", "none", None)
    rule = policy.rules[position]
    return _Route(policy.rule_name(position), rule.strategy, rule)


def _data(policy: Policy, traits: Traits) -> RuleData:
    """What the rule that matches says of data: it holds for whoever is asked, by rule or by name."""
    position = match(policy, traits) if policy.binds_data else None
    return policy.rules[position].data if position is not None else ANYTHING


def _bar(request: Request, policy: Policy, guess: TaskGuess, route: _Route, *, is_squeezed: bool) -> Bar:
    """The rule's or task's bar, raised by the request; none (0) where no evidence is asked for."""
    if route.rule is None or not route.needs_evidence:
        return Bar(min=0.0)
    bar = policy.bar_of(route.rule, guess.task)
    is_raised = request.bar is not None and request.bar > bar.min and not is_squeezed
    return bar.model_copy(update={"min": request.bar}) if is_raised else bar


def _guess(request: Request, predictor: Predictor | None, policy: Policy) -> TaskGuess:
    if request.task is not None:
        return TaskGuess(task=request.task, probability=1.0, by="label")
    is_asked = request.model is None or policy.binds_data  # a rule on data is met by pinned models, too
    if predictor is not None and request.kind == "chat" and is_asked:
        return predictor.guess(request.text)
    return TaskGuess(task=None, probability=0.0, by="none")


def _foresight(request: Request, guess: TaskGuess, predictor: Predictor | None, route: _Route) -> Foresight | None:
    if predictor is None or not route.needs_evidence or request.kind != "chat":
        return None
    return Foresight(predictor, request.text, guess.task, request.tags.get("subtask"))


def _learned(
    request: Request, task: str | None, foresight: Foresight | None, rule: Rule, bar: Bar, sheet: Sheet
) -> LearnedPlan | str | None:
    """The artifact's plan where it is asked for and carries the bar, or why there is none; None: not asked for."""
    if foresight is None or task is None or (bar.min == 0 and bar.max_drop is None):
        return None
    from router.predict.promises import Asked

    # A stream's words cannot be taken back, so its cascade is held until it has been decided, or there is none.
    verifier = _verifier(request, sheet.policy, rule)
    looks = rule.strategy == "cascade" and (rule.buffer or not request.stream) and choices_of(request.params) == 1
    found = learned_plan(
        foresight,
        _strategies(rule, foresight.predictor, verifier) if looks else ("single",),
        task,
        Asked.of(bar),
        barred=lambda model: sheet.misfit(model) if model in rule.candidates else "no candidate of the rule",
        time=sheet.time,
        verifier=verifier,
    )
    if isinstance(found, str) and rule.strategy == "cascade" and not looks:
        return f"one answer to a stream cannot be taken back, and the rule does not say `buffer: true`; {found}"
    return found


def _strategies(rule: Rule, predictor: Predictor, verifier: Verifier | None) -> tuple[str, ...]:
    """What the rule asks of the artifact for this request."""
    return tuple(one for one in strategies_of(predictor, rule) if one != "verified" or verifier is not None)


def _verifier(request: Request, policy: Policy, rule: Rule) -> Verifier | None:
    """The rule's verifier, where it may be shown this request: text alone, and only where the data may go."""
    if rule.verifier is None or request.has_media or _in_tool_loop(request):
        return None
    place = next((one for one in policy.deployments[rule.verifier] if rule.data.allows(one)), None)
    if place is None:
        return None
    return Verifier(request_id=request.id, model=rule.verifier, deployment=place, question=request.text)


def _verifier_note(
    request: Request, policy: Policy, rule: Rule | None, predictor: Predictor | None, learned: LearnedPlan | str | None
) -> str | None:
    """Whether the rule's verifier may be asked, or why not."""
    if rule is None or rule.verifier is None:
        return None
    name, known = rule.verifier, predictor.verifier if predictor is not None else None
    if isinstance(learned, LearnedPlan) and learned.is_verified:
        return f"{name}: asked where its word is worth its price"
    if known is None:
        why = "no artifact has gained from verdicts"
    elif known != signature(name):
        why = f"the artifact knows the verdicts of {known}, not of {signature(name)}"
    elif not any(map(rule.data.allows, policy.deployments[name])):
        why = f"none of its deployments may have the request's data ({rule.data.where()})"
    elif request.has_media or _in_tool_loop(request):
        why = "it is shown text alone"
    else:
        why = "no cascade with it serves here"
    return f"{name}: not asked, since {why}"
