"""What changes in bars, and who has the evidence to serve under them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from router.policy.difference.told import Change, Effect
from router.policy.difference.words import other_fields, plain, quoted, several
from router.policy.evidence import Evidence, evidence_gap
from router.policy.policy import Policy
from router.policy.schema import Bar, Rule

NO_BAR = Bar(min=0.0)


def is_lower(after: Bar, before: Bar) -> bool:
    """Whether a bar promises less in one respect at least; bars of two kinds cannot be compared."""
    if after.max_drop is None and before.max_drop is None:
        return after.min < before.min or (before.min > 0 and after.confidence < before.confidence)
    if after.max_drop is not None and before.max_drop is not None:
        return after.max_drop > before.max_drop or after.confidence < before.confidence
    return after == NO_BAR or (after.max_drop is None and after.min == 0)


def bar_change(before: Bar, after: Bar) -> tuple[str, Effect | None]:
    """What became of a bar, in words."""
    lower, higher = is_lower(after, before), is_lower(before, after)
    effect: Effect | None = "loosens" if lower else "tightens" if higher else None
    sure = f", its confidence from {before.confidence:g} to {after.confidence:g}"
    sure = sure if before.confidence != after.confidence else ""
    if (before.max_drop is None) is not (after.max_drop is None):
        return f"bar changes from {in_words(before)} to {in_words(after)}", effect
    if before.shown() == after.shown():
        word = "lowered" if lower else "raised"
        return (
            f"confidence of the bar {after.shown()} {word} from {before.confidence:g} to {after.confidence:g}",
            effect,
        )
    if before.max_drop is not None and after.max_drop is not None:
        if before.vs != after.vs:
            return f"bar changes from {in_words(before)} to {in_words(after)}", effect
        word = "answers may be worse by more" if after.max_drop > before.max_drop else "answers may be worse by less"
        return f"{word}: at most {after.max_drop:g} instead of {before.max_drop:g} below {after.vs}{sure}", effect
    word = "lowered" if after.min < before.min else "raised"
    return f"bar {word} from {before.min:g} to {after.min:g}{sure}", effect


def in_words(bar: Bar) -> str:
    """A bar in a sentence."""
    return f"{bar.min:g}" if bar.max_drop is None else f"at most {bar.max_drop:g} below {bar.vs}"


def task_changes(a: Policy, b: Policy) -> Iterator[Change]:
    """What changes in the bars of tasks, and where they hold."""
    for name in dict.fromkeys([*a.tasks, *b.tasks]):
        about, before, after = f"task {quoted(name)}", a.tasks.get(name), b.tasks.get(name)

        def told(text: str, effect: Effect | None = None, about: str = about) -> Change:
            return Change(section="tasks", about=about, text=text, effect=effect)

        if before is None and after is not None:
            yield told(
                f"new, with the bar {in_words(after.bar)}{_where(b, name)}", "tightens" if _where(b, name) else None
            )
        elif after is None and before is not None:
            yield told(f"removed, with its bar {in_words(before.bar)}", "loosens" if _where(a, name) else None)
        elif before is not None and after is not None:
            if before.bar != after.bar:
                text, effect = bar_change(before.bar, after.bar)
                yield told(f"{text}{_where(b, name)}", effect)
            if before.pass_at != after.pass_at:
                is_up = after.pass_at > before.pass_at
                yield told(
                    f"an answer clears from {after.pass_at:g} on, before {before.pass_at:g}",
                    "tightens" if is_up else "loosens",
                )
            if before.metric != after.metric:
                now = "by any metric counts" if after.metric is None else f"by {plain(after.metric)} alone counts"
                was = "any counted" if before.metric is None else f"it was {plain(before.metric)}"
                yield told(
                    f"evidence {now} ({was})",
                    "loosens" if after.metric is None else "tightens" if before.metric is None else None,
                )
            for text in other_fields(before, after, ("bar", "pass_at", "metric")):
                yield told(text)


def _where(policy: Policy, task: str) -> str:
    """The rules under which a task's bar holds."""
    held = [
        quoted(policy.rule_name(i))
        for i, rule in enumerate(policy.rules)
        if task in (rule.when.task or ()) and rule.bar is None and rule.strategy != "fixed"
    ]
    return f"; it holds in {several(held)}" if held else ""


