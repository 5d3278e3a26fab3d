"""Which requests a rule meets that it did not, or not any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from router.findings import kinds_of
from router.policy.conditions import Conditions
from router.policy.difference.overlap import Overlap
from router.policy.difference.words import moment, several, until
from router.policy.schema import Rule

Way = Literal["more", "fewer", "other"]
_HEADS = {"more": "meets more requests", "fewer": "meets fewer requests", "other": "meets other requests"}


def when_change(before: Rule, after: Rule, overlap: Overlap) -> tuple[str, Way] | None:
    """What became of a rule's conditions, in words; None where they let the same requests through."""
    told = [*_changes(before, after), *_exceptions(before, after)]
    grows, shrinks = not overlap.covers(before, after), not overlap.covers(after, before)
    if not told or not (grows or shrinks):
        return None
    way: Way = "other" if grows and shrinks else "more" if grows else "fewer"
    return f"{_HEADS[way]}: {'; '.join(told)}", way


def asked(conditions: Conditions) -> dict[str, Any]:
    """Conditions, one by one, as they can be compared: `task`, `tags.NAME`, `input_tokens`, ...; without `not`."""
    found: dict[str, Any] = {f"tags.{name}": frozenset(values) for name, values in conditions.tags.items()}
    for name in type(conditions).model_fields:
        value = getattr(conditions, name)
        if name not in ("tags", "not_") and value is not None:
            found[name] = frozenset(value) if isinstance(value, list) else value
    if "findings" in found:
        found["findings"] = kinds_of(found["findings"])
    return found


def _changes(before: Rule, after: Rule) -> Iterator[str]:
    old, new = asked(before.when), asked(after.when)
    for key in dict.fromkeys([*old, *new]):
        was, now = old.get(key), new.get(key)
        if was == now:
            continue
        if was is None:
            yield f"only those with {_one(after.when, key)}"
        elif now is None:
            yield f"also those without {_one(before.when, key)}"
        elif isinstance(now, frozenset):
            label = key.removeprefix("tags.")
            if now - was:
                yield f"also {label} {several(sorted(now - was), 'or')}"
            if was - now:
                yield f"not {label} {several(sorted(was - now), 'or')} any more"
        else:
            yield f"{_one(after.when, key)} instead of {_one(before.when, key)}"
    if (before.from_, before.until) != (after.from_, after.until):
        yield f"{_span(after)} instead of {_span(before)}"


def dates_of(rule: Rule) -> list[str]:
    """From when, and until when, a rule may match; nothing where it always may."""
    told = [f"from {moment(rule.from_)}"] if rule.from_ else []
    return [*told, *([until(rule.until)] if rule.until else [])]


def _span(rule: Rule) -> str:
    return " ".join(dates_of(rule)) or "at all times"


def _one(when: Conditions, key: str) -> str:
    """One of several conditions, as `Conditions.shown` says it."""
    name, _, tag = key.partition(".")
    only = {"tags": {tag: when.tags[tag]}} if tag else {name: getattr(when, name)}
    told = Conditions.model_construct(**only).shown()
    return f"task {told[0]}" if name == "task" else told[0] if told else f"another `{name}`"


def _exceptions(before: Rule, after: Rule) -> list[str]:
    old = {repr(sorted(asked(one).items(), key=str)): one for one in before.when.not_}
    new = {repr(sorted(asked(one).items(), key=str)): one for one in after.when.not_}
    told = [f"not those with {_all(new[key])}" for key in new if key not in old]
    return told + [f"also those with {_all(old[key])}" for key in old if key not in new]


def _all(one: Conditions) -> str:
    return " and ".join(one.shown()) or "anything"
