"""What changes in the models that may be asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from router.policy.difference.told import Change, Effect, Told
from router.policy.difference.words import address, joined_left, other_fields, percent, plain, quoted, several, usd
from router.policy.governance import rules_asking
from router.policy.models import ModelEntry
from router.policy.policy import Policy
from router.policy.standing import day_shown
from router.spend.prices import Price, price_on
from router.types import Deployment

_SAID = (
    "id", "call", "api_base", "api_key_env", "price", "context", "max_output_tokens", "capabilities", "region",
    "version", "deployments", "status", "sunset",
)  # fmt: skip


def model_changes(a: Policy, b: Policy, today: date) -> Iterator[Change]:
    """Models that come, go, or are not what they were."""
    for name in dict.fromkeys([*a.models, *b.models]):
        about = f"model {quoted(name)}"
        if name not in a.models:
            yield Change(section="models", about=about, text=f"new: {_introduced(b, name, today)}")
        elif name not in b.models:
            asked = _asked_in(a, name)
            yield Change(section="models", about=about, text=f"removed{f'; it was asked in {asked}' if asked else ''}")
        else:
            told = [*_price_changes(a, b, name, today), *_place_changes(a, b, name), *_entry_changes(a, b, name)]
            told += [(text, None) for text in other_fields(a.models[name], b.models[name], _SAID)]
            yield from (Change(section="models", about=about, text=text, effect=effect) for text, effect in told)


def _introduced(policy: Policy, name: str, today: date) -> str:
    price, asked = price_on(policy.prices[name], today), _asked_in(policy, name)
    cost = f"{usd(price.input)} in and {usd(price.output)} out per million tokens" if price else "price unknown"
    where = f"; asked in {asked}" if asked else "; no rule asks it"
    return f"{', '.join(dict.fromkeys(place.call for place in policy.deployments[name]))}, {cost}{where}"


def _asked_in(policy: Policy, name: str) -> str:
    asked = rules_asking(policy, name)
    return several(quoted(policy.rule_name(i)) for i in asked) if asked else ""


def _price_changes(a: Policy, b: Policy, name: str, today: date) -> Told:
    if a.prices[name] == b.prices[name]:
        return
    before, after = price_on(a.prices[name], today), price_on(b.prices[name], today)
    asked = _asked_in(b, name)
    where = f"; asked in {asked}" if asked else ""
    if after is None:
        if before is not None:
            yield f"price unknown now (it was {_price(before)}){where}", "loosens"
    elif before is None:
        yield f"price known now: {_price(after)}{where}", None
    else:
        meters = _meters(before, after)
        yield from ((text + where * (i == len(meters) - 1), None) for i, text in enumerate(meters))
        if not meters and (before.variants, before.terms) != (after.variants, after.terms):
            yield f"price of other tiers, long inputs or terms changes{where}", None
    for price in b.prices[name]:
        if price not in a.prices[name] and price.effective is not None and price.effective > today:
            yield f"price from {price.effective} on: {_price(price)}", None
    if [
        price for price in a.prices[name] if price.effective and price.effective > today and price not in b.prices[name]
    ]:
        yield "a price that was to come is not in the file any more", None


def _price(price: Price) -> str:
    return f"{usd(price.input)} in, {usd(price.output)} out per million tokens"


def _meters(before: Price, after: Price) -> list[str]:
    told = []
    for meter in dict.fromkeys([*before.known(), *after.known()]):
        old, new = before.of(meter), after.of(meter)
        if old != new:
            word = "dearer" if new > old else "cheaper"
            shown = meter.replace("_", " ")
            told.append(f"{shown} {word}: {usd(old)} to {usd(new)} per million tokens{percent(old, Decimal(new))}")
    return told


def _place_changes(a: Policy, b: Policy, name: str) -> Told:
    before, after = a.deployments[name], b.deployments[name]
    if before == after:
        return
    if len(before) == len(after) == 1:
        yield from _one_place(before[0], after[0])
        return
    new, gone = joined_left([_place(one) for one in before], [_place(one) for one in after])
    if new:
        yield f"also served by {several(new)}", None
    if gone:
        yield f"not served by {several(gone)} any more", None
    if not new and not gone:
        yield f"its deployments are asked in another order: {several(_place(one) for one in after)}", None
    if any(one.region == "local" for one in after) and not any(one.region == "local" for one in before):
        yield _VOUCHED


_VOUCHED: tuple[str, Effect] = (
    "vouched for as local now (`region: local`): rules with `local_only` may send it data",
    "loosens",
)


def _one_place(before: Deployment, after: Deployment) -> Told:
    if before.call != after.call:
        yield f"another model answers under this name: {after.call} instead of {before.call}", None
    if before.api_base != after.api_base:
        old, new = (address(one) if one else "the provider's own address" for one in (before.api_base, after.api_base))
        yield f"called at {new} instead of {old}", None
    if before.api_key_env != after.api_key_env:
        yield f"key out of {after.api_key_env or NO_KEY} instead of {before.api_key_env or NO_KEY}", None
    if before.region != after.region:
        if after.region == "local":
            yield _VOUCHED
        else:
            yield f"region {plain(after.region)} instead of {plain(before.region)}", None


NO_KEY = "the provider's usual variable"


def _place(one: Deployment) -> str:
    parts = [one.call, *([address(one.api_base)] if one.api_base else []), *([one.region] if one.region else [])]
    return " ".join([*parts, *([f"(key {one.api_key_env})"] if one.api_key_env else [])])


def _entry_changes(a: Policy, b: Policy, name: str) -> Told:
    before, after = a.models[name], b.models[name]
    yield from _status(before, after)
    yield from _sizes(before, after)
    if before.capabilities != after.capabilities:
        new, gone = joined_left(before.capabilities or [], after.capabilities or [])
        if after.capabilities is None:
            yield "its capabilities are not checked any more", None
        elif before.capabilities is None:
            yield f"gets only requests that need no more than {several(after.capabilities)}", None
        else:
            yield ", ".join([f"can {one} now" for one in new] + [f"cannot {one} any more" for one in gone]), None
    if before.version != after.version:
        if after.version is None:
            yield f"evidence for any version counts (it was {plain(before.version)} alone)", "loosens"
        else:
            was = f" (it was {plain(before.version)})" if before.version else ""
            yield (
                f"only evidence for version {plain(after.version)} counts{was}",
                None if before.version else "tightens",
            )


def _status(before: ModelEntry, after: ModelEntry) -> Told:
    """Whether it may be asked: `approved` is as without a status, but on record."""
    if before.status != after.status:
        words = {"banned": "banned: nobody asks it", "trial": "on trial: only as canary or shadow, or by name"}
        told = words.get(after.status or "", "approved" if after.status else "may be asked as any other")
        was = f" (it was {before.status})" if before.status else ""
        order = (_STRICT.get(before.status or "", 0), _STRICT.get(after.status or "", 0))
        yield f"{told}{was}", "loosens" if order[1] < order[0] else "tightens" if order[1] > order[0] else None
    if before.sunset != after.sunset:
        old, new = before.sunset, after.sunset
        if new is None and old is not None:
            yield f"does not end any more (it ended on {day_shown(old)})", "loosens"
        elif new is not None:
            was = f" instead of {day_shown(old)}" if old else ""
            yield f"ends on {day_shown(new)}{was}", "loosens" if old and new > old else "tightens"


_STRICT = {"trial": 1, "banned": 2}


def _sizes(before: ModelEntry, after: ModelEntry) -> Told:
    if before.context != after.context:
        old, new = (f"{one:,} tokens" if one else "unknown" for one in (before.context, after.context))
        yield f"context window {new}, before {old}", None
    if before.max_output_tokens != after.max_output_tokens:
        yield f"answers of at most {after.max_output_tokens:,} tokens, before {before.max_output_tokens:,}", None
