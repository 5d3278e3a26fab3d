"""Which models to ask, in which order. Pure: offers in, plan and reasons out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from router.decisions import Candidate, Dollars, Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What is known of one model before the call."""

    model: str
    barred: str | None = None
    """Why it may not serve (no evidence, too small a context, too dear); None when it may."""
    quality: float | None = None
    """Expected quality on this request; None when nothing is known (a fixed or unmeasured model)."""
    quality_low: float | None = None
    prediction: Prediction | None = None
    """What the artifact expects, if it is asked."""
    expected_cost_usd: Decimal | None = None
    expected: Dollars | None = None
    p95_cost_usd: Decimal | None = None
    worst_cost_usd: Decimal | None = None
    latency_s: float | None = None


def plan(
    offers: Sequence[Offer],
    *,
    strategy: str,
    bar: float,
    fallback: Sequence[Offer] = (),
    learned: Sequence[str] = (),
) -> tuple[tuple[str, ...], tuple[Candidate, ...]]:
    """The models to try, in order, and every candidate with the reason it is in or out.

    `fixed` keeps the author's order. Otherwise the cheapest model that clears the bar goes first and the
    dearer ones that clear it stand by; when none is expected to clear it on this request, the best does.
    Fallbacks follow in the author's order. A learned plan stands in front of all that, which then stands by.
    """
    standing = [offer for offer in offers if offer.barred is None]
    clearing = [offer for offer in standing if strategy == "fixed" or offer.quality is None or offer.quality >= bar]
    if strategy == "fixed":
        ordered = standing
    elif clearing:
        ordered = sorted(clearing, key=_by_cost)
    else:
        ordered = sorted(standing, key=lambda offer: (-(offer.quality or 0.0), *_by_cost(offer)))
    chosen = {offer.model for offer in ordered}
    spare = [offer for offer in fallback if offer.barred is None and offer.model not in chosen]
    alone = tuple(dict.fromkeys(offer.model for offer in [*ordered, *spare]))
    judged = {offer.model: offer for offer in [*spare, *offers]}
    first, asked = alone[0] if alone else None, frozenset(alone)
    reasons = {
        model: _reason(offer, model in asked, model == first, model in chosen, bool(clearing), strategy, bar)
        for model, offer in judged.items()
    }
    reasons |= {o.model: f"fallback, but {o.barred}" for o in fallback if o.barred and o.model not in reasons}
    reasons |= {model: _rung(place, len(learned)) for place, model in enumerate(learned)}
    order = tuple(dict.fromkeys([*learned, *alone]))
    known = {offer.model: offer for offer in [*fallback, *offers]}
    told, within = dict.fromkeys([*order, *reasons]), frozenset(order)  # the plan first, then who is out
    return order, tuple(
        _candidate(known[model], reasons[model], is_in=model in within, is_foreseen=bool(learned)) for model in told
    )


def _candidate(offer: Offer, reason: str, *, is_in: bool, is_foreseen: bool) -> Candidate:
    expects = offer.prediction
    return Candidate(
        model=offer.model,
        is_in=is_in,
        reason=reason,
        # A learned plan rests on what the artifact expects, not on the evidence.
        quality=expects.quality if expects is not None and is_foreseen else offer.quality,
        quality_low=offer.quality_low,
        predicted_low=expects.quality_low if expects is not None else None,
        predicted_high=expects.quality_high if expects is not None else None,
        expected_cost_usd=offer.expected_cost_usd,
        expected=offer.expected,
        p95_cost_usd=offer.p95_cost_usd,
        worst_cost_usd=offer.worst_cost_usd,
        latency_s=offer.latency_s,
    )


def staying(
    model: str, order: tuple[str, ...], candidates: tuple[Candidate, ...], why: str
) -> tuple[tuple[str, ...], tuple[Candidate, ...]]:
    """The same plan, but with one of its candidates first, for a reason."""
    (stays,) = [replace(one, reason=why, is_in=True) for one in candidates if one.model == model]
    return (
        (model, *(one for one in order if one != model)),
        (stays, *(one for one in candidates if one.model != model)),
    )


def cheapest_first(offers: Sequence[Offer]) -> list[Offer]:
    """A fixed rule's offers where a budget asks for cheaper routes: whoever the author lists is good enough."""
    return sorted(offers, key=_by_cost)


def clearing_alone(offers: Sequence[Offer], *, strategy: str, bar: float) -> frozenset[str]:
    """Models that clear the bar on this request by themselves; under `fixed` nobody has been measured, so none."""
    if strategy == "fixed":
        return frozenset()
    return frozenset(
        offer.model for offer in offers if offer.barred is None and (offer.quality is None or offer.quality >= bar)
    )


def _rung(place: int, count: int) -> str:
    if count == 1:
        return "best quality for its price at the operating point that carries the bar"
    return "asked first" if not place else f"asked as number {place + 1}, unless the answers so far are sure enough"


def best_trade(qualities: Sequence[float], costs_usd: Sequence[float], quality_per_usd: float) -> int:
    """Index of the model with the best `quality - quality_per_usd * cost`; the cheaper one on a tie.

    This is how a trained plan is traced from its cheapest to its best point.
    """
    return max(range(len(qualities)), key=lambda i: (qualities[i] - quality_per_usd * costs_usd[i], -costs_usd[i], -i))


def _by_cost(offer: Offer) -> tuple[bool, Decimal, str]:
    unknown = offer.expected_cost_usd is None  # an unknown price goes last: it may be any
    return unknown, offer.expected_cost_usd or Decimal(0), offer.model


def _reason(
    offer: Offer, is_asked: bool, first: bool, is_ordered: bool, some_clear: bool, strategy: str, bar: float
) -> str:
    if not is_asked:
        return offer.barred or f"predicted {offer.quality:.2f}, below bar {bar:g} on this request"
    if not is_ordered:
        role = "fallback: no candidate stands" if first else "stands by as fallback"
        return f"{role} ({offer.barred})" if offer.barred else role
    if strategy == "fixed":
        return "fixed by the rule" if first else "fixed by the rule, stands by"
    if not some_clear:
        return f"none clears bar {bar:g} on this request; {'best expected quality' if first else 'stands by'}"
    return f"{'cheapest that clears' if first else 'dearer, also clears'} bar {bar:g}"
