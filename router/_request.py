"""Turns a caller's arguments into a checked, frozen `Request`; bad input stops here, before any cost."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from router.cache.control import read_control
from router.errors import InvalidRequestError
from router.types import TAG_NAMES, Message, Request, Tags

FROM_THE_POLICY = ("api_key", "api_base", "base_url", "deployment_id", "custom_llm_provider")
"""Parameters that name a provider: they would lead a request around its route."""

FROM_THE_ARGUMENTS = ("model", "messages", "input", "stream")
"""In `extra_body` they would replace what was routed, counted and paid for."""
COUNTS = ("max_tokens", "max_completion_tokens", "n", "best_of")
"""Parameters that bound the output, and so the cost."""
MOST_TOKENS = 100_000_000
"""No model writes more; products with a price stay within the ledger's integers."""
MOST_USD = 1_000_000_000
"""No request costs more; a larger limit is a mistake, and one with a huge exponent an attack."""


def chat_request(messages: Sequence[Message], *, stream: bool = False, **options: Any) -> Request:
    """A chat request out of the arguments of `complete()`.

    Raises:
        InvalidRequestError: an argument cannot be used; the message names it and what is allowed.
    """
    if isinstance(messages, (str, bytes)) or not isinstance(messages, Sequence) or not messages:
        raise InvalidRequestError(
            f"messages must be a non-empty list such as [{{'role': 'user', 'content': '...'}}], "
            f"got {type(messages).__name__}{'' if messages else ' (empty)'}"
        )
    for position, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise InvalidRequestError(f"messages[{position}] must be a dict with a 'role', got {_shown(message)}")
    return _request({"messages": tuple(messages), "stream": bool(stream)}, **options)


def embedding_request(texts: str | Sequence[str], **options: Any) -> Request:
    """An embedding request out of the arguments of `embed()`.

    Raises:
        InvalidRequestError: an argument cannot be used.
    """
    listed = [texts] if isinstance(texts, str) else list(texts)
    if not listed or not all(isinstance(text, str) for text in listed):
        raise InvalidRequestError("input must be a text or a non-empty list of texts")
    request = _request({}, **options)
    return replace(request, kind="embedding", params={**request.params, "input": listed})


def _request(
    chat: Mapping[str, Any],
    /,
    *,
    model: str | None = None,
    task: str | None = None,
    tags: Mapping[str, str] | None = None,
    bar: float | None = None,
    max_cost_usd: Decimal | str | float | None = None,
    timeout_s: float | None = None,
    patience_s: float | None = None,
    cache: str | Mapping[str, Any] | None = None,
    **rest: Any,
) -> Request:
    named = {name: rest.pop(name) for name in TAG_NAMES if rest.get(name) is not None}
    for name in FROM_THE_POLICY:
        if name in rest:
            raise InvalidRequestError(f"{name} belongs in the policy (models: ... {name}), not in a request")
    for name, value in (("model", model), ("task", task)):
        if value is not None and not isinstance(value, str):
            raise InvalidRequestError(f"{name} must be text, got {_shown(value)}")
    if bar is not None and not (_is_number(bar) and 0 <= bar <= 1):
        raise InvalidRequestError(f"bar must be a number from 0 to 1, got {_shown(bar)}")
    if timeout_s is not None and not (_is_number(timeout_s) and timeout_s > 0):
        raise InvalidRequestError(f"timeout_s must be a number of seconds above 0, got {_shown(timeout_s)}")
    if patience_s is not None and not (_is_number(patience_s) and patience_s >= 0):
        raise InvalidRequestError(f"patience_s must be a number of seconds from 0 on, got {_shown(patience_s)}")
    _check_counts(rest)
    if (body := rest.get("extra_body")) is not None:
        _check_body(body)
    return Request(
        **chat,
        id=_new_id(),
        params={name: value for name, value in rest.items() if name not in TAG_NAMES},
        model=None if model in (None, "auto") else model,
        task=task,
        tags=_tags(named, tags or {}),
        bar=bar,
        max_cost_usd=None if max_cost_usd is None else _dollars(max_cost_usd),
        timeout_s=timeout_s,
        patience_s=patience_s,
        cache=read_control(cache),
    )


def _check_counts(params: Mapping[str, Any]) -> None:
    for name in COUNTS:
        count = params.get(name)
        # Some servers read -1 as "no end", which would lead around every limit on the cost.
        if count is not None and (type(count) is not int or not 1 <= count <= MOST_TOKENS):
            raise InvalidRequestError(
                f"{name} must be a whole number from 1 to {MOST_TOKENS}, or left out; got {_shown(count)}"
            )


def _check_body(body: object) -> None:
    """`extra_body` goes into the provider's request as it is, over everything else."""
    if not isinstance(body, Mapping):
        raise InvalidRequestError(f"extra_body must be a dict, got {_shown(body)}")
    for name in (*FROM_THE_POLICY, *FROM_THE_ARGUMENTS):
        if name in body:
            raise InvalidRequestError(f"{name} may not stand in extra_body: it would replace what is routed and billed")
    _check_counts(body)


def _new_id() -> str:
    # Sorted by time, so that the ledger's rows are appended and not scattered over its pages.
    return f"cb-{time.time_ns() // 1000:014x}{os.urandom(8).hex()}"


def _tags(named: Mapping[str, Any], given: Mapping[str, str]) -> Tags:
    if not isinstance(given, Mapping):
        raise InvalidRequestError(f"tags must be a dict of texts, got {_shown(given)}")
    for name, value in (*named.items(), *given.items()):
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidRequestError(f"tag {name!r} must be text, got {_shown(value)}")
    # Lone surrogates have no UTF-8 form, which is what stores and providers are written in.
    named, given = ({_written(n): _written(v) for n, v in tags.items()} for tags in (named, given))
    twice = [name for name in given if name in named and named[name] != given[name]]
    if twice:
        raise InvalidRequestError(f"{twice[0]} is given twice: {named[twice[0]]!r} and, in tags, {given[twice[0]]!r}")
    extra = {name: value for name, value in given.items() if name not in TAG_NAMES}
    return Tags(**named, **{n: v for n, v in given.items() if n in TAG_NAMES and n not in named}, extra=extra)


def _written(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _dollars(value: Decimal | str | float) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= MOST_USD:
        raise InvalidRequestError(f"max_cost_usd must be an amount in USD from 0 to {MOST_USD:,}, got {_shown(value)}")
    return amount


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: object) -> str:
    """A value for an error message; never a whole prompt."""
    text = repr(value)
    return text if len(text) <= 40 else f"{type(value).__name__} {text[:37]}..."
