"""Which rule of one policy is which of another, and which of them stand elsewhere."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from router.policy.difference.when import asked
from router.policy.schema import Rule

Pair = tuple[int | None, int | None]
"""Positions of a rule before and after; None where it is not there."""
MOST_COMPARED = 200
"""Rules without a namesake; more of them are paired only where they say the same."""
LIKE = 0.6


def paired(before: Sequence[Rule], after: Sequence[Rule]) -> list[Pair]:
    """Rules by name, else by what they say, else by likeness; in the order of `after`, then what is gone."""
    found: dict[int, int] = {}
    _by_key(found, before, after, lambda rule: rule.name)
    _by_key(found, before, after, lambda rule: rule.model_dump_json(exclude={"name"}, exclude_defaults=True))
    old, new = _left(found, before, after)
    if len(old) <= MOST_COMPARED and len(new) <= MOST_COMPARED:
        scores = [(-_likeness(before[i], after[j]), abs(i - j), i, j) for i in old for j in new]
        for score, _, i, j in sorted(scores):
            if -score >= LIKE and i not in found and j not in found.values():
                found[i] = j
    came_from = {j: i for i, j in found.items()}
    pairs: list[Pair] = [(came_from.get(j), j) for j in range(len(after))]
    return [*pairs, *((i, None) for i in range(len(before)) if i not in found)]


def _left(found: dict[int, int], before: Sequence[Rule], after: Sequence[Rule]) -> tuple[list[int], list[int]]:
    taken = set(found.values())
    return [i for i in range(len(before)) if i not in found], [j for j in range(len(after)) if j not in taken]


def _by_key(
    found: dict[int, int], before: Sequence[Rule], after: Sequence[Rule], key: Callable[[Rule], str | None]
) -> None:
    old, new = _left(found, before, after)
    waiting: dict[str, list[int]] = {}
    for j in reversed(new):
        if (name := key(after[j])) is not None:
            waiting.setdefault(name, []).append(j)
    for i in old:
        if (name := key(before[i])) is not None and waiting.get(name):
            found[i] = waiting[name].pop()


def _likeness(one: Rule, other: Rule) -> float:
    """0 to 1: mostly what they ask of requests, then whom they ask."""
    requests = _share({f"{k}={v}" for k, v in _said(one)}, {f"{k}={v}" for k, v in _said(other)})
    models = _share(set(one.candidates), set(other.candidates))
    same = (one.strategy == other.strategy) + (one.data == other.data) + (one.bar == other.bar)
    return 0.5 * requests + 0.35 * models + 0.05 * same


def _said(rule: Rule) -> list[tuple[str, object]]:
    facets = [(k, sorted(v) if isinstance(v, frozenset) else v) for k, v in asked(rule.when).items()]
    facets += [("dates", (rule.from_, rule.until))]
    return [*facets, *(("not", one.model_dump_json(exclude_defaults=True)) for one in rule.when.not_)]


def _share(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


def moved(positions: Sequence[int]) -> set[int]:
    """Indexes of the fewest items that have to move to bring positions into order."""
    tails: list[int] = []
    ends: list[int] = []
    back: list[int | None] = []
    for index, position in enumerate(positions):
        place = bisect_left(tails, position)
        tails[place : place + 1] = [position]
        ends[place : place + 1] = [index]
        back.append(ends[place - 1] if place else None)
    kept: set[int] = set()
    at = ends[-1] if ends else None
    while at is not None:
        kept.add(at)
        at = back[at]
    return set(range(len(positions))) - kept
