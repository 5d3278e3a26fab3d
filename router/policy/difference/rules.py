"""What changes in the rows of the routing table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from router.policy.difference.bars import NO_BAR, bar_change, in_words, is_lower, standing_changes
from router.policy.difference.order import Pair, moved, paired
from router.policy.difference.overlap import Overlap
from router.policy.difference.rule_keys import key_changes
from router.policy.difference.told import Change, Effect, Told
from router.policy.difference.when import dates_of, when_change
from router.policy.difference.words import joined_left, quoted, several
from router.policy.policy import Policy
from router.policy.schema import Rule


def rule_changes(a: Policy, b: Policy, now: datetime) -> Iterator[Change]:
    """Rules that come, go, stand elsewhere, or say something else; in the order of the new table."""
    pairs, overlap = paired(a.rules, b.rules), Overlap(a, b, now)
    ways = {j: when_change(a.rules[i], b.rules[j], overlap) for i, j in pairs if i is not None and j is not None}
    came_from = {j: i for i, j in pairs if j is not None}
    moves = dict(_moves(b, pairs, overlap))
    for i, j in pairs:
        if j is None and i is not None:
            yield from _as(f"rule {quoted(a.rule_name(i))}", _gone(a, b, i, came_from, overlap))
        elif j is not None:
            about = f"rule {quoted(b.rule_name(j))}"
            if i is None:
                yield from _as(about, _new(b, j, overlap))
            else:
                told: list[tuple[str, Effect | None]] = []
                if a.rules[i].name != b.rules[j].name:
                    told.append((f"was called {quoted(a.rule_name(i))}", None))
                told += [(moves[j], None)] if j in moves else []
                way = ways[j]
                if way is not None:
                    lost = guards(a, i) if way[1] != "more" else []
                    told.append((f"{way[0]}{_not_held(lost)}", "loosens" if lost else None))
                told += _said(a, b, i, j, now)
                yield from _as(about, iter(told))
    yield from _overtaken(b, came_from, overlap, {j for j, way in ways.items() if way and way[1] != "fewer"})


def _as(about: str, told: Told) -> Iterator[Change]:
    yield from (Change(section="rules", about=about, text=text, effect=effect) for text, effect in told)


def asks(rule: Rule) -> str:
    """The requests of a rule, in words."""
    return ", ".join([*rule.when.shown(), *dates_of(rule)]) or "every request"


def guards(policy: Policy, position: int) -> list[str]:
    """What a rule holds its requests' data to."""
    return list(filter(None, [policy.rules[position].data.shown()]))


def _not_held(lost: list[str]) -> str:
    return f"; what does not meet it is not held to: {', '.join(lost)}" if lost else ""


def _new(b: Policy, j: int, overlap: Overlap) -> Told:
    rule = b.rules[j]
    told = f"new, for {asks(rule)}: asks {_in_turn(rule) if rule.candidates else 'nobody'}"
    told += f", else {several(rule.fallback, 'then')}" if rule.fallback else ""
    bars = {in_words(b.bar_of(rule, task)) for task in [*(rule.when.task or ())] or [None]}
    told += f"; bar {' or '.join(sorted(bars))}" if rule.strategy != "fixed" else ""
    told += f"; {rule.data.shown()}" if rule.data.shown() else ""
    yield told, "tightens" if rule.data.shown() else None
    behind = _behind(b, j, overlap)
    if behind:
        yield (
            f"decides before {several(quoted(b.rule_name(k)) for k in behind)}, which would have had these requests",
            None,
        )
    if any(overlap.covers(b.rules[k], rule) for k in range(j)):
        yield "is never reached: a rule before it takes all of its requests", None


def _in_turn(rule: Rule) -> str:
    names = rule.candidates
    if len(names) == 1 or rule.strategy == "fixed":
        return several(names, "then")
    if rule.strategy == "cascade":
        return f"cheap ones first of {several(names)}"
    return f"the cheapest with evidence of {several(names)}"


def _behind(policy: Policy, position: int, overlap: Overlap) -> list[int]:
    """Later rules that may meet the same requests, up to the first that takes them all."""
    found: list[int] = []
    for k in range(position + 1, len(policy.rules)):
        if not overlap.apart(policy.rules[position], policy.rules[k]):
            found.append(k)
            if overlap.covers(policy.rules[k], policy.rules[position]):
                break
    return found


def _gone(a: Policy, b: Policy, i: int, came_from: Mapping[int, int | None], overlap: Overlap) -> Told:
    rule = a.rules[i]
    heirs: list[int] = []
    ends = False
    for k, other in enumerate(b.rules):
        was = came_from[k]  # what stood before it has taken its own already
        if (was is None or was > i) and not overlap.apart(rule, other):
            heirs.append(k)
            if ends := overlap.covers(other, rule):
                break
    told = f"removed; it was for {asks(rule)}"
    told += f"; {several(quoted(b.rule_name(k)) for k in heirs)} may take them" if heirs else ""
    told += "" if ends else "; some of them may meet no rule, and are refused"
    lost = list(dict.fromkeys(word for k in heirs for word in weaker(a, i, b, k)))
    told += f"; lost: {', '.join(lost)}" if lost else ""
    yield told, "loosens" if lost else None


