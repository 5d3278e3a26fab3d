"""What went wrong at a provider, in our words.

Works on names of classes, so that neither litellm nor openai nor httpx has to be imported to read it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from router.errors import (
    AuthenticationFailedError,
    BadRequestError,
    ConfigurationError,
    ContentFilteredError,
    ContextTooLongError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    RouterError,
    UnsupportedParameterError,
)
from router.types import Call, message_texts

MAX_MESSAGE = 300
"""Characters of an error's message."""

BY_NAME: Mapping[str, type[ProviderError]] = {
    # litellm.exceptions, all of it
    "AuthenticationError": AuthenticationFailedError,
    "PermissionDeniedError": AuthenticationFailedError,
    "PaymentRequiredError": AuthenticationFailedError,  # the key is right, its account is empty
    "NotFoundError": ModelNotFoundError,
    "ModelNotMappedError": ModelNotFoundError,
    "LiteLLMUnknownProvider": ModelNotFoundError,
    "BadRequestError": BadRequestError,
    "InvalidRequestError": BadRequestError,
    "UnprocessableEntityError": BadRequestError,
    "ImageFetchError": BadRequestError,
    "VectorStoreSearchError": BadRequestError,
    "ContextWindowExceededError": ContextTooLongError,
    "UnsupportedParamsError": UnsupportedParameterError,
    "ContentPolicyViolationError": ContentFilteredError,
    "RejectedRequestError": ContentFilteredError,
    "GuardrailRaisedException": ContentFilteredError,
    "BlockedPiiEntityError": ContentFilteredError,
    "ModifyResponseException": ContentFilteredError,
    "SensitiveDataRouteException": ContentFilteredError,
    "RateLimitError": RateLimitedError,
    "BudgetExceededError": ProviderError,  # litellm's own budget, if the process has set one; not worth a retry
    "Timeout": ProviderTimeoutError,
    "InternalServerError": ProviderUnavailableError,
    "ServiceUnavailableError": ProviderUnavailableError,
    "BadGatewayError": ProviderUnavailableError,
    "APIError": ProviderUnavailableError,
    "APIConnectionError": ProviderUnavailableError,
    "APIResponseValidationError": ProviderUnavailableError,
    "JSONSchemaValidationError": ProviderUnavailableError,
    "MidStreamFallbackError": ProviderUnavailableError,
    "MockException": ProviderUnavailableError,
    "OpenAIError": ProviderUnavailableError,
    # openai, httpx, httpcore, json and the sockets below, where litellm lets them through
    "APITimeoutError": ProviderTimeoutError,
    "APIStatusError": ProviderUnavailableError,
    "BaseLLMException": ProviderUnavailableError,
    "TimeoutException": ProviderTimeoutError,
    "HTTPError": ProviderUnavailableError,
    "StreamError": ProviderUnavailableError,
    "InvalidURL": ProviderUnavailableError,
    "JSONDecodeError": ProviderUnavailableError,
    "UnicodeDecodeError": ProviderUnavailableError,
    "ValidationError": ProviderUnavailableError,
    "TimeoutError": ProviderTimeoutError,
    "OSError": ProviderUnavailableError,
}
"""Our class for each exception class, looked up along its `__mro__`: the most specific name wins."""

BY_STATUS: Mapping[int, type[ProviderError]] = {
    401: AuthenticationFailedError,
    402: AuthenticationFailedError,
    403: AuthenticationFailedError,
    404: ModelNotFoundError,
    408: ProviderTimeoutError,
    409: ProviderUnavailableError,
    413: ContextTooLongError,
    425: ProviderUnavailableError,
    429: RateLimitedError,
}
"""For the classes that say nothing: litellm gives 402, 403 and 413 as a plain `APIError`."""

NOT_CONNECTED = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "InvalidURL")
CUT = ("RemoteProtocolError", "ReadError", "WriteError", "CloseError", "ConnectionResetError", "BrokenPipeError")
"""The provider had the request, or part of it."""

_PREFIX = re.compile(r"^(?:litellm\.)?\w*(?:Error|Exception|Timeout|NotFound)\b\s*[:-]+\s*")
_SECRET = re.compile(
    r"\b(?:sk|rk|pk|gsk|xai|hf|AIza|key|api[-_]?key)[-_][\w.*…-]{4,}|\bAIza[\w-]{10,}|(?<=Bearer )\S+|(?<=Basic )\S{4,}"
    r"|(?<=://)[^/@\s]+(?=@)"
    r"|data:[\w/.+-]+;base64,\S*"
)


