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
    expected_cost_usd: Decimal | None = None
    expected: Dollars | None = None
    worst_cost_usd: Decimal | None = None


def plan(
    offers: Sequence[Offer],
    *,
    strategy: str,
    bar: float,
    fallback: Sequence[Offer] = (),
    squeezed: str | None = None,
) -> tuple[tuple[str, ...], tuple[Candidate, ...]]:
    """The models to try, in order, and every candidate with the reason it is in or out.

    `fixed` keeps the author's order, unless a budget asks for cheaper routes. Otherwise the cheapest model that clears the bar goes first and the
    dearer ones that clear it stand by; when none is expected to clear it on this request, the best does.
    Fallbacks follow in the author's order.
    """
    standing = [offer for offer in offers if offer.barred is None]
    clearing = [offer for offer in standing if strategy == "fixed" or offer.quality is None or offer.quality >= bar]
    if strategy == "fixed":
        ordered = sorted(standing, key=_by_cost) if squeezed else standing
    elif clearing:
        ordered = sorted(clearing, key=_by_cost)
    else:
        ordered = sorted(standing, key=lambda offer: (-(offer.quality or 0.0), *_by_cost(offer)))
    spare = [offer for offer in fallback if offer.barred is None and offer not in ordered]
    order = tuple(dict.fromkeys(offer.model for offer in [*ordered, *spare]))
    reasons = {
        offer.model: _reason(offer, order, ordered, bool(clearing), strategy, bar, squeezed) for offer in [*spare, *offers]
    }
    reasons |= {o.model: f"fallback, but {o.barred}" for o in fallback if o.barred and o.model not in reasons}
    known = {offer.model: offer for offer in [*fallback, *offers]}
    return order, tuple(
        Candidate(
            model=model,
            is_in=model in order,
            reason=reason,
            quality=known[model].quality,
            quality_low=known[model].quality_low,
            predicted_low=guess.quality_low if (guess := known[model].prediction) else None,
            predicted_high=guess.quality_high if guess else None,
            expected_cost_usd=known[model].expected_cost_usd,
            expected=known[model].expected,
            worst_cost_usd=known[model].worst_cost_usd,
        )
        for model, reason in sorted(
            reasons.items(), key=lambda row: order.index(row[0]) if row[0] in order else len(order)
        )
    )


def clearing_alone(offers: Sequence[Offer], *, strategy: str, bar: float) -> frozenset[str]:
    """Models that clear the bar on this request by themselves; under `fixed` nobody has been measured, so none."""
    if strategy == "fixed":
        return frozenset()
    return frozenset(
        offer.model for offer in offers if offer.barred is None and (offer.quality is None or offer.quality >= bar)
    )


def lead(
    learned: Sequence[str], order: Sequence[str], candidates: Sequence[Candidate]
) -> tuple[tuple[str, ...], tuple[Candidate, ...]]:
    """A learned plan in front of what would serve without it, which then stands by."""
    reasons = {model: _rung(place, len(learned)) for place, model in enumerate(learned)}
    told = [
        replace(candidate, is_in=True, reason=reasons[candidate.model]) if candidate.model in reasons else candidate
        for candidate in candidates
    ]
    whole = tuple(dict.fromkeys([*learned, *order]))
    return whole, tuple(sorted(told, key=lambda one: whole.index(one.model) if one.model in whole else len(whole)))


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
    offer: Offer, order: tuple[str, ...], ordered: Sequence[Offer], some_clear: bool, strategy: str, bar: float,
    squeezed: str | None,
) -> str:
    if offer.model not in order:
        return offer.barred or f"predicted {offer.quality:.2f}, below bar {bar:g} on this request"
    first = order[0] == offer.model
    if offer not in ordered:
        role = "fallback: no candidate stands" if first else "stands by as fallback"
        return f"{role} ({offer.barred})" if offer.barred else role
    if strategy == "fixed" and squeezed:
        return f"{'cheapest of the rule' if first else 'dearer, stands by'}: budget {squeezed}"
    if strategy == "fixed":
        return "fixed by the rule" if first else "fixed by the rule, stands by"
    if not some_clear:
        return f"none clears bar {bar:g} on this request; {'best expected quality' if first else 'stands by'}"
    return f"{'cheapest that clears' if first else 'dearer, also clears'} bar {bar:g}"