def weaker(a: Policy, i: int, b: Policy, j: int) -> list[str]:
    """What a rule held its requests to, and another one does not."""
    rule, other = a.rules[i], b.rules[j]
    if rule.data.refuse is not None:
        return [] if other.data.refuse is not None else [f"refused: {rule.data.refuse}"]
    if other.data.refuse is not None:
        return []
    lost = ["data stays local"] if rule.data.local_only and not other.data.local_only else []
    if rule.data.regions and not (other.data.local_only and not rule.data.regions):
        allowed = other.data.regions
        if allowed is None or not set(allowed) <= set(rule.data.regions):
            lost.append(f"only in {' or '.join(rule.data.regions)}")
    if rule.data.log == "none" and other.data.log != "none":
        lost.append("no text is kept")
    common: set[str | None] = set(rule.when.task or other.when.task or ())
    if rule.when.task and other.when.task:
        common &= set(other.when.task)
    for task in sorted(common, key=str) if common else [None]:
        before = NO_BAR if rule.strategy == "fixed" else a.bar_of(rule, task)
        after = NO_BAR if other.strategy == "fixed" else b.bar_of(other, task)
        if is_lower(after, before):
            lost.append(f"the bar {f'of task {quoted(task)} ' if task else ''}({in_words(before)})")
    return lost


def _said(a: Policy, b: Policy, i: int, j: int, now: datetime) -> list[tuple[str, Effect | None]]:
    """What a rule says otherwise, besides whom it meets."""
    before, after = a.rules[i], b.rules[j]
    told: list[tuple[str, Effect | None]] = []
    if before.strategy != after.strategy:
        told.append(_strategy(before, after))
    elif after.strategy != "fixed" and before.bar != after.bar:
        told.append(_own_bar(a, b, before, after))
    for key, what in (("candidates", "asks"), ("fallback", "falls back on")):
        told += [(text, None) for text in _models(getattr(before, key), getattr(after, key), what, after)]
    told += [(text, None) for text in standing_changes(a, b, before, after, now)]
    return [*told, *key_changes(before, after)]


def _strategy(before: Rule, after: Rule) -> tuple[str, Effect | None]:
    if after.strategy == "fixed":
        return (
            f"asks in a fixed order now ({several(after.candidates, 'then')}): no bar holds, no evidence is needed",
            "loosens",
        )
    if before.strategy == "fixed":
        return "asks the cheapest that has evidence for the bar now, instead of a fixed order", "tightens"
    if after.strategy == "cascade":
        return "may ask a cheap model first and a dearer one only where its answer does not hold (cascade)", None
    return "asks one model for each request, instead of a cascade", None


def _own_bar(a: Policy, b: Policy, before: Rule, after: Rule) -> tuple[str, Effect | None]:
    if before.bar is not None and after.bar is not None:
        return bar_change(before.bar, after.bar)
    tasks = [*(after.when.task or ())] or [None]
    bars = [(a.bar_of(before, task), b.bar_of(after, task)) for task in tasks]
    lower, higher = any(is_lower(new, old) for old, new in bars), any(is_lower(old, new) for old, new in bars)
    effect: Effect | None = "loosens" if lower else "tightens" if higher else None
    if after.bar is not None:
        instead = sorted({old.shown() for old, _ in bars})
        return f"has a bar of its own now: {after.bar.shown()} instead of the task's {' and '.join(instead)}", effect
    instead = sorted({new.shown() for _, new in bars})
    return f"has no bar of its own any more; the task's holds: {' and '.join(instead)}", effect


def _models(before: list[str], after: list[str], what: str, rule: Rule) -> Iterator[str]:
    new, gone = joined_left(before, after)
    if new:
        yield f"{what} {several(new)} too" if before else f"{what} {several(new)} now"
    if gone:
        yield f"{what} {several(gone)} no more" if after else f"{what} nobody any more (it was {several(gone)})"
    if not new and not gone and before != after and (what != "asks" or rule.strategy == "fixed"):
        yield f"{what} them in another order: {', '.join(after)}"


def _moves(b: Policy, pairs: list[Pair], overlap: Overlap) -> Iterator[tuple[int, str]]:
    """What stands elsewhere, where that matters: what it decides before now, and what decides before it."""
    both = sorted((i, j) for i, j in pairs if i is not None and j is not None)
    for index in moved([j for _, j in both]):
        i, j = both[index]
        rivals = [(k, m) for k, m in both if k != i and not overlap.apart(b.rules[j], b.rules[m])]
        passed = [quoted(b.rule_name(m)) for k, m in rivals if k < i and m > j]
        behind = [quoted(b.rule_name(m)) for k, m in rivals if k > i and m < j]
        told = [f"decides before {several(passed)} now"] if passed else []
        told += [f"{several(behind)} decide{'s' if len(behind) == 1 else ''} before it now"] if behind else []
        if told:
            yield j, f"moved: {', and '.join(told)}"


def _overtaken(b: Policy, came_from: Mapping[int, int | None], overlap: Overlap, widened: set[int]) -> Iterator[Change]:
    """Rules that now take requests before others which hold theirs to more."""
    guarded = [p for p, rule in enumerate(b.rules) if rule.data.shown() or rule.strategy != "fixed"]
    for w, rule in enumerate(b.rules):
        was = came_from[w]
        passed: dict[str, list[str]] = {}
        for p in guarded:
            old = came_from[p]
            is_news = p > w and old is not None and (was is None or was > old or w in widened)
            if is_news and not overlap.apart(rule, b.rules[p]) and (lost := weaker(b, p, b, w)):
                passed[quoted(b.rule_name(p))] = lost
        if passed:
            lost = list(dict.fromkeys(word for words in passed.values() for word in words))
            told = f"takes requests before {several(passed)} {'does' if len(passed) == 1 else 'do'}"
            about = f"rule {quoted(b.rule_name(w))}"
            told += f"; they are not held to: {several(lost)}"
            yield Change(section="rules", about=about, text=told, effect="loosens")
