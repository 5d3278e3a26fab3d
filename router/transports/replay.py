"""Answers out of a recorded outcome table instead of a model: for replay, simulation and demonstrations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from router.errors import ModelNotFoundError
from router.transports.shapes import as_async, chat_chunks, chat_payload
from router.types import Call, Reply, message_texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One recorded answer."""

    response: str
    input_tokens: int
    output_tokens: int
    version: str | None = None
    logprob: float | None = None
    """Mean log-probability of its tokens; told to a call that asks for it."""


class ReplayTransport:
    """Serves recorded answers; only what was recorded for exactly this model can be read.

    Args:
        answers: recorded answers by query and model. A query is a call's request id, or else all text of its
            messages, joined by line breaks. Models are policy model ids.
    """

    def __init__(self, answers: Mapping[tuple[str, str], Recorded]) -> None:
        self._answers = answers

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]], *, by: str = "query_id") -> ReplayTransport:
        """A transport over rows of an outcome table, looked up by the column `query_id` or `prompt`."""
        return cls(
            {
                (row[by], row["model"]): Recorded(
                    response=row["response"],
                    input_tokens=row["input_tokens"],
                    output_tokens=row["output_tokens"],
                    logprob=row.get("logprob"),
                )
                for row in rows
            }
        )

    def send(self, call: Call) -> Reply:
        """The recorded answer.

        Raises:
            ModelNotFoundError: nothing was recorded for this query and model.
        """
        payload = self._payload(call)
        return Reply(chunks=chat_chunks(payload)) if call.stream else Reply(payload=payload)

    async def asend(self, call: Call) -> Reply:
        """The recorded answer."""
        payload = self._payload(call)
        return Reply(chunks=as_async(chat_chunks(payload))) if call.stream else Reply(payload=payload)

    def close(self) -> None:
        """Nothing is open."""

    def _payload(self, call: Call) -> dict[str, Any]:
        recorded = self._answers.get((call.request_id, call.model))
        if recorded is None:
            text = "\n".join(part for message in call.messages for part in message_texts(message))
            recorded = self._answers.get((text, call.model))
        if recorded is None:
            raise ModelNotFoundError(f"no recorded answer of {call.model} to this request", model=call.model)
        payload = chat_payload(
            recorded.version or call.model,
            recorded.response,
            input_tokens=recorded.input_tokens,
            output_tokens=recorded.output_tokens,
        )
        if call.wants_logprobs and recorded.logprob is not None:
            payload["choices"][0]["logprobs"] = {"content": [{"token": recorded.response, "logprob": recorded.logprob}]}
        return payload
