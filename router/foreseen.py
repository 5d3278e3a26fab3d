"""What the artifact has to say of one request: its expectations, its plan, and whether a verifier takes part."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from router.decisions import TaskGuess
from router.learned import Foresight, LearnedPlan, learned_plan, strategies_of
from router.offers import Sheet
from router.policy import Bar, Policy, Rule
from router.route import Route, in_tool_loop
from router.spend.meter import choices_of
from router.types import Request
from router.verify import Verifier, signature

if TYPE_CHECKING:
    from router.predict import Predictor


def foresight_of(request: Request, guess: TaskGuess, predictor: Predictor | None, route: Route) -> Foresight | None:
    """What the artifact would be asked about this request; None where it is not."""
    if predictor is None or not route.needs_evidence or request.kind != "chat":
        return None
    return Foresight(predictor, request.text, guess.task, request.tags.get("subtask"))


def learned_for(
    request: Request, task: str | None, foresight: Foresight | None, rule: Rule, bar: Bar, sheet: Sheet
) -> LearnedPlan | str | None:
    """The artifact's plan where it is asked for and carries the bar, or why there is none; None: not asked for."""
    if foresight is None or task is None or (bar.min == 0 and bar.max_drop is None):
        return None
    from router.predict.promises import Asked

    # A stream's words cannot be taken back, so its cascade is held until it has been decided, or there is none.
    verifier = _verifier(request, sheet, rule)
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


def _verifier(request: Request, sheet: Sheet, rule: Rule) -> Verifier | None:
    """The rule's verifier, where it may be shown this request: text alone, and only where the data may go."""
    if rule.verifier is None or request.has_media or in_tool_loop(request):
        return None
    if sheet.policy.barred(rule.verifier, sheet.now) is not None:
        return None
    place = next((one for one in sheet.policy.deployments[rule.verifier] if rule.data.allows(one)), None)
    if place is None:
        return None
    return Verifier(request_id=request.id, model=rule.verifier, deployment=place, question=request.text)


def verifier_note(
    request: Request, policy: Policy, rule: Rule | None, predictor: Predictor | None, learned: LearnedPlan | str | None,
    now: datetime,
) -> str | None:  # fmt: skip
    """Whether the rule's verifier may be asked, or why not."""
    if rule is None or rule.verifier is None:
        return None
    name, known = rule.verifier, predictor.verifier if predictor is not None else None
    if isinstance(learned, LearnedPlan) and learned.is_verified:
        return f"{name}: asked where its word is worth its price"
    if barred := policy.barred(name, now):
        why = f"it is {barred}"
    elif known is None:
        why = "no artifact has gained from verdicts"
    elif known != signature(name):
        why = f"the artifact knows the verdicts of {known}, not of {signature(name)}"
    elif not any(map(rule.data.allows, policy.deployments[name])):
        why = f"none of its deployments may have the request's data ({rule.data.where()})"
    elif request.has_media or in_tool_loop(request):
        why = "it is shown text alone"
    else:
        why = "no cascade with it serves here"
    return f"{name}: not asked, since {why}"
