"""Budgets that never stand in anybody's way, and names that nothing goes by."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import chain

from router.config import Path_, shown, suggestion
from router.policy.finding import Finding, warning
from router.policy.inline_keys import hushed
from router.policy.policy import Policy
from router.spend.budget import BLOCKING, Budget
from router.spend.windows import ROLLING_PARTS, Window
from router.types import TAG_NAMES

MOST_COMPARED = 1_000
"""So many budgets are held against each other, and so many tags against those that requests have."""
_NEAR = 0.85
"""How alike a tag's name must be to one that requests have by themselves, to be taken for a slip."""


def never_binding(policy: Policy) -> Iterator[Finding]:
    """Budgets that never deny, steps that are never reached, and conditions on shares that never come."""
    return chain(_budgets(policy), _shares(policy))


def slips(policy: Policy) -> Iterator[Finding]:
    """Names that stand for two things, and tags that are nearly called as requests have them."""
    return chain(_twice(policy), _nearly(policy))


def _budgets(policy: Policy) -> Iterator[Finding]:
    budgets = policy.budgets.each
    for position, budget in enumerate(budgets):
        here: Path_ = ("budgets", position)
        name = f"budget {shown(budget.name)}"
        if why := _about_nobody(policy, budget):
            yield warning(policy, (*here, "scope"), f"{name} counts nothing: {why}")
            continue
        if "task" in budget.scope:
            told = (
                "scopes have tags, `model` and `provider`; `task` is a tag here, which requests carry only if callers"
            )
            yield warning(policy, (*here, "scope", "task"), f"{name}: {told} set one of this name")
        most = _most(budget)
        for step in budget.steps:
            if most is not None and step.share > most:
                told = f"its step {step.share:.0%}: {step.action} is never reached: calls are held back from {most:.0%}"
                yield warning(policy, (*here, "at"), f"{name}: {told} on; remove one of the two")
        for other in budgets[:MOST_COMPARED] if position < MOST_COMPARED else ():
            if other is not budget and _is_never_met(budget, other):
                told = f"never binds: budget {shown(other.name)} counts all of its calls, too, and stops at no more"
                yield warning(policy, here, f"{name} {told} in no shorter a window; remove it, or lower its limit")
                break


def _about_nobody(policy: Policy, budget: Budget) -> str | None:
    """Why no call is booked on a budget: no model is as its scope says."""
    models, providers = budget.scope.get("model"), budget.scope.get("provider")
    ids = list(policy.models)
    if models is not None and not set(models) & set(ids):
        return f"no model has the id {shown(models[0])}{suggestion(models[0], ids)}"
    called = {
        place.call.partition("/")[0]
        for name, places in policy.deployments.items()
        if models is None or name in models
        for place in places
    }
    if providers is not None and not set(providers) & called:
        return f"no model of the policy is called at {shown(providers[0])}{suggestion(providers[0], sorted(called))}"
    return None


def _most(budget: Budget) -> float | None:
    """The share that settled and held never pass; None where it is not certain."""
    if budget.is_open or budget.needs_approval or not budget.limit:
        return None
    return min((step.share for step in budget.steps if step.action in BLOCKING), default=None)


def _is_never_met(budget: Budget, other: Budget) -> bool:
    """Whether another budget has always stopped the calls before this one says anything."""
    most = _most(other)
    if most is None or budget.unit != other.unit or not budget.limit:
        return False
    first, ceiling = budget.limit * budget.steps[0].share, other.limit * most
    # Of two that are the same, the one that stands first stays.
    return first > ceiling and _is_within(budget, other) and _is_as_long(budget.window, other.window)


def _is_within(budget: Budget, other: Budget) -> bool:
    """Whether all calls of one of a budget's accounts are booked on one account of the other."""
    if other.lacking and other.lacking != budget.lacking:
        return False
    for name, allowed in other.scope.items():
        if name not in budget.scope:
            return False
        own = budget.scope[name]
        if allowed is None:
            if own is not None and len(own) > 1:
                return False
        elif own is None or not set(own) <= set(allowed):
            return False
    return True


_INSIDE = {"minute": 0, "hour": 1, "day": 2, "week": 3, "month": 3}


def _is_as_long(window: Window, other: Window) -> bool:
    """Whether what counts in a window always counts in the other one."""
    if window == other:
        return True
    if window.unit is None or other.unit is None:
        is_longer = other.rolling_s * ROLLING_PARTS >= window.rolling_s * (ROLLING_PARTS + 1)
        return window.unit is None and other.unit is None and is_longer
    return window.tz == other.tz and _INSIDE[window.unit] < _INSIDE[other.unit]


def _shares(policy: Policy) -> Iterator[Finding]:
    """Rules that wait for a share that the budget does not let come."""
    most = {budget.name: _most(budget) for budget in policy.budgets.each}
    for position, rule in enumerate(policy.rules):
        asked = rule.when.budget
        if asked is None or (top := most.get(asked.name)) is None:
            continue
        sign, share = asked.used
        if sign in (">", ">=") and (share > top or (share == top and sign == ">")):
            told = f"{hushed(asked.shown())} does not come: calls are held back from {top:.0%} on; ask for less"
            yield warning(policy, ("rules", position, "when", "budget"), told)


def _twice(policy: Policy) -> Iterator[Finding]:
    what = {"rules": "decisions, tests, environments and canaries", "budgets": "conditions, tests and environments"}
    named: dict[str, list[str | None]] = {
        "rules": [rule.name for rule in policy.rules],
        "budgets": [one.name for one in policy.budgets.each],
    }
    for key, names in named.items():
        first: dict[str, int] = {}
        for position, name in enumerate(names):
            if name is None:
                continue
            if name in first:
                line = policy.document.place_of((key, first[name]))[0]
                told = f"the name {shown(name)} stands here for the second time (first in line {line})"
                yield warning(policy, (key, position, "name"), f"{told}; {what[key]} go by it")
            first.setdefault(name, position)


def _nearly(policy: Policy) -> Iterator[Finding]:
    seen: set[str] = set()
    for where, name in _tags(policy):
        if name in TAG_NAMES or name in ("model", "provider") or name in seen:
            continue
        seen.add(name)
        if len(seen) > MOST_COMPARED:
            return
        if near := difflib.get_close_matches(name, _known(where), n=1, cutoff=_NEAR):
            told = f"tag {shown(name)} is not {near[0]!r}, which requests have; did you mean that?"
            yield warning(policy, where, told)


def _known(where: Path_) -> Sequence[str]:
    return [*TAG_NAMES, "model", "provider"] if where[0] == "budgets" else TAG_NAMES


def _tags(policy: Policy) -> Iterator[tuple[Path_, str]]:
    """Every tag that the policy asks for, where it does first."""
    for position, rule in enumerate(policy.rules):
        here: Path_ = ("rules", position)
        yield from (((*here, "when", "tags", name), name) for name in rule.when.tags)
        for i, one in enumerate(rule.when.not_):
            yield from (((*here, "when", "not", i, "tags", name), name) for name in one.tags)
        if rule.sticky is not None:
            yield (*here, "sticky"), rule.sticky.by
        if rule.canary is not None and rule.canary.by is not None:
            yield (*here, "canary", "by"), rule.canary.by
        yield from (((*here, "cache", "tags"), name) for name in rule.cache.tags)
    for position, budget in enumerate(policy.budgets.each):
        yield from ((("budgets", position, "scope", name), name) for name in budget.scope)
    yield from ((("required_tags", i), name) for i, name in enumerate(policy.required_tags))
