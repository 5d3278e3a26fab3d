"""What feedback teaches after the evaluation: beliefs about every model and task, and chances to learn more.

A belief starts from the evidence (or the artifact) with a few pseudo-counts, hears every scored answer, and forgets
geometrically, so that a model that changed is seen as it is. Nothing here reads a store or a clock: the same feedback
in the same order gives the same beliefs, and with the same request id the same choice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import exp, log, sqrt
from statistics import NormalDist

from router.decisions import Candidate
from router.policy import Bar
from router.predict.alarm import Watch
from router.select import Offer

DISCOUNT = 0.995
"""What a scored answer weighs relative to the next one of its model and task; never more than 200 in all."""
MOST_PRIOR = 50.0
"""Evidence counts as at most so many answers: enough to outlive bad luck, few enough for feedback to correct it."""
ARTIFACT_PRIOR = 20.0
"""Answers that a prediction counts as where there is no evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Discounted sums of the feedback on one model and task."""

    n: int = 0
    """Scored answers, undiscounted."""
    weight: float = 0.0
    total: float = 0.0
    """Sum of scores, by weight."""

    def hear(self, score: float) -> Tally:
        """After one more scored answer, in [0, 1]."""
        return Tally(n=self.n + 1, weight=DISCOUNT * self.weight + 1, total=DISCOUNT * self.total + score)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What is believed of a model on a task before any feedback."""

    mean: float
    weight: float
    """Answers that it counts as, above 0."""

    @classmethod
    def of_evidence(cls, mean: float, n: int) -> Prior:
        """The evidence's mean on n samples."""
        return cls(mean=mean, weight=min(float(n), MOST_PRIOR))


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """Expected mean quality of one model on one task, with one-sided bounds."""

    mean: float
    low: float
    high: float
    effective_n: float
    """Answers that it rests on, the prior's pseudo-counts and the discount counted in."""
    n: int
    """Scored answers heard."""


def believe(prior: Prior, tally: Tally, confidence: float = 0.95) -> Belief:
    """Mean of the Beta posterior, and its bounds, each one-sided at the given confidence.

    Scores between 0 and 1 count as parts of a right answer, which is cautious: graded scores vary less.
    """
    weight = prior.weight + tally.weight
    mean = (prior.weight * prior.mean + tally.total) / weight
    low, high = bounds(mean, weight, confidence)
    return Belief(mean=mean, low=low, high=high, effective_n=weight, n=tally.n)


def bounds(mean: float, n: float, confidence: float) -> tuple[float, float]:
    """Score bounds of a rate (Wilson 1927), each one-sided: close to the Beta quantiles, at a thousandth of their time.

    >>> [round(bound, 3) for bound in bounds(0.9, 100, 0.95)]
    [0.839, 0.939]
    """
    z = _z(confidence)
    center, reach = mean + z * z / (2 * n), z * sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    return max(0.0, (center - reach) / (1 + z * z / n)), min(1.0, (center + reach) / (1 + z * z / n))


