"""The vocabulary: the values that travel through one request.

All are frozen. Money is `Decimal | None` in USD (None: nobody knows the price; never 0 for unknown),
durations are float seconds, probabilities and qualities lie in [0, 1].
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from concurrent.futures import Future

    from router.decisions import Decision

Message = Mapping[str, Any]
"""One chat message as the caller wrote it; never changed on its way to the provider."""

Role = Literal["answer", "verifier", "shadow"]
"""What a call is for."""

TAG_NAMES = ("team", "feature", "workflow", "run_id", "customer", "agent", "environment", "cost_centre")
"""The tags with a name of their own; everything else is free-form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """Who spends: frozen on every ledger row."""

    team: str | None = None
    feature: str | None = None
    workflow: str | None = None
    run_id: str | None = None
    customer: str | None = None
    agent: str | None = None
    environment: str | None = None
    cost_centre: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    """Free-form tags."""

    def get(self, name: str) -> str | None:
        """The value of a named or free-form tag, or None."""
        return getattr(self, name) if name in TAG_NAMES else self.extra.get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheControl:
    """What a request asks of the cache, in HTTP's words."""

    no_cache: bool = False
    """Ask anew; the answer is stored, and replaces the older one."""
    no_store: bool = False
    """An answer that is stored may serve; nothing of this request is."""
    max_age_s: float | None = None
    """Only an answer that is no older serves."""

    @property
    def is_ordinary(self) -> bool:
        """Whether the request may wait for an identical one, and others for it."""
        return not self.no_cache and not self.no_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of the user, checked and frozen."""

    id: str
    """Also the id of its decision and its completion."""
    kind: Literal["chat", "embedding"] = "chat"
    messages: tuple[Message, ...] = ()
    """Chat messages; for an embedding request, empty (its texts are `params["input"]`)."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """The caller's OpenAI parameters, passed through untouched."""
    model: str | None = None
    """A policy model id pins; None routes."""
    task: str | None = None
    """The caller's label for the kind of work, if given."""
    tags: Tags = field(default_factory=Tags)
    bar: float | None = None
    """Raises the policy's bar for this request; a lower value has no effect."""
    max_cost_usd: Decimal | None = None
    """Upper bound over everything the request may be billed, failed attempts included."""
    timeout_s: float | None = None
    patience_s: float | None = None
    """The longest pause a provider may ask for that is waited out here; a longer one is an error at once."""
    stream: bool = False
    cache: CacheControl = field(default_factory=CacheControl)

    @property
    def text(self) -> str:
        """All text of the request, in order; images and other parts are left out."""
        if self.kind == "embedding":
            given = self.params["input"]
            return given if isinstance(given, str) else "\n".join(str(item) for item in given)
        return "\n".join(text for message in self.messages for text in message_texts(message))

    @property
    def has_media(self) -> bool:
        """Whether a message carries an image, audio or file part."""
        return any(
            isinstance(part, Mapping) and part.get("type") not in ("text", "refusal", None)
            for message in self.messages
            if isinstance(message.get("content"), (list, tuple))
            for part in message["content"]
        )


