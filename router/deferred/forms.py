"""Requests, decisions and completions as JSON text, and back."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from router.decisions import Decision
from router.errors import InvalidRequestError
from router.types import Attempt, Completion, Deployment, Payload, Request, to_json


def written_request(request: Request) -> str:
    """A request as text.

    Raises:
        InvalidRequestError: a parameter has no JSON form, such as a class given as `response_format`.
    """
    try:
        return to_json(request)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"a request that waits is written down, so it must have a JSON form: {error}"
        ) from None


def read_request(text: str) -> Request:
    """What `written_request` wrote."""
    found: Request = _reader(Request).validate_json(text)
    return found


def read_decision(text: str) -> Decision:
    """A decision out of its JSON text."""
    found: Decision = _reader(Decision).validate_json(text)
    return found


def read_deployment(text: str) -> Deployment:
    """A deployment out of its JSON text."""
    found: Deployment = _reader(Deployment).validate_json(text)
    return found


def read_completion(text: str) -> Completion:
    """A completion out of the JSON text that `to_json` made of it."""
    told = json.loads(text)
    attempts: tuple[Attempt, ...] = _reader(tuple[Attempt, ...]).validate_python(told.pop("attempts"))
    cost = None if any(one.cost_usd is None for one in attempts) else sum(one.cost_usd or 0 for one in attempts)
    return Completion(
        **{
            **told,
            "payload": Payload(told["payload"]),
            "decision": _reader(Decision).validate_python(told["decision"]),
            "attempts": attempts,
            "cost_usd": cost,
        }
    )


@cache
def _reader(of: Any) -> TypeAdapter[Any]:
    return TypeAdapter(of)