def translate(
    error: BaseException, call: Call, *, until: BaseException | None = None, is_streaming: bool = False
) -> RouterError | None:
    """Our error for one that came out of a provider library; None for an exception that is no provider's fault.

    Args:
        error: what was raised.
        call: what had been sent; its texts and its key are kept out of the message.
        until: the exception that was being handled when the call began. What follows it in the chain of
            contexts belongs to the caller and says nothing about this call.
        is_streaming: the answer had begun to arrive, so the provider may bill it.
    """
    links = list(_links(error, until))
    missing = next((link for link in links if isinstance(link, ImportError)), None)
    if missing is not None:
        return ConfigurationError(
            f"{call.model}: {call.deployment.call} needs a package that is not installed ({missing}); "
            f"run: pip install {missing.name or 'it'}"
        )
    kind = _by_name(links[0])
    if kind is None:
        return None
    names = {cls.__name__ for link in links for cls in type(link).__mro__}
    status = next((code for code in map(_status, links) if code is not None), None)
    is_billed: bool | None = None
    if status is not None:
        if kind is ProviderUnavailableError and 400 <= status < 500:
            kind = BY_STATUS.get(status, BadRequestError)
        text, is_billed = _reason(links[0]), kind.is_billed
        if kind is AuthenticationFailedError:
            text += _key_remedy(call)
    elif names.intersection(NOT_CONNECTED) and not names.intersection(("ConnectionResetError", "BrokenPipeError")):
        where = call.deployment.api_base or call.deployment.call
        kind, text, is_billed = ProviderUnavailableError, f"cannot connect to {where}: {_reason(links[-1])}", False
    elif names.intersection(("TimeoutException", "TimeoutError", "APITimeoutError")):
        kind, text = ProviderTimeoutError, f"no answer within {call.timeout_s:g} s"
    elif names.intersection(CUT):
        kind, text = ProviderUnavailableError, f"the connection broke before the answer was complete ({_cut(links)})"
    elif "LLM Provider NOT provided" in str(links[0]):
        kind, is_billed = ModelNotFoundError, False
        text = (
            f"call {call.deployment.call!r} names no provider; write it as PROVIDER/MODEL, such as openai/{call.model}"
        )
    elif kind is ProviderUnavailableError and any(isinstance(getattr(link, "body", None), Mapping) for link in links):
        text = _reason(links[0])  # an error object inside an answer that began with status 200
    elif kind is ProviderUnavailableError:
        text = f"unreadable answer ({_reason(links[-1])})"
    else:
        text, is_billed = _reason(links[0]), kind.is_billed
    return finished(kind, text, call, status=status, is_billed=None if is_streaming else is_billed, links=links)


def finished(
    kind: type[ProviderError],
    text: str,
    call: Call,
    *,
    status: int | None = None,
    is_billed: bool | None = None,
    links: list[BaseException] | None = None,
) -> ProviderError:
    """An error with a short message that holds neither the prompt nor a key."""
    retry_after_s = next((s for s in map(_retry_after, links or ()) if s is not None), None)
    code = f" (HTTP {status})" if status else ""
    message = f"{call.model}{code}: {redacted(text, call)}"
    if len(message) > MAX_MESSAGE:
        message = message[: MAX_MESSAGE - 1] + "…"
    error = kind(message, model=call.model, status=status, retry_after_s=retry_after_s)
    if error.is_billed != is_billed:
        error.is_billed = is_billed
    return error


def redacted(text: str, call: Call) -> str:
    """A provider's words without the key and without the prompt, which providers like to repeat."""
    key = os.environ.get(call.deployment.api_key_env or "", "")
    if len(key) >= 4:
        text = text.replace(key, "[key]")
    for prompt in _prompts(call):
        # Providers shorten what they repeat: its beginning is enough to know it.
        start = text.find(prompt[:40]) if len(prompt) >= 12 else -1
        if start >= 0:
            text = text[:start] + "[prompt]" + (text[start + len(prompt) :] if prompt in text else "")
    return _SECRET.sub("[redacted]", " ".join(text.split()))


def _prompts(call: Call) -> Iterator[str]:
    for message in call.messages:
        yield from message_texts(message)
    given = call.params.get("input") if call.kind == "embedding" else None
    yield from [given] if isinstance(given, str) else (item for item in given or () if isinstance(item, str))


def _links(error: BaseException, until: BaseException | None) -> Iterator[BaseException]:
    """An exception and what caused it, outermost first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and link is not until and id(link) not in seen:
        seen.add(id(link))
        # litellm wraps what breaks a stream in a MidStreamFallbackError and keeps the cause in an attribute.
        inner = getattr(link, "original_exception", None)
        if isinstance(inner, BaseException):
            link = inner
        else:
            yield link
            link = link.__cause__ or link.__context__


def _by_name(error: BaseException) -> type[ProviderError] | None:
    return next((BY_NAME[cls.__name__] for cls in type(error).__mro__ if cls.__name__ in BY_NAME), None)


def _status(link: BaseException) -> int | None:
    """The HTTP status, of the exceptions that have really seen one: litellm invents a 500 where there was none."""
    names = {cls.__name__ for cls in type(link).__mro__}
    has_seen = names & {"HTTPStatusError", "APIStatusError"} and not type(link).__module__.startswith("litellm")
    code = getattr(getattr(link, "response", None), "status_code", None) if has_seen else None
    return code if isinstance(code, int) and code >= 400 else None


def _reason(link: BaseException) -> str:
    text = str(getattr(link, "message", None) or link).strip() or type(link).__name__
    while (shorter := _PREFIX.sub("", text)) != text and shorter:
        text = shorter
    return text


def _cut(links: list[BaseException]) -> str:
    return next((str(link) for link in links if type(link).__name__ in CUT and str(link)), type(links[-1]).__name__)


def _key_remedy(call: Call) -> str:
    name = call.deployment.api_key_env
    return f". Check the key in {name}" if name else ". Name the key's variable with `api_key_env`"


def _retry_after(link: BaseException) -> float | None:
    """Seconds from a Retry-After header.

    litellm empties the response it attaches to its errors and keeps the provider's headers in
    `litellm_response_headers`; the openai and httpx exceptions below still have them.
    """
    response = getattr(link, "response", None)
    for headers in (getattr(link, "litellm_response_headers", None), getattr(response, "headers", None)):
        if not isinstance(headers, Mapping):
            continue
        lower: dict[str, Any] = {str(name).lower(): value for name, value in headers.items()}
        if "retry-after-ms" in lower:
            return _seconds(lower["retry-after-ms"], scale=0.001)
        if "retry-after" in lower:
            return _seconds(lower["retry-after"])
    return None


def _seconds(value: Any, scale: float = 1.0) -> float | None:
    try:
        seconds = float(value) * scale
    except ValueError:
        try:
            moment = parsedate_to_datetime(str(value))
        except ValueError:
            return None
        # An offset of -0000 ("no zone known") is read without a zone; HTTP dates are UTC.
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if seconds < float("inf") else None
