"""Plans that an artifact has learned and can promise: whom to ask for one request, one model after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.climb import Listener
from router.select import best_trade
from router.types import Prediction

if TYPE_CHECKING:
    from router.predict import Predictor
    from router.predict.promises import Asked

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
    expected: Mapping[str, Prediction]
    """What it rests on, by model."""


def learned_plan(
    predictor: Predictor,
    strategies: Sequence[str],
    *,
    text: str,
    task: str,
    subtask: str | None,
    asked: Asked,
    barred: Callable[[str], str | None],
) -> LearnedPlan | str:
    """The plan of the first strategy that was promoted and carries the bar, or why none does.

    Args:
        predictor: the artifact.
        strategies: in order of preference.
        text: the whole text of the request.
        task: its task.
        subtask: its subtask, if known.
        asked: the bar.
        barred: why a model may not take part; None when it may. The promise is about the plan as it was learned,
            so one model less is another plan.
    """
    why = NOT_PROMOTED
    for strategy in strategies:
        if strategy not in predictor.promoted:
            continue
        point = predictor.promises.point(strategy, task, asked)
        if isinstance(point, str):
            why = point
            continue
        plan = _plan(predictor, strategy, point.price, text, task, subtask)
        fault = next((f"{model}: {reason}" for model in plan[0] if (reason := barred(model))), None)
        if fault is None:
            return LearnedPlan(strategy=strategy, order=plan[0], promise=point.note, listener=plan[1], expected=plan[2])
        why = f"a model of the learned plan may not serve ({fault})"
    return why


def why_not(predictor: Predictor, strategies: Sequence[str], task: str, asked: Asked) -> str | None:
    """Why no promoted strategy carries a bar for a task, whatever the request; None where one does."""
    why = NOT_PROMOTED
    for strategy in strategies:
        if strategy in predictor.promoted:
            point = predictor.promises.point(strategy, task, asked)
            if not isinstance(point, str):
                return None
            why = point
    return why


def _plan(
    predictor: Predictor, strategy: str, price: float, text: str, task: str, subtask: str | None
) -> tuple[tuple[str, ...], Listener | None, Mapping[str, Prediction]]:
    expected = predictor.predict_many([text], [task], [subtask])
    told = predictor.by_model(expected)
    labels = predictor.labels(task, subtask)
    choice = predictor.choice(price, *labels) if strategy == "cascade" else None
    if choice is not None and choice.ladder is not None:
        climb = predictor.climb(choice, expected.quality[0], text, *labels)
        return tuple(predictor.models[model] for model in climb.models), Listener(climb, predictor.models), told
    price = choice.price if choice is not None else price
    best = best_trade(expected.quality[0].tolist(), expected.cost_usd[0].tolist(), price)
    return (predictor.models[best],), None, told
