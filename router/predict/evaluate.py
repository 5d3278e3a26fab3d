"""Is the learned router worth routing with? A held-out, paired comparison, and a verdict in one sentence.

Every prediction that is judged here was made without the query's own outcome, and every operating point was
chosen without the queries it is judged on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from router.predict.dial import choose, spread, trace
from router.predict.labels import Floats, Indices

ALLOWED_DROP = 0.01
"""Mean quality that "not worse" may lose: the lower bound of the paired difference must stay above minus this."""
RESAMPLES = 2_000
DIAL_POINTS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterScore:
    """One way to route, on held-out queries."""

    name: str
    quality: float
    """Mean quality of the served answers."""
    quality_low: float
    """95 % bootstrap interval."""
    quality_high: float
    cost_usd: float
    """Mean USD per query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Learned router against another, paired by query; 95 % bootstrap intervals."""

    versus: str
    quality_difference: float
    quality_difference_low: float
    quality_difference_high: float
    cost_ratio: float | None
    """Mean cost by mean cost; None when the other is free."""
    cost_ratio_low: float | None
    cost_ratio_high: float | None

    @property
    def is_cheaper(self) -> bool:
        """Cheaper for certain, at a quality that is not worse for certain."""
        if self.cost_ratio_high is None:
            return False
        return self.quality_difference_low >= -ALLOWED_DROP and self.cost_ratio_high < 1.0

    @property
    def is_better(self) -> bool:
        """Better for certain, at a cost that is not higher for certain."""
        if self.cost_ratio_high is None:
            return False
        return self.quality_difference_low > 0.0 and self.cost_ratio_high <= 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What training found out about its own result."""

    queries: int
    judged_queries: int
    """Queries that every model has answered; only they can be compared."""
    models: int
    tasks: int
    best_constant: str
    """The model with the best mean quality."""
    scores: tuple[RouterScore, ...]
    """Best constant model, per-task table, learned router, oracle (the cheapest of the best answers)."""
    comparisons: tuple[Comparison, ...]
    operating_lambda: float
    """Quality per USD of the point that the learned router would serve at."""
    ece: float
    """Expected calibration error of the learned quality, mean over models, ten equally full bins each."""
    brier: float
    """Mean squared error of the learned quality."""
    table_brier: float
    """The same for the per-task table."""
    task_accuracy: float | None
    """Held-out accuracy of the task classifier where it does not abstain; None with a single task."""
    promoted: bool
    reason: str
    """The verdict's one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Outcomes and held-out expectations of the queries that every model has answered; arrays of shape (n, m)."""

    quality: Floats
    cost_usd: Floats
    learned: Floats
    """Expected quality of the learned router."""
    table: Floats
    """Expected quality by label."""
    expected_cost: Floats
    folds: Indices
    """Shape (n,)."""

    def best_constant(self) -> int:
        """The model with the best mean quality, the cheaper one if several."""
        quality, cost = self.quality.mean(axis=0), self.cost_usd.mean(axis=0)
        return int(np.lexsort((cost, -quality.round(12)))[0])

    def operating_lambda(self, expected: Floats, rows: Indices) -> float:
        """The cheapest point that, on `rows`, is not worse than the best constant model with 95 % confidence.

        None is: the one whose lower bound is highest.
        """
        known, costs = self.quality[rows], self.cost_usd[rows]
        constant = known[:, self.best_constant()]
        options = []
        for price in spread(*trace(expected[rows], self.expected_cost[rows]), DIAL_POINTS):
            chosen = choose(expected[rows], self.expected_cost[rows], float(price))
            gain = known[np.arange(len(rows)), chosen] - constant
            low = float(gain.mean() - 1.96 * gain.std() / np.sqrt(len(rows)))
            spent = float(costs[np.arange(len(rows)), chosen].mean())
            options.append((max(-ALLOWED_DROP - low, 0.0), spent, float(price)))
        return min(options)[2]

    def routed(self, expected: Floats) -> Indices:
        """Model of every query, each fold routed at the point that the other folds chose; shape (n,)."""
        chosen = np.zeros(len(self.folds), dtype=np.int64)
        for fold in np.unique(self.folds):
            out = np.flatnonzero(self.folds == fold)
            rest = np.flatnonzero(self.folds != fold)
            price = self.operating_lambda(expected, rest)
            chosen[out] = choose(expected[out], self.expected_cost[out], price)
        return chosen