def message_texts(message: Message) -> Iterator[str]:
    """The text parts of one message, in order (also of tool calls, whose arguments are billed as text)."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, (list, tuple)):
        for part in content:
            if isinstance(part, Mapping) and isinstance(part.get("text"), str):
                yield part["text"]
    for tool_call in message.get("tool_calls") or ():
        function = tool_call.get("function") if isinstance(tool_call, Mapping) else None
        if isinstance(function, Mapping):
            yield f"{function.get('name', '')} {function.get('arguments', '')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One place where a model is served."""

    call: str
    """litellm model string, or `local/NAME`, `fake/NAME`, `replay/NAME`."""
    api_base: str | None = None
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; the key itself is never stored."""
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One provider call, ready to be sent."""

    request_id: str
    model: str
    """Policy model id."""
    deployment: Deployment
    kind: Literal["chat", "embedding"]
    messages: tuple[Message, ...]
    params: Mapping[str, Any]
    timeout_s: float
    """How long an answer, or the next chunk of a stream, may take."""
    deadline_s: float | None = None
    """When the whole request's time ends, on `time.monotonic()`'s clock; nobody waits for a chunk after it."""
    stream: bool = False
    wants_logprobs: bool = False
    """The router would like to know how likely the answer's tokens were, where the provider tells it."""
    role: Role = "answer"
    """`verifier`: it is asked whether another model's answer is right. `shadow`: nobody gets its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """A pause the flow asks its driver for."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A pause that ends early when something is done."""

    until: Future[Any]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token meters of one attempt, as every provider's figures are told here.

    The meters of input are parts of `input_tokens`, those of output parts of `output_tokens`; no token is in two of
    them, and what is in none is plain text.
    """

    input_tokens: int
    """All input, whatever it was: cached, written to a cache, heard or seen."""
    output_tokens: int
    """All output, thinking included."""
    cached_input_tokens: int = 0
    """Input read from the provider's prompt cache."""
    cache_write_tokens: int = 0
    """Input written to a prompt cache that keeps it for minutes (Anthropic: 5)."""
    cache_write_1h_tokens: int = 0
    """Input written to a prompt cache that keeps it for an hour."""
    audio_input_tokens: int = 0
    """Sound that was not cached."""
    image_input_tokens: int = 0
    """Pictures and video that were not cached; only of providers that count them apart."""
    reasoning_tokens: int = 0
    """Output that was thinking."""
    audio_output_tokens: int = 0
    image_output_tokens: int = 0
    service_tier: str = "standard"
    """What it was served as: `standard`, `batch`, `flex`, `priority`, or a provider's own word, such as `fast`."""
    source: Literal["provider", "counted"] = "provider"
    """`counted`: the provider gave no usable figures (cut stream, missing or impossible usage), so we counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a transport brings back: a whole answer, or an open stream whose first chunk has arrived."""

    payload: Mapping[str, Any] | None = None
    """OpenAI-shaped answer; None for a stream."""
    chunks: Iterator[Mapping[str, Any]] | AsyncIterator[Mapping[str, Any]] | None = None
    """OpenAI-shaped chunks. Closing the iterator closes the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One provider call that was made, and what it cost."""

    model: str
    call: str
    outcome: Literal["ok", "error", "cut"]
    """`cut`: the stream ended early, by the provider or by the caller."""
    error: str | None = None
    """Class and message of the error, without prompt text."""
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    """None: unknown price, or a timeout that the provider may still bill."""
    held_usd: Decimal | None = None
    """Upper bound that was held for it while it was under way; None where no budget asked for one."""
    latency_s: float = 0.0
    model_version: str | None = None
    """What the provider says it served."""
    price_id: str | None = None
    """`Price.id` of the price it was billed at; None: nobody knows the price."""
    input_characters: int | None = None
    """Characters of text sent: against the provider's tokens they show how its tokenizer drifts."""
    role: Role = "answer"
    """What the call was for, as in `Call`."""


class Payload(dict[str, Any]):
    """A provider's JSON object that also reads by attribute: `payload.choices[0].message.content`.

    Keeps every field, known or not; a missing attribute is an AttributeError.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__({key: _readable(value) for key, value in values.items()})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the answer has no field {name!r}; it has {sorted(self)}") from None


def _readable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value if isinstance(value, Payload) else Payload(value)
    return [_readable(item) for item in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An answer in OpenAI's shape, with its reasons and its price."""

    id: str
    model: str
    """Policy id of the model that answered."""
    payload: Payload
    """The provider's whole answer."""
    decision: Decision
    attempts: tuple[Attempt, ...]
    cost_usd: Decimal | None
    """Sum over all attempts, 0 on a cache hit; None if any of them is unknown."""
    cache: Literal["miss", "exact", "semantic", "off"]
    latency_s: float

    @property
    def choices(self) -> list[Payload]:
        """OpenAI's `choices`."""
        return list(self.payload.choices)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "payload":
            raise AttributeError(name)
        return getattr(self.payload, name)

    @property
    def usage(self) -> Payload:
        """OpenAI's `usage` of the answer that is returned; other attempts' usage is in `attempts`."""
        usage: Payload = self.payload["usage"]
        return usage

    @property
    def text(self) -> str:
        """Content of the first choice; empty when it has none (a tool call)."""
        return self.payload.choices[0].message.get("content") or ""

    def to_dict(self) -> dict[str, Any]:
        """The answer as OpenAI's JSON object, under this completion's id and model."""
        return {**self.payload, "id": self.id, "model": self.model}


def to_json(value: Any) -> str:
    """Any of these values as JSON text; Decimals as text, to keep every digit."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def to_sparse_json(value: Any) -> str:
    """The same without white space, and without the fields that are None: for rows that are written by the million."""
    return json.dumps(value, default=_sparse, ensure_ascii=False, separators=(",", ":"))


def _sparse(value: Any) -> Any:
    if not isinstance(value, Decimal) and hasattr(value, "__dataclass_fields__"):
        named = ((name, getattr(value, name)) for name in value.__dataclass_fields__)
        return {name: one for name, one in named if one is not None}
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")
