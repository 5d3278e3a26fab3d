"""Plans that an artifact has learned and can promise: whom to ask for one request, one model after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from router.climb import Listener
from router.decisions import Prediction
from router.pace import TimeLimit
from router.select import best_trade
from router.verify import Verifier, signature

if TYPE_CHECKING:
    from router.policy import Policy, Rule
    from router.predict import Predictor
    from router.predict.predictor import Predictions
    from router.predict.promises import Asked, Point

NOT_PROMOTED = "the artifact was not promoted: routing by it is no better than one model or the per-task table"


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedPlan:
    """What the artifact would do with a request, at an operating point that carries the bar."""

    strategy: str
    """`single` or `cascade`."""
    order: tuple[str, ...]
    """Models in the order in which they are asked; the later ones only if the answers so far are not sure enough."""
    promise: str
    """What held-out queries say of this operating point."""
    listener: Listener | None
    """Hears the answers of a cascade."""
    is_verified: bool = False
    """Whether a verifier may be asked about them."""


class Foresight:
    """What an artifact expects of one request; worked out once, when first asked for.

    Args:
        predictor: the artifact.
        text: the whole text of the request.
        task: its task, if known.
        subtask: its subtask, if known.
    """

    def __init__(self, predictor: Predictor, text: str, task: str | None, subtask: str | None) -> None:
        self.predictor, self.text, self.task, self.subtask = predictor, text, task, subtask

    @cached_property
    def numbers(self) -> Predictions:
        """One row."""
        return self.predictor.predict_many([self.text], [self.task], [self.subtask])

    @cached_property
    def by_model(self) -> Mapping[str, Prediction]:
        """The same, by model."""
        return self.predictor.by_model(self.numbers)


def learned_plan(
    foresight: Foresight,
    strategies: Sequence[str],
    task: str,
    asked: Asked,
    *,
    barred: Callable[[str], str | None],
    time: TimeLimit | None = None,
    verifier: Verifier | None = None,
) -> LearnedPlan | str:
    """The plan of the first strategy that was promoted and carries the bar, or why none does.

    Args:
        foresight: what the artifact expects of the request.
        strategies: in order of preference.
        task: the request's task.
        asked: the bar.
        barred: why a model may not take part; None when it may. The promise is about the plan as it was learned,
            so one model less is another plan.
        time: what the rule says of latency: a cascade that may take longer is none, for the same reason.
        verifier: whom the strategy `verified` asks.
    """
    why, slow = NOT_PROMOTED, ""
    for strategy, point in _points(foresight.predictor, strategies, task, asked):
        if isinstance(point, str):
            why = point
            continue
        is_verified = strategy == "verified"
        order, listener = _plan(foresight, strategy, point.price, time, verifier if is_verified else None)
        fault = next((f"{model}: {reason}" for model in order if (reason := barred(model))), None)
        late = time.fault(order) if time is not None and fault is None else None
        if late is not None:
            why = f"the learned {strategy} takes too long ({late})"
            slow = f"; {why}"
            continue
        if fault is None:
            return LearnedPlan(
                strategy="cascade" if is_verified else strategy,
                order=order,
                promise=point.note + slow,
                listener=listener,
                is_verified=is_verified,
            )
        why = f"a model of the learned plan may not serve ({fault})"
    return why


def why_not(predictor: Predictor, strategies: Sequence[str], task: str, asked: Asked) -> str | None:
    """Why no promoted strategy carries a bar for a task, whatever the request; None where one does."""
    why = NOT_PROMOTED
    for _, point in _points(predictor, strategies, task, asked):
        if not isinstance(point, str):
            return None
        why = point
    return why


def strategies_of(predictor: Predictor, rule: Rule) -> tuple[str, ...]:
    """What a rule asks of an artifact, the best first; `verified` is a cascade that was learned with its verifier."""
    if rule.strategy != "cascade":
        return ("single",)
    is_known = rule.verifier is not None and predictor.verifier == signature(rule.verifier)
    return ("verified", "cascade", "single") if is_known else ("cascade", "single")


def certify(predictor: Predictor, policy: Policy) -> None:
    """Hold every bar of a policy against the artifact's held-out outcomes now, so that no request waits for it.

    It takes tens of milliseconds a bar and task. What a bar came to is remembered; one that a request raises is
    certified within that request.
    """
    from router.predict.promises import Asked

    for rule in policy.rules:
        for task in predictor.tasks if rule.when.task is None else rule.when.task:
            bar = policy.bar_of(rule, task)
            if rule.strategy != "fixed" and (bar.min > 0 or bar.max_drop is not None):
                for _ in _points(predictor, strategies_of(predictor, rule), task, Asked.of(bar)):
                    pass


def _points(
    predictor: Predictor, strategies: Sequence[str], task: str, asked: Asked
) -> Iterator[tuple[str, Point | str]]:
    """Of each promoted strategy: where it carries the bar, or why it does not."""
    for strategy in strategies:
        if strategy in predictor.promoted:
            yield strategy, predictor.promises.point(strategy, task, asked)


def _plan(
    foresight: Foresight, strategy: str, price: float, time: TimeLimit | None, verifier: Verifier | None
) -> tuple[tuple[str, ...], Listener | None]:
    predictor, expected = foresight.predictor, foresight.numbers
    labels = predictor.labels(foresight.task, foresight.subtask)
    choice = predictor.choice(price, *labels) if strategy != "single" else None
    if choice is not None and choice.ladder is not None:
        climb = predictor.climb(choice, expected.quality[0], foresight.text, *labels)
        listener = Listener(climb, predictor.models, time, verifier)
        return tuple(predictor.models[model] for model in climb.models), listener
    price = choice.price if choice is not None else price
    best = best_trade(expected.quality[0].tolist(), expected.cost_usd[0].tolist(), price)
    return (predictor.models[best],), None
