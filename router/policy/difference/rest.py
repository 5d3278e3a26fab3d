"""What changes in a policy besides models, tasks, rules and budgets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields

from router.policy.difference.told import Change, Told
from router.policy.difference.words import joined_left, other_fields, plain, quoted, several
from router.policy.policy import Policy
from router.policy.schema import PolicyFile
from router.validation import validated

_KEPT = ("none", "redacted", "full")
_MODES = ("off", "shadow", "on")
_SAID = (
    "version", "models", "tasks", "rules", "include", "environments", "artifact", "evidence", "prices", "data",
    "learning", "budgets", "required_tags", "breaker", "alerts", "tests", "approvals",
)  # fmt: skip


def rest_changes(a: Policy, b: Policy, artifacts: tuple[str | None, str | None]) -> Iterator[Change]:
    """Everything else; a key that has no words yet is named, and never passed over."""
    for section, told in (
        ("data", _data(a, b)), ("learning", _learning(a, b)), ("breaker", _breaker(a, b)), ("alerts", _alerts(a, b)),
        ("tests", _tests(a, b)), ("other", _artifact(a, b, artifacts)), ("budgets", _required(a, b)),
        ("other", _approvals(a, b)), ("other", _others(a, b)),
    ):  # fmt: skip
        yield from (Change(section=section, about="", text=text, effect=effect) for text, effect in told)


def _data(a: Policy, b: Policy) -> Told:
    old, new = a.data, b.data
    if old.store_text != new.store_text:
        words = {"none": "no text is kept", "redacted": "text is kept, redacted", "full": "text is kept as it is"}
        days = f", for {new.keep_days} days" if new.store_text != "none" else ""
        is_more = _KEPT.index(new.store_text) > _KEPT.index(old.store_text)
        yield f"{words[new.store_text]}{days} (before: {words[old.store_text]})", "loosens" if is_more else "tightens"
    elif new.store_text != "none" and old.keep_days != new.keep_days:
        yield (
            f"text is kept for {new.keep_days} days instead of {old.keep_days}",
            ("loosens" if new.keep_days > old.keep_days else "tightens"),
        )
    if "none" not in (old.store_text, new.store_text) and old.tasks != new.tasks:
        narrower = old.tasks is None or (new.tasks is not None and set(new.tasks) < set(old.tasks))
        shown = [f"task {several(one, 'or')}" if one else "all tasks" for one in (old.tasks, new.tasks)]
        yield f"text is kept of {shown[1]} instead of {shown[0]}", "tightens" if narrower else "loosens"
    yield from ((text, None) for text in other_fields(old, new, ("store_text", "keep_days", "tasks")))


def _learning(a: Policy, b: Policy) -> Told:
    old, new = a.learning, b.learning
    if old.from_feedback is not new.from_feedback:
        if new.from_feedback:
            yield (
                "feedback bars models whose answers fall below the bar, and moves what is expected of them",
                "tightens",
            )
        else:
            yield "feedback does not bar models below the bar any more", "loosens"
    if old.explore != new.explore:
        yield f"{100 * new.explore:g} % of the requests explore, before {100 * old.explore:g} %", None
    yield from ((text, None) for text in other_fields(old, new, ("from_feedback", "explore")))


def _breaker(a: Policy, b: Policy) -> Told:
    old, new = a.breaker, b.breaker
    if old.mode != new.mode:
        words = {"off": "runs are not stopped", "shadow": "runs that run away are written down, and not stopped",
                 "on": "runs that run away are stopped"}  # fmt: skip
        is_less = _MODES.index(new.mode) < _MODES.index(old.mode)
        yield f"{words[new.mode]} (before: {words[old.mode]})", "loosens" if is_less else "tightens"
    if old.factor != new.factor:
        yield (
            f"runs may be {new.factor:g} times as large as usual, before {old.factor:g} times",
            ("loosens" if new.factor > old.factor else "tightens"),
        )
    for name in dict.fromkeys([*old.limits, *new.limits]):
        before, after, shown = old.limits.get(name), new.limits.get(name), name.replace("_", " ")
        if before == after:
            continue
        if after is None:
            yield f"no limit on {shown} any more (it was {before:g}); what is usual decides", "loosens"
        elif before is None:
            yield f"runs are stopped at {shown} {after:g}", None
        else:
            yield (
                f"runs are stopped at {shown} {after:g} instead of {before:g}",
                "loosens" if after > before else "tightens",
            )


def _alerts(a: Policy, b: Policy) -> Told:
    old, new = {sink.name: sink for sink in a.alerts}, {sink.name: sink for sink in b.alerts}
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            yield f"{quoted(plain(name))} is not told any more (it was told of {several(old[name].on)})", "loosens"
        elif name not in old:
            yield f"{quoted(plain(name))} ({new[name].kind}) is told of {several(new[name].on)}", "tightens"
        elif old[name] != new[name]:
            more, less = joined_left(old[name].on, new[name].on)
            if more:
                yield f"{quoted(plain(name))} is also told of {several(more)}", "tightens"
            if less:
                yield f"{quoted(plain(name))} is not told of {several(less)} any more", "loosens"
            keys = [f.name for f in fields(new[name]) if getattr(old[name], f.name) != getattr(new[name], f.name)]
            for key in keys:
                if key != "on":
                    before, after = getattr(old[name], key), getattr(new[name], key)
                    yield f"{quoted(plain(name))}: `{key}` changes from {plain(before)} to {plain(after)}", None


def _tests(a: Policy, b: Policy) -> Told:
    old = {case.name or case.model_dump_json(exclude_defaults=True): case for case in a.tests}
    new = {case.name or case.model_dump_json(exclude_defaults=True): case for case in b.tests}
    gone = [case.name or "one without a name" for name, case in old.items() if name not in new and case not in b.tests]
    added = [case.name or "one without a name" for name, case in new.items() if name not in old]
    if gone:
        yield f"removed: {several(map(quoted, gone))}", "loosens"
    if added:
        yield f"new: {several(map(quoted, added))}", "tightens"
    for name in old:
        if name in new and old[name] != new[name]:
            keys = [key for key in ("given", "expect") if getattr(old[name], key) != getattr(new[name], key)]
            yield f"{quoted(name)} {' and '.join(keys)} something else", None


def _artifact(a: Policy, b: Policy, artifacts: tuple[str | None, str | None]) -> Told:
    old, new = (os.path.relpath(one.artifact, one.path.parent) if one.artifact else None for one in (a, b))
    if old != new:
        if new is None:
            yield f"no learned plans any more (artifact {old} removed)", None
        else:
            yield f"learned plans out of the artifact {new}{f' instead of {old}' if old else ''}", None
    elif new is not None and artifacts[0] != artifacts[1]:
        yield f"the artifact {new} was trained again: learned plans may be others", None


def _required(a: Policy, b: Policy) -> Told:
    new, gone = joined_left(a.required_tags, b.required_tags)
    if new:
        yield f"requests without {several(new, 'or')} are unallocated", "tightens"
    if gone:
        yield f"requests need not carry {several(gone, 'or')} any more", "loosens"


def _approvals(a: Policy, b: Policy) -> Told:
    old, new = a.approvals, b.approvals
    if new is None or old is None:
        if new is not None:
            names = several(list(new.keys), "or")
            yield f"bars are served only once {new.need} of {names} approved them", "tightens"
        elif old is not None:
            yield "bars need nobody's approval any more", "loosens"
        return
    if old.need != new.need:
        told = f"bars need {new.need} approvals instead of {old.need}"
        yield told, "tightens" if new.need > old.need else "loosens"
    for name in dict.fromkeys([*old.keys, *new.keys]):
        if name not in new.keys:
            yield f"{quoted(name)} may approve bars no more", "tightens"
        elif old.keys.get(name) != new.keys[name]:
            what = "may approve bars with another key" if name in old.keys else "may approve bars as well"
            yield f"{quoted(name)} {what}", "loosens"
    if old.folder != new.folder:
        yield f"approvals are looked for in {quoted(new.folder)} instead of {quoted(old.folder)}", None


def _others(a: Policy, b: Policy) -> Told:
    old, new = (validated(PolicyFile, one.document) for one in (a, b))
    yield from ((text, None) for text in other_fields(old, new, _SAID))
