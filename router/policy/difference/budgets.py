"""What changes in the limits on spending."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal

from router.policy.difference.told import Change, Effect, Told
from router.policy.difference.words import percent, plain, quoted, seconds, several, usd
from router.policy.policy import Policy
from router.spend.budget import Budget
from router.spend.money import from_pico
from router.spend.windows import Window

_LENGTH_S = {"minute": 60, "hour": 3_600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}
_DOES = {
    "notify": "tells somebody", "downgrade": "goes to cheaper models", "wait": "lets calls wait",
    "approve": "asks for approval", "deny": "refuses",
}  # fmt: skip
_SAID = ("name", "unit", "limit", "window", "scope", "lacking", "steps", "is_open", "wait_s")


def budget_changes(a: Policy, b: Policy) -> Iterator[Change]:
    """Budgets that come, go, or limit otherwise; paired by name, else by what they are about."""
    before, after = list(a.budgets.each), list(b.budgets.each)
    for old, new in _paired(before, after):
        if old is None and new is not None:
            effect: Effect | None = "tightens" if new.ceiling is not None else None
            yield Change(section="budgets", about=_about(new), text=f"new: {_introduced(new)}", effect=effect)
        elif new is None and old is not None:
            text = f"removed (it was {_introduced(old)})"
            yield Change(section="budgets", about=_about(old), text=text, effect="loosens")
        elif old is not None and new is not None:
            about = _about(new)
            for told, does in _differs(old, new):
                yield Change(section="budgets", about=about, text=told, effect=does)


def _about(budget: Budget) -> str:
    return f"budget {quoted(budget.name)}"


def _paired(before: list[Budget], after: list[Budget]) -> Iterator[tuple[Budget | None, Budget | None]]:
    left = list(after)
    pairs: list[tuple[Budget | None, Budget | None]] = []
    for rank in (_by_name, _by_scope):
        for old in list(before):
            found = next((one for one in left if rank(old, one)), None)
            if found is not None:
                pairs.append((old, found))
                before.remove(old)
                left.remove(found)
    yield from pairs
    yield from ((old, None) for old in before)
    yield from ((None, new) for new in left)


def _by_name(one: Budget, other: Budget) -> bool:
    return one.name == other.name


def _by_scope(one: Budget, other: Budget) -> bool:
    return (one.unit, one.scope, one.lacking) == (other.unit, other.scope, other.lacking)


def _introduced(budget: Budget) -> str:
    steps = ", ".join(f"{_DOES[step.action]} at {100 * step.share:g} %" for step in budget.steps)
    return f"{' '.join(filter(None, [_limit(budget), _window(budget)]))} for {_scope(budget)}; {steps}"


def _limit(budget: Budget, limit: int | None = None) -> str:
    limit = budget.limit if limit is None else limit
    if budget.unit == "usd":
        return usd(from_pico(limit))
    return f"{limit:,} {'calls at once' if budget.unit == 'concurrent' else budget.unit}"


def _window(budget: Budget) -> str:
    if budget.unit == "concurrent":
        return ""
    window = budget.window
    if window.unit is None:
        return f"in any {seconds(window.rolling_s)}"
    article = "an" if window.unit == "hour" else "a"
    return f"{article} {window.unit}{'' if window.tz == 'UTC' else f' ({window.tz})'}"


def _scope(budget: Budget) -> str:
    if budget.lacking:
        return f"requests without {several(budget.lacking, 'or')}"
    parts = [
        f"each {name}" if values is None else f"{name} {several(values)}{' together' if len(values) > 1 else ''}"
        for name, values in budget.scope.items()
    ]
    return " and ".join(parts) or "everything"


def _differs(old: Budget, new: Budget) -> Told:
    if old.name != new.name:
        yield f"was called {quoted(old.name)}", None
    if old.unit != new.unit:
        yield f"limits {_limit(new)} {_window(new)} instead of {_limit(old)} {_window(old)}", None
    elif (old.limit, old.window) != (new.limit, new.window):
        yield _amount(old, new)
    if (old.scope, old.lacking) != (new.scope, new.lacking):
        yield f"is about {_scope(new)}, before about {_scope(old)}", _scope_effect(old, new)
    yield from _steps(old, new)
    if old.is_open is not new.is_open:
        verb = "go through" if new.is_open else "are refused"
        yield f"calls whose worst case nobody knows {verb} now", "loosens" if new.is_open else "tightens"
    for key in fields(new):
        if key.name not in _SAID and getattr(old, key.name) != getattr(new, key.name):
            yield f"`{key.name}` is {plain(getattr(new, key.name))}, before {plain(getattr(old, key.name))}", None
    if old.wait_s != new.wait_s and old.wait_s and new.wait_s:
        yield f"calls wait for at most {seconds(new.wait_s)}, before {seconds(old.wait_s)}", None


def _amount(old: Budget, new: Budget) -> tuple[str, Effect | None]:
    if old.window == new.window:
        word = "raised" if new.limit > old.limit else "lowered"
        shown = f"from {_limit(old)} to {_limit(new)} {_window(new)}".rstrip()
        return (
            f"limit {word} {shown}{percent(old.limit, new.limit)}",
            "loosens" if new.limit > old.limit else "tightens",
        )
    told = f"{_limit(new)} {_window(new)} instead of {_limit(old)} {_window(old)}"
    lengths = _length_s(old.window), _length_s(new.window)
    if lengths[0] == lengths[1]:
        more = new.limit - old.limit
        return told, "loosens" if more > 0 else "tightens" if more < 0 else None
    # More at once, or more over time, is more in some stretch of time.
    rate = Decimal(new.limit) / lengths[1] - Decimal(old.limit) / lengths[0]
    if new.limit > old.limit:
        told += f"; up to {_limit(new)} may go in {_stretch(old.window)}"
    is_more = new.limit > old.limit or rate > 0
    return told, "loosens" if is_more else "tightens"


def _stretch(window: Window) -> str:
    return seconds(window.rolling_s) if window.unit is None else f"one {window.unit}"


def _length_s(window: Window) -> int:
    return window.rolling_s if window.unit is None else _LENGTH_S[window.unit]


def _scope_effect(old: Budget, new: Budget) -> Effect | None:
    """Whether some requests are limited less: are not meant any more, or share with fewer others."""
    if bool(old.lacking) is not bool(new.lacking) or old.lacking != new.lacking:
        return "loosens"
    ways = {_key_way(old.scope.get(key, ()), new.scope.get(key, ())) for key in {*old.scope, *new.scope}}
    return "tightens" if ways <= {0, -1} else "loosens"


def _key_way(old: tuple[str, ...] | None, new: tuple[str, ...] | None) -> int:
    """1: fewer requests share the limit now; -1: more do; 2: nobody can say. `()`: the key is not asked."""
    if old == new:
        return 0
    if old == ():
        return 1
    if new == ():
        return -1
    if old is None or new is None:
        values = new if old is None else old
        single = values is not None and len(values) == 1
        return (1 if old is None else -1) if single else 2
    if set(new) < set(old):
        return 1
    return -1 if set(new) > set(old) else 2


def _steps(old: Budget, new: Budget) -> Told:
    if old.steps == new.steps:
        return
    for action in _DOES:
        before = sorted(step.share for step in old.steps if step.action == action)
        after = sorted(step.share for step in new.steps if step.action == action)
        if before == after:
            continue
        shown = [several(f"{100 * share:g} %" for share in shares) for shares in (before, after)]
        if not before:
            yield f"{_DOES[action]} at {shown[1]} now", "tightens"
        elif not after:
            yield f"does not do so any more at {shown[0]}: {_DOES[action]}", "loosens"
        else:
            is_later = after[0] > before[0]
            yield f"{_DOES[action]} at {shown[1]} instead of {shown[0]}", "loosens" if is_later else "tightens"
    if old.ceiling is not None and new.ceiling is None:
        yield "stops nothing any more: no step of it waits, asks or refuses", "loosens"
