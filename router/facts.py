"""What a decision looked at, written down without text; and the request again, once its text is found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from router.decisions import Facts, Pace, Warm
from router.pace import TimeLimit
from router.types import TAG_NAMES, Message, Request, Tags
from router.warmth import Known

COUNTS = ("max_tokens", "max_completion_tokens", "n", "best_of")
PRESENT = ("tools", "functions", "response_format", "web_search_options", "audio")
"""Parameters of which a decision only asks whether they are there."""
COMPARED = ("task", "canary", "shadow", "rule", "strategy", "bar", "plan", "propensity", "promise", "verifier")
COMPARED_CANDIDATE = (
    "is_in", "reason", "quality", "quality_low", "predicted_low", "predicted_high", "expected_cost_usd",
    "p95_cost_usd", "worst_cost_usd", "propensity", "latency_s",
)  # fmt: skip
CLOSE = 1e-9
"""Differences below are another machine's arithmetic."""


def facts_of(
    request: Request, now: datetime, known: Known, time: TimeLimit | None = None,
    asked: Mapping[str, Any] | None = None, session: str | None = None, canary: str | None = None,
) -> Facts:  # fmt: skip
    """What of a request matters to its decision, besides its text, task and tags.

    Args:
        request: what is asked.
        now: the moment.
        known: warm prompt caches.
        time: what was known of latency.
        asked: by the rules.
        session: the model that answered its session last.
        canary: why the rule's canary has been rolled back.
    """
    extra = request.params.get("extra_body")
    counts = {name: value for name in COUNTS if (value := request.params.get(name)) is not None}
    present = {name: True for name in PRESENT if request.params.get(name)}
    inner = {name: value for name in COUNTS if isinstance(extra, Mapping) and (value := extra.get(name)) is not None}
    return Facts(
        at=now.isoformat(),
        bar=request.bar,
        max_cost_usd=request.max_cost_usd,
        stream=request.stream,
        has_media=request.has_media,
        params={**counts, **present, **({"extra_body": inner} if inner else {})},
        warm=known.warm,
        paces=tuple(time.paces.values()) if time is not None else None,
        session=session,
        canary=canary,
        asked=asked or None,
    )


def request_again(row: Mapping[str, Any], decided: Mapping[str, Any], messages: Sequence[Message]) -> Request:
    """A past request, out of its ledger row, its decision as JSON and its stored messages.

    Where tools or other parameters were there, a stand-in takes their place: their text is not stored.
    """
    facts, task = decided["facts"], decided["task"]
    params = {name: ["-"] if value is True else value for name, value in facts["params"].items()}
    return Request(
        id=decided["id"],
        messages=tuple(messages),
        params=params,
        model=row["model_asked"],
        task=task.get("task") if task["by"] == "label" else None,
        tags=Tags(**{name: row[name] for name in TAG_NAMES}, extra=_tags(row)),
        bar=facts.get("bar"),
        max_cost_usd=Decimal(limit) if (limit := facts.get("max_cost_usd")) is not None else None,
        stream=facts["stream"],
    )


def known_again(decided: Mapping[str, Any]) -> Known:
    """What earlier requests had told."""
    facts = decided["facts"]
    # The paces of the artifact's outcomes are in the artifact that decides again.
    paces = {one["model"]: Pace(**one) for one in facts.get("paces") or () if one["of"] == "attempts"}
    return Known(
        warm=tuple(Warm(**one) for one in facts["warm"]),
        pace=lambda model, _: paces.get(model),
        canary=lambda _: facts.get("canary"),
        session=lambda _: facts.get("session"),
        asked=facts.get("asked") or {},
    )


def differences(decided: Mapping[str, Any], again: Mapping[str, Any]) -> list[str]:
    """Where two decisions part, both as JSON, a line each; empty: they are the same."""
    told = [
        f"{name}: {decided.get(name)} then, {again.get(name)} now"
        for name in COMPARED
        if not _same(decided.get(name), again.get(name))
    ]
    then, now = ({one["model"]: one for one in which["candidates"]} for which in (decided, again))
    for model in dict.fromkeys([*then, *now]):
        if model not in then or model not in now:
            told.append(f"{model}: a candidate only {'then' if model in then else 'now'}")
            continue
        told += [
            f"{model}, {name}: {then[model].get(name)} then, {now[model].get(name)} now"
            for name in COMPARED_CANDIDATE
            if not _same(then[model].get(name), now[model].get(name))
        ]
    return told


def _tags(row: Mapping[str, Any]) -> Mapping[str, str]:
    extra: Mapping[str, str] = json.loads(row["tags"])
    return extra


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, (int, float)):
        return abs(one - other) <= CLOSE
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return bool(one == other)
