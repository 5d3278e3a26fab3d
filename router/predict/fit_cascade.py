"""Fitting cascades: ladders for every task, and at each price of quality whether and how far they are climbed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from router.predict.agreement import Acceptance
from router.predict.calibrate import logit
from router.predict.cascade import GAIN_COLUMNS, Cascade, Ladder
from router.predict.dialled import Dialled
from router.predict.fit_agreement import fit_acceptance
from router.predict.fit_verdicts import VerifiedSimulation, fit_verdicts, pays
from router.predict.labels import Floats, Indices
from router.predict.simulate import RUNGS, Outcome, Recorded, Served, Simulation

LEAF_QUERIES = 30.0
"""Queries that the task's value weighs in a leaf's choice."""
LEAST_QUERIES = 100
"""A task with fewer queries climbs the ladder of all tasks."""
LEAST_ANSWERS = 0.5
"""Share of responses that must hold an answer to compare; without answers nothing can be learned from them."""
PRICES, STOPS, SEARCH_PRICES = 200, 40, 8
VERIFIED_EVERY = 4
SMOOTH = 12
"""Prices on either side over which a label's stops are averaged."""


def can_cascade(recorded: Recorded) -> bool:
    """Whether there is enough to learn from: queries, and answers that can be compared."""
    answered = float((recorded.given.group >= 0).mean()) if recorded.given.group.size else 0.0
    return len(recorded.quality) >= LEAST_QUERIES and answered >= LEAST_ANSWERS


def fit_cascade(
    recorded: Recorded, *, tasks: int, task_of_leaf: Indices, seed: int
) -> tuple[Cascade, dict[str, Dialled]]:
    """Fit acceptance, ladders and the choice between them and one call.

    Args:
        recorded: at least one query of every fold.
        tasks: number of tasks.
        task_of_leaf: shape (leaves,), the task of each leaf.
        seed: of the subsets that acceptance is fitted on.

    Returns:
        The cascade, and what its like did with queries that neither its ladders nor its acceptance had seen: as
        `cascade` at every price of its dial, and as `verified` with a verifier at some of them, where that pays.
    """
    mean_cost = recorded.cost_usd.mean(axis=0)

    def acceptance(part: Recorded) -> Acceptance:
        return fit_acceptance(
            part.given, part.quality, logit(part.expected), part.task, part.leaf,
            tasks=tasks, leaves=len(task_of_leaf), cost_usd=mean_cost, seed=seed,
        )  # fmt: skip

    folds = np.unique(recorded.folds)
    without = {int(fold): acceptance(recorded.rows(np.flatnonzero(recorded.folds != fold))) for fold in folds}
    prices = _prices(recorded)
    plan = find(Simulation(recorded, without), prices, tasks, task_of_leaf)
    quality, cost = np.zeros((2, PRICES, len(recorded.quality)))
    # With a verifier every price is climbed on its own; a part of them says as much.
    few = slice(None, None, VERIFIED_EVERY)
    verified_quality, verified_cost = quality[few].copy(), cost[few].copy()
    verdicts = fit_verdicts(recorded, without, logit(recorded.expected), seed)
    for half in (recorded.folds % 2 == 0, recorded.folds % 2 == 1):
        inside, outside = np.flatnonzero(half), np.flatnonzero(~half)
        others, own = recorded.rows(outside), recorded.rows(inside)
        found = find(Simulation(others, without), prices, tasks, task_of_leaf)
        held_out = found.serve(Simulation(own, without))
        quality[:, inside], cost[:, inside] = held_out.quality, held_out.cost_usd
        part = None if verdicts is None else fit_verdicts(others, without, logit(others.expected), seed)
        verdicts = verdicts if part is not None else None
        if part is not None:
            thin = replace(found, climbs=found.climbs[:, few], stops=found.stops[:, few])
            asked = thin.serve(VerifiedSimulation(own, without, part))
            verified_quality[:, inside], verified_cost[:, inside] = asked.quality, asked.cost_usd
    ways = {"cascade": Dialled(prices=prices, quality=quality, cost_usd=cost)}
    verified = Dialled(prices=prices[few], quality=verified_quality, cost_usd=verified_cost)
    if verdicts is not None and pays(ways["cascade"], verified, few):
        ways["verified"] = verified
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
            verdicts=verdicts if "verified" in ways else None,
        ),
        ways,
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
