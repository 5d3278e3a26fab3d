"""What an artifact may promise: its held-out outcomes at every operating point, and the bars they carry.

Training keeps what each strategy did with queries it had not seen, so a bar can change without training again. A
policy's bars are held against them when a router starts, those that a request raises when they are first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.policy import Bar
from router.predict.guarantee import Promise, Shortfall, certify_drop, certify_min
from router.predict.labels import Floats, Indices

POINTS = 40
"""Operating points kept of each strategy."""
MOST_BARS = 1_024
"""Bars whose points are remembered; the one that was not asked for longest goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """One strategy on queries it had not seen; arrays of shape (points, n), points from cheapest to best."""

    prices: Floats
    """Shape (points,): quality per USD at each point."""
    quality: Floats
    cost_usd: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a strategy serves a task."""

    price: float
    """Quality per USD."""
    note: str
    """What is promised there, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A bar: a least mean quality, a greatest drop against a model, or both."""

    minimum: float
    max_drop: float | None
    versus: str | None
    confidence: float

    @classmethod
    def of(cls, bar: Bar) -> Asked:
        """What a policy's bar asks."""
        return cls(minimum=bar.min, max_drop=bar.max_drop, versus=bar.vs, confidence=bar.confidence)


class Promises:
    """The bars that held-out outcomes carry, by strategy and task; safe to share between threads.

    Args:
        models: names, in the order of the columns.
        tasks: names, in the order of their positions.
        task: shape (n,), task of each held-out query.
        quality: shape (n, m), of every model's own answer.
        cost_usd: shape (n, m).
        ways: strategy to what it did.
    """

    def __init__(
        self,
        *,
        models: Sequence[str],
        tasks: Sequence[str],
        task: Indices,
        quality: Floats,
        cost_usd: Floats,
        ways: Mapping[str, HeldOut],
    ) -> None:
        self._models, self._tasks = tuple(models), tuple(tasks)
        self._task, self._quality, self._cost = task, quality, cost_usd
        self._ways = dict(ways)
        # A request may raise the bar to any number, so what is remembered must end somewhere.
        self._certified = lru_cache(maxsize=MOST_BARS)(self._certify)

    def point(self, strategy: str, task: str, asked: Asked) -> Point | str:
        """The cheapest operating point of a strategy that carries a bar for a task, or why there is none."""
        return self._certified(strategy, task, asked)

    def _certify(self, strategy: str, task: str, asked: Asked) -> Point | str:
        if strategy not in self._ways:
            return f"the artifact has learned no {strategy}"
        if task not in self._tasks:
            return f"the artifact knows no task {task!r}"
        if asked.versus is not None and asked.versus not in self._models:
            return f"the artifact was trained without {asked.versus!r}"
        if asked.minimum >= 1:
            return "no number of labels proves a mean quality of 1"
        rows = np.flatnonzero(self._task == self._tasks.index(task))
        way = self._ways[strategy]
        quality, cost = way.quality[:, rows].astype(np.float64), way.cost_usd[:, rows].astype(np.float64)
        # Half the error is left to the traffic: a fresh sample as large as ours keeps the bar about as surely as asked.
        sure = 1.0 - (1.0 - asked.confidence) / 2.0
        label = float(self._cost[rows].sum(axis=1).mean()) if len(rows) else None
        # Roughly: this may run within a request, and an exact plan of the missing labels can take seconds.
        found: list[tuple[str, Promise | Shortfall]] = []
        if asked.max_drop is not None and asked.versus is not None:
            column = self._models.index(asked.versus)
            drop = certify_drop(
                quality,
                self._quality[rows, column].astype(np.float64),
                asked.max_drop,
                sure,
                cost_usd=cost,
                reference_cost_usd=self._cost[rows, column].astype(np.float64),
                label_cost_usd=label,
                is_rough=True,
            )
            found.append((f"at most {asked.max_drop:g} below {asked.versus}", drop))
        if asked.minimum > 0:
            least = certify_min(quality, asked.minimum, sure, cost_usd=cost, label_cost_usd=label, is_rough=True)
            found.append((f"mean quality at least {asked.minimum:g}", least))
        if short := [one.reason for _, one in found if isinstance(one, Shortfall)]:
            return short[0]
        kept = [(claim, one) for claim, one in found if isinstance(one, Promise)]
        if not kept:
            return "there is no bar to promise"
        # Every point above one that holds was tested and holds, too: the highest keeps all that is asked.
        point = max(one.point for _, one in kept)
        notes = [_in_words(claim, one, asked.confidence) for claim, one in kept]
        return Point(price=float(way.prices[point]), note=" and ".join(notes))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        kept: dict[str, NDArray[Any]] = {
            "promise_task": self._task,
            "promise_quality": self._quality.astype(np.float32),
            "promise_cost": self._cost.astype(np.float32),
        }
        for name, way in self._ways.items():
            kept[f"promise_{name}_prices"] = way.prices
            kept[f"promise_{name}_quality"] = way.quality.astype(np.float32)
            kept[f"promise_{name}_cost"] = way.cost_usd.astype(np.float32)
        return kept

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], models: Sequence[str], tasks: Sequence[str]) -> Promises:
        """The promises that `arrays` was taken from."""
        ways = {
            name: HeldOut(
                prices=arrays[f"promise_{name}_prices"],
                quality=arrays[f"promise_{name}_quality"],
                cost_usd=arrays[f"promise_{name}_cost"],
            )
            for name in ("single", "cascade", "verified")
            if f"promise_{name}_prices" in arrays
        }
        return cls(
            models=models,
            tasks=tasks,
            task=arrays["promise_task"],
            quality=arrays["promise_quality"],
            cost_usd=arrays["promise_cost"],
            ways=ways,
        )


def thinned(prices: Floats, quality: Floats, cost_usd: Floats) -> HeldOut:
    """At most `POINTS` of many operating points, evenly spread in the logarithm of mean cost.

    They are picked by cost alone: a choice by quality would make the promise about luck.
    """
    mean = np.log(np.maximum(np.maximum.accumulate(cost_usd.mean(axis=1)), 1e-300))
    wanted = np.linspace(mean[0], mean[-1], POINTS)
    kept = np.unique(np.minimum(np.searchsorted(mean, wanted - 1e-9), len(mean) - 1))
    return HeldOut(prices=prices[kept], quality=quality[kept], cost_usd=cost_usd[kept])


def _in_words(claim: str, promise: Promise, confidence: float) -> str:
    figures = f"held out {promise.mean:.3f}, lower bound {promise.lower:.3f}, n={promise.n}"
    saved = f", {promise.saving:.0%} cheaper" if promise.saving is not None else ""
    return f"{claim} at confidence {confidence:g} ({figures}{saved})"
