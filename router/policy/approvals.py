"""What is approved when somebody agrees to a policy's bars, and what has changed in it.

What is approved is everything that decides which bar a request is held against, and what goes past one: the tasks, the
rules in their order with their conditions, and who may approve. `signing.py` makes and checks the signatures.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.policy.policy import Policy

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]{0,63}")
RULE_KEYS = ("when", "from_", "until", "bar", "strategy", "fallback", "canary")
"""Of a rule: whom it is for, its bar, and who may answer without one."""


Content = Mapping[str, Any]
"""What is approved, as JSON values."""


def content_of(policy: Policy) -> Content:
    """Everything of a policy that sets bars, or goes past them. Comments, layout and defaults are not in it."""
    rules = []
    for position, rule in enumerate(policy.rules):
        given = rule.model_dump(mode="json", exclude_defaults=True, include=set(RULE_KEYS))
        rules.append({"name": rule.name or f"rule {position + 1}", **given})
    tasks = {name: task.model_dump(mode="json", exclude_defaults=True) for name, task in policy.tasks.items()}
    asked = policy.approvals
    approvers = {"keys": dict(asked.keys), "need": asked.need} if asked else {}
    return {"environment": policy.environment, "tasks": tasks, "rules": rules, "approvers": approvers}


def is_content(value: object) -> bool:
    """Whether JSON values have the form of a content, so that changes from it can be told."""
    if not isinstance(value, dict):
        return False
    tasks, rules, approvers = (value.get(name) for name in ("tasks", "rules", "approvers"))
    if not (isinstance(tasks, dict) and isinstance(rules, list) and isinstance(approvers, dict)):
        return False
    if not all(isinstance(one, dict) for one in [*tasks.values(), *rules, approvers.get("keys", {})]):
        return False
    bars = [one.get("bar", {}) for one in [*tasks.values(), *rules]]
    numbers = [bar.get(name, 0) for bar in bars if isinstance(bar, dict) for name in ("min", "max_drop", "confidence")]
    return (
        all(isinstance(rule.get("name"), str) for rule in rules)
        and all(isinstance(bar, dict) for bar in bars)
        and all(isinstance(number, int | float) for number in numbers)
    )


def canonical(value: Any) -> bytes:
    """JSON values as bytes, always the same."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode()


def digest_of(content: Content) -> str:
    """16 hex digits that name a content."""
    return hashlib.sha256(canonical(content)).hexdigest()[:16]


def changes(old: Content | None, new: Content) -> list[str]:
    """What differs between two contents, in words; from nothing, everything."""
    before: Content = old or {"environment": new["environment"], "tasks": {}, "rules": [], "approvers": {}}
    told = [*_tasks(before["tasks"], new["tasks"]), *_rules(before["rules"], new["rules"]),
            *_approvers(before["approvers"], new["approvers"])]  # fmt: skip
    # A name could otherwise overwrite, on the approver's screen, the line that tells what it lowers.
    return [printable(line) for line in told]


def printable(text: str) -> str:
    """A text of somebody else's on one line, without signs that a terminal obeys."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _tasks(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*old, *new]):
        yield from _keys(f"task {name}", old.get(name), new.get(name), ("bar", "pass_at", "metric"))


def _rules(old: list[Mapping[str, Any]], new: list[Mapping[str, Any]]) -> Iterator[str]:
    was, now = _by_name(old), _by_name(new)
    for name in dict.fromkeys([*was, *now]):
        yield from _keys(f"rule {name}", was.get(name), now.get(name), RULE_KEYS)
    before, after = [name for name in was if name in now], [name for name in now if name in was]
    if before != after:
        yield f"the rules stand in another order: {', '.join(after)} (before: {', '.join(before)})"


def _by_name(rules: list[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Rules in their order; of several of one name, the later ones are counted."""
    found: dict[str, Mapping[str, Any]] = {}
    for rule in rules:
        same = sum(one["name"] == rule["name"] for one in found.values())
        found[f"{rule['name']} ({same + 1})" if same else rule["name"]] = rule
    return found


def _approvers(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    was, now = old.get("keys", {}), new.get("keys", {})
    for name in dict.fromkeys([*was, *now]):
        if was.get(name) != now.get(name):
            what = "may approve" if name not in was else "may approve no more" if name not in now else "has another key"
            yield f"{name} {what}"
    if old.get("need") != new.get("need") and new:
        before = f" (before: {old['need']})" if old else ""
        yield f"needs {new['need']} of {len(now)} approvers{before}"


def _keys(
    what: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, names: tuple[str, ...]
) -> Iterator[str]:
    if new is None:
        yield f"{what} is gone"
        return
    if old is None:
        told = [f"{name.rstrip('_')} {_shown(name, new[name])}" for name in names if name in new]
        yield f"{what} is new: {', '.join(told) or 'nothing set'}"
        return
    for name in names:
        if old.get(name) != new.get(name):
            before, after = (_shown(name, one.get(name)) for one in (old, new))
            yield f"{what}: {name.rstrip('_')} {after} (before: {before}){_way(name, old.get(name), new.get(name))}"


def _shown(name: str, value: Any) -> str:
    if value is None:
        return {"strategy": "single", "pass_at": "0.5", "when": "always"}.get(name, "none")
    if name == "bar":
        if "max_drop" in value:
            told = f"drop {value['max_drop']:g} vs {value.get('vs')}"
        else:
            told = f"{value.get('min', 0.0):g}"
        return f"{told} at {value['confidence']:g}" if "confidence" in value else told
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=True)


def _way(name: str, old: Any, new: Any) -> str:
    """Whether a bar was lowered or raised, where that can be told."""
    if name != "bar" or old is None or new is None or {"max_drop", "vs"} & {*old, *new}:
        return ""
    was, now = ((one.get("min", 0.0), one.get("confidence", 0.95)) for one in (old, new))
    return ": lowered" if now[0] < was[0] else ": raised" if now[0] > was[0] else ""
