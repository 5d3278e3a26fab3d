"""What a scope usually spends in an hour of the week, robustly: with any amount of history.

Hours are told relative to the level of their week (its days without the dearest one), so that growth is no surprise.
An hour is compared with hours like it: the same time of the day, one hour more or less, on days of work or on
week-ends. The same serves the last 6 and 24 hours, which show smaller rises. Pure; hours are counted since 1970 in UTC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

WEEK = 168
MOST_WEEKS = 5
LEAST_HOURS = 24
"""Below a day there is nothing to compare with."""
TRIM = 0.95
"""Of alike hours, what is above this quantile counts as this quantile in their mean."""
LEAST_SCATTER = 0.05
"""Of square roots of hours relative to the usual one. Steadier scopes exist; their small moves are still no alarm."""
HEAVY = 2.5
"""Standard deviations of the logarithm of days' dearest windows that are still no alarm."""
TAIL = 0.998
MARGIN = 1.3
LEAST_SCORE = 4.0
"""A score is an alarm above this, and above `MARGIN` times the `TAIL` quantile of the scope's own past scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What is usual."""

    window: int
    """Hours that are judged together; all that follows is told for one of them."""
    level_usd: float
    """Mean hour of the latest week."""
    means: dict[int, float]
    """By kind of hour, relative to the level."""
    noise: tuple[float, float]
    """Variance of a square root: a + b x mean."""
    threshold: float
    """Score that is an alarm."""
    record_usd: float
    """What the dearest window of a day may come to, as a mean hour: see `_record`."""
    hours: int
    """How many it rests on."""
    has_weekends: bool
    has_days: bool

    def expected_usd(self, hour: float) -> float:
        """Usual mean hour of the window that ends at a moment, in hours since 1970."""
        whole = math.floor(hour)
        share = hour - whole
        return (1 - share) * self._usual(whole - 1) + share * self._usual(whole)

    def score(self, hour: float, usd: float) -> float:
        """How unusual it is, in standard deviations, that the mean hour of the window up to a moment cost so much."""
        return _score(usd / self.level_usd, self.expected_usd(hour) / self.level_usd, self.noise)

    @property
    def basis(self) -> str:
        """What it rests on, in words."""
        days = self.hours // 24
        if self.has_weekends:
            return f"{days} days, by time of day and week-end"
        return f"only {days} days, by time of day" if self.has_days else f"only {self.hours} hours, all alike"

    def _usual(self, hour: int) -> float:
        return self.means[self._kind(hour)] * self.level_usd

    def _kind(self, hour: int) -> int:
        return _kind(hour, has_days=self.has_days, has_weekends=self.has_weekends)


def learn(first_hour: int, usd: Sequence[float], window: int = 1) -> Baseline | None:
    """Learn what is usual from consecutive hours; None where there are too few, or nothing was spent.

    Args:
        first_hour: since 1970.
        usd: of each hour.
        window: hours that will be judged together, 1 to 24.
    """
    older = max(0, len(usd) - MOST_WEEKS * WEEK)
    first_hour, usd = first_hour + older, usd[older:]
    if len(usd) < LEAST_HOURS + window:
        return None
    if window > 1:
        sums = [0.0, *accumulate(usd)]
        usd = [(sums[end] - sums[end - window]) / window for end in range(window, len(sums))]
        first_hour += window - 1
    count = len(usd)
    dearest = sorted(max(usd[max(0, end - 24) : end]) for end in range(count, 0, -24))
    has_days, has_weekends = count >= 72, count >= 14 * 24
    levels = [_level(usd[max(0, end - WEEK) : end]) for end in range(count, 0, -WEEK)]
    if not levels or levels[0] <= 0:
        return None
    relative: list[tuple[int, float]] = []
    for position, value in enumerate(usd):
        level = levels[(count - 1 - position) // WEEK]
        if level > 0:
            relative.append((first_hour + position, value / level))
    groups: dict[int, list[float]] = {}
    for hour, value in relative:
        for near in (hour - 1, hour, hour + 1) if has_days else (hour,):
            groups.setdefault(_kind(near, has_days=has_days, has_weekends=has_weekends), []).append(value)
    means = {kind: _trimmed_mean(values) for kind, values in groups.items()}
    pairs = [(value, means[_kind(hour, has_days=has_days, has_weekends=has_weekends)]) for hour, value in relative]
    noise = _noise(pairs)
    scores = sorted(_score(value, mean, noise) for value, mean in pairs)
    margin = MARGIN * (1 + WEEK / 4 / count)  # of few hours the tail is not seen yet
    return Baseline(
        window=window, level_usd=levels[0], means=means, noise=noise,
        threshold=max(LEAST_SCORE, margin * _quantile(scores, TAIL)), record_usd=_record(dearest),
        hours=count, has_days=has_days, has_weekends=has_weekends,
    )  # fmt: skip


def _score(value: float, mean: float, noise: tuple[float, float]) -> float:
    return (math.sqrt(value) - math.sqrt(mean)) / math.sqrt(noise[0] + noise[1] * mean)


def _noise(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Variance of a square root as a + b x mean, from the quieter and the busier half of the hours.

    Calls that come at random with costs at random have a sum whose variance is in proportion to its mean, so that its
    square root has the same one everywhere (a); what moves all calls together adds b.
    """
    ordered = sorted(pairs, key=lambda pair: pair[1])
    halves = ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :]
    variances, means = [], []
    for half in halves:
        # 68 % of a normal variable lie within one standard deviation.
        off = sorted(abs(math.sqrt(value) - math.sqrt(mean)) for value, mean in half)
        variances.append(_quantile(off, 0.683) ** 2)
        means.append(sum(mean for _, mean in half) / len(half))
    rise = means[1] - means[0]
    b = max(0.0, (variances[1] - variances[0]) / rise) if rise > 1e-9 else 0.0
    a = variances[0] - b * means[0] if b else max(variances)
    return max(LEAST_SCATTER**2, a), b


def _trimmed_mean(values: Sequence[float]) -> float:
    ordered = sorted(values)
    most = _quantile(ordered, TRIM)
    return sum(min(value, most) for value in ordered) / len(ordered)


def _quantile(ascending: Sequence[float], share: float) -> float:
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def _record(dearest: Sequence[float]) -> float:
    """The second largest of the days' dearest windows, because one runaway day sets no record; more in a heavy tail.

    In logarithms, the tail is taken for a normal one. Its deviation is told by the days above the 64 % quantile, which
    is the median where week-ends are quiet.
    """
    logs = [math.log(usd) for usd in dearest if usd > 0]
    if not logs:
        return 0.0
    middle = _quantile(logs, 0.64)
    return max(dearest[-2:][0], math.exp(middle + HEAVY * (_quantile(logs, 0.9) - middle) / 1.08))


def _kind(hour: int, *, has_days: bool, has_weekends: bool) -> int:
    if not has_days:
        return 0
    return hour % 24 + (24 if has_weekends and is_weekend(hour // 24) else 0)


def is_weekend(day: int) -> bool:
    """Whether a day, counted since 1970, is a Saturday or Sunday; the first one was a Thursday."""
    return (day + 3) % 7 >= 5


def _level(usd: Sequence[float]) -> float:
    """Mean hour of a week without its dearest day."""
    days = [sum(usd[max(0, end - 24) : end]) / min(24, end) for end in range(len(usd), 0, -24)]
    kept = sorted(days)[:-1] or days
    return sum(kept) / len(kept)
