"""Spend a day ahead of time: weekday factors times a damped trend, in logarithms, with the past's own surprises.

The trend is Holt's damped one (Gardner and McKenzie 1985), made robust: a surprise moves it by at most three usual ones
(Gelper, Fried and Croux 2010), so that one runaway night is no new level. Nobody has to choose its parameters: every
combination of a small grid follows the past, and futures are drawn from each in proportion to its likelihood there.
A future goes on with surprises drawn from those of the past, which is what makes an interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

WEEK = 7
LEAST_DAYS = 14
"""Below so many days nothing is told of the next ones: two of each weekday are the least that show a week."""
MOST_DAYS = 364
"""Older days no longer say anything about the next month."""
PATHS = 2_000
FLOOR = 0.25
"""Added to every day before its logarithm is taken, as a share of the usual day: a day without spend has one, too."""
CAP = 3.0
"""In usual surprises."""
SEASON_WEEKS = 10
"""Weekday factors come from so many weeks."""
_GRID = np.array(
    [
        (alpha, beta, phi, start)
        for alpha in (0.03, 0.08, 0.16, 0.3, 0.5, 0.75)
        for beta in (0.0, 0.05, 0.2)
        for phi in (0.9, 0.995)
        for start in (0.0, 1.0)
        if beta or start or phi == 0.9  # without a trend, how long it lasts is no question
    ]
)
"""How fast the level follows, how fast the trend follows the level, how long a trend lasts, and whether it starts with
the slope of the whole past or flat."""


@dataclass(frozen=True, slots=True)
class _Past:
    """What each combination of the grid made of the past: arrays of one value a combination."""

    level: Array
    trend: Array
    weights: Array
    surprises: Array
    """Days x combinations."""
    usual: Array
    """Size of a usual surprise."""


def futures(
    usd: Array, horizon: int, *, weekday: int, growth: float | None = None, paths: int = PATHS, seed: int = 0
) -> Array:
    """Possible spends of the days to come.

    Args:
        usd: spend of each whole day, the oldest first, at least `LEAST_DAYS`.
        horizon: days to look ahead, 1 or more.
        weekday: of the first of the days in `usd`, 0 to 6.
        growth: change of the logarithm a day, in place of the trend that the past shows.
        paths: how many futures.
        seed: the same seed gives the same futures.

    Returns:
        USD, paths x days.
    """
    if len(usd) < LEAST_DAYS:
        raise ValueError(f"{len(usd)} days are too few; {LEAST_DAYS} or more are needed")
    weekday = (weekday + max(0, len(usd) - MOST_DAYS)) % WEEK
    usd = usd[-MOST_DAYS:]
    paid = usd[usd > 0]
    if not len(paid):
        return np.zeros((paths, horizon))
    floor = FLOOR * float(np.median(paid))
    logs = np.log(usd + floor)
    days = (weekday + np.arange(len(usd) + horizon)) % WEEK
    season = _season(logs, days[: len(usd)])
    past = _follow(logs - season[days[: len(usd)]])
    ahead = _draw(past, horizon, paths, growth, np.random.default_rng(seed))
    # Ten times what was ever seen is no forecast any more.
    ahead = np.minimum(ahead + season[days[len(usd) :]], logs.max() + np.log(10))
    made: Array = np.maximum(0.0, np.exp(ahead) - floor)
    return made


def _season(logs: Array, days: Whole) -> Array:
    """Each weekday's part of the logarithm; the fewer weeks there are, the nearer to none."""
    logs, days = logs[-SEASON_WEEKS * WEEK :], days[-SEASON_WEEKS * WEEK :]
    means = np.convolve(logs, np.ones(WEEK) / WEEK, mode="valid")
    around = np.concatenate([np.full(3, means[0]), means, np.full(3, means[-1])])
    off = logs - around
    parts = np.array([np.median(off[days == day]) for day in range(WEEK)])
    weeks = len(logs) / WEEK
    held: Array = (parts - parts.mean()) * weeks / (weeks + 0.5)
    return held


def _follow(logs: Array) -> _Past:
    alpha, beta, phi, start = _GRID.T
    slope = float(np.median(logs[WEEK:] - logs[:-WEEK])) / WEEK
    level, trend = np.full(len(alpha), np.median(logs[:WEEK])), start * slope
    usual = np.full(len(alpha), max(1e-6, 1.5 * float(np.median(np.abs(np.diff(logs))))))
    surprises = np.empty((len(logs), len(alpha)))
    for day, one in enumerate(logs):
        expected = level + phi * trend
        surprises[day] = off = one - expected
        capped = np.clip(off, -CAP * usual, CAP * usual)
        level = expected + alpha * capped
        trend = phi * trend + alpha * beta * capped
        usual = 0.95 * usual + 0.05 * np.maximum(1e-6, 1.25 * np.abs(capped))
    seen = surprises[WEEK:]
    size = np.maximum(1e-6, 1.4826 * np.median(np.abs(seen), axis=0))
    loss = np.mean(np.minimum(seen**2, (CAP * size) ** 2), axis=0) + 1e-12
    freedom = 2.0 + (beta > 0) + start
    fit = -0.5 * len(seen) * np.log(loss / loss.min()) - freedom
    weights = np.exp(fit - fit.max())
    return _Past(level=level, trend=trend, weights=weights / weights.sum(), surprises=seen, usual=usual)


def _draw(past: _Past, horizon: int, paths: int, growth: float | None, random: np.random.Generator) -> Array:
    alpha, beta, phi, _ = (_GRID[which := random.choice(len(_GRID), paths, p=past.weights)]).T
    level, trend, limit = past.level[which], past.trend[which], CAP * past.usual[which]
    if growth is not None:
        trend, phi, beta = np.full(paths, growth), np.ones(paths), np.zeros(paths)
    n = len(past.surprises)
    # Nine figures were fitted: the past's surprises are smaller than the next ones will be.
    wider = np.sqrt(n / max(1.0, n - 4.0))
    made = np.empty((paths, horizon))
    centred = past.surprises - past.surprises.mean(axis=0)
    for day in range(horizon):
        off = wider * centred[random.integers(n, size=paths), which]
        expected = level + phi * trend
        made[:, day] = expected + off
        capped = np.clip(off, -limit, limit)
        level = expected + alpha * capped
        trend = phi * trend + alpha * beta * capped
    return made
