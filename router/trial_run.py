"""A policy's own tests, run: each request is decided as it would be served, and nothing is called or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from router.decide import Ruling, decide
from router.decisions import Decision
from router.policy import Policy, Traits
from router.policy.cases import Case
from router.policy.traits import UsedOf, used_unknown
from router.spend.budget import Balance, squeezed
from router.types import Request
from router.warmth import Known

if TYPE_CHECKING:
    from router.predict import Predictor
    from router.predict.online import Experience


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """Something that did not come as expected."""

    key: str
    """Of `expect`."""
    expected: Any
    came: Any

    def shown(self) -> str:
        """In words."""
        return f"{self.key}: expected {_words(self.expected)}, came {_words(self.came)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one test."""

    name: str
    place: str
    """`file:line`."""
    misses: tuple[Miss, ...]
    decision: Decision
    rule: int | None
    """Position of the rule that the request met."""


def try_policy(policy: Policy, predictor: Predictor | None, now: datetime) -> list[Tried]:
    """Decide about each test's request, as after a fresh start: no feedback, no sessions, no warm prompt caches.

    Args:
        policy: with its tests.
        predictor: the artifact's, if the policy names one.
        now: the moment of the tests that give none.
    """
    return [
        _tried(policy, predictor, case, place, case.given.at or now)
        for case, place in zip(policy.tests, policy.test_places, strict=True)
    ]


def unmet(policy: Policy, tried: list[Tried]) -> list[int]:
    """Positions of the rules that no test's request met."""
    met = {one.rule for one in tried}
    return [position for position in range(len(policy.rules)) if position not in met]


def look(
    request: Request, policy: Policy, predictor: Predictor | None, now: datetime, *, known: Known,
    squeezed: str | None = None, experience: Experience | None = None,
) -> tuple[Ruling, Traits]:  # fmt: skip
    """Decide about a request as `decide` does; also what its rules look at, for more questions."""
    ruling = decide(request, policy, predictor, now, experience, known, squeezed)
    decision = ruling.decision
    told = decision.facts.asked if decision.facts else None
    return ruling, Traits(request, task=decision.task.task, now=now, used=known.used, told=told)


def shares_of(
    policy: Policy, request: Request, used: Mapping[str, float], otherwise: UsedOf = used_unknown
) -> dict[str, float]:
    """Used share of each budget that the request is booked on: as given, as somebody else knows it, or 0."""
    return {
        one.name: used.get(one.name, otherwise(one.name) or 0.0) if one.limit else 1.0  # of nothing, all is used
        for one in policy.budgets.each
        if not one.asks_model and one.account(request.tags) is not None
    }


def squeezed_at(policy: Policy, shares: Mapping[str, float]) -> str | None:
    """The budget that asks for cheaper routes when so much is used, told with its share; None where none does."""
    standing = [
        (one, Balance(settled=round(one.limit * shares[one.name]))) for one in policy.budgets.each if one.name in shares
    ]
    return squeezed(standing)


def _tried(policy: Policy, predictor: Predictor | None, case: Case, place: str, now: datetime) -> Tried:
    request = case.given.request()
    shares = shares_of(policy, request, case.given.used)
    ruling, traits = look(
        request, policy, predictor, now, known=Known(used=shares.get), squeezed=squeezed_at(policy, shares)
    )
    decision = ruling.decision
    rule = policy.table.match(traits) if request.model is None else None
    called = None if rule is None else policy.rules[rule].name or f"rule {rule + 1}"
    came = _came(ruling, called or decision.rule)
    # By field, for what was left out says nothing.
    wanted = {name: getattr(case.expect, name) for name in came}
    misses = [
        Miss(key=name, expected=value, came=came[name])
        for name, value in wanted.items()
        if value is not None and value != came[name]
    ]
    name = case.name or f"test in line {place.rpartition(':')[2]}"
    return Tried(name=name, place=place, misses=tuple(misses), decision=decision, rule=rule)


def _came(ruling: Ruling, rule: str) -> dict[str, Any]:
    """What came, by the keys of `expect`."""
    decision = ruling.decision
    return {
        "rule": rule,
        "model": decision.plan[0] if decision.plan else None,
        "models": list(decision.plan),
        "strategy": decision.strategy,
        "bar": decision.bar,
        "task": decision.task.task,
        "refused": not decision.plan,
        "cache": ruling.caching.mode,
        "shadow": shade.model if (shade := decision.shadow) is not None and shade.barred is None else False,
    }


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "nothing"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
