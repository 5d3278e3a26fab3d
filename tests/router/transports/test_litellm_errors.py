"""What the litellm transport makes of a provider that fails: which error, whether it is billed, and no secret in it."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from time import time
from typing import Any

import pytest
from litellm_calls import KEY, OPENAI_LIKE, Ask
from loopback import (
    Provider,
    Step,
    cut_body,
    disconnect,
    malformed,
    stall,
    status,
)

from router.errors import (
    AuthenticationFailedError,
    BadRequestError,
    ContentFilteredError,
    ContextTooLongError,
    ModelNotFoundError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    UnsupportedParameterError,
)
from router.transports.litellm import LiteLLMTransport

CONTEXT = {"message": "This model's maximum context length is 8 tokens.", "code": "context_length_exceeded"}
FILTERED = {"message": "rejected", "type": "invalid_request_error", "code": "content_policy_violation"}


@OPENAI_LIKE
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (status(400), BadRequestError),
        (status(401), AuthenticationFailedError),
        (status(402), AuthenticationFailedError),
        (status(403), AuthenticationFailedError),
        (status(404), ModelNotFoundError),
        (status(408), ProviderTimeoutError),
        (status(422), BadRequestError),
        (status(429), RateLimitedError),
        (status(500), ProviderUnavailableError),
        (status(502), ProviderUnavailableError),
        (status(503), ProviderUnavailableError),
        (status(504), ProviderTimeoutError),
        (status(529), ProviderUnavailableError),
        (status(400, error=CONTEXT), ContextTooLongError),
        (status(400, error=FILTERED), ContentFilteredError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value.status),
)
def test_each_status_has_its_error(
    via: str, step: Step, expected: type[ProviderError], transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    provider.always("small", step)
    with pytest.raises(ProviderError) as caught:
        transport.send(make(via=via))
    assert type(caught.value) is expected
    assert caught.value.status == step.status
    assert caught.value.model == "small"
    assert caught.value.is_billed is expected.is_billed
    assert len(provider.requests) == 1, "litellm must not retry by itself"


@pytest.mark.parametrize("step", [status(429), status(500), disconnect(), stall(9)], ids=["429", "500", "gone", "late"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_nothing_is_retried_behind_our_back(step: Step, stream: bool, ask: Ask, make: Any, provider: Provider) -> None:
    provider.always("small", step)
    with pytest.raises(ProviderError):
        ask(make(stream=stream, timeout_s=0.3))
    assert len(provider.requests) == 1


@pytest.mark.parametrize("code", [429, 503])
@OPENAI_LIKE
def test_retry_after_is_read_in_seconds(code: int, via: str, ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [status(code, retry_after=1.5)])
    with pytest.raises(ProviderError) as caught:
        ask(make(via=via))
    assert caught.value.retry_after_s == 1.5


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        (lambda: formatdate(time() + 90, usegmt=True), 60, 90),
        (lambda: formatdate(0, usegmt=True), 0, 0),
        (lambda: "soon", None, None),
    ],
    ids=["a date", "a date in the past", "no time at all"],
)
def test_retry_after_may_be_a_date(
    header: Callable[[], str], low: Any, high: Any, ask: Ask, make: Any, provider: Provider
) -> None:
    provider.script("small", [status(429, retry_after=header())])
    with pytest.raises(RateLimitedError) as caught:
        ask(make())
    found = caught.value.retry_after_s
    assert found is None if low is None else low <= found <= high


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "x", "choices": [',
        b"<html>502 Bad Gateway</html>",
        b'{"id": "x", "object": "chat.completion"}',
        b'{"id": "x", "choices": []}',
        b'{"id": "x", "choices": null}',
        b"[1]",
        b"",
    ],
    ids=["half", "html", "no choices", "empty choices", "null choices", "list", "nothing"],
)
@OPENAI_LIKE
def test_an_unreadable_answer_is_an_unavailable_provider(
    body: bytes, via: str, ask: Ask, make: Any, provider: Provider
) -> None:
    provider.script("small", [malformed(body)])
    with pytest.raises(ProviderUnavailableError, match="unreadable answer") as caught:
        ask(make(via=via))
    assert caught.value.is_billed is None


@OPENAI_LIKE
@pytest.mark.parametrize("step", [disconnect(), cut_body()], ids=["no answer", "half an answer"])
def test_a_broken_connection_may_have_been_billed(
    step: Step, via: str, ask: Ask, make: Any, provider: Provider
) -> None:
    provider.script("small", [step])
    with pytest.raises(ProviderUnavailableError, match="connection broke") as caught:
        ask(make(via=via))
    assert caught.value.is_billed is None


@OPENAI_LIKE
@pytest.mark.parametrize("base", ["http://127.0.0.1:9/v1", "http://no-such-host.invalid/v1"], ids=["refused", "DNS"])
def test_a_connection_that_never_was_is_not_billed(base: str, via: str, ask: Ask, make: Any) -> None:
    with pytest.raises(ProviderUnavailableError, match="cannot connect to http") as caught:
        ask(make(via=via, api_base=base))
    assert caught.value.is_billed is False


@OPENAI_LIKE
def test_a_stall_is_a_timeout_that_may_be_billed(via: str, ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [stall(30)])
    with pytest.raises(ProviderTimeoutError, match=r"no answer within 0\.3 s") as caught:
        ask(make(via=via, timeout_s=0.3))
    assert caught.value.is_billed is None


def test_an_error_inside_a_stream_that_began_well_is_raised(ask: Ask, make: Any, provider: Provider) -> None:
    provider.script("small", [Step(text="x", fields={"error": {"message": "overloaded", "code": 529}})])
    with pytest.raises(ProviderUnavailableError, match="overloaded") as caught:
        ask(make(stream=True))
    assert caught.value.is_billed is None


def test_a_missing_key_names_the_variable_and_the_remedy(make: Any, ask: Ask, provider: Provider) -> None:
    with pytest.raises(AuthenticationFailedError, match=r"ABSENT_API_KEY is not set.*export ABSENT_API_KEY="):
        ask(make(api_key_env="ABSENT_API_KEY"))
    assert provider.requests == []


def test_without_a_key_of_its_own_an_address_never_gets_openais_key(
    make: Any, ask: Ask, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-the-real-one")
    ask(make(api_key_env=None))
    assert "sk-the-real-one" not in provider.requests[0].headers["authorization"]


def test_a_wrong_key_that_the_provider_repeats_is_kept_out_of_the_message(
    make: Any, ask: Ask, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPBACK_API_KEY", "wrong-and-no-usual-prefix")
    provider.key = "sk-right"
    with pytest.raises(AuthenticationFailedError, match=r"Incorrect API key provided.*LOOPBACK_API_KEY") as caught:
        ask(make())
    assert "wrong-and" not in str(caught.value)
    assert caught.value.status == 401
    provider.script("small", [status(401, message="bad key sk-proj-AbC123**** given")])
    provider.key = None
    with pytest.raises(AuthenticationFailedError) as caught:
        ask(make())
    assert "AbC123" not in str(caught.value)


def test_the_prompt_stays_out_of_messages_and_they_are_short(make: Any, ask: Ask, provider: Provider) -> None:
    secret = "my diagnosis is a broken heart and nobody may know " * 3
    provider.script("small", [status(400, message=f"cannot handle '{secret[:80]}' " + "because " * 200)])
    with pytest.raises(BadRequestError) as caught:
        ask(make(secret))
    assert "diagnosis" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_a_printed_traceback_shows_neither_key_nor_prompt(
    make: Any, transport: LiteLLMTransport, provider: Provider
) -> None:
    import traceback

    prompt = " ".join(["tell", "nobody", "about", "this"])
    provider.script("small", [status(400, message=f"key {KEY}, prompt: {prompt}")])
    call = make(prompt)
    with pytest.raises(BadRequestError) as caught:
        transport.send(call)
    printed = "".join(traceback.format_exception(caught.value))
    assert KEY not in printed
    assert "tell nobody" not in printed


def test_a_parameter_the_provider_lacks_is_named(transport: LiteLLMTransport, make: Any, provider: Provider) -> None:
    with pytest.raises(UnsupportedParameterError, match="logit_bias"):
        transport.send(make(via="anthropic", logit_bias={"1": 2}))
    assert provider.requests == []


def test_a_call_without_a_provider_says_how_to_write_it(transport: LiteLLMTransport, make: Any) -> None:
    with pytest.raises(ModelNotFoundError, match=r"call 'nosuch' names no provider.*openai/nosuch"):
        transport.send(make(model="nosuch", via=""))


def test_the_error_of_an_earlier_call_does_not_colour_a_later_one(
    transport: LiteLLMTransport, make: Any, provider: Provider
) -> None:
    import httpx

    provider.script("small", [malformed()])
    try:
        raise httpx.ConnectError("the caller was handling this one")
    except httpx.ConnectError:
        with pytest.raises(ProviderUnavailableError, match="unreadable answer"):
            transport.send(make())
