"""Lengths of answers and their quantiles, held against answers that training has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from router.predict.cost import CostModel, Tokens, fit_cost

SPREAD = (0.2, 0.9)
"""Of the logarithm of the answers' lengths, by task: one is even, the other has a long tail."""
MODELS = 3


def drawn(queries: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Design columns, characters, task and output tokens of made-up requests."""
    random = np.random.default_rng(seed)
    columns, lengths = random.normal(size=(queries, 4)), random.integers(40, 400, queries).astype(float)
    task = random.integers(0, 2, queries)
    slopes = np.linspace(0.2, 0.5, MODELS)
    noise = random.normal(size=(queries, MODELS)) * np.asarray(SPREAD)[task][:, None]
    return columns, lengths, task, np.exp(4.0 + columns[:, :1] * slopes + noise).round()


@pytest.fixture(scope="module")
def model() -> CostModel:
    columns, lengths, task, written = drawn(1_500, 0)
    read = np.repeat(lengths[:, None] / 4, MODELS, axis=1)
    cost = 1e-6 * read + 4e-6 * written
    return fit_cost(columns, lengths, task, 2, input_tokens=read, output_tokens=written, cost_usd=cost)


def expected(model: CostModel, task: int | None = None) -> tuple[Tokens, np.ndarray, np.ndarray]:
    """Of new requests: what is expected, what they wrote, and their task."""
    columns, lengths, own, written = drawn(4_000, 1)
    told = own if task is None else np.full_like(own, task)
    return model.tokens(columns, lengths, told), written, own


def test_half_of_new_answers_are_at_most_as_long_as_the_median_in_every_task(model: CostModel) -> None:
    tokens, written, task = expected(model)
    for place in (0, 1):
        shares = (written <= tokens.written_p50)[task == place].mean(axis=0)
        assert ((shares > 0.45) & (shares < 0.55)).all(), shares


def test_95_of_100_new_answers_are_at_most_as_long_as_p95_in_every_task(model: CostModel) -> None:
    tokens, written, task = expected(model)
    for place in (0, 1):
        shares = (written <= tokens.written_p95)[task == place].mean(axis=0)
        assert ((shares > 0.93) & (shares < 0.97)).all(), shares


def test_an_unknown_task_gets_the_quantiles_of_all(model: CostModel) -> None:
    tokens, written, _ = expected(model, task=-1)
    assert ((written <= tokens.written_p50).mean(axis=0).round(1) == 0.5).all()
    assert abs((written <= tokens.written_p95).mean() - 0.95) < 0.015


def test_a_long_tail_widens_the_quantiles_and_only_lifts_the_mean(model: CostModel) -> None:
    tokens, _, task = expected(model)
    reach = tokens.written_p95 / tokens.written_p50
    assert reach[task == 1].mean() > 2.5 * reach[task == 0].mean()
    assert (tokens.written_p50 <= tokens.written_p95).all()
    assert (tokens.written <= tokens.written_p95).all()


def test_a_task_of_few_answers_stays_near_the_quantiles_of_all() -> None:
    columns, lengths, _, written = drawn(600, 2)
    task = np.where(np.arange(600) < 3, 1, 0)
    read = np.repeat(lengths[:, None], MODELS, axis=1)
    fitted = fit_cost(columns, lengths, task, 3, input_tokens=read, output_tokens=written, cost_usd=1e-6 * written)
    few, none, overall = fitted.quantiles[:, 1:].swapaxes(0, 1)
    np.testing.assert_allclose(none, overall)
    assert (abs(np.log(few / overall)) < 0.4).all()


def test_nothing_written_is_a_quantile_too() -> None:
    columns, lengths, task, _ = drawn(60, 3)
    nothing = np.zeros((60, MODELS))
    fitted = fit_cost(columns, lengths, task, 2, input_tokens=nothing, output_tokens=nothing, cost_usd=nothing)
    tokens = fitted.tokens(columns, lengths, task)
    assert (tokens.written_p50 == 0).all()
    assert (tokens.written_p95 == 0).all()


def test_few_very_long_answers_do_not_make_a_model_dear_for_every_request(model: CostModel) -> None:
    columns, lengths, task, written = drawn(1_500, 0)
    written[::100] *= 40
    read = np.repeat(lengths[:, None] / 4, MODELS, axis=1)
    longer = fit_cost(columns, lengths, task, 2, input_tokens=read, output_tokens=written, cost_usd=4e-6 * written)
    before, after = (one.tokens(columns, lengths, task) for one in (model, longer))
    assert after.written.mean() > 1.2 * before.written.mean()
    np.testing.assert_allclose(after.written_p50.mean(), before.written_p50.mean(), rtol=0.1)
