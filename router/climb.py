"""Between flow and predictor: lets a learned cascade hear the answers of one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from router.answers import mean_logprob, response_text
from router.pace import TimeLimit
from router.spend.usage import MOST_TOKENS
from router.types import Call, Reply
from router.verify import Verifier, verdict_of

if TYPE_CHECKING:
    from router.predict.cascade import Climb


class Listener:
    """A `flow.Listener` over one climb.

    Args:
        climb: of the predictor.
        models: names of the models by the predictor's positions.
        time: what the rule says of latency.
        verifier: whom to ask about answers, where the plan was learned with it.
    """

    def __init__(
        self,
        climb: Climb,
        models: Sequence[str],
        time: TimeLimit | None = None,
        verifier: Verifier | None = None,
    ) -> None:
        self._climb, self._models, self._time, self._verifier = climb, models, time, verifier
        self._said: dict[str, str] = {}
        self._is_silent = False
        self.verdicts: dict[str, float | None] = {}
        """What the verifier said of which model's answer; None: nothing that could be read."""
        self.late: list[str] = []
        """Models that were worth asking, had there been the time."""
        self._position = {name: place for place, name in enumerate(models)}
        self._stand_in: str | None = None

    def hear(self, call: Call, reply: Reply) -> None:
        """Take in an answer."""
        payload = reply.payload or {}
        self._said[call.model] = response_text(payload)
        self.read(call.model, response_text(payload), _output_tokens(payload), mean_logprob(payload))

    def reads_logprobs(self, model: str) -> bool:
        """Whether the log-probabilities of a model's tokens would tell anything."""
        place = self._position.get(model)
        return place is not None and self._climb.reads_logprob(place)

    def read(self, model: str, response: str, output_tokens: int, logprob: float | None = None) -> None:
        """The same, of an answer's text, its length in tokens and their mean log-probability.

        A model off the ladder is only asked when the whole ladder has failed: its answer stands unjudged, for the
        artifact may never have heard of it.
        """
        place = self._position.get(model)
        if place in self._climb.models:
            self._climb.hear(place, response, output_tokens, logprob)
        else:
            self._stand_in = model

    def wants(self, model: str, left_s: float | None = None) -> bool:
        """Whether this model is worth asking, too; models off the ladder only stand by for failures.

        Not where it would hardly answer in the seconds that are left (None: any time). Where a verdict was wanted and
        did not come, the answer is not enough: at the operating point of a plan that counts on verdicts, answers in
        doubt are let stand only because the bad ones among them are found out.
        """
        place = self._position.get(model)
        if place is None or not (self._climb.wants(place) or self._misses(place)):
            return False
        if left_s is not None and self._time is not None and self._time.slow_s(model) > left_s:
            self.late.append(model)
            return False
        return True

    def check(self, model: str) -> Call | None:
        """The call that asks the verifier about the answer that stands, where that pays before a model is asked."""
        place, own = self._position.get(model), self._climb.model
        if self._verifier is None or self._is_silent or place is None or own is None:
            return None
        if not self._climb.asks_verifier(place):
            return None
        return self._verifier.call(self._said[self._models[own]])

    def checked(self, reply: Reply | None) -> None:
        """Take in what came of it. One that says nothing that can be read is not asked again."""
        own = self._climb.model
        assert own is not None  # noqa: S101  the call was about it
        verdict = None if reply is None else verdict_of(response_text(reply.payload or {}))
        self.verdicts[self._models[own]] = verdict
        if verdict is None:
            self._is_silent = True
        else:
            self._climb.hear_verdict(own, verdict)

    def _misses(self, place: int) -> bool:
        return self._is_silent and self._climb.asks_verifier(place)

    def standing(self) -> str:
        """The model whose answer stands."""
        if self._climb.model is not None:
            return self._models[self._climb.model]
        assert self._stand_in is not None  # noqa: S101  only asked once something was heard
        return self._stand_in


def _output_tokens(payload: Mapping[str, Any]) -> int:
    usage = payload.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    return count if isinstance(count, int) and 0 < count <= MOST_TOKENS else 0