def judge(held_out: HeldOut, seed: int) -> tuple[tuple[RouterScore, ...], tuple[Comparison, ...]]:
    """Score the four ways to route and compare the learned one with the two that need no learning."""
    everyone = np.arange(len(held_out.folds))
    best = held_out.quality.max(axis=1, keepdims=True)
    oracle = np.where(held_out.quality >= best - 1e-12, held_out.cost_usd, np.inf).argmin(axis=1)
    choices: Mapping[str, Indices] = {
        "best constant": np.full(len(everyone), held_out.best_constant()),
        "per-task table": held_out.routed(held_out.table),
        "learned": held_out.routed(held_out.learned),
        "oracle": oracle,
    }
    random = np.random.default_rng(seed)
    draws = random.multinomial(len(everyone), np.full(len(everyone), 1.0 / len(everyone)), size=RESAMPLES)
    weights = draws / len(everyone)
    quality = {name: held_out.quality[everyone, chosen] for name, chosen in choices.items()}
    cost = {name: held_out.cost_usd[everyone, chosen] for name, chosen in choices.items()}
    scores = tuple(
        RouterScore(
            name=name,
            quality=float(quality[name].mean()),
            quality_low=_quantile(weights @ quality[name], 0.025),
            quality_high=_quantile(weights @ quality[name], 0.975),
            cost_usd=float(cost[name].mean()),
        )
        for name in choices
    )
    return scores, tuple(_compare(other, quality, cost, weights) for other in ("best constant", "per-task table"))


def _compare(other: str, quality: Mapping[str, Floats], cost: Mapping[str, Floats], weights: Floats) -> Comparison:
    gain = quality["learned"] - quality[other]
    gains = weights @ gain
    theirs = weights @ cost[other]
    ratios = weights @ cost["learned"] / np.where(theirs > 0, theirs, 1.0)
    is_priced = bool((theirs > 0).all())
    return Comparison(
        versus=other,
        quality_difference=float(gain.mean()),
        quality_difference_low=_quantile(gains, 0.025),
        quality_difference_high=_quantile(gains, 0.975),
        cost_ratio=float(cost["learned"].mean() / cost[other].mean()) if is_priced else None,
        cost_ratio_low=_quantile(ratios, 0.025) if is_priced else None,
        cost_ratio_high=_quantile(ratios, 0.975) if is_priced else None,
    )


def verdict(comparisons: tuple[Comparison, ...]) -> tuple[bool, str]:
    """Promote only a router that is certainly cheaper than both others without losing quality (or better for less)."""
    constant, table = comparisons
    for other in (constant, table):
        if other.cost_ratio_high is None:
            return False, f"the {other.versus} is free, so routing cannot save anything"
        worse = f"a quality difference down to {other.quality_difference_low:+.3f} to the {other.versus}"
        if other.is_cheaper or (other is table and other.is_better):
            continue
        if other.quality_difference_low < -ALLOWED_DROP:
            return False, f"held-out queries leave room for {worse} (allowed: {-ALLOWED_DROP:+.2f})"
        return False, (
            f"on held-out queries it is not certainly cheaper than the {other.versus} "
            f"(cost ratio {other.cost_ratio:.2f}, up to {other.cost_ratio_high:.2f})"
        )
    saving = 1.0 - (constant.cost_ratio or 0.0)
    return True, (
        f"on held-out queries it saves {saving:.0%} against the best constant model at a quality difference of "
        f"{constant.quality_difference:+.3f} (at least {constant.quality_difference_low:+.3f}), and beats the per-task "
        "table"
    )


def _quantile(values: Floats, share: float) -> float:
    return float(np.quantile(values, share))
