"""What a policy would have done with past requests: observed where it was done, else weighed or expected.

Quality, cost and time are doubly robust (`predict/value.py`): an expectation, mended by what was seen where the
ledger's policy left the first model to chance. Expected quality is that of evidence or artifact, else the mean score;
expected cost is the prompt as it was billed and the mean length of the model's answers in the task, at the policy's
prices of today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from router._calls import calls_of
from router.decide import Ruling, decide
from router.decisions import Decision, Pace
from router.errors import UnknownModelError
from router.facts import known_again
from router.hindsight import action_of, expected_of
from router.simulate.pairs import Rest, Side
from router.simulate.party import Party
from router.simulate.past import Habits, Mean, Past
from router.spend.budget import Worst
from router.spend.meter import Meter, unbounded
from router.spend.money import to_pico
from router.spend.prices import price_on
from router.spend.prices.rerate import usage_in
from router.types import Usage

LATER = 0.5
"""Share of the later models of a cascade that are asked, where nobody has seen it climb."""


class View:
    """One policy's eyes on past requests.

    Args:
        party: the policy.
        habits: what answers were like.
        now: prices and evidence of this moment count.
    """

    def __init__(self, party: Party, habits: Habits, now: datetime) -> None:
        self.policy, self._predictor, self._habits, self._now = party.policy, party.predictor, habits, now

    def decide(self, past: Past, squeezed: str | None = None) -> Ruling | str:
        """The ruling, or why nobody may serve."""
        known = known_again(past.decided)

        def pace(model: str, task: str | None) -> Pace | None:
            return known.pace(model, task) or self._habits.pace(model, task)

        try:
            ruling = decide(past.request, self.policy, self._predictor, self._now, None, replace(known, pace=pace),
                            squeezed)  # fmt: skip
        except UnknownModelError:
            return f"the policy lists no model {past.request.model!r}"
        return ruling if ruling.decision.plan else f"no model may serve ({ruling.decision.rule})"

    def sides(self, past: Past, decision: Decision, start: int = 0) -> tuple[Side, Side]:
        """What it is worth to ask the plan's models from `start` on: the estimate, and the same without weights."""
        action = action_of(decision.strategy, decision.plan[start:])
        is_done, chance = action == past.action, past.chances.get(action, 0.0)
        weight = 1 / chance if is_done and chance > 0 else 0.0
        task = past.scope.get("task")
        usd, rough, rests = self._expected_usd(past, action, None)
        plain_usd = self._expected_usd(past, action, past.answer)[0]
        paid = self.paid(past) if is_done else None
        quality = (
            None
            if past.score is None
            else expected_of(action, _qualities(past, decision), self._habits.score(task, action))
        )
        time = self._habits.latency_s(task, action)
        took_s = None if time is None else time.value
        is_rough = rough or (chance <= 0 and not self._habits.knows(task, action))
        side = Side(
            action=action,
            quality=quality if not is_done else _mended(quality, weight, past.score),
            cost_usd=usd if not is_done else _mended(usd, weight, paid),
            latency_s=took_s if not is_done else _mended(took_s, weight, past.latency_s),
            extrapolated=chance <= 0,
            is_rough=is_rough,
            # Half or double is more than the error of a mean.
            cost_rests=() if is_rough or (is_done and paid is None) else _scaled(rests, 1 - weight),
            latency_rests=_scaled([] if time is None else [_rest(time, 1.0)], 1 - weight),
        )
        plain = Side(
            action=action,
            quality=quality,
            cost_usd=paid if paid is not None else plain_usd,
            latency_s=past.latency_s if is_done else took_s,
        )
        return side, plain

    def paid(self, past: Past) -> float | None:
        """What a request did cost, at this policy's prices where it has any."""
        usd = 0.0
        for call in past.calls:
            prices = self.policy.prices.get(call["model"])
            price = price_on(prices, self._now.date()) if prices else None
            if price is not None and call["input_tokens"] is not None:
                usd += float(price.cost(usage_in(call)))
            elif call["cost_pusd"] is not None:
                usd += call["cost_pusd"] / 1e12
            else:
                return None
        return usd

    def worst(self, past: Past, ruling: Ruling) -> list[tuple[str, str, Worst]]:
        """Of each model of the plan: its id, its provider and the most that one call may take."""
        meter = Meter(self.policy.prices, ruling.limit_usd, ruling.input_bound)
        is_bounded = not unbounded(past.request)
        found = []
        for calls in calls_of(past.request, ruling, self.policy, None):
            call = calls[0]
            usd = to_pico(meter.worst_usd(call)) if is_bounded else None
            tokens = meter.worst_tokens(call) if is_bounded else None
            found.append((call.model, call.deployment.call.partition("/")[0], Worst(usd=usd, tokens=tokens)))
        return found

    def _expected_usd(
        self, past: Past, action: str, own: Mapping[str, object] | None
    ) -> tuple[float | None, bool, list[Rest]]:
        """Expected cost of an action, whether that is rough, and the means that it rests on.

        `own`: the answer that there was scales the length.
        """
        models, task = action.split(" > "), past.scope.get("task")
        if len(models) > 1:
            known = self._habits.cost_usd(task, action)
            if known is not None:
                return known.value, False, [_rest(known, 1.0)]
        first, rough, rests = self._call_usd(past, models[0], own)
        later = [self._call_usd(past, model, own)[0] for model in models[1:]]
        if first is None or None in later:
            return None, True, []
        return first + LATER * sum(usd for usd in later if usd is not None), rough or bool(later), rests

    def _call_usd(
        self, past: Past, model: str, own: Mapping[str, object] | None
    ) -> tuple[float | None, bool, list[Rest]]:
        price = price_on(self.policy.prices.get(model, ()), self._now.date())
        if price is None:
            return None, True, []
        task = past.scope.get("task")
        mean = self._habits.length(task, model)
        made = (past.answer or {}).get("output_tokens") or 0
        is_rough = mean is None or past.answer is None
        length = made if mean is None else mean.value
        if mean is not None and own is not None:
            before = self._habits.length(task, str(own["model"]))
            length = made * mean.value / before.value if before and before.value else mean.value
        usd, more = (
            price.cost(Usage(input_tokens=past.input_tokens, output_tokens=round(length) + one)) for one in (0, 1)
        )
        return float(usd), is_rough, [] if mean is None else [_rest(mean, float(more - usd))]


def _rest(mean: Mean, size: float) -> Rest:
    return Rest(of=mean.name, error=size * mean.error, freedom=mean.freedom)


def _scaled(rests: Sequence[Rest], size: float) -> tuple[Rest, ...]:
    return tuple(replace(one, error=size * one.error) for one in rests)


def _qualities(past: Past, decision: Decision) -> dict[str, float]:
    known = {one["model"]: one["quality"] for one in past.decided["candidates"] if one.get("quality") is not None}
    return known | {one.model: one.quality for one in decision.candidates if one.quality is not None}


def _mended(expected: float | None, weight: float, seen: float | None) -> float | None:
    if expected is None or seen is None:
        return seen
    return expected + weight * (seen - expected)