def evidence_changes(a: Policy, b: Policy, now: datetime) -> Iterator[Change]:
    """Which measurements are there that were not, or not any more."""
    for task, model in sorted({*a.evidence, *b.evidence}):
        before, after = a.evidence.get((task, model)), b.evidence.get((task, model))
        if before == after:
            continue
        about = f"{model} on task {quoted(task)}"
        if before is None and after is not None:
            text = f"measured now: {_measured(after, now)}"
        elif after is None and before is not None:
            text = f"evidence removed (it was {_measured(before, now)})"
        elif before is not None and after is not None:
            text = f"measured again: {_measured(after, now)}; before {_measured(before, now)}"
        yield Change(section="evidence", about=about, text=text)
    shorter = {problem.partition(": ")[2] for problem in a.evidence_problems}
    for problem in b.evidence_problems:
        if problem.partition(": ")[2] not in shorter:
            yield Change(section="evidence", about="", text=f"a file cannot be used: {problem}")


def _measured(evidence: Evidence, now: datetime) -> str:
    told = f"mean {evidence.mean:.2f}, at least {evidence.lower:.2f} on {evidence.n} samples"
    if evidence.expires is not None:
        gone = evidence.expires.timestamp() <= now.timestamp()
        told += f", {'expired' if gone else 'expires'} {evidence.expires:%Y-%m-%d}"
    return told


def standing_changes(a: Policy, b: Policy, was: Rule, rule: Rule, now: datetime) -> Iterator[str]:
    """Who may serve under a rule that could not, or could and may not: by evidence alone, without an artifact."""
    if rule.strategy == "fixed" or a.artifact is not None or b.artifact is not None:
        return
    for task in [*(rule.when.task or ())] or [None]:
        before, after = _standing(a, was, task, now), _standing(b, rule, task, now)
        told, says_so = f" for task {quoted(task)}" if task else "", f"for task {task}"
        gained = [name for name, gap in after.items() if gap is None and before.get(name, "not asked") is not None]
        lost = [(name, gap) for name, gap in after.items() if gap is not None and before.get(name, "") is None]
        waits = [(name, gap) for name, gap in after.items() if gap is not None and name not in before]
        if gained and _meets(was, task):
            yield f"{several(gained)} may serve{told} now"
        for name, gap in lost:
            yield f"{name} may not serve{'' if says_so in gap else told} any more: {gap}"
        for name, gap in waits:
            yield f"{name} does not serve{'' if says_so in gap else told} yet: {gap}"
        if after and all(gap is not None for gap in after.values()) and any(gap is None for gap in before.values()):
            rest = f"; requests go to {several(rule.fallback, 'or')}" if rule.fallback else "; requests are refused"
            yield f"no candidate may serve{told}{rest}"


def _meets(rule: Rule, task: str | None) -> bool:
    return rule.when.task is None or task in rule.when.task


def _standing(policy: Policy, rule: Rule, task: str | None, now: datetime) -> dict[str, str | None]:
    """Each candidate, and why its evidence does not carry the bar."""
    if rule.strategy == "fixed":
        return dict.fromkeys(rule.candidates)
    entry = policy.tasks.get(task) if task else None
    bar = policy.bar_of(rule, task)
    return {
        name: evidence_gap(
            policy.evidence.get((task, name)) if task else None,
            task=task, model=policy.models[name], bar=bar, metric=entry.metric if entry else None, now=now,
        )
        for name in rule.candidates
    }  # fmt: skip