@cache
def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(confidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """Everything feedback has taught so far; immutable, safe to share between threads."""

    row: int = 0
    """Last row of the ledger's feedback that is in it."""
    tallies: Mapping[tuple[str, str], Tally] = field(default_factory=dict)
    """By task and model."""
    watches: Mapping[str, Watch] = field(default_factory=dict)
    """By task."""

    def lessons(self, task: str, bar: Bar, evidence: Mapping[str, tuple[float, int]]) -> Lessons:
        """What it says about one request.

        Args:
            task: of the request.
            bar: that the request is held against.
            evidence: mean and number of samples by model, where there is evidence.
        """
        priors = {model: Prior.of_evidence(mean, n) for model, (mean, n) in evidence.items()}
        tallies = {model: tally for (of, model), tally in self.tallies.items() if of == task}
        return Lessons(task=task, bar=bar, priors=priors, tallies=tallies, watch=self.watches.get(task, Watch()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What feedback says about the candidates of one request."""

    task: str
    bar: Bar
    priors: Mapping[str, Prior]
    tallies: Mapping[str, Tally]
    watch: Watch

    def adjust(self, offers: Sequence[Offer], fallback: Sequence[Offer] = ()) -> tuple[list[Offer], list[Offer]]:
        """Offers with what feedback says in them, and the fallbacks.

        Expected quality moves by as much as the belief about the task moved, in log-odds. A model that cleared the
        bar without feedback leaves only when the upper bound of the belief, at the bar's confidence, lies below the
        bar: else two bad answers would send it away, and nobody would hear of it again. Then it is barred, but never
        the best one: feedback alone closes no task. Under an alarm the model with the best evidence serves (or the one
        that a drop is held against), and the others stand by for its failures.
        """
        beliefs = {offer.model: belief for offer in offers if (belief := self._belief(offer)) is not None}
        standing = [offer for offer in offers if offer.barred is None]
        believed = [offer.model for offer in standing if offer.model in beliefs]
        best = max(believed, key=lambda model: beliefs[model].mean, default=None)
        safe = self._safe(standing) if self.watch.raised else None
        kept = safe or best
        taught = [self._taught(offer, beliefs.get(offer.model), is_kept=offer.model == kept) for offer in offers]
        if safe is None:
            return taught, list(fallback)
        why = f"alarm of task {self.task}: {told(self.watch)}; until it is acknowledged {safe} serves"
        spare = [offer for offer in taught if offer.model != safe and offer.barred is None]
        spare.sort(key=lambda offer: -(offer.quality or 0.0))
        safest = [one if one.model == safe or one.barred else replace(one, barred=why) for one in taught]
        return safest, [*spare, *fallback]

    def explore(
        self,
        order: tuple[str, ...],
        candidates: tuple[Candidate, ...],
        offers: Sequence[Offer],
        *,
        share: float,
        request_id: str,
    ) -> tuple[tuple[str, ...], tuple[Candidate, ...]]:
        """Now and then another model first, so that the ledger can say what it would have been worth.

        With the chance `share`, the first model is drawn evenly from all that may clear the bar: nothing bars it,
        and the upper bound of its expected quality reaches the bar. Candidates then carry their chance to be asked
        first. Under an alarm, or a bar of a drop, nothing is drawn (a drop has its audits).

        Args:
            order: the plan.
            candidates: of the decision.
            offers: as `adjust` returned them.
            share: in [0, 1].
            request_id: the draw depends on nothing else.
        """
        able = sorted(offer.model for offer in offers if self._may_clear(offer))
        if share == 0 or not order or len(able) < 2 or self.watch.raised or self.bar.max_drop is not None:
            return order, candidates
        draw = random.Random(f"explore {request_id}")  # noqa: S311  no secret; must be the same everywhere
        first = able[draw.randrange(len(able))] if draw.random() < share else order[0]
        chances = {model: share / len(able) for model in able}
        chances[order[0]] = chances.get(order[0], 0.0) + 1 - share
        why = f"explored: one of {len(able)} that may clear bar {self.bar.min:g}"
        shown = [replace(one, propensity=chances.get(one.model, 0.0)) for one in candidates]
        if first != order[0]:
            shown = [replace(one, is_in=True, reason=why) if one.model == first else one for one in shown]
            shown.sort(key=lambda one: one.model != first)
        return (first, *(model for model in order if model != first)), tuple(shown)

    def audits(self, request_id: str, share: float) -> bool:
        """Whether a request goes to the model that a drop is held against; the draw depends on nothing but its id."""
        return random.Random(f"audit {request_id}").random() < share  # noqa: S311  as above

    def _belief(self, offer: Offer) -> Belief | None:
        prior = self.priors.get(offer.model)
        if prior is None and offer.quality is not None:
            prior = Prior(mean=offer.quality, weight=ARTIFACT_PRIOR)
        if prior is None:
            return None
        return believe(prior, self.tallies.get(offer.model, Tally()), self.bar.confidence)

    def _safe(self, standing: Sequence[Offer]) -> str | None:
        known = {offer.model: self._prior_mean(offer) for offer in standing}
        return self.bar.vs if self.bar.vs in known else max(known, key=lambda model: known[model], default=None)

    def _prior_mean(self, offer: Offer) -> float:
        prior = self.priors.get(offer.model)
        return prior.mean if prior is not None else offer.quality or 0.0

    def _taught(self, offer: Offer, belief: Belief | None, *, is_kept: bool) -> Offer:
        if belief is None or belief.n == 0 or offer.quality is None:
            return offer
        quality = _moved(offer.quality, self._prior_mean(offer), belief.mean)
        if belief.high >= self.bar.min:
            stays = offer.quality >= self.bar.min
            return replace(offer, quality=max(quality, self.bar.min) if stays else quality)
        why = (
            f"feedback: mean {belief.mean:.2f} over {belief.n} answers and the evidence, "
            f"at most {belief.high:.2f}, below bar {self.bar.min:g}"
        )
        return replace(offer, quality=quality, barred=offer.barred or (None if is_kept else why))

    def _may_clear(self, offer: Offer) -> bool:
        if offer.barred is not None:
            return False
        if offer.quality is None:
            return True  # nothing bars an unmeasured model: the bar is 0
        prior = self.priors.get(offer.model)
        weight = (prior.weight if prior else ARTIFACT_PRIOR) + self.tallies.get(offer.model, Tally()).weight
        return bounds(offer.quality, weight, self.bar.confidence)[1] >= self.bar.min


def told(watch: Watch) -> str:
    """An alarm in a few words."""
    if (watch.promise or 0.0) < 0:
        return (
            f"about {-(watch.mean or 0.0):.2f} lost over {watch.n} scored answers where at most "
            f"{-(watch.promise or 0.0):.2f} was promised (e-value {watch.e_value:.3g})"
        )
    return (
        f"mean {watch.mean or 0.0:.2f} over {watch.n} scored answers where {watch.promise or 0.0:.2f} was promised "
        f"(e-value {watch.e_value:.3g})"
    )


def _moved(quality: float, before: float, after: float) -> float:
    """A quality, moved in log-odds as far as a mean moved; at 0 and 1 half a thousandth keeps the odds finite."""
    value = _log_odds(quality) + _log_odds(after) - _log_odds(before)
    return 1 / (1 + exp(-value))


def _log_odds(rate: float) -> float:
    rate = min(max(rate, 0.0005), 0.9995)
    return log(rate / (1 - rate))
