"""Decides about a request that nobody sent, for `clearbar explain`: as a router would now, or if things stood so."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import click

from router._kit import Kit, make_kit
from router._request import chat_request
from router.cli.values import named_values
from router.config import suggestion
from router.decisions import Decision
from router.policy import Policy, find_policy
from router.policy.conditions import moment_from
from router.policy.passed import Way, way_of
from router.spend.ledger import Ledger
from router.trial_run import look, shares_of, squeezed_at
from router.types import Request

ANY_TOOL = {"type": "function", "function": {"name": "any"}}


def explained(
    text: str | None, messages: IO[bytes] | None, policy: Path | None, state: Path, *, task: str | None,
    tags: Sequence[str], model: str | None, tools: bool, at: str | None, used: Sequence[str],
) -> tuple[Decision, Way | None]:  # fmt: skip
    """The decision, and the way through the rules; None of it where the request pins its model."""
    body = {"messages": [{"role": "user", "content": text}]} if messages is None else _body(messages)
    given = {"task": task, "model": model, "tools": [ANY_TOOL] if tools else None, "tags": named_values(tags, "--tag")}
    request = chat_request(**{**body, **{name: value for name, value in given.items() if value}})
    now = _moment(at) if at is not None else datetime.now(UTC)
    path = find_policy(policy)  # first: without one, no folder of a ledger is left behind
    # Without a router: what only explains is no version that was served.
    with closing(Ledger(state / "ledger.sqlite3")) as ledger:
        kit = make_kit(path, state, ledger)
        try:
            return _decided(request, kit, now, _shares(used, kit.policy))
        finally:
            kit.close()


def _decided(request: Request, kit: Kit, now: datetime, used: dict[str, float]) -> tuple[Decision, Way | None]:
    books, policy = kit.books, kit.policy
    known, squeezed = books.known(request), books.squeezed(request)
    if used:
        shares = shares_of(policy, request, used, known.used)
        known, squeezed = replace(known, used=shares.get), squeezed_at(policy, shares)
    experience = kit.learner.now() if kit.learner is not None else None
    ruling, traits = look(request, policy, kit.predictor, now, known=known, squeezed=squeezed, experience=experience)
    return ruling.decision, way_of(policy, traits) if request.model is None or policy.binds_data else None


def _body(messages: IO[bytes]) -> dict[str, Any]:
    """A request's body, or messages alone."""
    try:
        found = json.loads(messages.read())
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"not readable as JSON ({error})", param_hint="--messages") from error
    body = {"messages": found} if isinstance(found, list) else found
    if not isinstance(body, dict) or "messages" not in body:
        told = "must be a JSON list of messages, or an object with `messages`"
        raise click.BadParameter(told, param_hint="--messages")
    return {name: value for name, value in body.items() if name != "stream"}


def _moment(text: str) -> datetime:
    try:
        moment = moment_from(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} {error}", param_hint="--at") from error
    assert isinstance(moment, datetime)  # noqa: S101  it says so
    return moment


def _shares(texts: Sequence[str], policy: Policy) -> dict[str, float]:
    """Used shares by the names of budgets."""
    known = [one.name for one in policy.budgets.each if not one.asks_model]
    found = {}
    for name, text in named_values(texts, "--used", "BUDGET=SHARE").items():
        if name not in known:
            told = f"no budget that is known before the decision is called {name!r}{suggestion(name, known)}"
            raise click.BadParameter(told, param_hint="--used")
        share = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)%", text)
        if share is None:
            raise click.BadParameter(f"{text!r} must be a share of the limit, such as 85%", param_hint="--used")
        found[name] = float(share[1]) / 100
    return found
