"""What acceptance is fitted on, and what a task with few queries leans on."""

from __future__ import annotations

import numpy as np

from router.predict.agreement import SHAPE, Given
from router.predict.fit_agreement import fit_acceptance, subsets
from router.predict.simulate import Recorded, Simulation


def recorded(count: int, seed: int = 0) -> Recorded:
    """Three models, the second right more often than the first and the third than both; wrong answers differ."""
    random = np.random.default_rng(seed)
    quality = (random.random((count, 3)) < [0.5, 0.6, 0.9]).astype(np.float64)
    answers = np.where(quality > 0, 0, np.arange(1, 4))
    group = np.stack([np.unique(row, return_inverse=True)[1] for row in answers])
    return Recorded(
        given=Given(
            group=group,
            shape=np.zeros((count, 3, len(SHAPE))),
            length=np.ones((count, 3)),
            logprob=np.full((count, 3), np.nan),
        ),
        quality=quality,
        cost_usd=np.tile([0.01, 0.02, 1.0], (count, 1)),
        expected=np.tile([0.5, 0.6, 0.9], (count, 1)),
        expected_cost=np.tile([0.01, 0.02, 1.0], (count, 1)),
        task=(np.arange(count) < 10).astype(np.int64),
        leaf=np.full(count, -1),
        folds=np.arange(count) % 2,
    )


def simulation(table: Recorded) -> Simulation:
    given = table.given, table.quality, np.log(table.expected / (1 - table.expected)), table.task, table.leaf
    acceptance = fit_acceptance(*given, tasks=2, leaves=0, cost_usd=table.cost_usd.mean(axis=0), seed=0)
    return Simulation(table, {0: acceptance, 1: acceptance})


def test_acceptance_is_fitted_on_models_that_are_worth_their_price() -> None:
    expected = np.tile([0.3, 0.7, 0.7, 0.9], (2_000, 1))
    rows, called = subsets(expected, np.array([0.01, 0.01, 5.0, 1.0]), np.random.default_rng(0))
    asked = called.mean(axis=0)
    assert called.any(axis=1).all() and len(rows) == len(called)
    assert asked[1] > asked[0] and asked[1] > asked[2] and asked[3] > asked[2]


def test_the_gains_of_a_task_with_few_queries_are_close_to_those_of_all() -> None:
    whole = simulation(recorded(600))
    few, many = whole.of(np.arange(10)), whole.of(np.arange(10, 600))
    usual = whole.fit((0, 1, 2)).gain
    apart = [float(np.abs(part.fit((0, 1, 2)).gain - usual).max()) for part in (few, many)]
    assert apart[0] < 0.2 * np.abs(usual).max()
    alone = Simulation(few.recorded, whole._without).fit((0, 1, 2)).gain
    assert np.abs(alone - usual).max() > apart[0]


def test_a_part_says_the_same_of_its_queries_as_the_whole() -> None:
    whole, rows = simulation(recorded(200)), np.arange(50, 90)
    for inside, outside in zip(whole.of(rows).state((1, 0)), whole.state((0, 1)), strict=True):
        assert np.array_equal(inside, outside[rows])
