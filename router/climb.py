"""Between flow and predictor: lets a learned cascade hear the answers of one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from router.answers import response_text
from router.spend.usage import MOST_TOKENS
from router.types import Call, Reply

if TYPE_CHECKING:
    from router.predict.cascade import Climb


class Listener:
    """A `flow.Listener` over one climb.

    Args:
        climb: of the predictor.
        models: names of the models by the predictor's positions.
    """

    def __init__(self, climb: Climb, models: Sequence[str]) -> None:
        self._climb, self._models = climb, models
        self._position = {name: place for place, name in enumerate(models)}
        self._stand_in: str | None = None

    def hear(self, call: Call, reply: Reply) -> None:
        """Take in an answer."""
        payload = reply.payload or {}
        self.read(call.model, response_text(payload), _output_tokens(payload))

    def read(self, model: str, response: str, output_tokens: int) -> None:
        """The same, of an answer's text and length in tokens.

        A model off the ladder is only asked when the whole ladder has failed: its answer stands unjudged, for the
        artifact may never have heard of it.
        """
        place = self._position.get(model)
        if place in self._climb.models:
            self._climb.hear(place, response, output_tokens)
        else:
            self._stand_in = model

    def wants(self, model: str) -> bool:
        """Whether this model is worth asking, too; models off the ladder only stand by for failures."""
        place = self._position.get(model)
        return place is not None and self._climb.wants(place)

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
