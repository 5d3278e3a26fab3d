"""Two policies over the same requests: what changes, in total and by scope, and how sure that is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from router.simulate.intervals import LEAST, NOTHING, SAME, Interval, by_spread, next_ratio, next_share, resting
from router.simulate.pairs import Pair, Rest, Side, Simulated

Array = NDArray[np.float64]
ROUGH = (0.5, 2.0)
"""What a rough cost may come to, of what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One policy on some requests."""

    denied: Interval
    """Share of requests without an answer."""
    cost_usd: float | None
    """Mean of the requests whose cost is known under both policies."""
    quality: float | None
    """Mean of the requests that both policies answer, as far as it is known."""
    latency_s: float | None
    """The same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some requests under both policies."""

    scope: Mapping[str, str]
    """Empty: all."""
    requests: int
    changed: float
    """Share that is asked of other models, denied or no longer denied."""
    extrapolated: float
    """Share of which nothing like it was recorded under one of the policies: expectation alone."""
    before: Figures
    after: Figures
    cost: Interval
    """Change of the sum, relative: -0.2 is a fifth less."""
    quality: Interval
    """Change of the mean."""
    latency: Interval
    """Change of the mean, relative."""
    denied: Interval
    """Change of the share."""
    unknown: Mapping[str, int]
    """Requests without a figure, by its name: left out of its comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changes."""

    total: Group
    groups: Sequence[Group]
    """The dearest first."""
    new_requests: int
    """The intervals are about so many new ones."""
    effective_n: float | None
    """As in `Simulated`."""
    denials: Mapping[str, int]
    """Why the new policy answers not, with counts."""
    models: Mapping[str, Mapping[str, int]]
    """Requests by action, `before` and `after`."""
    left: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def compare(simulated: Simulated, by: Sequence[str] = (), new_requests: int | None = None) -> Comparison:
    """Compare the sides of all pairs.

    Args:
        simulated: at least one pair.
        by: names of the scope to group by, together.
        new_requests: how many requests are to come; default: as many.

    Raises:
        ValueError: there is no pair.
    """
    pairs = simulated.pairs
    if not pairs:
        raise ValueError("no request to compare")
    share = (new_requests or len(pairs)) / len(pairs)
    found: dict[tuple[str, ...], list[Pair]] = {}
    for pair in pairs if by else ():
        found.setdefault(tuple(pair.scope.get(name, "") for name in by), []).append(pair)
    groups = [_group(dict(zip(by, key, strict=True)), some, share, simulated) for key, some in found.items()]
    groups.sort(key=lambda one: (-(one.before.cost_usd or 0.0) * one.requests, tuple(one.scope.values())))
    return Comparison(
        total=_group({}, pairs, share, simulated),
        groups=groups,
        new_requests=new_requests or len(pairs),
        effective_n=simulated.effective_n,
        denials=dict(Counter(pair.b.denied for pair in pairs if pair.b.denied is not None).most_common()),
        models={
            "before": dict(Counter(pair.a.action or "nobody" for pair in pairs).most_common()),
            "after": dict(Counter(pair.b.action or "nobody" for pair in pairs).most_common()),
        },
        left={why: count for why, count in simulated.left.items() if count},
        notes=simulated.notes,
    )


def _group(scope: Mapping[str, str], pairs: Sequence[Pair], share: float, simulated: Simulated) -> Group:
    paid = [pair for pair in pairs if pair.a.cost_usd is not None and pair.b.cost_usd is not None]
    both = [pair for pair in pairs if pair.a.denied is None and pair.b.denied is None]
    good = [pair for pair in both if pair.a.quality is not None and pair.b.quality is not None]
    timed = [pair for pair in both if pair.a.latency_s is not None and pair.b.latency_s is not None]
    refused = [[side.denied is not None for side in sides] for sides in ((p.a for p in pairs), (p.b for p in pairs))]
    cost = _relative(paid, lambda side: side.cost_usd, share)
    latency = _relative(timed, lambda side: side.latency_s, share)
    denied = _difference(pairs, _is_denied, share)
    if denied.low == denied.high == 0 and any(pair.is_changed for pair in pairs):
        # Routes change: that nobody was denied otherwise so far does not mean that nobody will be.
        most = next_share(0, len(pairs), round(len(pairs) * share)).high
        low = None if most is None else -most
        denied = Interval(value=0.0, low=low, high=most, worst=low, best=most)
    levels = [next_share(sum(one), len(one), round(len(one) * share)) for one in refused]
    replicates = simulated.replicates if not scope else None
    if replicates is not None:
        # Budgets tie requests together: what one spends the next one lacks.
        freedom = float(len({pair.cluster for pair in pairs}) - 1)
        cost = _spread(cost, replicates.get("cost"), share, freedom)
        denied = _spread(denied, replicates.get("denied"), share, freedom)
        levels[1] = _within(_spread(levels[1], replicates.get("denied_b"), share, freedom))
    return Group(
        scope=scope,
        requests=len(pairs),
        changed=_share(pair.is_changed for pair in pairs),
        extrapolated=_share(pair.a.extrapolated or pair.b.extrapolated for pair in pairs),
        before=_figures([p.a for p in paid], [p.a for p in good], [p.a for p in timed], levels[0]),
        after=_figures([p.b for p in paid], [p.b for p in good], [p.b for p in timed], levels[1]),
        cost=_doubted(_resting(cost, paid, lambda side: (side.cost_usd, side.cost_rests)), paid, "cost"),
        quality=_doubted(_difference(good, lambda side: side.quality, share), both, "quality"),
        latency=_resting(latency, timed, lambda side: (side.latency_s, side.latency_rests)),
        denied=denied,
        unknown={
            name: count
            for name, count in (
                ("cost", len(pairs) - len(paid)),
                ("quality", len(both) - len(good)),
                ("latency", len(both) - len(timed)),
            )
            if count
        },
    )


def _figures(paid: Sequence[Side], good: Sequence[Side], timed: Sequence[Side], denied: Interval) -> Figures:
    return Figures(
        denied=denied,
        cost_usd=_mean([side.cost_usd for side in paid]),
        quality=_mean([side.quality for side in good]),
        latency_s=_mean([side.latency_s for side in timed]),
    )


def _relative(pairs: Sequence[Pair], of: Callable[[Side], float | None], share: float) -> Interval:
    """Change of a sum, of what it was."""
    if not pairs:
        return NOTHING
    before, after = _both(pairs, of)
    if before.sum() <= 0:
        same = not after.any() and not before.any()
        return Interval(value=0.0, low=0.0, high=0.0, worst=0.0, best=0.0) if same else NOTHING
    plain = _plain(pairs, of)
    fresh = None if plain is None else (plain[1] - plain[0], plain[0])
    is_rerouted = any(pair.is_changed for pair in pairs)
    clusters = _clusters(pairs)
    found = next_ratio(after - before, before, clusters, share, fresh=fresh, is_rerouted=is_rerouted)
    if is_rerouted and found.low == found.high and len(set(clusters)) < LEAST:
        return Interval(value=found.value)  # that a few came out alike is luck
    low = None if found.low is None else max(-1.0, found.low)
    return Interval(value=found.value, low=low, high=found.high, worst=low, best=found.high)


def _resting(
    one: Interval, pairs: Sequence[Pair], of: Callable[[Side], tuple[float | None, Sequence[Rest]]]
) -> Interval:
    """With the errors of the means that a relative change rests on: one error each for all requests that do."""
    if one.value is None:
        return one
    under, errors, freedom = 0.0, dict[str, float](), dict[str, float]()
    for pair in pairs:
        # The same mean on both sides: what it makes of the one it makes of the other.
        for side, sign in ((pair.b, 1.0), (pair.a, -(1.0 + one.value))):
            for rest in of(side)[1]:
                errors[rest.of] = errors.get(rest.of, 0.0) + sign * rest.error
                freedom[rest.of] = rest.freedom
        under += of(pair.a)[0] or 0.0
    variances = {name: (error / under) ** 2 for name, error in errors.items()} if under > 0 else {}
    variance = sum(variances.values())
    if variance <= SAME**2:
        return one
    known_by = variance**2 / sum(part**2 / freedom[name] for name, part in variances.items())  # Satterthwaite
    found = resting(one, math.sqrt(variance), known_by)
    low = None if found.low is None else max(-1.0, found.low)
    return Interval(value=found.value, low=low, high=found.high, worst=low, best=found.high)


def _difference(pairs: Sequence[Pair], of: Callable[[Side], float | None], share: float) -> Interval:
    """Change of a mean of figures in [0, 1]."""
    if not pairs:
        return NOTHING
    before, after = _both(pairs, of)
    ones, plain = np.ones(len(pairs)), _plain(pairs, of)
    fresh = None if plain is None else (plain[1] - plain[0], ones)
    noise = np.array([pair.noise for pair in pairs])
    inner = before != after
    if of is not _is_denied:
        inner |= np.array([pair.a.action != pair.b.action for pair in pairs])
    found = next_ratio(after - before, ones, _clusters(pairs), share, fresh=fresh, noise=noise, bound=1.0, inner=inner)
    if found.low is None or found.high is None:
        return found
    low, high = max(-1.0, found.low), min(1.0, found.high)
    return Interval(value=found.value, low=low, high=high, worst=low, best=high)


def _is_denied(side: Side) -> float:
    return float(side.denied is not None)


def _doubted(one: Interval, pairs: Sequence[Pair], figure: str) -> Interval:
    """With what the extrapolated part may do to it: quality anywhere from 0 to 1, rough costs half or double.

    Requests whose quality nobody knows stand in the estimate as the mean of the others.
    """
    if one.low is None or one.high is None:
        return one
    means = [_mean([pair.a.quality for pair in pairs]) or 0.0, _mean([pair.b.quality for pair in pairs]) or 0.0]
    down = up = under = 0.0
    for pair in pairs:
        a, b = pair.a, pair.b
        if figure == "quality":
            under += 1.0
            was = means[0] if a.quality is None else a.quality
            will = means[1] if b.quality is None else b.quality
            if pair.is_changed and b.extrapolated:
                down, up = down - max(will, 0.0), up + max(1.0 - will, 0.0)
            if pair.is_changed and a.extrapolated:
                down, up = down - max(1.0 - was, 0.0), up + max(was, 0.0)
        else:
            assert a.cost_usd is not None and b.cost_usd is not None  # noqa: S101  chosen so
            under += a.cost_usd
            if pair.is_changed and b.is_rough:
                down, up = down - (1 - ROUGH[0]) * b.cost_usd, up + (ROUGH[1] - 1) * b.cost_usd
            if pair.is_changed and a.is_rough:
                down, up = down - (ROUGH[1] - 1) * a.cost_usd, up + (1 - ROUGH[0]) * a.cost_usd
    if under <= 0:
        return one
    worst, best = max(-1.0, one.low + down / under), one.high + up / under
    return Interval(value=one.value, low=one.low, high=one.high, worst=worst,
                    best=min(1.0, best) if figure == "quality" else best)  # fmt: skip


def _spread(one: Interval, known: tuple[float, float] | None, share: float, freedom: float) -> Interval:
    if known is None or one.value is None:
        return one
    here, there = known
    found = by_spread(one.value, float(np.sqrt(here**2 + there**2 / share)), freedom)
    # The wider of the two: replicates of few requests may all come out alike.
    low = found.low if one.low is None or found.low is None else min(one.low, found.low)
    high = found.high if one.high is None or found.high is None else max(one.high, found.high)
    return Interval(value=one.value, low=low, high=high, worst=low, best=high)


def _within(one: Interval) -> Interval:
    low = None if one.low is None else max(0.0, one.low)
    high = None if one.high is None else min(1.0, one.high)
    return Interval(value=one.value, low=low, high=high, worst=low, best=high)


def _both(pairs: Sequence[Pair], of: Callable[[Side], float | None]) -> tuple[Array, Array]:
    return (
        np.array([of(pair.a) for pair in pairs], dtype=float),
        np.array([of(pair.b) for pair in pairs], dtype=float),
    )


def _plain(pairs: Sequence[Pair], of: Callable[[Side], float | None]) -> tuple[Array, Array] | None:
    if pairs[0].plain is None:
        return None
    sides = [pair.plain or (pair.a, pair.b) for pair in pairs]
    values = [[of(side) for side in both] for both in sides]
    if any(value is None for both in values for value in both):
        return None
    found = np.array(values, dtype=float)
    return found[:, 0], found[:, 1]


def _clusters(pairs: Sequence[Pair]) -> NDArray[np.int64]:
    number: dict[str, int] = {}
    return np.array([number.setdefault(pair.cluster, len(number)) for pair in pairs], dtype=np.int64)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _share(flags: object) -> float:
    listed = list(flags)  # type: ignore[call-overload]
    return float(np.mean(listed)) if listed else 0.0
