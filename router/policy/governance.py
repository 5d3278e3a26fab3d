"""What `clearbar policy check` says of models that end, are banned or on trial, and of those that nobody owns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from router.policy.finding import Finding, warning
from router.policy.standing import day_shown

if TYPE_CHECKING:
    from router.config import Path_
    from router.policy.policy import Policy
    from router.policy.schema import Rule

NOTICE = timedelta(days=30)
"""So long before its sunset a model is told of."""


def governed(policy: Policy, now: datetime) -> list[Finding]:
    """Warnings at a moment."""
    return [*_named(policy, now), *_ending(policy, now), *_deserted(policy, now), *_unowned(policy)]


def rules_asking(policy: Policy, model: str) -> list[int]:
    """Positions of the rules in which a model has a part, as whatever."""
    return [i for i, rule in enumerate(policy.rules) if any(name == model for _, name in parts(rule))]


def parts(rule: Rule) -> Iterator[tuple[str, str]]:
    """Whom a rule may ask, and as what."""
    yield from (("candidate", name) for name in rule.candidates)
    yield from (("fallback", name) for name in rule.fallback)
    if rule.verifier is not None:
        yield "verifier", rule.verifier
    for part, one in (("canary", rule.canary), ("shadow", rule.shadow)):
        if one is not None:
            yield part, one.model
    if rule.bar is not None and rule.bar.vs is not None:
        yield "reference", rule.bar.vs


def _named(policy: Policy, now: datetime) -> Iterator[Finding]:
    """Rules that name whom nobody asks in that part. What a pattern picks is left to the pattern."""
    for i in range(len(policy.rules)):
        for where, part, name in _written(policy, i):
            barred = policy.barred(name, now, is_tried=part in ("canary", "shadow"))
            if barred is not None:
                remedy = (
                    "approve it, or name it in `canary` or `shadow`" if barred.startswith("on trial") else "take it out"
                )
                yield warning(policy, where, f"{part} {name!r} is never asked ({barred}): {remedy}")


def _written(policy: Policy, position: int) -> Iterator[tuple[Path_, str, str]]:
    """Models that a rule's row has by their id: where, as what, and the id."""
    row, here = policy.document.values["rules"][position], ("rules", position)
    for key, part in (("candidates", "candidate"), ("fallback", "fallback")):
        given = row.get(key, [])
        for j, name in enumerate(given if isinstance(given, list) else [given]):
            if isinstance(name, str) and name in policy.models:
                yield (*here, key, j), part, name
    for key in ("canary", "shadow"):
        if isinstance(given := row.get(key), dict) and given.get("model") in policy.models:
            yield (*here, key, "model"), key, given["model"]
    if row.get("verifier") in policy.models:
        yield (*here, "verifier"), "verifier", row["verifier"]


def _ending(policy: Policy, now: datetime) -> Iterator[Finding]:
    """Models whose sunset is near, and the rules that depend on them."""
    for i, (name, model) in enumerate(policy.models.items()):
        if model.sunset is None or model.status == "banned" or not now < model.sunset <= now + NOTICE:
            continue
        days = (model.sunset - now).days
        left = f"in {days} days" if days > 1 else "tomorrow" if days else "within a day"
        rules = ", ".join(_called(policy, position) for position in rules_asking(policy, name))
        owner = f"; owner: {model.owner}" if model.owner else ""
        told = f"model {name!r} has its sunset {day_shown(model.sunset)}, {left}{owner}: "
        told += f"{rules} still ask it" if rules else "no rule asks it"
        yield warning(policy, ("models", i, "sunset"), told)


def _deserted(policy: Policy, now: datetime) -> Iterator[Finding]:
    """Rules that will have nobody to ask after a sunset that is near; those that have nobody now are told elsewhere."""
    ends = sorted({one.sunset for one in policy.standings.values() if one.sunset and now < one.sunset <= now + NOTICE})
    for i, rule in enumerate(policy.rules if policy.standings else ()):
        names = list(dict.fromkeys([*rule.candidates, *rule.fallback]))
        if all(policy.barred(name, now) for name in names):
            continue
        for moment in ends:
            reasons = [policy.barred(name, moment) for name in names]
            if all(reasons):
                why = ", ".join(f"{name}: {reason}" for name, reason in zip(names, reasons, strict=True))
                told = f"{_called(policy, i)} has nobody to ask from {day_shown(moment)} on ({why})"
                told += ", and refuses its requests; add a candidate or a fallback"
                yield warning(policy, ("rules", i, "candidates"), told)
                break


def _unowned(policy: Policy) -> Iterator[Finding]:
    """Models without an owner where others have one."""
    unowned = [name for name, model in policy.models.items() if model.owner is None]
    if unowned and len(unowned) < len(policy.models):
        first = list(policy.models).index(unowned[0])
        told = f"without an `owner`, as other models have one: {', '.join(unowned)}"
        yield warning(policy, ("models", first), told)


def _called(policy: Policy, position: int) -> str:
    name = policy.rules[position].name
    return f"rule {name!r}" if name else f"rule {position + 1}"
