"""Models that a rule names and never asks, whatever request meets it; rules that are left with nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from router.config import Path_, shown
from router.policy.finding import Finding, warning
from router.policy.models import ModelEntry
from router.policy.policy import Policy
from router.policy.schema import Rule
from router.spend.prices import Price, price_on
from router.tokens import TOKENS_PER_MESSAGE, TOKENS_PER_REQUEST

LEAST_INPUT = TOKENS_PER_MESSAGE + TOKENS_PER_REQUEST
"""Tokens that a request of one empty message counts as."""


def never_asked(policy: Policy, now: datetime) -> Iterator[Finding]:
    """Models that no request of a rule can be sent to, at today's prices.

    Args:
        policy: as loaded.
        now: which prices hold.
    """
    reasons: dict[tuple[object, ...], str | None] = {}
    caps: dict[tuple[object, ...], tuple[Decimal, int] | None] = {}
    for position, rule in enumerate(policy.rules):
        here: Path_ = ("rules", position)
        stands, kept = False, []
        asks = (rule.data.where(), rule.when.tools, tuple(rule.when.modality or ()), _least(rule), rule.max_cost_usd)
        for key, names in (("candidates", rule.candidates), ("fallback", rule.fallback)):
            for name in names:
                asked = (name, *asks)
                if asked not in reasons:  # a thousand rules with two hundred candidates ask few different things
                    reasons[asked] = _misfit(policy, rule, policy.models[name], now)
                    caps[asked] = None if reasons[asked] else _default_cap(policy, rule, policy.models[name], now)
                if why := reasons[asked]:
                    told = f"{key}: {shown(name)} is never asked: {why}"
                    yield warning(policy, _entry(policy, (*here, key), name), told)
                stands = stands or (why is None and not policy.barred(name, now))
                if key == "candidates" and (cap := caps[asked]) is not None:
                    kept.append((name, *cap))
        if not stands and rule.data.refuse is None:
            told = "nobody is left to serve this rule, and its requests fail; change its conditions, or its models"
            yield warning(policy, here, told)
        if kept:
            yield warning(policy, (*here, "max_cost_usd"), _dear_by_default(rule, policy, kept))
        others = {"canary": rule.canary.model if rule.canary else None, "verifier": rule.verifier}
        for key, one in others.items():
            if one is not None and (why := _misfit(policy, rule, policy.models[one], now)):
                yield warning(policy, (*here, key), f"{key}: {shown(one)} is never asked: {why}")
        if rule.shadow is not None and (why := _unfit(policy, rule, policy.models[rule.shadow.model])):
            yield warning(policy, (*here, "shadow"), f"shadow: {shown(rule.shadow.model)} is never asked: {why}")


def _misfit(policy: Policy, rule: Rule, model: ModelEntry, now: datetime) -> str | None:
    """Why no request of the rule can be sent to the model, with the remedy; None: some can."""
    return _unfit(policy, rule, model) or _too_dear(policy, rule, model, now)


def _unfit(policy: Policy, rule: Rule, model: ModelEntry) -> str | None:
    """The same, whatever it costs."""
    if rule.data.is_bound and not any(map(rule.data.allows, policy.deployments[model.id])):
        told = f"none of its deployments may have the rule's data ({rule.data.where()})"
        return f"{told}; add one with an allowed `region`, or take the model out"
    for need in _needs(rule):
        if model.capabilities is not None and need not in model.capabilities:
            return f"the rule's requests need the capability {need!r}; add it to the model, or take the model out"
    if model.context is not None and _least(rule) > model.context:
        told = f"requests of {_least(rule):,} tokens and more do not fit its context of {model.context:,}"
        return f"{told}; lower `input_tokens`, or take the model out"
    return None


def _needs(rule: Rule) -> Iterator[str]:
    """Capabilities that every request of a rule needs."""
    if rule.when.tools:
        yield "tools"
    if rule.when.modality is not None and "text" not in rule.when.modality:
        yield "vision"


def _too_dear(policy: Policy, rule: Rule, model: ModelEntry, now: datetime) -> str | None:
    limit = rule.max_cost_usd
    if limit is None:
        return None
    if rule.when.modality is not None and "text" not in rule.when.modality:
        return "the cost of images and audio cannot be bounded, and max_cost_usd asks for a bound; remove the limit"
    price = price_on(policy.prices[model.id], now.date())
    if price is None:
        return "its price is unknown, and max_cost_usd asks for a bound; give it a `price`"
    least = _worst(price, _least(rule), 1)
    if least <= limit:
        return None
    told = f"{_least(rule):,} tokens in and one out cost up to ${least:f}, above max_cost_usd ${limit:f}"
    return f"{told}; raise the limit, or take the model out"


def _default_cap(policy: Policy, rule: Rule, model: ModelEntry, now: datetime) -> tuple[Decimal, int] | None:
    """What a call without `max_tokens` may cost at least, and how many tokens the limit pays for; None: all of them."""
    price = price_on(policy.prices[model.id], now.date())
    if rule.max_cost_usd is None or price is None:
        return None
    into = _worst(price, _least(rule), 0)
    worst, each = _worst(price, _least(rule), model.max_output_tokens), _worst(price, _least(rule), 1) - into
    return (worst, int((rule.max_cost_usd - into) / each)) if worst > rule.max_cost_usd else None


def _dear_by_default(rule: Rule, policy: Policy, kept: Sequence[tuple[str, Decimal, int]]) -> str:
    """About models that a cost limit keeps for requests with `max_tokens` alone."""
    name, worst, fits = kept[0]
    others = f" (and {len(kept) - 1} more)" if len(kept) > 1 else ""
    return (
        f"max_cost_usd ${rule.max_cost_usd:f} keeps {shown(name)}{others} from every request without `max_tokens`: "
        f"{policy.models[name].max_output_tokens:,} output tokens may cost ${worst:f}; raise the limit, or give the "
        f"model `max_output_tokens: {fits}` or less"
    )


def _worst(price: Price, input_tokens: int, output_tokens: int) -> Decimal:
    """Upper bound of a call as no tier but the standard one: the least that a bound can be."""
    return price.worst(input_tokens, output_tokens, tiers=()).normalize()


def _least(rule: Rule) -> int:
    size = rule.when.input_tokens
    return max(LEAST_INPUT, size.min if size is not None else 0)


def _entry(policy: Policy, where: Path_, name: str) -> Path_:
    """Where a model's id is written down; the whole list where a pattern picked it."""
    written = policy.document.value_at(where)
    return (*where, written.index(name)) if isinstance(written, list) and name in written else where
