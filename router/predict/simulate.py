"""Cascades replayed over recorded outcomes: what a ladder brings, and which one brings most.

What a cascade would have done with a query is computed with an acceptance and expectations that were fitted without
that query. Even so, the best of many simulated cascades looks better than it is; the fewer the queries, the more
its value is taken from what acceptance predicts instead of from what happened (`TRUST`). A task alone has few queries:
its gains are drawn toward those over all queries (`POOL`), and so is the choice of its ladder (`SHARED_QUERIES`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from router.predict.agreement import Acceptance, Given
from router.predict.calibrate import logit
from router.predict.cascade import GAIN_COLUMNS, Ladder, gain_columns
from router.predict.dial import choose
from router.predict.labels import Floats, Indices

RUNGS = 6
"""Longest ladder."""
BEAM = 5
"""Ladders that the search keeps at each length."""
TRUST = 500.0
"""Queries at which outcomes and predictions weigh the same in a cascade's value."""
GAIN_PENALTY = 10.0
"""Ridge on the gains' weights over all queries; a fifth of it on the first, the gain per doubt."""
POOL = 40.0
"""The same on how far a task's gains are from those of its ladder over all queries."""
SHARED_QUERIES = 300.0
"""Queries that a ladder's worth over all queries weighs when a task's is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Queries that every model has answered, with expectations made without their own outcomes; arrays (n, m)."""

    given: Given
    quality: Floats
    cost_usd: Floats
    expected: Floats
    """Expected quality."""
    expected_cost: Floats
    task: Indices
    """Shape (n,)."""
    leaf: Indices
    folds: Indices
    verified: Floats | None = None
    """What a verifier said of each answer, 0 to 1, and what that cost; NaN where it was not asked."""
    verified_usd: Floats | None = None

    def rows(self, rows: Indices) -> Recorded:
        """Some of the queries."""
        known = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "given"}
        arrays = {name: values[rows] for name, values in known.items() if values is not None}
        return Recorded(given=self.given.rows(rows), **arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What came of queries at several prices or stops; shape (prices, n) each."""

    quality: Floats
    cost_usd: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Served):
    """The same, with the quality steadied by what was predicted."""

    value: Floats


class Simulation:
    """Cascades replayed over recorded answers."""

    def __init__(
        self, recorded: Recorded, without: dict[int, Acceptance], part: tuple[Simulation, Indices] | None = None
    ) -> None:
        self.recorded, self._without, self._part = recorded, without, part
        self._expected = logit(recorded.expected)
        self._trust = len(recorded.quality) / (len(recorded.quality) + TRUST)
        self._seen: dict[frozenset[int], tuple[Floats, Floats]] = {}
        self._ladders: dict[tuple[int, ...], Ladder] = {}
        self._worths: dict[tuple[tuple[int, ...], bytes], float] = {}

    def of(self, rows: Indices) -> Simulation:
        """The same over some of the queries, leaning on what all of them say."""
        return Simulation(self.recorded.rows(rows), self._without, (self, rows))

    def state(self, models: tuple[int, ...]) -> tuple[Floats, Floats]:
        """After asking some models: P(the chosen answer clears) and its true quality, shape (n,) each."""
        key = frozenset(models)
        if key not in self._seen:
            if self._part is None:
                self._seen[key] = self._judge(models)
            else:
                whole, rows = self._part
                chance, quality = whole.state(models)
                self._seen[key] = chance[rows], quality[rows]
        return self._seen[key]

    def _judge(self, models: tuple[int, ...]) -> tuple[Floats, Floats]:
        r = self.recorded
        called = np.zeros(r.quality.shape, dtype=bool)
        called[:, list(models)] = True
        chance, best = np.zeros(len(called)), np.zeros(len(called), dtype=np.int64)
        for fold, acceptance in self._without.items():
            rows = np.flatnonzero(r.folds == fold)
            if len(rows):
                chance[rows], best[rows] = acceptance.judge(
                    r.given.rows(rows), called[rows], self._expected[rows], r.task[rows], r.leaf[rows]
                )
        return chance, r.quality[np.arange(len(called)), best]

    def fit(self, models: tuple[int, ...]) -> Ladder:
        """The gains of a ladder: ridge regressions on what climbing it brought."""
        if models not in self._ladders:
            self._ladders[models] = self._fit(models)
        return self._ladders[models]

    def _fit(self, models: tuple[int, ...]) -> Ladder:
        rungs = len(models)
        states = [self.state(models[: rung + 1]) for rung in range(rungs)]
        gain = np.zeros((rungs, rungs, GAIN_COLUMNS)) if self._part is None else self._part[0].fit(models).gain.copy()
        penalty = GAIN_PENALTY if self._part is None else POOL
        ridge = penalty * np.diag([0.2, *[1.0] * (GAIN_COLUMNS - 1)])
        for rung in range(rungs - 1):
            columns = gain_columns(states[rung][0], self._expected[:, models[rung + 1]])
            brought = np.column_stack(
                [self._steady(states[h]) - self._steady(states[rung]) for h in range(rung + 1, rungs)]
            )
            usual = gain[rung, rung + 1 :].T
            gain[rung, rung + 1 :] = np.linalg.solve(columns.T @ columns + ridge, columns.T @ brought + ridge @ usual).T
        return Ladder(models=models, gain=gain, cost_usd=self.recorded.cost_usd[:, models].mean(axis=0))

    def climb(self, ladder: Ladder, prices: Floats) -> Outcome:
        """What a ladder brings at several prices of quality."""
        shape = (len(prices), len(self.recorded.quality))
        climbs = np.ones(shape, dtype=bool)
        quality, value, cost = np.zeros((3, *shape))
        for rung, model in enumerate(ladder.models):
            state = self.state(ladder.models[: rung + 1])
            cost += climbs * self.recorded.cost_usd[:, model]
            quality = np.where(climbs, state[1], quality)
            value = np.where(climbs, self._steady(state), value)
            if rung + 1 < len(ladder.models):
                worth = ladder.value(rung, state[0], self._expected[:, ladder.models[rung + 1]])
                climbs = climbs & (worth[None] > prices[:, None])
        return Outcome(quality=quality, value=value, cost_usd=cost)

    def route(self, prices: Floats) -> Outcome:
        """What one call brings, its model chosen by expectation."""
        r, rows = self.recorded, np.arange(len(self.recorded.quality))
        chosen = [choose(r.expected, r.expected_cost, float(price)) for price in prices]
        quality = np.stack([r.quality[rows, models] for models in chosen])
        expected = np.stack([r.expected[rows, models] for models in chosen])
        return Outcome(
            quality=quality,
            value=self._trust * quality + (1.0 - self._trust) * expected,
            cost_usd=np.stack([r.cost_usd[rows, models] for models in chosen]),
        )

    def served(self, ladder: Ladder, stops: Floats) -> Outcome:
        """Both ways at every stop: first the ladder, then one call."""
        ways = self.climb(ladder, stops), self.route(stops)
        return Outcome(
            quality=np.vstack([way.quality for way in ways]),
            value=np.vstack([way.value for way in ways]),
            cost_usd=np.vstack([way.cost_usd for way in ways]),
        )

    def search(self, prices: Floats) -> Ladder:
        """The ladder with the best mean of quality minus price x cost over the prices, by beam search."""
        models = self.recorded.quality.shape[1]
        beam: list[tuple[int, ...]] = [()]
        found: list[tuple[float, tuple[int, ...]]] = []
        for _ in range(min(RUNGS, models)):
            longer = [
                (self._worth((*start, model), prices), (*start, model))
                for start in beam
                for model in range(models)
                if model not in start
            ]
            longer.sort(key=lambda item: (-item[0], item[1]))
            found += longer[:1]
            distinct = {frozenset(order): order for _, order in reversed(longer)}
            beam = sorted(distinct.values(), key=[order for _, order in longer].index)[:BEAM]
        return self.fit(max(found, key=lambda item: item[0])[1])

    def _worth(self, models: tuple[int, ...], prices: Floats) -> float:
        key = models, prices.tobytes()
        if key not in self._worths:
            outcome = self.climb(self.fit(models), prices)
            worth = float((outcome.value - prices[:, None] * outcome.cost_usd).mean())
            if self._part is not None:
                own = len(self.recorded.quality)
                shared = self._part[0]._worth(models, prices)
                worth = (own * worth + SHARED_QUERIES * shared) / (own + SHARED_QUERIES)
            self._worths[key] = worth
        return self._worths[key]

    def _steady(self, state: tuple[Floats, Floats]) -> Floats:
        return np.asarray(self._trust * state[1] + (1.0 - self._trust) * state[0])
