"""Looking at cheap answers first: which models to ask one after the other, and when to stop.

A ladder is an order of models, found for each task on recorded outcomes. After every answer there is P(the chosen
answer clears), and for every further rung an expected gain in it. The next rung is asked while some stretch of
rungs promises more gain per dollar than the price of quality at the operating point. That ratio does not depend on
the price, so as quality gets dearer the calls of a request only become fewer: expected cost rises along the dial.
Where one call does as well, the ladder is not used at all.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.answers import Answer, answer_of, options_of
from router.predict.agreement import SHAPE, Acceptance, Given, Mask, chosen, grouped, shape_of
from router.predict.calibrate import sigmoid
from router.predict.labels import Floats, Indices
from router.predict.likeness import Likeness
from router.predict.verdicts import Verdicts, standing

GAIN_COLUMNS = 5


def gain_columns(chance: Floats, next_expected: Floats) -> Floats:
    """What the gain of a further rung depends on, shape (n, GAIN_COLUMNS).

    All columns vanish where the answer is certain: nothing can be gained there.

    Args:
        chance: P(the chosen answer clears), shape (n,).
        next_expected: log-odds of the next model's quality, shape (n,).
    """
    doubt, next_quality = 1.0 - chance, sigmoid(next_expected)
    return np.column_stack([doubt, chance * doubt, doubt * next_quality, doubt**2, chance * doubt * next_quality])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """An order of models, and what climbing on is worth."""

    models: tuple[int, ...]
    gain: Floats
    """Shape (rungs, rungs, GAIN_COLUMNS): weights of the gain between standing on rung i and on rung h > i."""
    cost_usd: Floats
    """Shape (rungs,): mean cost of each rung's model in the task."""

    def value(self, rung: int, chance: Floats, next_expected: Floats) -> Floats:
        """Best expected gain per dollar of asking on from a rung, shape (n,); -inf on the last."""
        if rung + 1 >= len(self.models):
            return np.full(len(chance), -np.inf)
        gains, spent = self._ahead(rung, chance, next_expected)
        return np.asarray((gains / spent).max(axis=1))

    def surplus(self, rung: int, chance: Floats, next_expected: Floats, price: float) -> Floats:
        """What asking on from a rung is worth beyond its price, in quality, shape (n,); 0 where it is not."""
        gains, spent = self._ahead(rung, chance, next_expected)
        return np.asarray(np.maximum((gains - price * spent).max(axis=1), 0.0))

    def _ahead(self, rung: int, chance: Floats, next_expected: Floats) -> tuple[Floats, Floats]:
        """Gains of climbing to every further rung, shape (n, k), and the cost of it, shape (k,)."""
        gains = gain_columns(chance, next_expected) @ self.gain[rung, rung + 1 :].T
        return gains, np.maximum(np.cumsum(self.cost_usd[rung + 1 :]), 1e-12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to do at a price of quality."""

    ladder: int | None
    """Position of the ladder to climb; None: one call."""
    price: float
    """Quality per USD at which the ladder stops or the one model is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """The learned cascades of an artifact."""

    acceptance: Acceptance
    ladder_models: Indices
    """Shape (tasks + 1, rungs), -1 beyond a ladder's end; the last row is for unknown tasks."""
    ladder_gain: Floats
    ladder_cost: Floats
    prices: Floats
    """Shape (p,), falling: quality per USD."""
    costs: Floats
    """Shape (p,): mean cost in USD at each price on the training queries, rising."""
    climbs: NDArray[np.bool_]
    """Shape (leaves + tasks + 1, p): whether the ladder is climbed at each price, by leaf, else task, else at all."""
    stops: Floats
    """The same shape: quality per USD at which the ladder stops, or by which the one model is chosen."""
    likeness: Likeness | None = None
    """When two answers in prose say the same, where training embedded them."""
    verdicts: Verdicts | None = None
    """What a verifier's verdicts tell, where training had them and cascades gained by them."""

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return len(self.ladder_models) - 1

    def ladder(self, task: int) -> Ladder:
        """The ladder of a task, or the one for unknown tasks (-1)."""
        models = tuple(int(model) for model in self.ladder_models[task] if model >= 0)
        rungs = len(models)
        return Ladder(
            models=models, gain=self.ladder_gain[task, :rungs, :rungs], cost_usd=self.ladder_cost[task, :rungs]
        )

    def choice(self, task: int, leaf: int, price: float) -> Choice:
        """What to do with a request of a task and leaf (-1: unknown) at a price of quality."""
        leaves = len(self.stops) - self.tasks - 1
        row = leaf if leaf >= 0 else leaves + task if task >= 0 else -1
        at = min(int(np.searchsorted(-self.prices, -price * (1.0 - 1e-9))), len(self.prices) - 1)
        return Choice(ladder=task if self.climbs[row, at] else None, price=float(self.stops[row, at]))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays an artifact keeps, by name."""
        own = {f"cascade_{name}": getattr(self, name) for name in _OWN}
        if self.likeness is not None:
            own["likeness_threshold"] = np.array(self.likeness.threshold)
        own |= self.verdicts.arrays() if self.verdicts is not None else {}
        return own | self.acceptance.arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Cascade:
        """The cascade that `arrays` was taken from."""
        own = {name: arrays[f"cascade_{name}"] for name in _OWN}
        threshold = arrays.get("likeness_threshold")
        likeness = None if threshold is None else Likeness(threshold=float(threshold))
        acceptance, verdicts = Acceptance.from_arrays(arrays), Verdicts.from_arrays(arrays)
        return cls(acceptance=acceptance, likeness=likeness, verdicts=verdicts, **own)


_OWN = tuple(f.name for f in fields(Cascade) if f.name not in ("acceptance", "likeness", "verdicts"))


class Climb:
    """One request on a ladder: hears answers, says whom to ask next and whose answer stands. Not thread-safe.

    Args:
        cascade: of the artifact.
        ladder: the ladder to climb.
        price: quality per USD at which to stop.
        expected: shape (m,), log-odds of each model's quality before any answer.
        task: position of the task, -1 for unknown.
        leaf: position of the leaf, -1 for unknown.
        prompt: the request's text.
    """

    def __init__(
        self, cascade: Cascade, ladder: Ladder, price: float, expected: Floats, task: int, leaf: int, prompt: str
    ) -> None:
        self._acceptance, self._ladder, self._price = cascade.acceptance, ladder, price
        self._likeness, self._verdicts = cascade.likeness, cascade.verdicts
        # Models that were added to the artifact later stand at the end, and no ladder has heard of them.
        expected = expected[: len(cascade.acceptance.votes.support)]
        self._expected = expected[None]
        self._task, self._leaf = np.array([task]), np.array([leaf])
        self._prompt, self._options = prompt, options_of(prompt)
        self._answers: dict[int, Answer] = {}
        self._heard: tuple[int, ...] = ()
        self._is_blank = True
        self._given = Given(
            group=np.full((1, len(expected)), -1),
            shape=np.zeros((1, len(expected), len(SHAPE))),
            length=np.zeros((1, len(expected))),
            logprob=np.full((1, len(expected)), np.nan),
        )
        self._verdict = np.full((1, len(expected)), np.nan)
        self._known: dict[frozenset[int], tuple[float, int]] = {}
        self.chance = 0.0
        """P(the standing answer clears)."""
        self.model: int | None = None
        """The model whose answer stands."""

    @property
    def models(self) -> tuple[int, ...]:
        """The ladder's models, in the order in which they are asked."""
        return self._ladder.models

    def again(self, price: float) -> Climb:
        """The same request from the start at another price, remembering what the same answers came to."""
        other = copy.copy(self)
        other._price, other._heard, other._is_blank, other.chance, other.model = price, (), True, 0.0, None
        return other

    def reads_logprob(self, model: int) -> bool:
        """Whether the mean log-probability of this model's answer would tell anything."""
        sureness = self._acceptance.sureness
        return sureness is not None and model in self._ladder.models and bool(sureness.models[model])

    def hear(self, model: int, response: str, output_tokens: int, logprob: float | None = None) -> None:
        """Take in what a model answered; `logprob`: mean log-probability of the response's tokens, if known."""
        if model not in self._answers:
            self._answers[model] = answer_of(response, self._options)
            self._given.shape[0, model] = shape_of(self._answers[model], response, self._prompt)
            self._given.length[0, model] = np.log1p(output_tokens)
            self._given.logprob[0, model] = np.nan if logprob is None else logprob
        self._heard = (*self._heard, model)
        self._is_blank = self._is_blank and not response.strip()
        called = frozenset(self._heard)
        if called not in self._known:
            self._known[called] = self._judge()
        self.chance, self.model = self._known[called]
        self._weigh()

    def wants(self, model: int) -> bool:
        """Whether a model of the ladder is worth asking, too.

        The rung below it counts as the one that was reached, also where its model failed. Empty answers alone, such
        as a content filter leaves, are never enough: tables hardly have any, so nothing was learned about them.
        The same goes for answers that do not tell how sure they are where nearly all of training's did.
        """
        if model not in self._ladder.models:
            return False
        if self._is_blank or self._is_untold():
            return True
        rung = self._ladder.models.index(model) - 1
        after = np.array([self._expected[0, model]])
        return float(self._ladder.value(rung, np.array([self.chance]), after)[0]) > self._price

    def asks_verifier(self, model: int) -> bool:
        """Whether a verdict on the standing answer is worth its price, before a further model is asked."""
        verdicts = self._verdicts
        if verdicts is None or model not in self._ladder.models or self._is_blank or self._is_untold():
            return False
        now = standing(verdicts, self._scored(), self._verdict)
        rung = self._ladder.models.index(model) - 1
        after = np.array([self._expected[0, model]])
        worth = verdicts.worth(
            now.odds, now.model, lambda chance: self._ladder.surplus(rung, chance, after, self._price), self._price
        )
        return bool(np.isnan(now.verdict[0]) and worth[0] > 0.0)

    def hear_verdict(self, model: int, verdict: float) -> None:
        """Take in what the verifier said of a model's answer, 0 (wrong) to 1 (right)."""
        self._verdict[0, model] = verdict
        self._weigh()

    def _weigh(self) -> None:
        """Judge again with the verdicts there are."""
        if self._verdicts is not None and np.isfinite(self._verdict).any():
            now = standing(self._verdicts, self._scored(), self._verdict)
            self.chance, self.model = float(now.chance[0]), int(now.model[0])

    def _is_untold(self) -> bool:
        """Whether an answer lacks the log-probability that training knew of nearly all of its model's answers."""
        sureness = self._acceptance.sureness
        return sureness is not None and any(
            sureness.is_missing(model, self._given.logprob[0, model]) for model in self._heard
        )

    def _judge(self) -> tuple[float, int]:
        chance, best = chosen(self._scored())
        return float(chance[0]), int(best[0])

    def _scored(self) -> list[tuple[Floats, Indices, Mask, Mask]]:
        """The two best supported of the answers heard, before any verdict."""
        heard = list(self._heard)
        called = np.zeros(self._given.group.shape, dtype=bool)
        called[0, heard] = True
        self._given.group[:] = -1
        answers = [self._answers[model] for model in heard]
        numbers = grouped([answer.key for answer in answers])
        self._given.group[0, heard] = numbers if self._likeness is None else self._likeness.joined(numbers, answers)
        return self._acceptance.scored(self._given, called, self._expected, self._task, self._leaf)
