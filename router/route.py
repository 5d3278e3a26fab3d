"""Which rule a request is held against, and what that asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.config import suggestion
from router.decisions import TaskGuess
from router.errors import UnknownModelError
from router.pace import TimeLimit
from router.policy import ANYTHING, Bar, Policy, Rule, RuleData, Traits
from router.types import Request
from router.warmth import Known

if TYPE_CHECKING:
    from router.predict import Predictor


@dataclass(frozen=True, slots=True)
class Route:
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
        """Whether candidates must have been measured."""
        return self.rule is not None and self.rule.strategy != "fixed"


def route_of(request: Request, policy: Policy, traits: Traits) -> Route:
    """The first rule that matches, or what a pinned model or an embedding is held against.

    Raises:
        UnknownModelError: the request pins a model that the policy does not list.
    """
    if request.model is not None:
        if request.model not in policy.models:
            hint = suggestion(request.model, list(policy.models))
            raise UnknownModelError(f"the policy {policy.path} lists no model {request.model!r}{hint}")
        rule = Rule(candidates=[request.model], strategy="fixed", data=_data(policy, traits))
        return Route("pinned", "pinned", rule)
    if request.kind == "embedding":
        # Vectors of different models do not compare, so there is one model and no fallback.
        able = [name for name, model in policy.models.items() if "embedding" in (model.capabilities or ())]
        if not able:
            return Route("no model has the capability embedding", "none", None)
        return Route("embedding", "fixed", Rule(candidates=able[:1], strategy="fixed", data=_data(policy, traits)))
    position = policy.table.match(traits)
    if position is None:
        return Route("no rule matches", "none", None)
    rule = policy.rules[position]
    return Route(policy.rule_name(position), rule.strategy if rule.candidates else "none", rule)


def _data(policy: Policy, traits: Traits) -> RuleData:
    """What the rule that matches says of data: it holds for whoever is asked, by rule or by name."""
    position = policy.table.match(traits) if policy.binds_data else None
    return policy.rules[position].data if position is not None else ANYTHING


def bar_of(request: Request, policy: Policy, guess: TaskGuess, route: Route, *, is_squeezed: bool) -> Bar:
    """The rule's or task's bar, raised by the request; none (0) where no evidence is asked for."""
    if route.rule is None or not route.needs_evidence:
        return Bar(min=0.0)
    bar = policy.bar_of(route.rule, guess.task)
    is_raised = request.bar is not None and request.bar > bar.min and not is_squeezed
    return bar.model_copy(update={"min": request.bar}) if is_raised else bar


def guess_of(request: Request, predictor: Predictor | None, policy: Policy) -> TaskGuess:
    """The kind of work: by the label, else by the classifier."""
    if request.task is not None:
        return TaskGuess(task=request.task, probability=1.0, by="label")
    is_asked = request.model is None or policy.binds_data  # a rule on data is met by pinned models, too
    if predictor is not None and request.kind == "chat" and is_asked:
        return predictor.guess(request.text)
    return TaskGuess(task=None, probability=0.0, by="none")


def time_limit(route: Route, guess: TaskGuess, predictor: Predictor | None, known: Known) -> TimeLimit | None:
    """What the rule says of latency, and what is known of its models'."""
    if route.rule is None or route.rule.max_latency_ms is None:
        return None
    names = dict.fromkeys([*route.rule.candidates, *route.rule.fallback])
    found = [known.pace(name, guess.task) or (predictor and predictor.pace(name, guess.task)) for name in names]
    return TimeLimit(most_ms=route.rule.max_latency_ms, paces={pace.model: pace for pace in found if pace})


def in_tool_loop(request: Request) -> bool:
    """Whether another model would have to go on with what this one began."""
    return bool(request.params.get("tools") or request.params.get("functions")) or goes_on(request)


def goes_on(request: Request) -> bool:
    """Whether a model has called tools before, or their answers are there."""
    return any(message.get("role") in ("tool", "function") or message.get("tool_calls") for message in request.messages)
