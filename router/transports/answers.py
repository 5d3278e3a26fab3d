"""litellm's answers as plain dicts: what the provider sent, and nothing that litellm made up.

Where the provider speaks OpenAI's protocol, litellm's wrapper around a stream holds an `openai.Stream`, whose
chunks are the provider's own. Elsewhere the wrapper itself must be read. It ends every stream with a finish
reason and with usage, whether or not the provider sent any; its attributes tell which.
"""

from __future__ import annotations

from typing import Any

from router.errors import ProviderUnavailableError
from router.transports.provider_errors import finished
from router.types import Call


def whole_answer(answer: Any, call: Call) -> dict[str, Any]:
    """One answer as OpenAI's JSON object. Usage of nothing but zeros is litellm's stand-in for none: left out.

    Raises:
        ProviderUnavailableError: it holds no choices (or, for embeddings, no data).
    """
    payload = _dumped(answer)
    items = payload.get("choices" if call.kind == "chat" else "data")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        what = "choices" if call.kind == "chat" else "data"
        raise finished(ProviderUnavailableError, f"unreadable answer (no {what!r} in it)", call)
    usage = payload.get("usage")
    if isinstance(usage, dict) and not any(usage.get(name) for name in ("prompt_tokens", "completion_tokens")):
        del payload["usage"]
    return payload


def _dumped(model: Any) -> dict[str, Any]:
    """A pydantic answer as plain values, with the provider's unknown fields, without litellm's empty additions."""
    values: dict[str, Any] = model.model_dump(warnings=False)
    for choice in values.get("choices") or ():
        if isinstance(choice, dict):
            for part in (choice, choice.get("message"), choice.get("delta")):
                _drop_empty_additions(part)
    _drop_empty_additions(values)
    return values


def _drop_empty_additions(part: Any) -> None:
    if isinstance(part, dict) and "provider_specific_fields" in part:
        fields = part["provider_specific_fields"]
        if not isinstance(fields, dict) or all(value is None for value in fields.values()):
            del part["provider_specific_fields"]


class StreamWatch:
    """Follows a stream: which choices have finished, and what of it is litellm's invention."""

    def __init__(self, answer: Any, call: Call) -> None:
        inner = getattr(answer, "completion_stream", None)
        # openai's own stream objects hand on what the provider sent, chunk by chunk.
        self._is_raw = type(inner).__module__.split(".")[0] == "openai"
        self.source: Any = inner if self._is_raw else answer
        self._answer, self._call = answer, call
        self._seen: set[int] = set()
        self._finished: set[int] = set()

    def payload(self, chunk: Any) -> dict[str, Any] | None:
        """The chunk as the provider meant it; None if there is nothing of the provider's in it."""
        payload = _dumped(chunk)
        choices = payload.get("choices") or []
        if not self._is_raw and not self._is_from_provider(payload, choices):
            return None
        for choice in choices:
            index = choice.get("index") or 0
            self._seen.add(index)
            if choice.get("finish_reason"):
                self._finished.add(index)
        return payload

    def _is_from_provider(self, payload: dict[str, Any], choices: list[Any]) -> bool:
        if any(choice.get("finish_reason") for choice in choices):
            # litellm's wrapper keeps the provider's own reason here; without one it makes up "stop".
            return bool(self._answer.received_finish_reason or self._answer.intermittent_finish_reason)
        if payload.get("usage"):
            return any(getattr(seen, "usage", None) is not None for seen in self._answer.chunks)
        return True

    @property
    def is_complete(self) -> bool:
        """Every choice that began has a finish reason. What may still be missing then is only the usage."""
        return bool(self._seen) and self._seen == self._finished

    def require_complete(self) -> None:
        """Raise if the stream ended too early."""
        if not self._seen:
            raise finished(ProviderUnavailableError, "unreadable answer (the stream held no choices)", self._call)
        if not self.is_complete:
            raise finished(ProviderUnavailableError, "the stream ended before the answer was complete", self._call)

    def inner(self) -> list[Any]:
        """What must be closed, outermost first; openai's stream and httpx's response both close the connection."""
        stream = getattr(self._answer, "completion_stream", None)
        parts = (stream, *(getattr(stream, name, None) for name in ("response", "http_response", "streaming_response")))
        return [part for part in parts if part is not None]
