"""Fitting `verdicts`, and cascades with a verifier replayed over recorded outcomes.

Everything is judged by acceptances that have not seen the query, and a half of the queries by verdicts' weights that
were fitted on the other. Ladders, prices and stops are those of the cascade without a verifier.
"""

from __future__ import annotations

import numpy as np

from router.predict.agreement import Acceptance, Mask
from router.predict.cascade import Ladder
from router.predict.dialled import Dialled
from router.predict.fit_agreement import SUBSETS, ridge_logistic, subsets
from router.predict.labels import Floats, Indices
from router.predict.simulate import Outcome, Recorded, Simulation
from router.predict.sureness import LEAST_ROWS, PENALTY
from router.predict.verdicts import COLUMNS, Verdicts, columns, standing

Scored = list[tuple[Floats, Indices, Mask, Mask]]
"""As `Acceptance.scored` returns it."""
SURE = 1.96
"""Standard errors by which verdicts must raise the worth of held-out cascades to be used at all."""


def fit_verdicts(recorded: Recorded, without: dict[int, Acceptance], expected: Floats, seed: int) -> Verdicts | None:
    """What verdicts add to the log-odds of answers that stand after a few calls; None where too few are known.

    Args:
        recorded: the queries.
        without: for each fold, an acceptance that has not seen it.
        expected: shape (n, m), log-odds of expected quality.
        seed: of the subsets of models that are taken as called.
    """
    if recorded.verified is None or recorded.verified_usd is None:
        return None
    draw = np.random.default_rng(seed)
    rows, called = subsets(recorded.expected, recorded.cost_usd.mean(axis=0), draw)
    odds, model, _, _ = _scored(recorded, without, expected, rows, called)[0]
    verdict = recorded.verified[rows, model]
    known = np.isfinite(verdict)
    low, high = verdict[known & (verdict < 0.5)], verdict[known & (verdict >= 0.5)]
    if known.sum() < LEAST_ROWS or not len(low) or not len(high):
        return None
    weights = ridge_logistic(
        columns(verdict[known], odds[known]), recorded.quality[rows, model][known], np.full(known.sum(), 1.0 / SUBSETS),
        np.full(COLUMNS, PENALTY), offset=odds[known],
    )  # fmt: skip
    told = np.isfinite(recorded.verified) & np.isfinite(recorded.verified_usd)
    spent = np.where(told, recorded.verified_usd, 0.0).sum(axis=0) / np.maximum(told.sum(axis=0), 1)
    return Verdicts(
        weights=weights,
        levels=np.array([low.mean(), high.mean()]),
        cost_usd=np.where(told.any(axis=0), spent, np.nan),
    )


def pays(usual: Dialled, verified: Dialled, few: slice) -> bool:
    """Whether held-out queries are served for certain at a better value with the verifier, over its prices.

    Args:
        usual: the cascade without it.
        verified: with it.
        few: which of the first one's prices those are.
    """
    more = verified.cost_usd - usual.cost_usd[few]
    gain = verified.quality - usual.quality[few] - verified.prices[:, None] * more
    each = gain.mean(axis=0)
    return bool(each.mean() > SURE * each.std() / np.sqrt(len(each)))


class VerifiedSimulation(Simulation):
    """Cascades that may ask a verifier about the standing answer, before every further rung."""

    def __init__(
        self,
        recorded: Recorded,
        without: dict[int, Acceptance],
        verdicts: Verdicts,
        part: tuple[VerifiedSimulation, Indices] | None = None,
    ) -> None:
        super().__init__(recorded, without, part)
        self._verdicts, self._whole = verdicts, part
        self._found: dict[frozenset[int], Scored] = {}

    def of(self, rows: Indices) -> VerifiedSimulation:
        """The same over some of the queries."""
        return VerifiedSimulation(self.recorded.rows(rows), self._without, self._verdicts, (self, rows))

    def climb(self, ladder: Ladder, prices: Floats) -> Outcome:
        """What a ladder brings at several prices of quality."""
        each = [self._climb(ladder, float(price)) for price in prices]
        quality, cost = (np.stack([one[which] for one in each]) for which in (0, 1))
        return Outcome(quality=quality, value=quality, cost_usd=cost)

    def _climb(self, ladder: Ladder, price: float) -> tuple[Floats, Floats]:
        r, everyone = self.recorded, np.arange(len(self.recorded.quality))
        assert r.verified is not None and r.verified_usd is not None  # noqa: S101  else nothing was fitted
        verdict = np.full(r.quality.shape, np.nan)
        quality, cost = np.zeros((2, len(everyone)))
        rows = everyone
        for rung, model in enumerate(ladder.models):
            cost[rows] += r.cost_usd[rows, model]
            scored = [tuple(part[rows] for part in one) for one in self._contenders(ladder.models[: rung + 1])]
            now = standing(self._verdicts, scored, verdict[rows])  # type: ignore[arg-type]
            if rung + 1 < len(ladder.models):
                after = self._expected[rows, ladder.models[rung + 1]]

                def surplus(chance: Floats, rung: int = rung, after: Floats = after) -> Floats:
                    return ladder.surplus(rung, chance, after, price)

                says, usd = r.verified[rows, now.model], r.verified_usd[rows, now.model]
                asked = np.isnan(now.verdict) & np.isfinite(says) & np.isfinite(usd)
                asked &= self._verdicts.worth(now.odds, now.model, surplus, price) > 0.0
                if asked.any():
                    cost[rows[asked]] += usd[asked]
                    verdict[rows[asked], now.model[asked]] = says[asked]
                    now = standing(self._verdicts, scored, verdict[rows])  # type: ignore[arg-type]
            quality[rows] = r.quality[rows, now.model]
            if rung + 1 < len(ladder.models):
                rows = rows[ladder.value(rung, now.chance, after) > price]
            if not len(rows):
                break
        return quality, cost

    def _contenders(self, models: tuple[int, ...]) -> Scored:
        key = frozenset(models)
        if key not in self._found:
            if self._whole is not None:
                whole, rows = self._whole
                self._found[key] = [
                    (odds[rows], model[rows], is_there[rows], own[rows])
                    for odds, model, is_there, own in whole._contenders(models)
                ]
            else:
                called = np.zeros(self.recorded.quality.shape, dtype=bool)
                called[:, list(models)] = True
                rows = np.arange(len(called))
                self._found[key] = _scored(self.recorded, self._without, self._expected, rows, called)
        return self._found[key]


def _scored(
    recorded: Recorded, without: dict[int, Acceptance], expected: Floats, rows: Indices, called: Mask
) -> Scored:
    """The two best supported answers of some queries, each scored by the acceptance that has not seen it."""
    count = len(rows)
    found: Scored = [
        (np.zeros(count), np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool), np.zeros(called.shape, bool))
        for _ in range(2)
    ]
    for fold, acceptance in without.items():
        at = np.flatnonzero(recorded.folds[rows] == fold)
        if len(at):
            own = rows[at]
            part = acceptance.scored(
                recorded.given.rows(own), called[at], expected[own], recorded.task[own], recorded.leaf[own]
            )
            for whole, scored in zip(found, part, strict=True):
                for values, given in zip(whole, scored, strict=True):
                    values[at] = given
    return found
