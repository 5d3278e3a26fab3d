"""Is the learned router worth routing with? A held-out, paired comparison, and a verdict in one sentence.

Every prediction that is judged here was made without the query's own outcome, and every operating point was
chosen without the queries it is judged on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from router.predict.dialled import ALLOWED_DROP, Dialled
from router.predict.labels import Floats, Indices
from router.predict.worth import Worth

RESAMPLES = 2_000


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
class Verdict:
    """Whether one way to route may serve."""

    strategy: str
    """`single` or `cascade`."""
    promoted: bool
    reason: str
    """One sentence."""
    comparisons: tuple[Comparison, ...] = ()
    """Against the best constant model and the per-task table; empty where too few queries could be compared."""
    price: float = 0.0
    """Quality per USD of the point it would serve at: the cheapest that is not worse than the best constant."""


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
    """Best constant model, per-task table, single, cascade (where there is one), and oracle: the cheapest of the
    best answers."""
    verdicts: tuple[Verdict, ...]
    ece: float
    """Expected calibration error of the learned quality, mean over models, ten equally full bins each."""
    brier: float
    """Mean squared error of the learned quality."""
    table_brier: float
    """The same for the per-task table."""
    task_accuracy: float | None
    """Held-out accuracy of the task classifier where it does not abstain; None with a single task."""
    embedding: Worth | None = None
    """What the embedding added; None where none was asked for."""

    @property
    def promoted(self) -> tuple[str, ...]:
        """The strategies that may serve."""
        return tuple(verdict.strategy for verdict in self.verdicts if verdict.promoted)


def best_constant(quality: Floats, cost_usd: Floats) -> int:
    """The model with the best mean quality, the cheaper one if several."""
    return int(np.lexsort((cost_usd.mean(axis=0), -quality.mean(axis=0).round(12)))[0])


def judge(
    quality: Floats, cost_usd: Floats, folds: Indices, table: Dialled, ways: Mapping[str, Dialled], seed: int
) -> tuple[tuple[RouterScore, ...], tuple[Verdict, ...]]:
    """Score the learned ways to route and compare each with the two that need no learning.

    Args:
        quality: shape (n, m).
        cost_usd: shape (n, m).
        folds: shape (n,).
        table: the per-task table.
        ways: strategy to what it did.
        seed: of the bootstrap.
    """
    everyone = np.arange(len(folds))
    best = best_constant(quality, cost_usd)
    constant = quality[:, best]
    top = quality.max(axis=1, keepdims=True)
    oracle = np.where(quality >= top - 1e-12, cost_usd, np.inf).argmin(axis=1)
    served = {
        "best constant": (constant, cost_usd[:, best]),
        "per-task table": table.served(constant, folds),
        **{name: way.served(constant, folds) for name, way in ways.items()},
        "oracle": (quality[everyone, oracle], cost_usd[everyone, oracle]),
    }
    random = np.random.default_rng(seed)
    draws = random.multinomial(len(everyone), np.full(len(everyone), 1.0 / len(everyone)), size=RESAMPLES)
    weights = draws / len(everyone)
    scores = tuple(
        RouterScore(
            name=name,
            quality=float(own.mean()),
            quality_low=_quantile(weights @ own, 0.025),
            quality_high=_quantile(weights @ own, 0.975),
            cost_usd=float(cost.mean()),
        )
        for name, (own, cost) in served.items()
    )
    verdicts = []
    for name, way in ways.items():
        compared = tuple(
            _compare(other, served[name], served[other], weights) for other in ("best constant", "per-task table")
        )
        promoted, reason = verdict(compared)
        price = float(way.prices[way.point(constant, everyone)])
        verdicts.append(Verdict(strategy=name, promoted=promoted, reason=reason, comparisons=compared, price=price))
    return scores, tuple(verdicts)


def _compare(versus: str, own: tuple[Floats, Floats], other: tuple[Floats, Floats], weights: Floats) -> Comparison:
    gain = own[0] - other[0]
    gains = weights @ gain
    theirs = weights @ other[1]
    ratios = weights @ own[1] / np.where(theirs > 0, theirs, 1.0)
    is_priced = bool((theirs > 0).all())
    return Comparison(
        versus=versus,
        quality_difference=float(gain.mean()),
        quality_difference_low=_quantile(gains, 0.025),
        quality_difference_high=_quantile(gains, 0.975),
        cost_ratio=float(own[1].mean() / other[1].mean()) if is_priced else None,
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
