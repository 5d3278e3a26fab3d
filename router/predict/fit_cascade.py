"""Finding ladders: which models to ask in which order, by simulating cascades on recorded outcomes.

What a cascade would have done with a query is computed with an acceptance and expectations that were fitted without
that query. Even so, the best of many simulated cascades looks better than it is; the fewer the queries, the more
its value is taken from what acceptance predicts instead of from what happened (`TRUST`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.predict.agreement import Acceptance, Given
from router.predict.calibrate import logit
from router.predict.cascade import GAIN_COLUMNS, Cascade, Ladder, gain_columns
from router.predict.dial import choose
from router.predict.fit_agreement import fit_acceptance
from router.predict.labels import Floats, Indices

RUNGS = 6
"""Longest ladder."""
BEAM = 5
"""Ladders that the search keeps at each length."""
TRUST = 500.0
"""Queries at which outcomes and predictions weigh the same in a cascade's value."""
GAIN_PENALTY = 10.0
"""Ridge on the gains' weights; a tenth of a fifth of it on the first, the gain per doubt."""
LEAF_QUERIES = 30.0
"""Queries that the task's value weighs in a leaf's choice."""
LEAST_QUERIES = 100
"""A task with fewer queries climbs the ladder of all tasks."""
LEAST_ANSWERS = 0.5
"""Share of responses that must hold an answer to compare; without answers nothing can be learned from them."""
PRICES, STOPS, SEARCH_PRICES = 200, 40, 8
SMOOTH = 12
"""Prices on either side over which a label's stops are averaged."""


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

    def rows(self, rows: Indices) -> Recorded:
        """Some of the queries."""
        return Recorded(
            given=self.given.rows(rows),
            quality=self.quality[rows],
            cost_usd=self.cost_usd[rows],
            expected=self.expected[rows],
            expected_cost=self.expected_cost[rows],
            task=self.task[rows],
            leaf=self.leaf[rows],
            folds=self.folds[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What came of queries at several prices or stops; shape (prices, n) each."""

    quality: Floats
    cost_usd: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Served):
    """The same, with the quality steadied by what was predicted."""

    value: Floats


def can_cascade(recorded: Recorded) -> bool:
    """Whether there is enough to learn from: queries, and answers that can be compared."""
    answered = float((recorded.given.group >= 0).mean()) if recorded.given.group.size else 0.0
    return len(recorded.quality) >= LEAST_QUERIES and answered >= LEAST_ANSWERS


def fit_cascade(recorded: Recorded, *, tasks: int, task_of_leaf: Indices, seed: int) -> tuple[Cascade, Served]:
    """Fit acceptance, ladders and the choice between them and one call.

    Args:
        recorded: at least one query of every fold.
        tasks: number of tasks.
        task_of_leaf: shape (leaves,), the task of each leaf.
        seed: of the subsets that acceptance is fitted on.

    Returns:
        The cascade, and what its like did with queries that neither its ladders nor its acceptance had seen, at
        every price of its dial.
    """
    mean_cost = np.log(np.maximum(recorded.cost_usd.mean(axis=0), 1e-12))
    dearness = (mean_cost - mean_cost.min()) / max(float(np.ptp(mean_cost)), 1e-9)

    def acceptance(part: Recorded) -> Acceptance:
        return fit_acceptance(
            part.given, part.quality, logit(part.expected), part.task, part.leaf,
            tasks=tasks, leaves=len(task_of_leaf), dearness=dearness, seed=seed,
        )  # fmt: skip

    folds = np.unique(recorded.folds)
    without = {int(fold): acceptance(recorded.rows(np.flatnonzero(recorded.folds != fold))) for fold in folds}
    prices = _prices(recorded)
    plan = find(Simulation(recorded, without), prices, tasks, task_of_leaf)
    quality, cost = np.zeros((2, PRICES, len(recorded.quality)))
    for half in (recorded.folds % 2 == 0, recorded.folds % 2 == 1):
        inside, outside = np.flatnonzero(half), np.flatnonzero(~half)
        found = find(Simulation(recorded.rows(outside), without), prices, tasks, task_of_leaf)
        held_out = found.serve(Simulation(recorded.rows(inside), without))
        quality[:, inside], cost[:, inside] = held_out.quality, held_out.cost_usd
    usual = plan.serve(Simulation(recorded, without))
    return (
        Cascade(
            acceptance=acceptance(recorded),
            ladder_models=np.array([[*x.models, *[-1] * (RUNGS - len(x.models))] for x in plan.ladders]),
            ladder_gain=np.stack([_padded(x.gain, (RUNGS, RUNGS, GAIN_COLUMNS)) for x in plan.ladders]),
            ladder_cost=np.stack([_padded(x.cost_usd, (RUNGS,)) for x in plan.ladders]),
            prices=prices,
            costs=np.maximum.accumulate(usual.cost_usd.mean(axis=1)),
            climbs=plan.climbs,
            stops=plan.stops,
        ),
        Served(quality=quality, cost_usd=cost),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Ladders, and what to do at each price; fields as in `Cascade`."""

    ladders: tuple[Ladder, ...]
    climbs: NDArray[np.bool_]
    stops: Floats

    def serve(self, simulation: Simulation) -> Served:
        """What it does with recorded queries at every price."""
        r, tasks = simulation.recorded, len(self.ladders) - 1
        leaves = len(self.stops) - tasks - 1
        row = np.where(r.leaf >= 0, r.leaf, leaves + r.task)
        quality, cost = np.zeros((2, self.stops.shape[1], len(row)))
        for number in np.unique(row):
            rows = np.flatnonzero(row == number)
            own = simulation.of(rows)
            climb = own.climb(self.ladders[r.task[rows[0]]], self.stops[number])
            route = own.route(self.stops[number])
            climbs = self.climbs[number][:, None]
            quality[:, rows] = np.where(climbs, climb.quality, route.quality)
            cost[:, rows] = np.where(climbs, climb.cost_usd, route.cost_usd)
        return Served(quality=quality, cost_usd=cost)


def find(simulation: Simulation, prices: Floats, tasks: int, task_of_leaf: Indices) -> Plan:
    """The ladder of every task, and at each price of each label whether and how far it is climbed."""
    r, leaves = simulation.recorded, len(task_of_leaf)
    stops = np.geomspace(prices[0], prices[-1], STOPS)
    search = np.geomspace(prices[PRICES // 5], prices[-PRICES // 8], SEARCH_PRICES)
    shared = simulation.search(search)
    chosen = np.zeros((leaves + tasks + 1, len(prices)), dtype=np.int64)
    chosen[:] = _best(simulation.served(shared, stops), prices, np.arange(len(r.quality)))
    ladders = []
    for task in range(tasks):
        rows = np.flatnonzero(r.task == task)
        own = simulation.of(rows)
        is_alone = len(rows) == len(r.quality)
        ladders.append(own.search(search) if len(rows) >= LEAST_QUERIES and not is_alone else shared)
        if not len(rows):
            continue
        served = own.served(ladders[-1], stops)
        chosen[leaves + task] = _best(served, prices, np.arange(len(rows)))
        chosen[np.flatnonzero(task_of_leaf == task)] = chosen[leaves + task]
        for leaf in np.unique(r.leaf[rows][r.leaf[rows] >= 0]):
            chosen[leaf] = _best(served, prices, np.flatnonzero(r.leaf[rows] == leaf))
    climbs = chosen < STOPS
    smooth = np.stack([_smooth(row) for row in np.log(stops)[chosen % STOPS]])
    return Plan(ladders=(*ladders, shared), climbs=climbs, stops=np.exp(smooth))


def _smooth(values: Floats) -> Floats:
    """A moving average over neighbouring prices.

    The best stops are few and far between, by the luck of the table; what lies between two of them is as good a
    compromise, and gives the dial points between them.
    """
    padded = np.pad(values, SMOOTH, mode="edge")
    return np.asarray(np.convolve(padded, np.full(2 * SMOOTH + 1, 1.0 / (2 * SMOOTH + 1)), mode="valid"))


class Simulation:
    """Cascades replayed over recorded answers."""

    def __init__(self, recorded: Recorded, without: dict[int, Acceptance]) -> None:
        self.recorded, self._without = recorded, without
        self._expected = logit(recorded.expected)
        self._trust = len(recorded.quality) / (len(recorded.quality) + TRUST)
        self._seen: dict[frozenset[int], tuple[Floats, Floats]] = {}

    def of(self, rows: Indices) -> Simulation:
        """The same over some of the queries."""
        part = Simulation(self.recorded.rows(rows), self._without)
        part._seen = {models: (chance[rows], quality[rows]) for models, (chance, quality) in self._seen.items()}
        return part

    def state(self, models: tuple[int, ...]) -> tuple[Floats, Floats]:
        """After asking some models: P(the chosen answer clears) and its true quality, shape (n,) each."""
        key = frozenset(models)
        if key not in self._seen:
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
            self._seen[key] = chance, r.quality[np.arange(len(called)), best]
        return self._seen[key]

    def fit(self, models: tuple[int, ...]) -> Ladder:
        """The gains of a ladder: ridge regressions on what climbing it brought."""
        rungs = len(models)
        states = [self.state(models[: rung + 1]) for rung in range(rungs)]
        gain = np.zeros((rungs, rungs, GAIN_COLUMNS))
        penalty = GAIN_PENALTY * np.diag([0.2, *[1.0] * (GAIN_COLUMNS - 1)])
        for rung in range(rungs - 1):
            columns = gain_columns(states[rung][0], self._expected[:, models[rung + 1]])
            brought = np.column_stack(
                [self._steady(states[h]) - self._steady(states[rung]) for h in range(rung + 1, rungs)]
            )
            gain[rung, rung + 1 :] = np.linalg.solve(columns.T @ columns + penalty, columns.T @ brought).T
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
                (self._worth(self.fit((*start, model)), prices), (*start, model))
                for start in beam
                for model in range(models)
                if model not in start
            ]
            longer.sort(key=lambda item: (-item[0], item[1]))
            found += longer[:1]
            distinct = {frozenset(order): order for _, order in reversed(longer)}
            beam = sorted(distinct.values(), key=[order for _, order in longer].index)[:BEAM]
        return self.fit(max(found, key=lambda item: item[0])[1])

    def _worth(self, ladder: Ladder, prices: Floats) -> float:
        outcome = self.climb(ladder, prices)
        return float((outcome.value - prices[:, None] * outcome.cost_usd).mean())

    def _steady(self, state: tuple[Floats, Floats]) -> Floats:
        return np.asarray(self._trust * state[1] + (1.0 - self._trust) * state[0])


def _best(served: Outcome, prices: Floats, rows: Indices) -> Indices:
    """The way with the best value at each price for some rows, shrunk toward all rows'."""
    value, cost = served.value.mean(axis=1), served.cost_usd.mean(axis=1)
    share = 1.0 if len(rows) == served.value.shape[1] else len(rows) / (len(rows) + LEAF_QUERIES)
    value = share * served.value[:, rows].mean(axis=1) + (1.0 - share) * value
    cost = share * served.cost_usd[:, rows].mean(axis=1) + (1.0 - share) * cost
    return np.asarray((value[None] - prices[:, None] * cost[None]).argmax(axis=1))


def _prices(recorded: Recorded) -> Floats:
    """Prices of quality, falling, from where only the cheapest call is worth it to where almost any call is.

    In units of the dearest useful thing there is: one point of quality for the cost of the best model.
    """
    best = recorded.cost_usd[:, int(recorded.quality.mean(axis=0).argmax())].mean()
    unit = 1.0 / max(float(best), 1e-12)
    return np.geomspace(3.0 * unit, 0.005 * unit, PRICES)


def _padded(values: Floats, shape: tuple[int, ...]) -> Floats:
    padded = np.zeros(shape)
    padded[tuple(slice(0, size) for size in values.shape)] = values
    return padded
